"""Every notebook and check without the names that Windows lacks: so much of it can be tried here.

`tests/support/elsewhere.py` takes them away. Tried are the notebooks that name one of them, maybe to
do without it, in a cell or in their checks; with `--full` all of them, and answers to all checks.
"""

import ast
import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import elsewhere
from tests.support.alone import without_measured
from tests.support.refuse import refuse
from utils.tools.course import ROOT

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb")) + sorted(ROOT.glob("solutions/*.ipynb"))
LESSONS = sorted(path.stem for path in (ROOT / "tests/answers").glob("[!_]*.py"))
SAYS_SO = "not on this system: "
NAME = re.compile(rf"\b({'|'.join(elsewhere.NAMES)})(?:\.|, [\"'])(\w+)")
IMPORT = re.compile(rf"^\s*(?:import|from) .*\b(?:{'|'.join(elsewhere.MODULES.split())})\b", re.M)
COMMAND = re.compile(
    r"(?:\bsubprocess\.\w+\(|\bsystem\(|\bwhich\(|\bcommand = )\[?[\"']"
    rf"(?:{'|'.join(elsewhere.PROGRAMS.split())})[\"' ]"
)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The environment of a process that looks like one on Windows."""
    environment = elsewhere.environment(tmp_path_factory.mktemp("elsewhere"))
    for name in ("PYTEST_CURRENT_TEST", "CHECKS_STRICT"):
        environment.pop(name, None)
    return environment


# ---------------------------------------------------------------- the place itself

REFUSED = [
    ("import fcntl", ModuleNotFoundError),
    ("import resource", ModuleNotFoundError),
    ("from pwd import getpwuid", ModuleNotFoundError),
    ("import os; os.fork()", AttributeError),
    ("import os as system; system.getuid()", AttributeError),
    ("from os import setsid", ImportError),
    ("import os.path; os.mkfifo('x')", AttributeError),
    ("from os import *; fork()", NameError),
    ("import os; os.WIFSIGNALED(0)", AttributeError),
    ("import signal; signal.SIGKILL", AttributeError),
    ("import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)", AttributeError),
    ("from signal import alarm", ImportError),
    ("import time; time.tzset()", AttributeError),
    ("import socket; socket.AF_UNIX", AttributeError),
    ("import mmap; mmap.MAP_SHARED", AttributeError),
    ("import multiprocessing; multiprocessing.get_context('fork')", ValueError),
    ("import torch; torch.multiprocessing.get_context('forkserver')", ValueError),
    ("import subprocess; subprocess.run(['ldd', 'x'])", FileNotFoundError),
    ("import subprocess; subprocess.run('ls -l', shell=True)", FileNotFoundError),
    ("import subprocess, sys; subprocess.run([sys.executable], preexec_fn=print)", ValueError),
    ("import own", AttributeError),  # a module that a notebook has written
]


TRY = """
import json, sys
sys.path.insert(0, ".")
for line in json.loads(sys.argv[1]):
    try:
        exec(line, {"__name__": "__main__"})
        print("accepted")
    except Exception as error:
        print(type(error).__name__)
"""


def test_what_windows_lacks_is_refused_there(there, tmp_path):
    (tmp_path / "own.py").write_text("import os\nos.getuid", encoding="utf-8")
    command = [sys.executable, "-c", TRY, json.dumps([line for line, _ in REFUSED])]
    done = subprocess.run(command, env=there, cwd=tmp_path, capture_output=True, encoding="utf-8")
    found = [*zip((line for line, _ in REFUSED), done.stdout.splitlines(), strict=True)]
    assert found == [(line, error.__name__) for line, error in REFUSED], done.stderr


USED = """
import multiprocessing, os, shutil, subprocess, sys, tempfile
from pathlib import Path
import torch
from utils.checking import fresh
from utils.checks import checkpoint_policy

def own():
    import os
    return hasattr(os, "fork")

if __name__ == "__main__":
    print(subprocess.run([sys.executable, "-c", "import os; print(hasattr(os, 'fork'))"],
                         capture_output=True, text=True).stdout.strip())
    print(multiprocessing.get_all_start_methods(), multiprocessing.get_start_method())
    print(multiprocessing.get_context("spawn").Pool(1).apply(os.path.basename, ["a/b"]))
    print(fresh.METHOD, fresh.call(own))
    print(shutil.which("ldd"), shutil.which(sys.executable) == sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"w": torch.ones(2)}, Path(folder, "w.pt"))
        print(torch.load(Path(folder, "w.pt"))["w"].tolist(), os.listdir(folder))
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(sleeper)
    process.kill()
    print("killed by its parent:", process.wait())
    ends = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    print("by itself:", subprocess.run([sys.executable, "-c", ends]).returncode)
    os.replaced = 1
    print("what is set is set:", os.replaced, sys.modules["os"].replaced)
"""


def test_the_libraries_work_there_and_processes_that_they_start_are_there_too(there, tmp_path):
    (tmp_path / "used.py").write_text(USED, encoding="utf-8")
    command = [sys.executable, "used.py"]
    done = subprocess.run(command, env=there, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "False",
        "['spawn'] spawn",
        "b",
        "spawn False",
        "None True",
        "[1.0, 1.0] ['w.pt']",
        "killed by its parent: 1",
        "by itself: 15",
        "what is set is set: 1 1",
    ]


# ---------------------------------------------------------------- what is tried


def pytest_generate_tests(metafunc):
    full = metafunc.config.option.full
    if "notebook" in metafunc.fixturenames:
        chosen = [path for path in NOTEBOOKS if full or names_it(text_of(path))]
        names = [path.relative_to(ROOT).with_suffix("").as_posix() for path in chosen]
        metafunc.parametrize("notebook", chosen, ids=names)
    if "lesson" in metafunc.fixturenames:
        metafunc.parametrize("lesson", LESSONS if full else LESSONS[:1])


def names_it(text):
    """Whether a text names something that Windows lacks."""
    names = (elsewhere.lacks(module, name) for module, name in NAME.findall(text))
    return any(names) or any(map(re.search, (IMPORT, COMMAND), (text, text)))


def text_of(path):
    """The code of a notebook, of the module of its checks, and of what both are made of."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for name in re.findall(r"^from utils\.checks import todo, (\w+)", code, re.M):
        code += (ROOT / f"utils/checks/{name}.py").read_text("utf-8")
    made_of = ", ".join(re.findall(r"^from utils\.checking import (.+)", code, re.M)).split(", ")
    for name in filter(None, dict.fromkeys(made_of)):
        code += (ROOT / f"utils/checking/{name}.py").read_text("utf-8")
    return code


# ---------------------------------------------------------------- the notebooks


def test_a_notebook_shows_there_what_it_shows_here(notebook, there, tmp_path):
    stored = nbformat.read(notebook, as_version=4)
    found = nbformat.read(notebook, as_version=4)
    NotebookClient(
        found,
        timeout=120,
        kernel_name="python3",
        allow_errors=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(tmp_path)}},  # not where the other test of it writes
    ).execute(env=there)
    for old, new in zip(stored.cells, found.cells, strict=True):
        if old.cell_type == "code" and not says_so(new):
            assert shown(new) == shown(old), new.source


def says_so(cell):
    """Whether a cell has said that this system cannot show it, as its code foresees."""
    return SAYS_SO in cell.source and any(part.startswith(SAYS_SO) for part in shown(cell))


def shown(cell):
    """What nbval compares of a cell's outputs: everything but pictures and tracebacks."""
    parts, streams = [], {}
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] = streams.get(output.name, "") + output.text
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}")
        else:
            parts += [text for kind, text in sorted(output.data.items()) if "image" not in kind]
    return [without_measured(part) for part in (*streams.values(), *parts)]


# ---------------------------------------------------------------- the checks

ANSWERS = """
import importlib, sys
from pathlib import Path

if __name__ == "__main__":
    module = importlib.import_module(f"tests.answers.{sys.argv[1]}")
    seen = set()
    for answer in module.ANSWERS:
        if answer.words and answer.check not in seen:
            seen.add(answer.check)
            outcome = answer.outcome(module)
            if outcome.status != "failed" or answer.words not in outcome.message:
                print(f"{answer.words!r} expected, and found: {outcome!r}")
    print(sorted(seen) == sorted(module.ARGUMENTS))
"""


def test_a_check_refuses_there_what_it_refuses_here(lesson, there, tmp_path):
    (tmp_path / "answers.py").write_text(ANSWERS, encoding="utf-8")
    command = [sys.executable, "answers.py", lesson]
    done = subprocess.run(command, env=there, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines() == ["True"], done.stdout + done.stderr


# ---------------------------------------------------------------- what Windows writes otherwise


def without_encoding(code):
    """The lines of `code` that read or write text as each system likes it, which on Windows is not UTF-8."""
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or any(word.arg == "encoding" for word in call.keywords):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", None))
        given = [getattr(argument, "value", None) for argument in call.args]
        if name == "open":
            given = given if isinstance(call.func, ast.Attribute) else given[1:]
            given += [word.value.value for word in call.keywords if word.arg == "mode"]
            method = isinstance(call.func, ast.Attribute)
            mode = given[0] if given else None if method else "r"  # which method, nobody can tell
            if isinstance(mode, str) and re.fullmatch("[rwaxt+]+", mode):
                yield call.lineno
        elif (name == "read_text" and not call.args) or (name == "write_text" and len(given) < 2):
            yield call.lineno


@pytest.mark.parametrize(
    "code, lines",
    [
        ("path.read_text()", [1]),
        ("path.read_text('utf-8')", []),
        ("\npath.write_text('x')", [2]),
        ("path.write_text('x', 'utf-8')", []),
        ("path.write_text('x', encoding='utf-8')", []),
        ("open(path)", [1]),
        ("open(path, 'w')", [1]),
        ("open(path, mode='w')", [1]),
        ("open(path, 'wb')", []),
        ("path.open('w')", [1]),
        ("path.open('w', encoding='utf-8')", []),
        ("archive.open('data.pkl'), os.open(path, os.O_RDONLY)", []),
    ],
)
def test_it_is_seen_where_the_system_would_choose_an_encoding(code, lines):
    assert list(without_encoding(code)) == lines


def test_text_is_written_and_read_in_utf_8():
    files = [
        p for top in ("utils", "tests", "notebooks/source") for p in ROOT.glob(f"{top}/**/*.py")
    ]
    assert len(files) > 50
    found = [
        f'{path.relative_to(ROOT).as_posix()}:{line}: write encoding="utf-8": Windows would choose another'
        for path in files
        for line in without_encoding(path.read_text("utf-8"))
    ]
    refuse(found)
