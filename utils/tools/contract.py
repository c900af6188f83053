"""What every notebook of the course promises, whatever it is about: rules that name file, line and cure.

Each rule is a function of a `Page` (one notebook) or of the course's folder, and yields sentences. `check` prints
them and the tests demand that there are none. Why each rule is there: CONTRIBUTING.md.
"""

import ast
import contextlib
import json
import re
import statistics
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import unquote

from utils.tools import build, facts
from utils.tools.course import EXERCISE, ROOT, is_exercises, is_lesson, sources, title_key, topic_of
from utils.tools.grammar import SourceError, Target, at, is_draft, read

COLUMNS, LINES, MEDIAN_LINES = 88, 15, 5
EXERCISES, MINUTES = (4, 6), (20, 30)
QUESTIONS = 3
OUTCOME = re.compile(r"([✅❌⬜]) (\d+\.\d+) ([^:\n]+)")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
LESSON = re.compile(r"\blessons?\s+(?:#\s*)?(\d+)(?:(?:\s+(?:and|to|or)\s+|,\s*)(\d+))*", re.I)
LINKED_LESSON = re.compile(r"\[lesson (\d+)\]\(([^)]+)\)", re.I)
LOOK_UP = "**To look something up"
TRACES = {
    r"\x1b\[": "colour codes of a terminal",
    r"0x[0-9a-f]{6,}": "an address in memory",
    r"/home/|/root/|/tmp/|/Users/|\\Users\\|site-packages": "a path of this machine",
    r"/notebooks/|/solutions/|ipykernel_": "the path of this notebook's folder or kernel",
}
UNPLAIN = {r"^> \[!": "`> [!NOTE]`", r"^:::": "`:::`", r"^```\{": "a MyST directive"}


@dataclass(frozen=True)
class Page:
    """A notebook as it is stored, and where each of its cells begins in the source."""

    target: Target

    @cached_property
    def cells(self):
        return json.loads(self.target.path.read_text(encoding="utf-8"))["cells"]

    @cached_property
    def lines(self):
        lines = [line for line, _ in read(self.target)]
        return (
            lines if len(lines) == len(self.cells) else [1] * len(self.cells)
        )  # stale: said elsewhere

    @cached_property
    def text(self):
        return "\n\n".join(source(cell) for _, cell in self.of("markdown"))

    @cached_property
    def outcomes(self):
        """`{number: (sign, title, line)}` of every check, without the summary."""
        found = {}
        for line, cell in self.of("code"):
            for output in cell["outputs"]:
                said = "".join(output.get("data", {}).get("text/plain", ""))
                if match := OUTCOME.match(said):
                    found[match[2]] = (match[1], match[3], line)
        return found

    @property
    def is_lesson(self):
        return is_lesson(self.target.source)

    @property
    def is_unsolved(self):
        return is_exercises(self.target.source) and not self.target.solved

    @property
    def is_draft(self):
        return is_draft(self.target.source)

    def of(self, kind):
        """`(line in the source, cell)` of every cell of one kind."""
        return [(n, cell) for n, cell in zip(self.lines, self.cells) if cell["cell_type"] == kind]

    def at(self, line=1):
        return at(self.target.source, line)

    def solved(self):
        path = self.target.root / "solutions" / self.target.path.name
        return Page(Target(self.target.source, path, True))


def source(cell):
    return "".join(cell["source"])


# ---------------------------------------------------------------- of every notebook


def is_executed_and_compared(page):
    for line, cell in page.of("code"):
        if not source(cell).strip():
            yield f"{page.at(line)}: an empty code cell: remove it"
        elif cell["execution_count"] is None:
            yield f"{page.at(line)}: never executed, so never compared: python3 -m utils build {page.target.name}"
        if found := re.search(r"NBVAL\w*|clear_output|display_id", source(cell)):
            yield f"{page.at(line)}: {found[0]} hides an output from comparison: print what holds on any machine"


def prints_the_same_anywhere(page):
    for line, cell in page.of("code"):
        for output in cell["outputs"]:
            where = page.at(line)
            if output.get("name") == "stderr":
                said = "".join(output["text"])[:80]
                yield f"{where}: prints to stderr ({said!r}): avoid the warning, or show it as the lesson's point"
            texts = {
                kind: data for kind, data in output.get("data", {}).items() if "image" not in kind
            }
            text = "".join(
                map(flat, [output.get("text", ""), output.get("evalue", ""), *texts.values()])
            )
            for number in re.findall(r"\d+\.\d{6,}", text):
                yield (
                    f"{where}: prints {number}, which another machine would not: round it and print it "
                    "behind `≈ ` (then it may differ), beside a fact that holds everywhere"
                )
            for pattern, what in TRACES.items():
                if found := re.search(pattern, text):
                    yield (
                        f"{where}: prints {what} ({text[found.start() :][:60]!r}): print a relative path or a "
                        "name; what is measured goes behind `≈ `"
                    )
            if (
                any("image" in kind for kind in output.get("data", {}))
                and len(flat(texts.get("text/plain", ""))) <= 20
            ):
                yield f"{where}: an image without its message in words: show it with `show.Picture(figure, message)`"


def flat(value):
    return "".join(value) if isinstance(value, list) else str(value)


def has_headings_in_order(page):
    level = 0
    for line, cell in page.of("markdown"):
        for hashes in re.findall(r"^(#+) ", source(cell), re.M):
            if level == 0 and len(hashes) > 1:
                yield f"{page.at(line)}: a notebook begins with its title, `# …`"
            elif level and len(hashes) == 1:
                yield f"{page.at(line)}: a second title: below the first, headings begin with `##`"
            elif len(hashes) > level + 1:
                yield f"{page.at(line)}: a heading with {len(hashes)} # below one with {level}: leave out no level"
            level = len(hashes)
    if not level:
        yield f"{page.at()}: a notebook begins with its title, `# …`"


def has_links_that_lead_somewhere(page):
    for line, cell in page.of("markdown"):
        text = source(cell)
        for _, label, goal in LINK.findall(text):
            if not label:
                yield f"{page.at(line)}: the link to {goal} has no text (an image: no alternative text)"
            if problem := broken(goal, page.target.path):
                yield f"{page.at(line)}: {problem}"
        for number, goal in LINKED_LESSON.findall(text):
            if not Path(goal).name.startswith(f"{int(number):02}_"):
                yield f"{page.at(line)}: `lesson {number}` leads to {goal}"
        for pattern, what in UNPLAIN.items():
            if re.search(pattern, text, re.M):
                yield f"{page.at(line)}: {what} is shown as it stands in JupyterLab: write plain Markdown, `> **Tip:** …`"
        if text.count("<details>") != text.count("</details>"):
            yield f"{page.at(line)}: <details> without its </details>"


def broken(goal, path):
    """What is wrong with a link in the file `path`; '' if it leads somewhere, or out of the course."""
    if goal.startswith(("https://", "http://")):
        return ""
    file, _, anchor = goal.partition("#")
    there = (path.parent / file) if file else path
    if not there.exists():
        return f"the link to {goal} leads to no file"
    if (
        anchor
        and there.suffix == ".ipynb"
        and unquote(anchor) not in anchors(there, there.stat().st_mtime_ns)
    ):
        return f"the link to {goal} leads to no heading (JupyterLab makes `#Some-heading` of `## Some heading`)"
    return ""


@cache
def anchors(path, _changed):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    return {title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)}


def has_short_code(page):
    sizes = []
    for line, cell in page.of("code"):
        rows = source(cell).splitlines()
        for number, row in enumerate(rows, start=line + 1):
            if len(row) > COLUMNS:
                yield f"{page.at(number)}: a line of {len(row)} columns: {COLUMNS} fit the screen"
        sizes.append((len([row for row in rows if row.strip()]), line))
    long = [f"line {line}: {size}" for size, line in sizes if size > LINES]
    if len(long) > 0.1 * len(sizes):
        yield f"{page.at()}: {len(long)} of {len(sizes)} code cells have over {LINES} lines, one in ten may: {', '.join(long)}"
    if page.is_lesson and sizes and not page.is_draft:
        if (median := statistics.median(size for size, _ in sizes)) > MEDIAN_LINES:
            yield f"{page.at()}: half of the code cells have {median:.0f} lines or more: {MEDIAN_LINES} is the limit"


def writes_into_its_own_folder(page):
    name = page.target.name
    for line, cell in page.of("code"):
        for found in re.findall(r"[\"'`]files(?:/([\w.-]*))?", source(cell)):
            if found != name:
                yield f"{page.at(line)}: writes into files/{found}: two open notebooks would meet there, so use `files/{name}`"


def names_lessons_that_exist(page):
    for line, cell in zip(page.lines, page.cells):
        for number in missing_lessons(source(cell), page.target.root):
            yield f"{page.at(line)}: there is no lesson {number}"


def missing_lessons(text, root):
    """The numbers in `lesson 4`, `lessons 2 to 5` … that no lesson has."""
    there = {int(path.stem[:2]) for path in sources(root) if is_lesson(path)}
    said = {int(n) for match in LESSON.finditer(text) for n in re.findall(r"\d+", match[0])}
    return sorted(said - there)


# ---------------------------------------------------------------- of lessons


def says_what_it_gives_and_takes(page):
    if not page.is_lesson:
        return
    opening = source(page.cells[0])
    for promise, what in {
        "# ": "a title",
        "**You will**": "`**You will** …`, its payoffs",
        "**You need**": "`**You need** …`",
    }.items():
        if promise not in opening:
            yield f"{page.at()}: a lesson's first cell has {what}"
    if "**About " not in opening and LOOK_UP not in opening:
        yield f"{page.at()}: a lesson's first cell says `**About {{{{read}}}} minutes.**` (the build computes it)"
    text = page.target.source.read_text(encoding="utf-8")
    if re.search(r"\*\*About \d", text):
        yield f"{page.at()}: a reading time that was typed: write `**About {{{{read}}}} minutes.**`"


def fits_into_one_sitting(page):
    if page.is_lesson and LOOK_UP not in source(page.cells[0]):
        if (minutes := facts.rounded(facts.reading_minutes(page.cells))) > facts.LIMIT:
            yield f"{page.at()}: takes about {minutes} minutes to read, and {facts.LIMIT} are the limit: make it two lessons"


def ends_in_recap_and_questions(page):
    exercises = page.target.source.with_name(f"{page.target.name}_exercises.py")
    if not page.is_lesson or not exercises.exists():
        return
    last, line = source(page.cells[-1]), page.lines[-1]
    if not last.startswith("## Recap"):
        yield f"{page.at(line)}: a lesson ends in a cell `## Recap`"
    if last.count("<details>") != QUESTIONS and not page.is_draft:
        yield f"{page.at(line)}: {QUESTIONS} questions close a lesson, each with its answer in <details>; here are {last.count('<details>')}"
    if f"({exercises.stem}.ipynb)" not in last:
        yield f"{page.at(line)}: a lesson ends with a link to its exercises, `[the exercises]({exercises.stem}.ipynb)`"


# ---------------------------------------------------------------- of exercises


def asks_what_fits_into_one_sitting(page):
    if not page.is_unsolved:
        return
    found = EXERCISE.findall(page.text)
    minutes = sum(int(n) for _, _, n in found)
    if not page.is_draft:
        for what, value, (low, high) in (
            ("exercises", len(found), EXERCISES),
            ("minutes", minutes, MINUTES),
        ):
            if not low <= value <= high:
                yield f"{page.at()}: {low} to {high} {what} are one sitting, and there are {value} (their headings: `## 1.2 Title (5 minutes)`)"
    for line, cell in page.of("markdown"):
        for heading in re.findall(r"^## .+$", source(cell), re.M):
            if heading != "## How far you are" and not EXERCISE.match(heading):
                yield f"{page.at(line)}: {heading!r} is not `## 1.2 Title (5 minutes)`"
    last = source(page.cells[-1])
    if last != "check.summary()":
        yield f"{page.at(page.lines[-1])}: an exercise notebook ends in a cell `check.summary()`, below `## How far you are`"


def helps_and_checks_each_exercise(page):
    if not page.is_unsolved:
        return
    current, hints, numbers = None, 0, []

    def problems():
        if current and not 1 <= hints <= 2:
            yield f"{page.at(current[1])}: exercise {current[0]} has {hints} hints, and needs one or two, in <details>"
        if current and current[0] not in page.outcomes:
            yield f"{page.at(current[1])}: exercise {current[0]} has no check that shows its outcome"
        elif current and title_key(page.outcomes[current[0]][1]) != title_key(current[2]):
            yield (
                f"{page.at(current[1])}: exercise {current[0]} is {current[2]!r}, and its check says "
                f"{page.outcomes[current[0]][1]!r}: progress knows an exercise by its title"
            )

    for line, cell in page.of("markdown"):
        for heading in re.findall(r"^## .+$", source(cell), re.M):
            yield from problems()
            match = EXERCISE.match(heading)
            current, hints = ((match[1], line, match[2]), 0) if match else (None, 0)
            numbers += [match[1]] if match else []
        hints += source(cell).count("<details>") if current else 0
        for hint in re.findall(r"</summary>(.+?)</details>", source(cell), re.S):
            if len(hint) <= 30:
                yield f"{page.at(line)}: a hint of {len(hint.strip())} characters helps nobody: {hint.strip()!r}"
    yield from problems()
    expected = [f"{int(page.target.name[:2])}.{n}" for n in range(1, len(numbers) + 1)]
    if numbers != expected:
        yield f"{page.at()}: the exercises are numbered {', '.join(numbers)}, and should be {', '.join(expected)}"


def is_unsolved_here_and_solved_there(page):
    if not page.is_unsolved:
        return
    for number, (sign, _, line) in page.outcomes.items():
        if sign == "✅":
            yield f"{page.at(line)}: the check {number} passes before anything is solved"
    solved = page.solved().outcomes
    for number, (sign, title, line) in solved.items():
        if sign != "✅":
            yield f"{page.at(line)}: the solution does not pass its check: {sign} {number} {title}"
    if list(solved) != list(page.outcomes):
        yield f"{page.at()}: the checks {list(page.outcomes)} and in the solution {list(solved)}"


def is_explained_in_its_solution(page):
    if not page.is_unsolved:
        return
    explained = [
        cell
        for _, cell in page.solved().of("markdown")
        if "solution" in cell["metadata"].get("tags", [])
    ]
    wanted = len(EXERCISE.findall(page.text))
    if len(explained) != wanted:
        yield (
            f"{page.at()}: {len(explained)} cells explain the solutions of {wanted} exercises: after each check comes "
            'one text cell with tags=["solution"]'
        )


def lets_only_checks_use_an_answer(page):
    """An unsolved notebook must run to its end, so nothing but a check may read what is still todo."""
    if not page.is_unsolved:
        return
    todos = set()
    for line, cell in page.of("code"):
        tree = ast.parse(source(cell))
        todos |= {
            node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.value) == "todo"
        }
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        used = {node.id for node in names} & todos - assigned
        if used and not re.match(r"check\.\w+\(", source(cell)):
            yield f"{page.at(line)}: this cell uses the answer `{min(used)}`, which a learner has not written yet: only a check may"


# ---------------------------------------------------------------- of the course


def has_a_name_in_all_five_places(root):
    """Source, exercises, checks, answers, solution."""
    topics = {topic_of(path): path for path in sources(root) if is_exercises(path)}
    topics |= {topic_of(path): path for path in sources(root) if path.stem == "00_start_here"}
    for folder, what in (
        ("utils/checks", "its checks"),
        ("tests/answers", "the answers that try its checks"),
    ):
        there = {path.stem for path in (root / folder).glob("[!_]*.py")}
        for topic in sorted(topics.keys() - there):
            yield f"{at(topics[topic], 1)}: {what} are missing: {folder}/{topic}.py"
        for topic in sorted(there - topics.keys()):
            yield f"{folder}/{topic}.py: there is no notebooks/source/NN_{topic}_exercises.py"
    for path in topics.values():
        lesson = path.with_name(f"{path.stem.removesuffix('_exercises')}.py")
        if not lesson.exists():
            yield f"{at(path, 1)}: exercises without their lesson, {lesson.name}"


def has_each_number_once(root):
    seen = {}
    for path in filter(is_lesson, sources(root)):
        other = seen.setdefault(path.stem[:2], path)
        if other is not path:
            yield f"{at(path, 1)}: the number of {other.name}: choose another"


def has_pages_whose_links_lead_somewhere(root):
    """README and the other pages that are no notebook; and every mention of a lesson, in the code too."""
    for path in pages(root):
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{path.relative_to(root).as_posix()}:{number}"
            for _, _, goal in LINK.findall(line) if path.suffix == ".md" else ():
                if problem := broken(goal, path):
                    yield f"{where}: {problem}"
            for missing in missing_lessons(line, root):
                yield f"{where}: there is no lesson {missing}"


def pages(root):
    found = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("tests/*.md")]
    return sorted(
        found + [p for p in root.glob("utils/**/*.py") if p.name not in ("contract.py", "new.py")]
    )


def has_a_map_that_leads_to_every_notebook(root):
    start = root / "notebooks/00_start_here.ipynb"
    cells = json.loads(start.read_text(encoding="utf-8"))["cells"]
    links = {goal for cell in cells for _, _, goal in LINK.findall(source(cell))}
    for path in sorted([*root.glob("notebooks/*.ipynb"), *root.glob("solutions/*.ipynb")]):
        goal = path.name if path.parent.name == "notebooks" else f"../solutions/{path.name}"
        if path != start and goal not in links:
            yield f"notebooks/source/00_start_here.py:1: no link leads to {goal}: the map is `{{{{map}}}}`; mend: python3 -m utils build"


def imports_no_test_from_a_test(root):
    for path in sorted(root.glob("tests/**/*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.match(r"\s*(from|import) tests\.(\w+\.)*test_", line):
                yield f"{path.relative_to(root).as_posix()}:{number}: imports from a test: what tests share belongs into tests/support"


OF_A_PAGE = [
    is_executed_and_compared,
    prints_the_same_anywhere,
    has_headings_in_order,
    has_links_that_lead_somewhere,
    has_short_code,
    writes_into_its_own_folder,
    names_lessons_that_exist,
    says_what_it_gives_and_takes,
    fits_into_one_sitting,
    ends_in_recap_and_questions,
    asks_what_fits_into_one_sitting,
    helps_and_checks_each_exercise,
    is_unsolved_here_and_solved_there,
    is_explained_in_its_solution,
    lets_only_checks_use_an_answer,
]
OF_THE_COURSE = [
    has_a_name_in_all_five_places,
    has_each_number_once,
    has_pages_whose_links_lead_somewhere,
    has_a_map_that_leads_to_every_notebook,
    imports_no_test_from_a_test,
]


@cache
def page_of(target, *_changed):
    """One `Page` for all rules: what it has read counts until notebook, solution or source changes."""
    return Page(target)


def times(target):
    files = (target.source, target.path, target.root / "solutions" / target.path.name)
    return [file.stat().st_mtime_ns for file in files if file.exists()]


def problems(rule, names=(), root=ROOT):
    """What a rule finds wrong in the course, or in the notebooks of these names; each problem once."""
    if rule in OF_THE_COURSE:
        return list(rule(root))
    found = []
    for target in build.select(names, root):
        if target.path.exists():  # one that is missing is said to be stale
            with contextlib.suppress(SourceError):  # said by `stale`, once
                found += rule(page_of(target, *times(target)))
    return list(dict.fromkeys(found))
