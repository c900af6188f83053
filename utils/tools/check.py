"""`check [NAME …]`: the gate of seconds. What concerns these notebooks; without names, all that needs no kernel.

A name is a notebook, a topic or a number: `05_checkpoint_policy`, `checkpoint_policy`, `05`.
"""

import os
import subprocess
import sys
import time

from utils.tools import build, contract
from utils.tools.course import ROOT, is_exercises, topic_of
from utils.tools.grammar import SourceError

PYTEST = [
    "-m",
    "pytest",
    "-q",
    "--no-header",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    "--dist=loadfile",
]
MORE_TESTS = {
    "reference": ["tests/test_reference.py"],
    "12_error_clinic": ["tests/test_clinic.py", "tests/test_questions.py"],
}


def main(names, root=ROOT):
    """Print what is wrong, each with its cure; returns the exit code."""
    try:
        chosen = build.select(names, root)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    steps = [
        ("notebooks and sources", lambda: build.stale(names, root)),
        ("contract", lambda: promises(names, root)),
        ("lint", lambda: lint(root)),
    ]
    if names:
        steps += [
            ("answers", lambda: answers(chosen, root)),
            ("cells", lambda: cells(chosen, root)),
        ]
    failed = 0
    for title, step in steps:
        start = time.monotonic()
        found = step()
        failed += bool(found)
        sign = "✗" if found else "✓"
        print(f"{sign} {title} ({time.monotonic() - start:.0f} s)", *found, sep="\n", flush=True)
    if not failed:
        left = (
            ""
            if names
            else " Cells and answers were not run: name a notebook, or `python3 -m utils test`."
        )
        print(f"All is well.{left}")
    return 1 if failed else 0


def promises(names, root):
    rules = contract.OF_A_PAGE + contract.OF_THE_COURSE
    return [problem for rule in rules for problem in contract.problems(rule, names, root)]


def lint(root):
    """Format, unused names, spelling, the direction of imports, types."""
    commands = {
        ("ruff", "format", "--check", "--quiet", "."): "mend: .venv/bin/ruff format",
        (
            "ruff",
            "check",
            "--quiet",
            "--output-format=concise",
            ".",
        ): "mend: .venv/bin/ruff check --fix",
        ("typos", "--format=brief"): "mend the word, or add it to typos.toml with its reason",
        ("lint-imports", "--no-cache"): "imports go one way: see the top of utils/__init__.py",
        ("mypy", "--no-error-summary"): "types of utils/checkpoint.py",
    }
    problems = []
    folder = os.path.dirname(sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1"}
    for (program, *arguments), cure in commands.items():
        command = [os.path.join(folder, program), *arguments]
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            problems.append(f"{program} {arguments[0] if arguments else ''}: {cure}\n{said}")
    return problems


def answers(chosen, root):
    """The trial answers of the checks that these notebooks use, and the tests of their form."""
    topics = sorted({topic_of(t.source) for t in chosen if is_exercises(t.source)})
    files = [file for target in chosen for file in MORE_TESTS.get(target.name, [])]
    problems = []
    if topics:
        words = " or ".join(f"[{topic}-" for topic in topics)
        problems += pytest(["tests/test_checks.py", "-k", f"{words} or has_its_answers"], root)
    if files:
        problems += pytest(files, root)
    return problems


def cells(chosen, root):
    return pytest([target.where for target in chosen], root)


def pytest(arguments, root):
    """What fails, as pytest says it; [] if nothing does."""
    files = [a for a in arguments if "/" in a and not a.startswith("-")]
    workers = min(2, len(files), os.cpu_count() or 1)
    command = [sys.executable, *PYTEST, f"-n{workers if workers > 1 else 0}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    return [(done.stdout + done.stderr).strip()] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
