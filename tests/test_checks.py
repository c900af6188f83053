"""Every check accepts other right answers, and refuses wrong ones with words that name the mistake."""

import ast
import importlib
import inspect
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn

from utils.checks import partial_loading, state_dict
from utils.tools.course import ROOT

LESSONS = [path.stem for path in Path(__file__).parent.glob("answers/[!_]*.py")]
CASES = [
    pytest.param(module, answer, id=f"{answer.check}-{answer.words or 'right'}")
    for module in (importlib.import_module(f"tests.answers.{name}") for name in sorted(LESSONS))
    for answer in module.ANSWERS
]


@pytest.mark.parametrize("module, answer", CASES)
def test_answer(module, answer):
    outcome = answer.outcome(module)
    if answer.words:
        assert outcome.status == "failed"
        assert answer.words in outcome.message
    else:
        assert outcome.status == "passed", outcome


def test_every_check_has_its_answers():
    modules = {p.stem for p in (ROOT / "utils/checks").glob("[!_]*.py")}
    assert modules == set(LESSONS)
    for name in modules:
        module = importlib.import_module(f"tests.answers.{name}")
        right = Counter(a.check for a in module.ANSWERS if not a.words)
        wrong = Counter(a.check for a in module.ANSWERS if a.words)
        assert len(module.ARGUMENTS) == len(module.CHECKS.exercises.latest)
        for check in module.ARGUMENTS:
            assert right[check] >= 1 and wrong[check] >= 3, check


def test_the_puzzle_that_is_checked_is_the_one_that_is_shown():
    notebook = nbformat.read(ROOT / "notebooks/01_state_dict_exercises.ipynb", as_version=4)
    (shown,) = [cell.source for cell in notebook.cells if cell.source.startswith("class Puzzle")]
    names = {"torch": torch, "nn": nn}
    exec(shown, names)
    checked = state_dict.Puzzle()
    assert str(names["Puzzle"]()) == str(checked)
    assert set(vars(names["Puzzle"]())) == set(vars(checked))
    assert list(names["Puzzle"]().state_dict()) == list(checked.state_dict())


def test_the_nets_to_translate_are_those_that_are_shown():
    notebook = nbformat.read(ROOT / "notebooks/06_partial_loading_exercises.ipynb", as_version=4)
    for net in (partial_loading.Theirs, partial_loading.Mine):
        (shown,) = [
            c.source for c in notebook.cells if c.source.startswith(f"class {net.__name__}(")
        ]
        assert ast.dump(ast.parse(shown)) == ast.dump(ast.parse(inspect.getsource(net)))
