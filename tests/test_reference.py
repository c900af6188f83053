"""The reference: every snippet runs alone, prints what the notebook says, and keeps to its form."""

import ast
import builtins
import json
import os
import re
import subprocess
import symtable
import sys

import pytest

from tests.support import alone
from tests.support.refuse import refuse
from utils.tools import commands, snippets
from utils.tools.course import ROOT

NOTEBOOK = ROOT / "notebooks/reference.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
TEXT = "".join("".join(c["source"]) + "\n" for c in CELLS if c["cell_type"] == "markdown")
SNIPPETS = snippets.read(NOTEBOOK)
GROUPS = "Weights, Whole runs, Parts, Devices, Safety, Formats, Export, Housekeeping".split(", ")
WITH_TORCH = {"torch", "torchvision", "safetensors", "numpy"}
LIBRARIES = WITH_TORCH | sys.stdlib_module_names
MOST_LINES = 15
# the snippets that do not run with torch 2.0, and the version from which on they do: measured
NEEDS = {
    "Save and resume mixed precision training with a GradScaler": (2, 3),
    "Save and load an exponential moving average of the weights": (2, 1),
    "Load weights saved from a model under torch.compile": (2, 1),
    "Take one tensor out of a large checkpoint": (2, 1),
    "Load a large model without needing the memory twice": (2, 1),
    "Load half precision weights and keep them so": (2, 1),
    "See which classes a file asks for before loading it": (2, 6),
    "Load a checkpoint that holds a class of your own": (2, 5),
    "Turn a distributed checkpoint into one file": (2, 3),
    "Export a model that runs without its class": (2, 4),
    "Export a model for any batch size": (2, 4),
}

every_snippet = pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.title)


# ---------------------------------------------------------------- they run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """`{title: what became of it}`: all of them run, each in a process and a folder of its own."""
    results = alone.run([s.code for s in SNIPPETS], tmp_path_factory.mktemp("forked"))
    return dict(zip([s.title for s in SNIPPETS], results))


def objection(snippet, result):
    """What is wrong with what a snippet did when it ran alone; '' if nothing is."""
    if result.code:
        return f"it ended with {result.code}: {result.errors}"
    if result.errors:
        return f"it complained: {result.errors}"
    if not result.output.strip():
        return "it printed nothing, and so has proved nothing"
    printed, stored = map(alone.without_measured, (result.output, snippet.output))
    return "" if printed == stored else f"it printed {printed!r}, and the notebook has {stored!r}"


@every_snippet
def test_it_runs_alone_and_prints_what_the_notebook_says(snippet, done):
    assert not objection(snippet, done[snippet.title])


def test_really_new_interpreters_say_the_same(tmp_path):
    chosen = [next(s for s in SNIPPETS if s.group == name) for name in ("Whole runs", "Safety")]
    for snippet, result in zip(chosen, alone.run([s.code for s in chosen], tmp_path, fork=False)):
        assert not objection(snippet, result), snippet.title


NETWORK = """\
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname())
print(1)
"""
LEANING = {
    "it ended with 1": {
        "a missing import": "print(torch.ones(2))",
        "the course's own package": "import utils\nprint(1)",
        "the repository's tests": "import tests\nprint(1)",
        "a file of another": "import torch\nprint(torch.load('weights.pt'))",
        "the network": NETWORK,
        "a variable of another": "print(model)",
    },
    "it ended with 3": {"another exit code": "import sys\nprint(1)\nsys.exit(3)"},
    "it ended with -9": {"killed": "import os\nprint(1)\nos.kill(os.getpid(), 9)"},
    "it complained": {"a warning": "import warnings\nprint(1)\nwarnings.warn('old')"},
    "it printed nothing": {"no proof": "import torch\nmodel = 1"},
    "it printed '2": {"another output": "print(2)"},
    "it printed 'MEASURED x": {"another unit": "print('≈ 2 x')"},
    "": {"right": "print(1)"},
}


@pytest.mark.parametrize("fork", [True, False])
def test_a_snippet_that_does_not_stand_alone_is_refused(tmp_path, fork):
    """Also `utils` and `tests` are beyond its reach, which the course's environment has on its path."""
    wrong = [(words, code) for words, codes in LEANING.items() for code in codes.values()]
    if not fork:  # slower, and the same rules: one of each kind that could differ
        wrong = [(words, code) for words, code in wrong if "utils" in code or "exit" in code]
    stored = snippets.Snippet("", "", "", "import torch\nmodel = 1\n", "1\n")
    for (words, code), result in zip(wrong, alone.run([c for _, c in wrong], tmp_path, fork=fork)):
        found = objection(stored, result)
        assert found.startswith(words) and bool(found) == bool(words), (code, found)


# ---------------------------------------------------------------- their form


def undefined(code):
    """Names that a program uses, and neither makes nor imports nor has from Python."""
    top = symtable.symtable(code, "snippet", "exec")
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    known = made | set(dir(builtins)) | {"__file__", "__name__"}
    used, scopes = set(), [top]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        used |= {
            s.get_name()
            for s in scope.get_symbols()
            if s.is_referenced() and (s.is_global() or scope is top)
        }
    return used - known


def imports(code):
    """`{name in the program: module}`."""
    found = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {(a.asname or a.name.split(".")[0]): a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(a.asname or a.name): node.module for a in node.names}
    return found


def test_there_are_enough_and_each_group_has_some():
    assert len(SNIPPETS) == len(re.findall("^### ", TEXT, re.M)) >= 30
    assert len(SNIPPETS) == sum(c["cell_type"] == "code" for c in CELLS) - 1  # the first
    assert list(dict.fromkeys(snippet.group for snippet in SNIPPETS)) == GROUPS
    for group in GROUPS:
        assert sum(snippet.group == group for snippet in SNIPPETS) >= 3, group
    assert len({snippet.title.lower() for snippet in SNIPPETS}) == len(SNIPPETS)


def faults_of_form(snippet):
    """What is wrong with the form of a snippet, in sentences with their cure."""
    where = f"notebooks/source/reference.py: {snippet.title!r}"
    try:
        found, used = imports(snippet.code), ast.walk(ast.parse(snippet.code))
        unknown = undefined(snippet.code)
    except SyntaxError as error:
        yield f"{where}: is not Python: {error.msg}"
        return
    for name in sorted(unknown):
        yield f"{where}: nothing defines `{name}`: a snippet imports and makes all that it uses"
    for module in sorted({module.split(".")[0] for module in found.values()} - LIBRARIES):
        yield f"{where}: imports {module}, which its reader may not have: {', '.join(sorted(WITH_TORCH))}, or the standard library"
    for name in sorted(set(found) - {node.id for node in used if isinstance(node, ast.Name)}):
        yield f"{where}: imports `{name}` and does not use it"
    if (lines := sum(1 for line in snippet.code.splitlines() if line.strip())) > MOST_LINES:
        yield f"{where}: {lines} lines of code: at most {MOST_LINES} are one glance"
    paragraphs = snippet.text.split("\n\n")
    if (
        len(paragraphs) != 2
        or not paragraphs[1].startswith("**Trap:** ")
        or not snippet.text.endswith(".")
    ):
        yield f"{where}: below its heading come one sentence that says when, and a paragraph `**Trap:** … .`"
    elif not snippet.when.endswith(".") or re.search(r"[.?!]\s+[A-Z]", snippet.when):
        yield f"{where}: when to use it is one sentence, with its full stop"
    if len(snippet.title) >= 75 or re.search(r"[`#*()]", snippet.title):
        yield f"{where}: a title is shorter than 75 letters, and plain text: it is a link and a comment too"


def unsafe_loads(snippet):
    """Calls of `torch.load` without `weights_only=True`, but where that is the subject."""
    if snippet.title in ("Save and load in two lines", "Turn a pickled model into weights"):
        return
    for node in ast.walk(ast.parse(snippet.code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if options.get("weights_only") != "True":
                yield (
                    f"notebooks/source/reference.py: {snippet.title!r}: write `weights_only=True` in "
                    f"{ast.unparse(node)}: a snippet is pasted where it may meet a stranger's file"
                )


def test_every_snippet_keeps_to_its_form():
    found = [line for s in SNIPPETS for line in (*faults_of_form(s), *unsafe_loads(s))]
    refuse(found)


GOOD = {
    "title": "Do it",
    "text": "When it is needed.\n\n**Trap:** it is one.",
    "code": "import torch\nprint(torch.ones(1))",
}


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"text": "When it is needed."},
            "below its heading come one sentence that says when, and a paragraph `**Trap:**",
        ),
        (
            {"text": "When it is.\n\n**Trap:** it is one.\n\nMore."},
            "below its heading come one sentence",
        ),
        (
            {"text": "When it is. And more.\n\n**Trap:** it is one."},
            "when to use it is one sentence",
        ),
        (
            {"code": "import torch\nprint(torch.load('weights.pt'))"},
            "write `weights_only=True` in torch.load('weights.pt')",
        ),
        (
            {"code": "import torch\nprint(torch.load('w.pt', weights_only=False))"},
            "write `weights_only=True`",
        ),
        ({"code": "print(model)"}, "nothing defines `model`"),
        ({"code": "import pandas\nprint(pandas)"}, "imports pandas, which its reader may not have"),
        ({"code": "import os\nprint(1)"}, "imports `os` and does not use it"),
        ({"code": "print(1)\n" * 16}, "16 lines of code: at most 15"),
        ({"code": "print("}, "is not Python"),
        ({"title": "Do `it`"}, "a title is shorter than 75 letters, and plain text"),
    ],
)
def test_a_snippet_of_another_form_is_told_the_rule(change, words):
    def said(parts):
        snippet = snippets.Snippet("", parts["title"], parts["text"], parts["code"], "")
        found = list(faults_of_form(snippet))
        return (
            found
            if any("not Python" in line for line in found)
            else found + list(unsafe_loads(snippet))
        )

    assert said(GOOD) == []
    (line,) = said(GOOD | change)
    assert words in line and line.startswith("notebooks/source/reference.py: ")


def test_names_that_nothing_defines_are_found():
    assert undefined("def f(x):\n    return y + x + len(x)\nprint(f(z))") == {"y", "z"}
    assert undefined("import a.b as c\nfrom d import e\nprint([c for q in e], a)") == {"a"}
    assert undefined(
        "class A:\n    b = B\nh = 0\ndef f():\n    global h\n    h = 1\nprint(A, f)"
    ) == {"B"}


@every_snippet
def test_it_is_marked_with_the_torch_that_it_needs(snippet):
    """`NEEDS` is what `python -m tests.support.since 2.0 2.1 …` says, which measures it.

    It runs every snippet with 2.0.0, 2.1.0 and so on to 2.14.0, on Python 3.11, each in a process of
    its own, and asks whether it ends well and prints what the notebook says. Warnings do not count:
    2.0 and 2.1 warn of TypedStorage at nearly each load, 2.9 to 2.12 of a buffer when a program is
    loaded. `--full` repeats it with the oldest promised torch (`test_oldest.py`).

    Why a version is later than its calls: 2.2.0 and 2.3.0 cannot load the exported program of an
    `nn.Sequential` that 2.1.0 could. And 2.0 compiles nothing on Python 3.11.
    """
    marks = re.findall(r"torch ≥ (\d+)\.(\d+)", snippet.when)
    needed = [NEEDS[snippet.title]] if snippet.title in NEEDS else []
    assert [tuple(map(int, mark)) for mark in marks] == needed


def test_each_measured_snippet_is_there():
    assert set(NEEDS) <= {snippet.title for snippet in SNIPPETS}


def test_links_within_the_notebook_find_their_headings():
    headings = {title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.M)}
    goals = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert len(goals) > 15 and set(goals) <= headings, set(goals) - headings
    assert {group.replace(" ", "-") for group in GROUPS} <= set(goals)


# ---------------------------------------------------------------- the command


def snippet_command(*words):
    """`python -m utils snippet …` as a user starts it, with any Python: here without torch in reach."""
    command = [sys.executable, "-I", "-S", str(ROOT / "utils"), "snippet", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def test_without_words_it_lists_every_title_in_its_group():
    done = snippet_command()
    assert done.returncode == 0 and "python3 -m utils snippet WORD" in done.stderr
    blocks = [block.splitlines() for block in done.stdout.strip().split("\n\n")]
    assert [block[0] for block in blocks] == GROUPS
    listed = [line.strip() for block in blocks for line in block[1:]]
    assert listed == [snippet.title for snippet in SNIPPETS]


def test_what_it_prints_is_a_program_that_runs(tmp_path):
    done = snippet_command("resume")
    assert done.returncode == 0 and not done.stderr
    wanted = [s for s in SNIPPETS if "resume" in s.title.lower()]
    assert len(wanted) >= 3
    for snippet in wanted:
        assert f"# {snippet.title}\n# Trap: " in done.stdout and snippet.code in done.stdout
    assert done.stdout.count("# Trap: ") == len(wanted)
    (result,) = alone.run([done.stdout], tmp_path, fork=False)
    assert result == alone.Done(0, "".join(snippet.output for snippet in wanted), "")


def test_one_match_is_that_snippet_and_nothing_else():
    snippet = next(s for s in SNIPPETS if "without one" in s.title)
    done = snippet_command("gpu", "without", "one")
    comments, _, code = done.stdout.partition("\n\n")
    assert code == f"{snippet.code}\n"
    lines = comments.splitlines()
    assert lines[0] == f"# {snippet.title}" and all(line.startswith("# ") for line in lines)
    assert " ".join(line[2:] for line in lines[1:]) == " ".join(f"Trap: {snippet.trap}".split())


@pytest.mark.parametrize(
    "words, title",
    [
        (["RESUME", "middle"], "Resume in the middle of an epoch"),
        (["lfs"], "Find out what kind of file it is"),  # in its code only
        (["size mismatch"], "Load pretrained weights into a model with another number of classes"),
        (["_orig_mod"], "Load weights saved from a model under torch.compile"),
    ],
)
def test_words_are_looked_for_in_titles_first_then_everywhere(words, title):
    assert [s.title for s in snippets.matching(SNIPPETS, words)] == [title]


def test_no_match_is_one_sentence_with_the_nearest_titles(capsys):
    assert commands.main(["snippet", "safetensor", "mtadata"]) == 1  # misspelled on purpose
    out, error = capsys.readouterr()
    assert not out and len(error.strip().splitlines()) == 1
    assert error.startswith(
        "No snippet has the words 'safetensor mtadata'; nearest: "
    )  # misspelled on purpose
    assert "Read names and metadata of a safetensors file without loading it" in error


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_who_stops_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-I", "-S", str(ROOT / "utils"), "snippet", "resume"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
