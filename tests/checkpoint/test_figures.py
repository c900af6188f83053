"""The figures of a full run: written when all its tests ran and passed, and otherwise not."""

import json
import platform
import shutil
import subprocess
import sys
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


def run(faults, *arguments):
    """What pytest ended with, and the figures that it wrote, if any."""
    root = faults.parents[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    code = subprocess.run(command, cwd=root, capture_output=True).returncode
    written = root / "docs/faults.json"
    return code, json.loads(written.read_text(encoding="utf-8")) if written.exists() else None


@pytest.mark.parametrize("arguments", [[], ["-n", "2", "--dist", "loadfile"]])
def test_a_full_run_writes_its_figures(faults, arguments):
    assert run(faults, "--full", *arguments) == (
        0,
        {
            "killed": 7,
            "killed_while_saving": 5,
            "flipped": 9,
            "flipped_and_loaded_by_torch": 8,
            "truncated": 7,
            "torch": version("torch").split("+")[0],
            "python": platform.python_version(),
        },
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--full", "-k", "killed or other"],
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


def test_a_run_that_fails_in_a_teardown_writes_nothing(faults):
    faults.write_text(TESTS + TEARDOWN, encoding="utf-8")
    assert run(faults, "--full") == (1, None)
