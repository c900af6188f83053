"""From one source text to the notebooks: `notebooks/source/NAME.py` → `notebooks/` and `solutions/`.

A source is a jupytext py:percent file. `01_state_dict.py` gives a lesson, `01_state_dict_exercises.py`
an exercise notebook without its answers and, in `solutions/`, the same one with them:

1. `# BEGIN SOLUTION` … `# END SOLUTION`, indented: the learner gets `# TODO: your code here` and a
   `raise NotImplementedError`, which nothing runs but a check.
2. The same at the start of a line: the learner gets `# TODO: your code here` and `name = todo` for
   each name assigned there.
3. `# BEGIN BROKEN` … `# END BROKEN`, right before a solution: code to repair. The learner gets it
   instead of the TODO; the solution notebook leaves it out.
4. A cell tagged `solution` is for the solution notebook only. The first cell of an unfinished
   notebook is tagged `draft`: it says so, and the limits on exercises and answers wait.

In a text cell, `{{minutes}}` becomes the sum of the "(N minutes)" in the notebook's headings, `{{count}}`
the number of its exercises as a word, `{{read}}` the computed reading time, `{{map}}` and
`{{to come}}` the table of all lessons and a sentence on those still missing.
"""

import ast
import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from utils.tools import facts
from utils.tools.course import ROOT, is_exercises, is_lesson, sources

MARKER = re.compile(r"\s*# (BEGIN|END) (SOLUTION|BROKEN)\s*$")
CELL = "# %%"
TAGS = {"solution", "raises-exception", "draft"}
DRAFT = re.compile(r'\A# %% \[markdown\] tags=\[.*"draft".*\]')
TODO = "# TODO: your code here"
NOTICE = "> **Draft:** this notebook is being written, and does not yet keep every promise of the course."
SIBLING = re.compile(r"\]\((\w+\.ipynb)\)")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class SourceError(Exception):
    """A source that breaks the grammar: the message names file, line and cure."""


@dataclass(frozen=True)
class Target:
    """One notebook to generate: from which source, where to, with or without answers."""

    source: Path
    path: Path
    solved: bool

    @property
    def name(self):
        return self.source.stem

    @property
    def root(self):
        return self.source.parents[2]

    @property
    def where(self):
        """The notebook's path from the course's folder, for messages."""
        return self.path.relative_to(self.root).as_posix()


def targets(root=ROOT):
    """Every notebook that the sources stand for, in order."""
    found = []
    for source in sources(root):
        found.append(Target(source, root / "notebooks" / f"{source.stem}.ipynb", False))
        if is_exercises(source):
            found.append(Target(source, root / "solutions" / f"{source.stem}.ipynb", True))
    return found


def is_draft(source):
    return bool(DRAFT.match(source.read_text(encoding="utf-8")))


def at(source, line):
    """`notebooks/source/05_checkpoint_policy.py:120`, to begin a message with."""
    return f"{source.parent.parent.name}/{source.parent.name}/{source.name}:{line}"


# ---------------------------------------------------------------- reading a source


def read(target):
    """The cells of a source that belong into `target`, each with the number of its `# %%` line.

    Raises:
        SourceError: a marker without its partner or nearly right, an unknown tag, no Python.
    """
    import jupytext

    text = target.source.read_text(encoding="utf-8")
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line.startswith(CELL)]
    cells = jupytext.reads(text, fmt="py:percent").cells
    if len(starts) != len(cells) or not text.startswith(CELL):
        raise SourceError(
            f"{at(target.source, 1)}: a source begins with a line `{CELL} [markdown]`"
        )
    find_unmatched_markers(text, target.source)
    found = list(zip(starts, cells))
    for line, cell in found:
        if unknown := set(cell.metadata.get("tags", [])) - TAGS:
            raise SourceError(
                f"{at(target.source, line)}: the tag {min(unknown)!r} means nothing here: "
                f"there are {', '.join(sorted(TAGS))}"
            )
        if cell.cell_type == "code":
            find_near_misses(cell.source, target.source, line)
            must_be_python(cell.source, target.source, line)
    return [
        (line, cell)
        for line, cell in found
        if target.solved or "solution" not in cell.metadata.get("tags", [])
    ]


def find_unmatched_markers(text, source):
    opened = None
    for number, line in enumerate([*text.splitlines(), CELL], start=1):
        marker = MARKER.match(line)
        if opened and (line.startswith(CELL) or (marker and marker[1] == "BEGIN")):
            raise SourceError(
                f"{at(source, opened[0])}: BEGIN {opened[1]} is never closed: "
                f"end it in the same cell, with a line `# END {opened[1]}`"
            )
        if not marker:
            continue
        kind = marker[2]
        if marker[1] == "BEGIN":
            opened = (number, kind)
        elif not opened or opened[1] != kind:
            raise SourceError(
                f"{at(source, number)}: END {kind} without a BEGIN {kind}: "
                f"a line `# BEGIN {kind}` in the same cell is missing"
            )
        else:
            opened = None


def find_near_misses(code, source, start):
    """A marker written nearly right would leave the answer in the learner's notebook."""
    for number, line in enumerate(code.splitlines(), start=start + 1):
        if not MARKER.match(line) and (meant := nearest_marker(line)):
            raise SourceError(
                f"{at(source, number)}: {line.strip()!r} is nearly a marker: "
                f"write `# {meant}`, alone in its line, or other words"
            )


def nearest_marker(line):
    """The marker that a comment was probably meant to be, or None."""
    comment = line.partition("#")[2]
    words = [w for w in re.findall("[A-Z]+", comment.upper()) if w not in ("THE", "A", "OF")]
    if len(words) > 2 and not re.match(r"\W*[A-Z]+\W+[A-Z]+\b", comment):
        return None  # a sentence
    words = words[:2]
    if len(words) == 1:  # `# BEGINSOLUTION`, `# END`
        words = re.split("(?=SOLU|BROK)", words[0])
    edges = {"BEGIN": "BEGIN", "START": "BEGIN", "END": "END", "STOP": "END", "FINISH": "END"}
    kinds = {"SOLUTION": "SOLUTION", "ANSWER": "SOLUTION", "BROKEN": "BROKEN"}

    def closest(word, known):
        found = difflib.get_close_matches(word, known, 1, 0.75)
        return known[found[0]] if found else None

    for first, second in (words, words[::-1]) if len(words) == 2 else ():
        edge, kind = closest(first, edges), closest(second, kinds)
        if edge and kind:
            return f"{edge} {kind}"
    return f"{words[0]} SOLUTION" if words in (["BEGIN"], ["END"]) else None


def must_be_python(code, source, start):
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise SourceError(
            f"{at(source, start + error.lineno)}: with its markers taken for comments, this cell is "
            f"not Python ({error.msg}): no formatter could read it"
        ) from None


# ---------------------------------------------------------------- one source text, two notebooks


def generate(target, cells=None):
    """The notebook of `target` without outputs (an nbformat 4.5 node), `{{read}}` still open.

    Args:
        cells: what `read(target)` gives, if it is known already.

    Raises:
        SourceError: the source breaks the grammar, or a solution assigns nothing.
    """
    import nbformat

    numbered = cells or read(target)
    count, minutes = facts.exercises_in(cell.source for _, cell in numbered)
    values = {"minutes": str(minutes), "count": facts.in_words(count)}
    values["Count"] = values["count"].capitalize()
    if target.name == "00_start_here":
        values |= {"map": facts.lesson_map(target.root), "to come": facts.to_come(target.root)}
    for position, (line, cell) in enumerate(numbered):
        tags = cell.metadata.get("tags")
        if cell.cell_type == "code":
            cell.source = render(cell.source, target, line)
            cell.outputs, cell.execution_count = [], None
        else:
            if position == 0:
                cell.source = with_origin(cell.source, target, "draft" in (tags or []))
            cell.source = fill(cell.source, values, at(target.source, line))
            if target.solved:
                cell.source = SIBLING.sub(r"](../notebooks/\1)", cell.source)
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook = nbformat.from_dict({"metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    notebook.cells = [cell for _, cell in numbered]
    return notebook


def with_origin(text, target, draft):
    """The first cell says, to who edits it, where the notebook comes from; and to all, that it is a draft."""
    title, _, rest = text.partition("\n")
    notice = f"\n{NOTICE}\n" if draft else ""
    origin = f"<!-- made from notebooks/source/{target.source.name}: edit that file, not this notebook -->"
    return f"{title}\n{notice}{rest}\n\n{origin}"


def fill(text, values, where):
    """`text` with the value of each `{{name}}`."""
    for name in set(re.findall(r"\{\{(.*?)\}\}", text)) - {"read"}:
        if name not in values:
            known = ", ".join(sorted({*values, "read"}))
            raise SourceError(f"{where}: nothing is known as {{{{{name}}}}}: there are {known}")
        text = text.replace(f"{{{{{name}}}}}", values[name])
    return text


def finish(notebook, target):
    """Fill in what depends on the outputs, the reading time; then each cell gets its id."""
    minutes = facts.reading_minutes(notebook.cells) if is_lesson(target.source) else 0
    seen = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("{{read}}", str(facts.rounded(minutes)))
        cell.id = content_id(cell, seen)
    return notebook


def render(code, target, start):
    """The code of a cell for `target`: markers resolved, answers kept or replaced."""
    lines, region, after_broken, opened = [], None, False, start
    for number, line in enumerate(code.splitlines(), start=start + 1):
        marker = MARKER.match(line)
        if marker and marker[1] == "BEGIN":
            region, opened = [], number
        elif marker:
            broken = marker[2] == "BROKEN"
            if broken != target.solved:
                lines += region
            elif not target.solved and not after_broken:
                lines += placeholder(region, at(target.source, opened))
            region, after_broken = None, broken
        else:
            if region is None:
                after_broken = after_broken and not line.strip()
            (lines if region is None else region).append(line)
    return "\n".join(lines)


def placeholder(region, where):
    """What the learner gets instead of the lines of one solution."""
    first = next((line for line in region if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    if indent:
        return [indent + TODO, indent + "raise NotImplementedError"]
    names = assigned_names("\n".join(region))
    if not names:
        raise SourceError(
            f"{where}: a solution at the start of a line assigns nothing ({first!r}): the learner "
            "gets `name = todo` for each name, so assign the answer to one, or put it into a function"
        )
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
    """A cell id that changes with the cell's content only. (`cell`: a mapping)"""
    tags, source = ",".join(cell["metadata"].get("tags", [])), "".join(cell["source"])
    digest = hashlib.sha256(f"{cell['cell_type']}\n{tags}\n{source}".encode()).hexdigest()[:12]
    unique, n = digest, 1
    while unique in seen:
        n += 1
        unique = f"{digest}-{n}"
    seen.add(unique)
    return unique
