"""The gates close: something is broken in a copy of the course, and its own suite must refuse it.

What each rule of the contract refuses: test_rules.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.course import change
from utils.tools.course import ROOT

LEAVE = shutil.ignore_patterns(".*", "work", "files", "__pycache__", "*.egg-info")
FIRST = "notebooks/00_start_here.ipynb"
CONTRACT = "tests/test_contract.py"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the whole course, whose own tests have passed."""
    copy = tmp_path_factory.mktemp("gates") / "course"
    shutil.copytree(ROOT, copy, ignore=LEAVE)
    code, output = suite(copy, CONTRACT, FIRST)
    assert code == 0, output
    return copy


def suite(course, *arguments, **environment):
    """The exit code and the output of the copy's own tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(course), **environment}
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def measured(root):
    """A notebook with outputs that moved: behind `≈ `, there but in the unit, and elsewhere."""
    cells = []
    for printed, stored in {"≈ 0.96": "≈ 0.9", "≈ 0.96 x": "≈ 0.9 y", "0.96": "0.9"}.items():
        cell = {"cell_type": "code", "id": f"c{len(cells)}", "metadata": {}, "execution_count": 1}
        output = {"output_type": "stream", "name": "stdout", "text": f"{stored}\n"}
        cells.append({**cell, "source": f"print({printed!r})", "outputs": [output]})
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = root / "notebooks/measured.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_a_wounded_course_is_refused(course):
    """A changed output, an output that moved, and a source without its notebook, all at once."""
    original = (course / FIRST).read_text(encoding="utf-8")
    change(course / FIRST, "All keys matched successfully", "All keys matched")
    path = measured(course)
    code, output = suite(course, CONTRACT, FIRST, f"notebooks/{path.name}")
    path.unlink()
    (course / FIRST).write_text(original, encoding="utf-8")
    assert code == 1 and "All keys matched successfully" in output
    assert re.findall(r"FAILED notebooks/measured.ipynb::(Cell \d)", output) == ["Cell 1", "Cell 2"]
    assert "notebooks/measured.ipynb: has no source; mend: delete it" in output
    assert f"FAILED {CONTRACT}::test_every_notebook_is_the_one_its_source_stands_for" in output


def test_checks_that_do_not_check_are_refused(course):
    """One accepts everything, one refuses everything, one has no wrong answers to show for it."""
    checks, answers = (
        course / name for name in ("utils/checks/state_dict.py", "tests/answers/state_dict.py")
    )
    for title, body in {
        "predicts_names(predicted)": "return",
        "reads_messages(diagnosis)": 'expect(False, "no")',
    }.items():
        change(checks, f"def {title}:\n", f"def {title}:\n    {body}\n")
    change(answers, "    # 1.6\n", "]\n_ = [\n")
    tests = "predicts_names or reads_messages or has_its_answers"
    code, output = suite(course, "tests/test_checks.py", "-k", tests)
    failed = re.findall(r"FAILED tests/test_checks.py::(.+?)(?: - |$)", output, re.M)
    assert code == 1
    accepted = [name for name in failed if "predicts_names" in name]
    assert len(accepted) >= 3 and not any("right" in name for name in accepted)
    assert any("reads_messages-right" in name for name in failed), output
    assert "test_every_check_has_its_answers" in failed
    assert "tests/answers/state_dict.py: counts_bytes has 0 right and 0 wrong answers" in output


def test_a_missing_browser_is_refused_where_one_is_required(course):
    nowhere = {"PATH": str(Path(sys.executable).parent)}
    code, output = suite(course, "tests/test_browser.py", "-rs", **nowhere, REQUIRE_BROWSER="")
    assert code == 0 and "1 skipped" in output and "browser" in output, output
    code, output = suite(course, "tests/test_browser.py", **nowhere, REQUIRE_BROWSER="1")
    assert code == 1 and "No Chromium" in output, output
