"""The gates close: something is broken in a copy of the course, and its own suite must refuse it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from utils.tools.course import ROOT

LEAVE = shutil.ignore_patterns(".*", "work", "files", "__pycache__", "*.egg-info")
FIRST = "notebooks/00_start_here.ipynb"
LESSON = "notebooks/01_state_dict.ipynb"
EXERCISES = "notebooks/01_state_dict_exercises.ipynb"
SOLVED = "solutions/01_state_dict_exercises.ipynb"
BLIND = 'expect(False, "no")'
CONTRACT = "tests/test_contract.py"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    copy = tmp_path_factory.mktemp("gates") / "course"
    shutil.copytree(ROOT, copy, ignore=LEAVE)
    return copy


@pytest.fixture
def broken(course):
    """A function that changes a file of the copy; afterwards the file is as before."""
    originals = {}

    def change(name, old, new):
        path = course / name
        text = path.read_text(encoding="utf-8")
        originals.setdefault(path, text)
        assert old in text, f"{old!r} is no longer in {name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    yield change
    for path, text in originals.items():
        path.write_text(text, encoding="utf-8")


def suite(course, *arguments, **environment):
    """The exit code and the output of the copy's own tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(course), **environment}
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_copy_itself_passes(course):
    code, output = suite(course, CONTRACT, FIRST)
    assert code == 0, output


def test_a_changed_output_is_refused(course, broken):
    broken(FIRST, "All keys matched successfully", "All keys matched")
    code, output = suite(course, FIRST)
    assert code == 1 and "All keys matched successfully" in output


def test_only_a_measured_number_may_move(course):
    cells = []
    for printed, stored in {"≈ 0.96": "≈ 0.9", "≈ 0.96 x": "≈ 0.9 y", "0.96": "0.9"}.items():
        cell = {"cell_type": "code", "id": f"c{len(cells)}", "metadata": {}, "execution_count": 1}
        output = {"output_type": "stream", "name": "stdout", "text": f"{stored}\n"}
        cells.append({**cell, "source": f"print({printed!r})", "outputs": [output]})
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = course / "measured.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    _, output = suite(course, path.name)
    path.unlink()
    assert re.findall(r"FAILED measured.ipynb::(Cell \d)", output) == ["Cell 1", "Cell 2"], output


def test_what_a_notebook_promises_is_kept(course, broken):
    """One wound for each promise, all at once: each must be found, by the test that looks for it."""
    broken(EXERCISES, "Write two functions", "Write 2 functions")
    broken(EXERCISES, "(4 minutes)", "(40 minutes)")
    broken(EXERCISES, "⬜ 1.1", "✅ 1.1")
    broken(FIRST, '"execution_count": 1,', '"execution_count": null,')
    broken(FIRST, '"<All keys matched successfully>"', '"/home/somebody"')
    broken(FIRST, "(01_state_dict.ipynb)", "(01_nothing.ipynb)")
    broken(LESSON, "train_epoch(model", "#" * 90 + "(model")
    broken(LESSON, "**You need**", "You need")
    broken(LESSON, "## Recap", "#### Recap")
    broken(SOLVED, "✅ 1.2", "❌ 1.2")
    broken("README.md", "| lesson |", "| lessons |")
    code, output = suite(course, CONTRACT)
    found = set(re.findall(rf"FAILED {CONTRACT}::(\w+)", output))
    assert code == 1
    assert found == {
        "test_every_notebook_is_the_one_its_source_stands_for",
        "test_every_cell_is_executed_and_compared",
        "test_outputs_are_the_same_on_any_machine",
        "test_headings_are_in_order",
        "test_links_resolve_and_images_have_alternative_text",
        "test_code_is_short_and_fits_the_screen",
        "test_a_lesson_says_what_it_gives_and_takes",
        "test_a_lesson_with_exercises_ends_in_recap_and_questions",
        "test_every_exercise_has_minutes_a_hint_and_a_check",
        "test_unsolved_here_and_solved_there",
    }
    for words in (
        "was edited; mend: python3 -m utils build",
        "was never executed",
        "lesson table is",
    ):
        assert words in output


@pytest.mark.parametrize(
    "path, old, new, test",
    [
        (FIRST, "from pathlib", "# NBVAL_SKIP\\nfrom pathlib", "every_cell_is_executed"),
        (LESSON, '"name": "stdout"', '"name": "stderr"', "outputs_are_the_same"),
        (EXERCISES, "check.predicts_names(predicted)", "print(predicted)", "only_a_check_uses"),
    ],
)
def test_nothing_is_hidden_from_comparison(course, broken, path, old, new, test):
    broken(path, old, new)
    code, output = suite(course, CONTRACT, "-k", test)
    assert code == 1 and "1 failed" in output, output


def test_build_check_refuses_an_unmatched_marker(course, broken):
    broken("notebooks/source/01_state_dict_exercises.py", "# BEGIN SOLUTION", "")
    done = subprocess.run(
        [sys.executable, "-m", "utils.tools.build", "--check"],
        cwd=course,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "END SOLUTION without a BEGIN SOLUTION" in done.stderr


def test_checks_that_do_not_check_are_refused(course, broken):
    """One accepts everything, one refuses everything, one has no wrong answers to show for it."""
    for title, body in {
        "predicts_names(predicted)": "return",
        "reads_messages(diagnosis)": BLIND,
    }.items():
        broken("utils/checks/state_dict.py", f"def {title}:\n", f"def {title}:\n    {body}\n")
    broken("tests/answers/state_dict.py", "    # 1.6\n", "]\n_ = [\n")
    tests = "predicts_names or reads_messages or has_its_answers"
    code, output = suite(course, "tests/test_checks.py", "-k", tests)
    failed = re.findall(r"FAILED tests/test_checks.py::(.+?)(?: - |$)", output, re.M)
    assert code == 1
    accepted = [name for name in failed if "predicts_names" in name]
    assert len(accepted) >= 3 and not any("right" in name for name in accepted)
    assert any("reads_messages-right" in name for name in failed), output
    assert "test_every_check_has_its_answers" in failed


def test_a_missing_browser_is_refused_where_one_is_required(course):
    nowhere = {"PATH": str(Path(sys.executable).parent)}
    code, output = suite(course, "tests/test_browser.py", "-rs", **nowhere, REQUIRE_BROWSER="")
    assert code == 0 and "1 skipped" in output and "browser" in output, output
    code, output = suite(course, "tests/test_browser.py", **nowhere, REQUIRE_BROWSER="1")
    assert code == 1 and "No Chromium" in output, output
