"""The oldest torch that the course promises to work with: every notebook and every snippet with it.

Hosted notebooks and company images bring their own torch. `python3 -m utils test --full` makes an
environment with the oldest promised one (`utils/tools/versions.py`) in `.venv-oldest`, or takes the
one that is there, and runs everything in it. No cell may err that does not err on purpose, and each
prints what is stored, which the pinned torch has printed, except for those in `KNOWN`.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil  # it comes with ipykernel
import pytest

from tests.support import alone, torches
from tests.support.notebooks import cells_of, source_of
from utils.tools import snippets
from utils.tools.course import ROOT
from utils.tools.versions import OLDEST_TORCH, OLDEST_TORCHVISION


@dataclass(frozen=True)
class Known:
    """A cell that prints something else with the oldest torch.

    `words` are in this cell of the notebook and in no other; `prints`, a regular expression, is
    found in its output with the oldest torch, and not in the stored one.
    """

    notebook: str
    words: str
    prints: str
    reason: str


# in a notebook, and among the snippets of the reference, where each runs alone
KNOWN = [
    Known(
        "notebooks/01_state_dict",
        'torch.load(folder / "digits.safetensors")',
        r"^no error: this needs torch 2\.13, and here is 2\.10",
        "torch.load looks at the name of a file since torch 2.13",
    ),
    Known(
        "notebooks/02_whole_model",
        'torch.load(folder / "model.safetensors")',
        r"^this needs torch 2\.13, and here is 2\.10",
        "torch.load reads files of safetensors since torch 2.13",
    ),
    Known(
        "notebooks/04_torchscript",
        "for text in dict.fromkeys(",
        r"^DeprecationWarning: `torch\.jit\.script` is deprecated",
        "a FutureWarning since torch 2.14",
    ),
    Known(
        "notebooks/04_torchscript",
        'torch.export.load(folder / "reader.pt2")',
        "UserWarning: The given buffer is not writable",
        "torch 2.9 to 2.12 warn when they load a program",
    ),
    Known(
        "notebooks/05_checkpoint_policy",
        'record["torch"]',
        r"^torch 2\.10\.\d \| schema 1$",
        "it says which torch it is",
    ),
    Known(
        "notebooks/06_partial_loading",
        'init_process_group("gloo"',
        r"^\[Gloo\] Rank 0 is connected to 0 peer ranks",
        "torch 2.10 says that a group of one is connected",
    ),
    Known(
        "notebooks/12_error_clinic",
        'message(torch.load, folder / "cut.pt")',
        "failed finding central directory$",
        "the message goes on since torch 2.11",
    ),
    Known(
        "notebooks/12_error_clinic",
        'message(torch.load, folder / "layer.safetensors")',
        "^no message$",
        "torch.load looks at the name of a file since torch 2.13",
    ),
    Known(
        "notebooks/12_error_clinic",
        "scripted = message(torch.jit.script, layer)",
        r"^DeprecationWarning: `torch\.jit\.save` is deprecated",
        "a FutureWarning since torch 2.14",
    ),
    Known(
        "notebooks/12_error_clinic",
        'loaded = message(torch.jit.load, folder / "script.pt")',
        r"^DeprecationWarning: `torch\.jit\.load` is deprecated",
        "a FutureWarning since torch 2.14",
    ),
    Known(
        "notebooks/12_error_clinic",
        'message(torch.jit.load, folder / "layer.pt")',
        r"failed locating file constants\.pkl: file not found$",
        "the message goes on since torch 2.11",
    ),
    Known(
        "notebooks/12_error_clinic",
        'message(torch.load, folder / "layer.pt2")',
        r"failed locating file data\.pkl: file not found$",
        "the message goes on since torch 2.11",
    ),
    Known(
        "notebooks/12_error_clinic",
        'torch.export.load(folder / "layer.pt2")',
        "UserWarning: The given buffer is not writable",
        "torch 2.9 to 2.12 warn when they load a program",
    ),
    Known(
        "notebooks/reference",
        "torch.export.save(torch.export.export(model",
        "UserWarning: The given buffer is not writable",
        "torch 2.9 to 2.12 warn when they load a program, once in a process",
    ),
    Known(
        "snippets",
        "torch.export.save(torch.export.export(model",
        "UserWarning: The given buffer is not writable",
        "torch 2.9 to 2.12 warn when they load a program",
    ),
    Known(
        "snippets",
        'torch.export.Dim("batch")',
        "UserWarning: The given buffer is not writable",
        "torch 2.9 to 2.12 warn when they load a program",
    ),
]

NOTEBOOKS = {
    f"{path.parent.name}/{path.stem}": path
    for folder in ("notebooks", "solutions")
    for path in sorted((ROOT / folder).glob("*.ipynb"))
}
SNIPPETS = snippets.read(NOTEBOOKS["notebooks/reference"])


# ---------------------------------------------------------------- the rule


def objections(name, stored, printed, known=KNOWN):
    """What is wrong with the cells of a notebook as the oldest torch has run them."""
    found = [objection(name, *cells, known) for cells in zip(stored, printed, strict=True)]
    return [sentence for sentence in found if sentence]


def objection(name, stored, printed, known):
    """A sentence that names notebook, cell and both outputs; '' if nothing is wrong."""
    source = source_of(stored)
    outputs = torches.said(stored), torches.said(printed)
    errors = torches.error_of(stored), torches.error_of(printed)
    listed = [k for k in known if k.notebook == name and k.words in source]
    if errors[0] != errors[1]:
        what = f"ends with {errors[1]}, and the stored one with {errors[0]}"
    elif outputs[0] == outputs[1]:
        what = "is in KNOWN and does not differ any more" if listed else ""
    elif not listed:
        what = "prints something else and is not in KNOWN"
    else:
        as_known = re.search(listed[0].prints, outputs[1], re.M)
        what = "" if as_known else f"does not print {listed[0].prints!r}"
    cell = f"{name}, the cell {source.strip()[:80]!r}"
    return what and f"{cell} {what}. Stored: {outputs[0]!r}. Printed: {outputs[1]!r}."


def cell(text, error=None, source="print(1)"):
    """A code cell, as a notebook has it, that has printed a text or ended with an error."""
    output = {"output_type": "stream", "name": "stdout", "text": text}
    if error:
        output = {"output_type": "error", "ename": error, "evalue": text}
    return {"cell_type": "code", "source": source, "outputs": [output]}


LISTED = [Known("notebooks/a", "print", "2", "for a reason")]
RULE = {
    "the same": (cell("1"), cell("1"), [], ""),
    "another measured number": (cell("≈ 1.5 s"), cell("≈ 2.5 s"), [], ""),
    "known to differ": (cell("1"), cell("2"), LISTED, ""),
    "the stored error": (cell("no", "KeyError"), cell("no", "KeyError"), [], ""),
    "not known to differ": (cell("1"), cell("2"), [], "prints something else and is not in"),
    "known of another notebook": (
        cell("1"),
        cell("2"),
        [Known("notebooks/b", "print", "2", "")],
        "prints something else and is not in",
    ),
    "known, and the same": (cell("1"), cell("1"), LISTED, "does not differ any more"),
    "known, and something third": (cell("1"), cell("3"), LISTED, "does not print '2'"),
    "an error": (cell("1"), cell("no", "KeyError"), LISTED, "ends with KeyError, and"),
    "another error": (cell("2", "KeyError"), cell("2", "OSError"), LISTED, "ends with OSError"),
    "no error": (cell("2", "KeyError"), cell("2"), LISTED, "ends with None, and the stored one"),
    "another message": (cell("1", "KeyError"), cell("2", "KeyError"), [], "prints something else"),
}


@pytest.mark.parametrize("stored, printed, known, words", RULE.values(), ids=RULE)
def test_what_differs_must_be_known_and_what_is_known_must_differ(stored, printed, known, words):
    found = objections("notebooks/a", [stored], [printed], known)
    assert bool(found) == bool(words)
    for sentence in found:
        assert words in sentence and "notebooks/a" in sentence and "'print(1)'" in sentence
        assert all(repr(torches.said(shown)) in sentence for shown in (stored, printed))


def cells_named(name):
    """The code cells of a notebook, or of `snippets`, where each snippet is one."""
    if name == "snippets":
        return [cell(s.output, source=s.code) for s in SNIPPETS]
    return cells_of(NOTEBOOKS[name], "code")


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.notebook}: {known.words}")
def test_what_is_known_is_one_cell_and_another_output_than_the_stored_one(known):
    (found,) = [c for c in cells_named(known.notebook) if known.words in source_of(c)]
    assert known.reason and not re.search(known.prints, torches.said(found), re.M)


def test_the_oldest_environment_is_the_courses_with_another_torch():
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    oldest = torches.requirements_with(OLDEST_TORCH, OLDEST_TORCHVISION).splitlines()
    changed = {a: b for a, b in zip(pinned, oldest, strict=True) if a != b}
    assert [re.split("==", line)[0] for line in changed] == ["torch", "torchvision", "-e ."]
    assert changed.pop("-e .") == ""
    assert list(changed.values()) == ["torch==2.10.*", "torchvision==0.25.*"]


PROGRAM = """\
import os, subprocess, sys, utils
print(sys.executable, utils.__file__, os.getcwd(), sep="\\n")
done = subprocess.run([sys.executable, "-c", "print(1 + 1)"])
"""


def test_a_notebook_runs_with_another_python_in_its_own_folder_and_leaves_no_process(tmp_path):
    path, folder = tmp_path / "a.ipynb", tmp_path / "folder"
    cells = [
        nbformat.v4.new_code_cell(source)
        for source in ("import os\nos.getpid()", PROGRAM, "1 / 0", "print('goes on')")
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    number, place, failed, last = torches.run_notebook(sys.executable, path, folder)
    assert not psutil.pid_exists(int(torches.said(number)))
    assert torches.said(place).splitlines() == [
        sys.executable,
        str(ROOT / "utils/__init__.py"),
        str(folder.resolve()),
        "2",
    ]
    assert torches.error_of(failed) == "ZeroDivisionError" and torches.said(last) == "goes on"


# ---------------------------------------------------------------- with --full: all of it


def pytest_generate_tests(metafunc):
    """Without `--full` one skipped test says what was left out."""
    if "name" in metafunc.fixturenames:
        left_out = pytest.param(
            "", id="only with --full", marks=pytest.mark.skip("makes an environment: --full")
        )
        full = metafunc.config.getoption("--full")
        metafunc.parametrize("name", [*NOTEBOOKS, "snippets"] if full else [left_out])


@pytest.fixture(scope="session")
def oldest():
    """The Python of an environment with the oldest torch."""
    wanted = torches.requirements_with(OLDEST_TORCH, OLDEST_TORCHVISION)
    return torches.make(ROOT / ".venv-oldest", wanted)


def test_every_cell_does_with_the_oldest_torch_what_is_stored(name, oldest, tmp_path):
    if name == "snippets":
        results = alone.run([s.code for s in SNIPPETS], tmp_path, python=oldest)
        printed = [as_cell(s, done) for s, done in zip(SNIPPETS, results)]
    else:
        folder = tmp_path / Path(name).parent
        cells = torches.run_notebook(oldest, NOTEBOOKS[name], folder)
        printed = [c for c in cells if c["cell_type"] == "code"]
    found = objections(name, cells_named(name), printed)
    assert not found, "\n".join(found)


def as_cell(snippet, done):
    if done.code:
        return cell(done.errors, f"exit code {done.code}", snippet.code)
    return cell(done.output + done.errors, source=snippet.code)
