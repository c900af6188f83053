"""`build`: make the notebooks that are not what their source stands for, run them, and store what they print.

A notebook is stale when its source has changed, or something of `utils/` that its cells use. What
changed in words only is written without running anything. A notebook that was edited by hand is
left alone until `--force`. The grammar of the sources: `grammar`.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from utils.tools import facts, uses
from utils.tools.course import ROOT, version_of
from utils.tools.grammar import (
    SourceError,
    at,
    content_id,
    finish,
    generate,
    read,
    targets,
)

SECONDS = 120  # for one cell
OUTCOME = re.compile(r"([✅❌⬜]) \d+\.\d+ ")
USAGE = "usage: python3 -m utils build [--check | --force] [NAME …]"


@dataclass(frozen=True)
class State:
    """How a notebook on the disk differs from what its source stands for; `reason` is '' if it does not."""

    reason: str
    wanted: object  # the notebook to write, with the stored outputs where they still hold
    lines: list  # for each of its cells, where it begins in the source
    must_run: bool = False
    edited: str = ""  # which cells somebody changed by hand

    def cure(self, target):
        if self.edited:
            return (
                f"{self.edited}, and notebooks are generated: carry the change into "
                f"notebooks/source/{target.source.name}, then `python3 -m utils build --force {target.name}`"
            )
        return f"{self.reason}; mend: python3 -m utils build {target.name}"


def state_of(target):
    """Compare a notebook with its source; starts no kernel and imports no torch.

    Raises:
        SourceError: the source breaks the grammar.
    """
    cells = read(target)
    wanted = generate(target, cells)
    say = partial(State, wanted=wanted, lines=[line for line, _ in cells])
    codes = [cell.source for cell in wanted.cells if cell.cell_type == "code"]
    wanted.metadata["course"] = {
        "source": f"notebooks/source/{target.source.name}",
        "uses": uses.digest(codes, target.root),
    }
    if not target.path.exists():
        return say("missing", must_run=True)
    try:
        found = json.loads(target.path.read_text(encoding="utf-8"))
        stored = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return say("not a notebook any more (a merge that met a conflict?)", must_run=True)
    code = [cell for cell in wanted.cells if cell.cell_type == "code"]
    same_code = [(tags(c), c.source) for c in code] == [(tags(c), text(c)) for c in stored]
    if same_code:
        for new, old in zip(code, stored):
            new.outputs = outputs_of(old)
            new.execution_count = old["execution_count"]
    finish(wanted, target)
    ids = [cell.id for cell in wanted.cells]
    wanted.metadata["course"]["cells"] = version_of(wanted)
    if edited := edited_cells(found):
        if [(cell["cell_type"], text(cell)) for cell in found["cells"]] != [
            (cell.cell_type, cell.source) for cell in wanted.cells
        ]:
            return say("edited by hand", must_run=not same_code, edited=edited)
    if not same_code:
        return say("its code cells differ from the source", must_run=True)
    for number, cell in enumerate(stored, start=1):
        if text(cell) and cell["execution_count"] is None:
            return say(f"code cell {number} was never executed", must_run=True)
    course = found["metadata"].get("course", {})
    if course.get("uses") != wanted.metadata["course"]["uses"]:
        return say("something that it uses from utils/ has changed", must_run=True)
    if [cell["id"] for cell in found["cells"]] != ids or any(
        text(old) != new.source for old, new in zip(found["cells"], wanted.cells)
    ):
        return say("its text differs from the source")
    if found["metadata"] != wanted.metadata:
        return say("it has other metadata")
    return say("")


def text(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def outputs_of(cell):
    """Stored outputs as nbformat has them in memory: texts that are not lists of lines."""
    import nbformat

    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return nbformat.reads(json.dumps(notebook), as_version=4).cells[0].outputs


def edited_cells(notebook):
    """Which cells are not as they were generated: an id is a digest of its cell's content."""
    seen, changed = set(), []
    for cell in notebook["cells"]:
        if content_id(cell, seen) != cell.get("id"):
            first = next(iter(text(cell).splitlines()), "")
            changed.append(f"the cell that begins {first[:50]!r} was edited here")
    course = notebook["metadata"].get("course", {})
    if not changed and "cells" in course:
        if version_of(notebook) != course["cells"]:
            return "a cell was removed here, or moved"
    return "; ".join(changed[:3])


# ---------------------------------------------------------------- executing


def execute(notebook, target, lines):
    """Run all cells where the notebook lies, and leave in it only what is the same every time.

    Raises:
        SourceError: a cell raised, took too long or ended the kernel, or a check says what it must not.
    """
    from nbclient import NotebookClient, exceptions

    reached = []

    def begins(cell, cell_index):
        reached.append(cell_index)

    folder = target.path.parent
    folder.mkdir(exist_ok=True)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=begins,
    )
    try:
        client.execute(stderr=subprocess.DEVNULL)  # what a kernel says as it dies
    except exceptions.CellExecutionError as error:
        what = f"raised {error.ename}: {error.evalue}".splitlines()[0]
    except exceptions.CellTimeoutError:
        what = f"did not end within {SECONDS} seconds"
    except (
        exceptions.DeadKernelError,
        AssertionError,
    ):  # nbclient's own, as it cleans up after one
        what = "ended the kernel"
    else:
        what = ""
    if what:
        where = at(target.source, lines[reached[-1]] if reached else 1)
        raise SourceError(f"{where}: the cell that begins here {what}; nothing was written")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # a traceback names paths of this machine
                output.traceback = [f"{output.ename}: {output.evalue}"]
    notebook.metadata.language_info = {"name": "python"}
    judge_answers(notebook, target, lines)


def judge_answers(notebook, target, lines):
    """A solution must pass its check, and an exercise must not before it is solved."""
    for cell, line in zip(notebook.cells, lines):
        for output in cell.get("outputs", []):
            said = str(output.get("data", {}).get("text/plain", ""))
            match = OUTCOME.match(said)
            if match and target.solved and match[1] != "✅":
                problem = f"the solution does not pass its check: {said}"
            elif match and not target.solved and match[1] == "✅" and "_exercises" in target.name:
                problem = f"the check passes before anything is solved: {said}"
            else:
                continue
            raise SourceError(f"{at(target.source, line)}: {problem}; nothing was written")


# ---------------------------------------------------------------- building


def build(names=(), root=ROOT, force=False):
    """Make what is stale among `names` (default: everything).

    Returns:
        `(paths written, problems)`: a notebook with a problem does not keep others from being made.
    """
    written, problems = [], []
    chosen = select(names, root)
    start = [target for target in targets(root) if target.name == "00_start_here"]
    # lesson 0 says how long the others are, so it comes last, and whenever one of them was made
    for target in [target for target in chosen if target not in start] + start:
        try:
            if build_one(target, force and target in chosen):
                written.append(target.where)
        except SourceError as error:
            problems.append(str(error))
    if (root / "README.md").exists():
        wanted = facts.readme(root)
        if wanted != (root / "README.md").read_text(encoding="utf-8"):
            (root / "README.md").write_text(wanted, encoding="utf-8")
            written.append("README.md")
    return written, list(dict.fromkeys(problems))


def build_one(target, force):
    """Whether something was written."""
    import nbformat

    state = state_of(target)
    if not state.reason and not force:
        return False
    if state.edited and not force:
        raise SourceError(f"{target.where}: {state.cure(target)}")
    if state.must_run or force:
        print(f"{target.where}: {state.reason or 'asked to'}, running it …", flush=True)
        execute(state.wanted, target, state.lines)
        uncounted = generate(target)  # `{{read}}` is filled in once the outputs are known
        for new, old in zip(uncounted.cells, state.wanted.cells):
            old.source = new.source
        finish(state.wanted, target)
        state.wanted.metadata["course"]["cells"] = version_of(state.wanted)
    nbformat.validate(state.wanted)
    nbformat.write(state.wanted, target.path)
    return True


def select(names, root):
    """The targets of these names; `05`, `checkpoint_policy` and a path are understood too."""
    known = targets(root)
    chosen = []
    for name in map(lambda name: Path(name).stem, names):
        exact = [target for target in known if target.name == name]
        topic = [
            target
            for target in known
            if target.name.startswith(f"{name}_")
            or f"_{name}" in target.name.removesuffix("_exercises")
        ]
        if not exact and not topic:
            raise SourceError(
                f"no source named {name}; there are: "
                + ", ".join(dict.fromkeys(target.name for target in known))
            )
        chosen += exact or topic
    return [target for target in known if not names or target in chosen]


def stale(names=(), root=ROOT):
    """What `build` would change, one line each; starts no kernel and imports no torch."""
    lines = []
    for target in select(names, root):
        try:
            state = state_of(target)
        except SourceError as error:
            lines.append(str(error))
        else:
            if state.reason:
                lines.append(f"{target.where}: {state.cure(target)}")
    if not names:
        expected = {target.path for target in targets(root)}
        for folder in ("notebooks", "solutions"):
            for path in sorted((root / folder).glob("*.ipynb")):
                if path not in expected:
                    where = path.relative_to(root).as_posix()
                    lines.append(f"{where}: has no source; mend: delete it")
    readme = root / "README.md"
    if not names and readme.exists() and facts.readme(root) != readme.read_text(encoding="utf-8"):
        lines.append("README.md: a table or figure is out of date; mend: python3 -m utils build")
    return list(dict.fromkeys(lines))


def main(arguments):
    """`build [NAME …]`, `build --check`, `build --force [NAME …]`; returns the exit code."""
    flags = {a for a in arguments if a.startswith("-")}
    names = [a for a in arguments if not a.startswith("-")]
    if flags - {"--check", "--force"} or len(flags) > 1:
        print(USAGE, file=sys.stderr)
        return 1
    try:
        if "--check" in flags:
            if lines := stale(names):
                print("\n".join(lines))
                return 1
            print(
                "Every notebook has the cells of its source, and was run with what it uses from utils/ "
                "as it is now. Whether it still prints the same: python3 -m utils check NAME"
            )
            return 0
        written, problems = build(names, force="--force" in flags)
    except SourceError as error:
        written, problems = [], [str(error)]
    print("\n".join(f"wrote {path}" for path in written) or "wrote nothing")
    print("\n".join(problems), file=sys.stderr, end="\n" * bool(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
