"""The figures of a full run: written when all its tests ran and passed, and otherwise not."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

OPTION = """
def pytest_addoption(parser):
    parser.addoption("--full", action="store_true")
"""
TESTS = """
import pytest

@pytest.mark.parametrize("kills", [3, 4])
def test_killed(kills, record_property):
    record_property("killed", kills)
    record_property("killed_while_saving", kills - 1)

def test_damaged(record_property):
    record_property("flipped", 9)
    record_property("flipped_and_loaded_by_torch", 8)
    record_property("truncated", 7)
    record_property("other", 6)

@pytest.mark.parametrize("background", [False, True])
def test_full_disk(background, record_property):
    record_property("full_disks", 1)
    record_property("full_disks_mounted", 0)
    record_property("saved_before_a_disk_was_full", 5)
"""
TEARDOWN = """
@pytest.fixture(autouse=True)
def last(request):
    yield
    assert "4" not in request.node.name
"""


@pytest.fixture
def faults(tmp_path):
    """A test_faults.py of a few lines, beside a copy of the real conftest.py."""
    folder = tmp_path / "tests/checkpoint"
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text(OPTION, encoding="utf-8")
    (folder / "test_other.py").write_text("def test_other(): pass\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_faults.py").write_text(TESTS, encoding="utf-8")
    return folder / "test_faults.py"


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())


def run(faults, *arguments):
    """What pytest ended with, and the figures that it wrote, if any."""
    root = faults.parents[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist.plugin"]
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # loading all takes a second
    done = subprocess.run([*command, *arguments], cwd=root, env=environment, capture_output=True)
    written = root / "docs/faults.json"
    return done.returncode, json.loads(
        written.read_text(encoding="utf-8")
    ) if written.exists() else None


@pytest.mark.parametrize("arguments", [[], ["-n", "2", "--dist", "loadfile"]])
def test_a_full_run_writes_its_figures(faults, arguments):
    days = [today()]
    code, figures = run(faults, "--full", *arguments)
    days.append(today())  # it may be another one by now
    assert code == 0 and figures.pop("date") in days
    assert figures == {
        "killed": 7,
        "killed_while_saving": 5,
        "flipped": 9,
        "flipped_and_loaded_by_torch": 8,
        "truncated": 7,
        "full_disks": 2,
        "full_disks_mounted": 0,
        "saved_before_a_disk_was_full": 10,
        "torch": version("torch").split("+")[0],
        "python": platform.python_version(),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--full", "-k", "not killed"],
        ["--full", "tests/checkpoint/test_faults.py::test_damaged"],
        ["--full", "tests/checkpoint/test_other.py"],
    ],
)
def test_an_ordinary_or_partial_run_writes_nothing(faults, arguments):
    assert run(faults, *arguments) == (0, None)


@pytest.mark.parametrize("more, code", [("assert kills < 4", 1), ("pytest.skip('no fork')", 0)])
def test_a_run_with_a_failed_or_skipped_test_writes_nothing(faults, more, code):
    first = '    record_property("killed", kills)\n'
    faults.write_text(TESTS.replace(first, f"{first}    {more}\n"), encoding="utf-8")
    assert run(faults, "--full") == (code, None)


def test_a_run_that_leaves_a_figure_out_writes_nothing(faults):
    faults.write_text(TESTS.replace('"flipped"', '"flip"'), encoding="utf-8")
    assert run(faults, "--full") == (0, None)


def test_a_run_that_fails_in_a_teardown_writes_nothing(faults):
    faults.write_text(TESTS + TEARDOWN, encoding="utf-8")
    assert run(faults, "--full") == (1, None)
