"""A learner's way through an exercise, in JupyterLab, in a real browser."""

import os
import shutil

import pytest

from tests.support.browser import find_browser, lab
from utils.tools import commands
from utils.tools.course import ROOT

EXERCISES = "01_state_dict_exercises.ipynb"
WRONG = """\
def save(model, path):
    torch.save(model.state_dict(), path)


def restore(model, path):
    model.load_state_dict(torch.load(path))
    return model
"""
RIGHT = WRONG.replace("    return model", "    model.eval()\n    return model")


@pytest.fixture
def browser():
    found = find_browser()
    if not found:
        sentence = "No Chromium, Chrome or Edge was found to show JupyterLab in."
        required = os.environ.get("REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)(sentence)
    return found


def test_an_exercise_is_solved_saved_and_counted(browser, tmp_path, capsys):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=everything_but_notebooks)
    commands.make_working_copies(tmp_path)

    with lab(tmp_path, browser) as learner:
        learner.open(f"work/{EXERCISES}")
        answer = learner.find("def restore(model, path)")
        check = learner.find("check.saves_and_restores(")
        for index, cell in enumerate(learner.cells()[:answer]):
            if cell["type"] == "code":
                learner.run_cell(index)

        def outcome():
            learner.run_cell(answer)
            learner.run_cell(check)
            return learner.output_text(check)

        assert outcome().startswith("⬜ 1.1 ")

        learner.set_cell_source(answer, WRONG)
        wrong = outcome()
        assert wrong.startswith("❌ 1.1 ") and "training mode" in wrong
        learner.save()
        assert passed(tmp_path, capsys) == 0

        learner.set_cell_source(answer, RIGHT)
        assert outcome().startswith("✅ 1.1 ")
        learner.save()
        assert passed(tmp_path, capsys) == 1


def everything_but_notebooks(_, names):
    return [name for name in names if not name.endswith(".ipynb")]


def passed(root, capsys):
    """How many exercises of the first lesson `progress` counts as passed."""
    capsys.readouterr()
    commands.progress([], root)
    row = next(line for line in capsys.readouterr().out.splitlines() if "01_state_dict" in line)
    return int(row.split()[1])
