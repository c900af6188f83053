"""The gate of seconds, and the scaffold of a lesson."""

import contextlib
import io
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.course import NAME, change, write
from tests.support.refuse import refuse
from utils.tools import build, check, contract, new
from utils.tools.course import ROOT

NEW = "10_export"


def problems(root):
    rules = contract.OF_A_PAGE + contract.OF_THE_COURSE
    return build.stale(root=root) + [
        p for rule in rules for p in contract.problems(rule, root=root)
    ]


# ---------------------------------------------------------------- check


@pytest.fixture
def steps(monkeypatch):
    """Without lint and without pytest: which tests were asked for."""
    asked = []
    monkeypatch.setattr(check, "lint", lambda root: [])
    monkeypatch.setattr(check, "pytest", lambda arguments, root: asked.append(arguments) or [])
    return asked


def test_without_names_it_needs_no_kernel_and_says_what_it_left_out(course, steps, capsys):
    assert check.main([], course) == 0 and steps == []
    said = capsys.readouterr().out
    assert said.count("✓") == 3 and "Cells and answers were not run" in said


def test_a_name_brings_its_cells_and_answers(course, steps, capsys):
    assert check.main(["07"], course) == 0
    answers, cells = steps
    assert answers == ["tests/test_checks.py", "-k", "[devices_memory- or has_its_answers"]
    assert cells == [
        f"notebooks/{NAME}.ipynb",
        f"notebooks/{NAME}_exercises.ipynb",
        f"solutions/{NAME}_exercises.ipynb",
    ]
    assert capsys.readouterr().out.endswith("All is well.\n")


def test_what_is_wrong_is_printed_with_its_cure(course, steps, capsys):
    change(course / f"notebooks/source/{NAME}.py", "One claim.", "See lesson 9.")
    assert check.main([NAME], course) == 1
    said = capsys.readouterr().out
    assert f"mend: python3 -m utils build {NAME}" in said and "✗ notebooks and sources" in said
    build.build([NAME], course)
    assert check.main([NAME], course) == 1
    said = capsys.readouterr().out
    assert "✗ contract" in said and "there is no lesson 9" in said and "✓ lint" in said


def test_other_notebooks_are_left_out_of_it(course, steps, capsys):
    change(course / "notebooks/source/00_start_here.py", "# Start here", "# Start")
    assert check.main([NAME], course) == 0
    assert check.main([], course) == 1


def test_an_unknown_name_is_told(course, capsys):
    assert check.main(["nothing"], course) == 1
    assert "no source named nothing; there are: 00_start_here" in capsys.readouterr().err


def test_a_failing_cell_fails_the_check(course, capsys, monkeypatch):
    monkeypatch.setattr(check, "lint", lambda root: [])
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, course)
    shutil.copy(ROOT / "tests/sanitize.cfg", course / "tests")
    path = course / f"notebooks/{NAME}.ipynb"
    assert check.main([NAME], course) == 0, capsys.readouterr().out
    write(path, path.read_text("utf-8").replace("≈ 0.97 True", "≈ 0.97 False"))
    assert check.main([NAME], course) == 1
    assert "FAILED notebooks/07_devices_memory.ipynb::Cell 1" in capsys.readouterr().out


# ---------------------------------------------------------------- lint


def test_there_is_nothing_to_lint():
    found = check.lint(ROOT)
    refuse(found)


WOUNDS = {  # a file, what is written into it, what is said
    "utils/models.py": ("import os\n", "F401"),
    "utils/data.py": ("from utils import tools  # noqa: F401, I001\n", "imports go one way"),
    "utils/show.py": ("x = [1,2]\n", "ruff format"),
    "utils/training.py": ("# a mesage\n", "`mesage` should be `message`"),  # misspelled on purpose
    "utils/checkpoint.py": ("parse_name(3)\n", "error"),
    "tests/lab.py": ("import utils.tools\n", ""),
}


def test_lint_refuses_what_it_is_there_for(tmp_path):
    """One wound for each tool, all at once."""
    leave = shutil.ignore_patterns(".venv", "work", "files", "*.ipynb", ".git", ".*_cache")
    copy = shutil.copytree(ROOT, tmp_path / "course", ignore=leave)
    for name, (line, _) in WOUNDS.items():
        path = copy / name
        text = path.read_text("utf-8") if path.exists() else ""
        write(path, f"{text}\n\n{line}")
    said = "\n".join(check.lint(copy))
    for name, (_, words) in WOUNDS.items():
        assert words in said, f"{name}: {said}"


# ---------------------------------------------------------------- new


@pytest.fixture(scope="module")
def drafted(built_course, tmp_path_factory):
    """The small course with a new lesson, and what the command said."""
    root = tmp_path_factory.mktemp("drafted") / "course"
    shutil.copytree(built_course, root, symlinks=True)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("PYTHONPATH", str(root))
        assert new.main([NEW], root) == 0
    return root, said.getvalue()


def test_a_new_lesson_is_green_from_the_start_and_says_that_it_is_a_draft(drafted):
    course, said = drafted
    for path in (
        f"notebooks/source/{NEW}.py",
        f"notebooks/source/{NEW}_exercises.py",
        "utils/checks/export.py",
        "tests/answers/export.py",
        f"solutions/{NEW}_exercises.ipynb",
    ):
        assert f"wrote {path}" in said and (course / path).exists()
    assert "It is a draft" in said and "python3 -m utils check 10" in said
    found = [
        p for p in problems(course) if "there is no lesson 1" not in p and "01_state_dict" not in p
    ]
    assert found == []  # but for the link to lesson 1, which the small course has not
    notebook = (course / f"notebooks/{NEW}.ipynb").read_text(encoding="utf-8")
    assert "> **Draft:** this notebook is being written" in notebook
    assert f"| 10 | [Say in a verb what the reader can do afterwards]({NEW}.ipynb)" in (
        course / "notebooks/00_start_here.ipynb"
    ).read_text(encoding="utf-8")


def test_its_answers_are_judged_and_its_files_are_formatted(drafted):
    course, _ = drafted
    program = (
        "from tests.answers import export\n"
        "print([a.outcome(export).status for a in export.ANSWERS], len(export.CHECKS.exercises.latest))"
    )
    run = [sys.executable, "-c", program]
    here = {**os.environ, "PYTHONPATH": str(course)}
    done = subprocess.run(run, cwd=course, env=here, capture_output=True, text=True)
    assert done.stdout == "['passed', 'failed'] 1\n", done.stderr
    for name in ("ruff.toml", "notebooks/source/ruff.toml"):
        shutil.copy(ROOT / name, course / name)
    files = [f"notebooks/source/{NEW}.py", "utils/checks/export.py", "tests/answers/export.py"]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, *files]
        done = subprocess.run(ruff, cwd=course, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_without_its_mark_the_limits_count_again(drafted, tmp_path):
    course = shutil.copytree(drafted[0], tmp_path / "course", symlinks=True)
    for name in (NEW, f"{NEW}_exercises"):
        change(course / f"notebooks/source/{name}.py", ' tags=["draft"]', "")
    build.build([NEW, f"{NEW}_exercises"], course)
    said = "\n".join(problems(course))
    assert "4 to 6 exercises are one sitting, and there are 1" in said
    assert "3 questions close a lesson" in said
    assert "Draft" not in (course / f"notebooks/{NEW}.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "'' is not a lesson's name: two digits and a topic"),
        (["10_Export"], "'10_Export' is not a lesson's name"),
        (["export"], "'export' is not a lesson's name"),
        (["10_export_exercises"], "is not a lesson's name"),
        (["10_export", "11_distributed"], "is not a lesson's name"),
        (["07_memory"], "There is a lesson 07 already: 07_devices_memory."),
        (["08_devices_memory"], "There is a lesson of this topic already: 07_devices_memory."),
        (["10_onnx"], "The map has 10_export as lesson 10: use that name, or change MAP"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(course, arguments, words, capsys):
    before = sorted(course.rglob("*"))
    assert new.main(arguments, course) == 1
    assert words in capsys.readouterr().err and sorted(course.rglob("*")) == before
