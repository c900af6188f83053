"""`python3 -m utils COMMAND`: what there is. Standard library only.

to learn
  open [ARGUMENT …]        set up on the first call, then open JupyterLab on lesson 0
  open --full-torch        with PyTorch's default build also where no NVIDIA driver is (also for test)
  here                     in a Python that brings its own torch (Colab, JupyterHub): add what is missing
  progress                 what you have solved so far
  reset NOTEBOOK           start a notebook again; your version is kept in work/backup
  snippet                  list the tasks of notebooks/reference.ipynb
  snippet WORD …           print those with these words, as a program: `snippet resume > resume.py`

to change the course (CONTRIBUTING.md)
  build [NAME …]           after editing notebooks/source: make the notebooks that are stale
  build --force [NAME …]   make them whether stale or not, also where somebody edited the notebook itself
  build --check            say which notebooks are not what their source stands for
  check [NAME …]           in seconds, what is wrong with these notebooks and how to mend it
  new 07_devices_memory    the five files of a new lesson
  test [ARGUMENT …]        run every test; arguments go to pytest
  test --full              with the long versions of the tests that kill, damage and fill disks
  bench [FOLDER]           measure utils/checkpoint.py beside torch.save and others on FOLDER's disk
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from utils.tools import snippets
from utils.tools.course import EXERCISE, RENAMED, ROOT, is_lesson, title_key, version_of
from utils.tools.environment import SetupError, ensure, say
from utils.tools.here import make_ready

TO_SOLUTION = re.compile(r"\]\(\.\./solutions/(\w+)_exercises\.ipynb\)")
START = "00_start_here"
FULL_TORCH = "--full-torch"
ORIGIN = re.compile(r"\n*<!-- made from .* -->")
NEWS = re.compile(r"^- \*\*(.+?):?\*\*:? ((?:.+\n?)(?:  .+\n?)*)", re.M)
SOLVED = re.compile(r"✅ \d+\.\d+ (.+)")


def main(arguments, root=ROOT):
    """Run one command; returns its exit code. A bad situation is one sentence and 1."""
    commands = {
        "open": open_lab,
        "here": here,
        "progress": progress,
        "reset": reset,
        "snippet": snippet,
        "build": build,
        "check": check,
        "new": new,
        "test": test,
        "bench": bench,
    }
    name, *rest = arguments or ["help"]
    try:
        if name in commands:
            return commands[name](rest, root)
        if name not in ("help", "-h", "--help"):
            raise SetupError(f"There is no command {name!r}: there are {', '.join(commands)}.")
        print(__doc__)
        return 0
    except SetupError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted: start the same command again to go on.", file=sys.stderr)
    except OSError as error:
        print(f"The course's folder cannot be used: {error}", file=sys.stderr)
    return 1


def without_full_torch(arguments):
    """`--full-torch` is ours: whether it was given, and the other arguments."""
    return FULL_TORCH in arguments, [each for each in arguments if each != FULL_TORCH]


def in_environment(arguments, root, full_torch=False):
    """Run the environment's Python with `arguments` in the course's folder; returns its exit code."""
    python = ensure(root, full_torch)
    # a notebook finds the environment's programs too, whatever shell this was started from
    environment = {**os.environ, "VIRTUAL_ENV": str(root / ".venv")}
    environment["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
    command = [str(python), *arguments]
    if os.name != "nt":
        os.chdir(root)
        sys.stdout.flush()
        os.execve(python, command, environment)
    return subprocess.run(command, cwd=root, env=environment).returncode


def open_lab(arguments, root):
    """Working copies for the learner, then JupyterLab; `arguments` are JupyterLab's own."""
    full_torch, arguments = without_full_torch(arguments)
    refuse_taken_port(arguments)
    ensure(root, full_torch)
    for line in make_working_copies(root):
        say(line)
    say("JupyterLab is starting: your browser opens it, or you open the address below.")
    say("To stop it, come back to this window and press Ctrl-C twice.")
    options = [
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/work/{START}.ipynb",
        "--ServerApp.log_level=WARN",
        "--KernelManager.transport_encryption=auto",  # no warning about it at every start
    ]
    return in_environment(["-m", "jupyter", "lab", *options, *arguments], root)


def here(arguments, root):
    """The course in the Python that runs this, whose torch stays: no environment of its own."""
    if arguments:
        raise SetupError("`python3 -m utils here` takes no arguments.")
    make_ready(root)
    for line in make_working_copies(root):
        say(line)
    say(f"Open {root / 'work' / START}.ipynb with the kernel of this Python: {sys.executable}")
    say("Restart the kernel if it is running already: it does not see yet what is new.")
    return 0


def refuse_taken_port(arguments):
    """JupyterLab takes another port without a word; who asked for one wants to know."""
    match = re.search(r"--(?:ServerApp\.)?port[= ](\d+)", " ".join(arguments))
    if not match:
        return
    with socket.socket() as probe:
        if os.name != "nt":  # a port that was closed a moment ago is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(match[1])))
        except (OSError, OverflowError):
            raise SetupError(
                f"Port {match[1]} is in use (or not allowed): choose another, "
                "or leave --port out and a free one is found."
            ) from None


def test(arguments, root):
    """The whole suite: every notebook against its stored outputs, the contract, all unit tests.

    `--full` is an option of our own (conftest.py): the longest tests at full length.
    """
    full_torch, arguments = without_full_torch(arguments)
    return in_environment(["-m", "pytest", *workers(arguments), *arguments], root, full_torch)


def workers(arguments):
    """As many processes as there are processors, up to four; one for a single file, or when told."""
    told = any(a.startswith(("-n", "--numprocesses", "--pdb")) for a in arguments)
    single = sum(not a.startswith("-") for a in arguments) == 1
    count = 1 if told or single else min(4, os.cpu_count() or 1)
    return [f"-n{count}"] if count > 1 else []


def build(arguments, root):
    return in_environment(["-m", "utils.tools.build", *arguments], root)


def check(arguments, root):
    return in_environment(["-m", "utils.tools.check", *arguments], root)


def new(arguments, root):
    return in_environment(["-m", "utils.tools.new", *arguments], root)


def bench(arguments, root):
    """What a durable, checked save costs: some minutes, and 8 GB of disk for as long."""
    return in_environment(["-m", "utils.tools.bench", *map(os.path.abspath, arguments)], root)


# ---------------------------------------------------------------- the learner's copies


def read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise SetupError(
            f"{path.name} is not a notebook any more: `python3 -m utils reset {path.stem}`."
        ) from None


def copies(root):
    """`{working copy: original}` of every notebook; solutions get a name of their own."""
    found = {
        root / "work" / path.name: path for path in sorted((root / "notebooks").glob("*.ipynb"))
    }
    for path in sorted((root / "solutions").glob("*.ipynb")):
        name = path.name.replace("_exercises", "_solutions")
        found[root / "work" / "solutions" / name] = path
    return found


def copy_for_work(original, path):
    """Copy a notebook, with its version; links lead to the other copies.

    Outputs are left out, so that one predicts before one sees; but not those of a solution, nor of
    what one only looks things up in.
    """
    notebook = read(original)
    learned = is_lesson(original) or path.stem.endswith("_exercises")
    notebook["metadata"]["course"] = {"version": version_of(notebook)}
    first = notebook["cells"][0]
    first["source"] = ORIGIN.sub("", "".join(first["source"]))  # that is for who edits the original
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"]).replace("](../notebooks/", "](../")
            cell["source"] = TO_SOLUTION.sub(r"](solutions/\1_solutions.ipynb)", text)
        elif learned:
            cell["outputs"], cell["execution_count"] = [], None
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)


def make_working_copies(root):
    """Copy what is not there yet into `work`, touch nothing that is; returns what to tell the user."""
    lines = take_new_names(root)
    for path, original in copies(root).items():
        if not path.exists():
            copy_for_work(original, path)
            continue
        mine = read(path)["metadata"].get("course", {}).get("version")
        if mine != version_of(read(original)):
            news = what_is_new(original.stem, root)
            lines.append(
                f"There is a newer version of {path.stem}; yours is untouched. "
                + (f"What is new: {news} " if news else "")
                + f"To get it: `python3 -m utils reset {path.stem}` (keeps yours as a backup)."
            )
    return lines


def take_new_names(root):
    """A learner's copy follows its notebook to another name, with the answers in it."""
    lines = []
    for old, new in RENAMED.items():
        for folder, ending in (("work", ""), ("work/solutions", "_solutions")):
            before, after = (
                root / folder / f"{name.replace('_exercises', ending or '_exercises')}.ipynb"
                for name in (old, new)
            )
            if before.exists() and not after.exists():
                before.rename(after)
                lines.append(f"{before.stem} is called {after.stem} now; what you wrote is in it.")
    return lines


def what_is_new(name, root):
    """What CHANGELOG.md says last of this notebook, in its words; '' if it says nothing."""
    try:
        text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    except OSError:
        return ""
    for names, words in NEWS.findall(text):
        if name in names.replace("`", "").split(", "):
            return " ".join(words.split())
    return ""


def reset(arguments, root):
    """Start one notebook again, after keeping the learner's version."""
    names = {path.stem: (path, original) for path, original in copies(root).items()}
    name = Path(arguments[0]).stem if len(arguments) == 1 else None
    name = RENAMED.get(name, name)
    if name not in names:
        raise SetupError(
            f"Say which notebook: python3 -m utils reset NAME, with one of {', '.join(names)}."
        )
    path, original = names[name]
    if path.exists():
        backup = keep(path, root / "work" / "backup")
        say(f"Your version is kept as {backup.relative_to(root)}.")
    copy_for_work(original, path)
    say(
        f"{path.relative_to(root)} is as new. If it is open in JupyterLab: File > Reload Notebook from "
        "Disk, then Kernel > Restart Kernel, which still knows your old answers."
    )
    return 0


def keep(path, folder):
    """Move `path` into `folder` under a name of its own; returns the new path."""
    folder.mkdir(exist_ok=True)
    name = f"{path.stem}-{time.strftime('%Y-%m-%d-%H%M%S')}"
    taken = len(list(folder.glob(f"{name}*")))
    return path.rename(folder / (f"{name}-{taken + 1}.ipynb" if taken else f"{name}.ipynb"))


def progress(arguments, root):
    """A table: lesson, exercises passed of how many, minutes left; from the saved notebooks.

    An exercise is known by its title: it may have had another number, or have stood in another notebook.
    """
    passed = set()
    for path in sorted((root / "work").glob("*_exercises.ipynb")):
        passed |= solved(read(path))
    rows = [("lesson", "passed", "minutes left")]
    for original in sorted((root / "notebooks").glob("*_exercises.ipynb")):
        minutes = {
            title_key(title): int(n)
            for cell in read(original)["cells"]
            for _, title, n in EXERCISE.findall("".join(cell["source"]))
        }
        left = sum(n for title, n in minutes.items() if title not in passed)
        count = len(passed & set(minutes))
        rows.append((original.stem, f"{count} of {len(minutes)}", str(left)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        say("  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())
    say("Counted from the notebooks as they were last saved in work/.")
    return 0


def solved(notebook):
    """The titles of the exercises whose check shows ✅ in a saved notebook."""
    titles = set()
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "execute_result":
                answer = SOLVED.match("".join(output["data"].get("text/plain", "")))
                titles |= {title_key(answer[1])} if answer else set()
    return titles


# ---------------------------------------------------------------- snippets


def snippet(words, root):
    """List the reference's tasks, or print those with these words as one program."""
    known = snippets.read(root / "notebooks/reference.ipynb")
    if not words:
        print_as_source(snippets.listing(known))
        print("\nTo print one: python3 -m utils snippet WORD …", file=sys.stderr)
        return 0
    found = snippets.matching(known, words)
    if not found:
        titles = "; ".join(snippets.nearest(known, words))
        raise SetupError(f"No snippet has the words {' '.join(words)!r}; nearest: {titles}.")
    print_as_source("\n\n".join(each.program() for each in found).rstrip())
    return 0


def print_as_source(text):
    """Print in UTF-8, as Python reads its programs, also where the screen has another code."""
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        say(text)
    except BrokenPipeError:  # whoever reads it, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
