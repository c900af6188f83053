"""Every check accepts other right answers, and refuses wrong ones with words that name the mistake."""

import ast
import importlib
import inspect
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from torch import nn

from tests.support.refuse import refuse
from utils.checks import partial_loading, state_dict
from utils.tools.course import ROOT, sources, topic_of
from utils.tools.grammar import is_draft

MODULES = {
    path.stem: importlib.import_module(f"tests.answers.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("answers/[!_]*.py"))
}
RIGHT, WRONG = 1, 3  # trial answers that each check needs, at least
CASES = [
    pytest.param(module, answer, id=f"{topic}-{answer.check}-{answer.words or 'right'}")
    for topic, module in MODULES.items()
    for answer in module.ANSWERS
]


@pytest.mark.parametrize("module, answer", CASES)
def test_answer(module, answer):
    outcome = answer.outcome(module)
    if answer.words:
        assert outcome.status == "failed", f"a wrong answer is accepted:\n{answer.code}"
        assert answer.words in outcome.message, f"other words are wanted: {answer.words!r}"
    else:
        assert outcome.status == "passed", f"a right answer is refused: {outcome}\n{answer.code}"


def missing_answers(topic, module):
    """What a topic's answers lack, in sentences."""
    where = f"tests/answers/{topic}.py"
    checks = len(module.CHECKS.exercises.latest)
    if len(module.ARGUMENTS) != checks:
        yield (
            f"{where}: ARGUMENTS has {len(module.ARGUMENTS)} checks ({', '.join(module.ARGUMENTS)}), and "
            f'utils/checks/{topic}.py {checks}: add `"name of the check": [names of the learner\'s answers]`'
        )
    if any(is_draft(path) for path in sources() if topic_of(path) == topic):
        return
    right = Counter(answer.check for answer in module.ANSWERS if not answer.words)
    wrong = Counter(answer.check for answer in module.ANSWERS if answer.words)
    for check in module.ARGUMENTS:
        if right[check] < RIGHT or wrong[check] < WRONG:
            yield (
                f"{where}: {check} has {right[check]} right and {wrong[check]} wrong answers; "
                f"at least {RIGHT} and {WRONG} are wanted, the wrong ones with the words they must get"
            )


def test_every_check_has_its_answers():
    found = [line for topic, module in MODULES.items() for line in missing_answers(topic, module)]
    refuse(found)


def test_missing_answers_are_named():
    good = MODULES["state_dict"]
    first = next(iter(good.ARGUMENTS))
    kept = [a for a in good.ANSWERS if a.check != first]
    lacks = SimpleNamespace(CHECKS=good.CHECKS, ARGUMENTS=good.ARGUMENTS, ANSWERS=kept)
    assert list(missing_answers("state_dict", lacks)) == [
        f"tests/answers/state_dict.py: {first} has 0 right and 0 wrong answers; at least 1 and 3 are wanted, "
        "the wrong ones with the words they must get"
    ]
    lacks.ARGUMENTS = {name: [] for name in list(good.ARGUMENTS)[1:]}
    (line,) = missing_answers("state_dict", lacks)
    assert line.startswith("tests/answers/state_dict.py: ARGUMENTS has 5 checks (predicts_names, ")
    assert "and utils/checks/state_dict.py 6: add" in line
    assert not list(missing_answers("state_dict", good))


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
