"""From one source text to the notebooks: `notebooks/source/NAME.py` → `notebooks/` and `solutions/`.

A source is a jupytext py:percent file. `01_state_dict.py` gives a lesson, `01_state_dict_exercises.py`
an exercise notebook without its answers and, in `solutions/`, the same one with them:

1. `# BEGIN SOLUTION` … `# END SOLUTION`, indented: the learner gets `# TODO: your code here` and a
   `raise NotImplementedError`, which nothing runs but a check.
2. The same at the start of a line: the learner gets `# TODO: your code here` and `name = todo` for
   each name assigned there.
3. `# BEGIN BROKEN` … `# END BROKEN`, right before a solution: code to repair. The learner gets it
   in place of the TODO; the solution notebook leaves it out.
4. A cell tagged `solution` is for the solution notebook only.

`{{minutes}}` in a text cell becomes the sum of the "(N minutes)" in the notebook's headings.
"""

import ast
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from utils.tools.course import ROOT, is_lesson

MARKER = re.compile(r"\s*# (BEGIN|END) (SOLUTION|BROKEN)\s*$")
TODO = "# TODO: your code here"
MINUTES = re.compile(r"^(?:# )?## .*\((\d+) minutes?\)$", re.M)  # in a cell, or in a source
SIBLING = re.compile(r"\]\((\w+\.ipynb)\)")
ABOUT = re.compile(r"\*\*About (\d+) minutes")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class SourceError(Exception):
    """A source that breaks the grammar: the message names file and line."""


@dataclass(frozen=True)
class Target:
    """One notebook to generate: from which source, where to, with or without answers."""

    source: Path
    path: Path
    solved: bool

    @property
    def name(self):
        return self.source.stem


def targets(root=ROOT):
    """Every notebook that the sources stand for, in order."""
    found = []
    for source in sorted((root / "notebooks/source").glob("*.py")):
        found.append(Target(source, root / "notebooks" / f"{source.stem}.ipynb", False))
        if source.stem.endswith("_exercises"):
            found.append(Target(source, root / "solutions" / f"{source.stem}.ipynb", True))
    return found


# ---------------------------------------------------------------- one source text, two notebooks


def generate(target):
    """The notebook of `target` without outputs (an nbformat 4.5 node).

    Raises:
        SourceError: a marker without its partner, or a solution that assigns nothing.
    """
    import jupytext
    import nbformat

    text = target.source.read_text(encoding="utf-8")
    find_unmatched_markers(text, target.source)
    cells = jupytext.reads(text, fmt="py:percent").cells
    if not target.solved:
        cells = [cell for cell in cells if "solution" not in cell.metadata.get("tags", [])]
    minutes = sum(int(n) for cell in cells for n in MINUTES.findall(cell.source))
    seen = set()
    for cell in cells:
        if cell.cell_type == "code":
            cell.source = render(cell.source, target)
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = cell.source.replace("{{minutes}}", str(minutes))
            if target.solved:
                cell.source = SIBLING.sub(r"](../notebooks/\1)", cell.source)
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = content_id(cell, seen)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def find_unmatched_markers(text, source):
    opened = None
    for number, line in enumerate([*text.splitlines(), "# %%"], start=1):
        marker = MARKER.match(line)
        if opened and (line.startswith("# %%") or (marker and marker[1] == "BEGIN")):
            raise SourceError(f"{at(source, opened[0])}: BEGIN {opened[1]} is never closed")
        if not marker:
            continue
        kind = marker[2]
        if marker[1] == "BEGIN":
            opened = (number, kind)
        elif not opened or opened[1] != kind:
            raise SourceError(f"{at(source, number)}: END {kind} without a BEGIN {kind}")
        else:
            opened = None


def at(source, number):
    return f"{source.parent.parent.name}/{source.parent.name}/{source.name}:{number}"


def render(code, target):
    """The code of a cell for `target`: markers resolved, answers kept or replaced."""
    lines, region, after_broken = [], None, False
    for line in code.splitlines():
        marker = MARKER.match(line)
        if marker and marker[1] == "BEGIN":
            region = []
        elif marker:
            broken = marker[2] == "BROKEN"
            if broken != target.solved:
                lines += region
            elif not target.solved and not after_broken:
                lines += placeholder(region, target)
            region, after_broken = None, broken
        else:
            if region is None:
                after_broken = after_broken and not line.strip()
            (lines if region is None else region).append(line)
    return "\n".join(lines)


def placeholder(region, target):
    """What the learner gets in place of the lines of one solution."""
    first = next((line for line in region if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    if indent:
        return [indent + TODO, indent + "raise NotImplementedError"]
    names = assigned_names("\n".join(region))
    if not names:
        raise SourceError(f"{at(target.source, 1)}: a solution assigns nothing: {first!r}")
    return [TODO, *(f"{name} = todo" for name in names)]


def assigned_names(code):
    """Names that the statements of `code` bind: assignments (tuples, annotated), functions, classes."""
    names = []
    for statement in ast.parse(code).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.append(statement.name)
            continue
        goals = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        for goal in filter(None, goals):
            names += [node.id for node in ast.walk(goal) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(names))


def content_id(cell, seen):
    """A cell id that changes with the cell's content only."""
    tags = ",".join(cell.metadata.get("tags", []))
    digest = hashlib.sha256(f"{cell.cell_type}\n{tags}\n{cell.source}".encode()).hexdigest()[:12]
    unique, n = digest, 1
    while unique in seen:
        n += 1
        unique = f"{digest}-{n}"
    seen.add(unique)
    return unique


# ---------------------------------------------------------------- stale or not, and executing


def what_differs(target):
    """Why the notebook on disk is not the one its source stands for; '' if it is."""
    wanted = generate(target)
    if not target.path.exists():
        return "missing"
    found = json.loads(target.path.read_text(encoding="utf-8"))
    if found["metadata"] != wanted.metadata:
        return "other metadata"
    if [cell["id"] for cell in found["cells"]] != [cell.id for cell in wanted.cells]:
        return "cells differ from the source"
    for old, new in zip(found["cells"], wanted.cells):
        same = "".join(old["source"]) == new.source and old["metadata"] == new.metadata
        if not same or old["cell_type"] != new.cell_type:
            return f"cell {new.id} was edited"
        if new.cell_type == "code" and new.source and old["execution_count"] is None:
            return f"cell {new.id} was never executed"
    return ""


def execute(notebook, folder):
    """Run all cells of `notebook` in `folder`, and leave in it only what is the same every time."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # a traceback names paths of this machine
                output.traceback = [f"{output.ename}: {output.evalue}"]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def build(names=(), root=ROOT, force=False):
    """Generate and execute what is stale among `names` (default: everything); returns what it wrote."""
    import nbformat

    written = []
    for target in select(names, root):
        reason = what_differs(target) or ("asked to" if force else "")
        if reason:
            where = target.path.relative_to(root)
            print(f"{where}: {reason}, building …", flush=True)
            target.path.parent.mkdir(exist_ok=True)
            notebook = execute(generate(target), target.path.parent)
            nbformat.validate(notebook)
            nbformat.write(notebook, target.path)
            written.append(where)
    readme = root / "README.md"
    if readme.exists() and (text := with_lesson_table(readme, root)) != readme.read_text("utf-8"):
        readme.write_text(text, encoding="utf-8")
        written.append(Path("README.md"))
    return written


def select(names, root):
    known = targets(root)
    wanted = {Path(name).stem for name in names}
    unknown = wanted - {target.name for target in known}
    if unknown:
        raise SourceError(
            f"no source named {', '.join(sorted(unknown))}; there are: "
            + ", ".join(dict.fromkeys(target.name for target in known))
        )
    return [target for target in known if not wanted or target.name in wanted]


def stale(root=ROOT):
    """What `build` would change, one line each; starts no kernel and imports no torch."""
    lines = []
    for target in targets(root):
        if reason := what_differs(target):
            lines.append(
                f"{target.path.relative_to(root)}: {reason}; "
                f"mend: python3 -m utils build {target.name}"
            )
    expected = {target.path for target in targets(root)}
    for folder in ("notebooks", "solutions"):
        for path in sorted((root / folder).glob("*.ipynb")):
            if path not in expected:
                lines.append(f"{path.relative_to(root)}: has no source; mend: delete it")
    readme = root / "README.md"
    if readme.exists() and with_lesson_table(readme, root) != readme.read_text("utf-8"):
        lines.append("README.md: the lesson table is out of date; mend: python3 -m utils build")
    return lines


# ---------------------------------------------------------------- the README's lesson table


def with_lesson_table(readme, root):
    """The text of `readme` with the table between its two comments made anew from the sources."""
    rows, total = ["| lesson | read | exercises |", "|:--|--:|--:|"], 0
    for source in sorted((root / "notebooks/source").glob("*.py")):
        if not is_lesson(source):
            continue
        text = source.read_text(encoding="utf-8")
        title = re.search(r"^# # (.+)$", text, re.M)[1]
        read = int(ABOUT.search(text)[1])
        cell, practice = "", 0
        exercises = source.with_name(f"{source.stem}_exercises.py")
        if exercises.exists():
            found = [int(n) for n in MINUTES.findall(exercises.read_text(encoding="utf-8"))]
            practice = sum(found)
            link = f"notebooks/{exercises.stem}.ipynb"
            count = f"{len(found)} exercise{'s' * (len(found) != 1)}"
            cell = f"[{count}]({link}), {practice} min"
        rows.append(f"| [{title}](notebooks/{source.stem}.ipynb) | {read} min | {cell} |")
        total += read + practice
    rows.append(f"| **together** | | **{total} min** |")
    table = "<!-- lessons -->\n" + "\n".join(rows) + "\n<!-- /lessons -->"
    text = readme.read_text(encoding="utf-8")
    return re.sub(r"<!-- lessons -->.*<!-- /lessons -->", lambda _: table, text, flags=re.S)


def main(arguments):
    """`build [NAME …]`, `build --check`, `build --force [NAME …]`; returns the exit code."""
    flags = {a for a in arguments if a.startswith("-")}
    if flags - {"--check", "--force"}:
        print("usage: python3 -m utils build [--check | --force] [NAME …]", file=sys.stderr)
        return 1
    try:
        if "--check" in flags:
            lines = stale()
            print("\n".join(lines) if lines else "every notebook is the one its source stands for")
            return 1 if lines else 0
        names = [a for a in arguments if not a.startswith("-")]
        written = build(names, force="--force" in flags)
        print("\n".join(f"wrote {path}" for path in written) or "nothing to do")
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
