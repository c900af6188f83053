"""What every notebook of the course promises, whatever it is about."""

import ast
import json
import re
import shutil
import statistics

import pytest

from tests.support.notebooks import cells_of, outputs_of, source_of, text_of
from utils.tools import build
from utils.tools.course import ROOT, is_lesson

NOTEBOOKS = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("solutions/*.ipynb")])
LESSONS = [p for p in NOTEBOOKS if is_lesson(p)]
EXERCISES = sorted(ROOT.glob("notebooks/*_exercises.ipynb"))
OUTCOME = re.compile(r"([✅❌⬜]) (\d+\.\d+ [^:\n]+)")
TITLE = re.compile(r"^## (\d+\.\d+) (.+) \((\d+) minutes\)$", re.M)


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def outcomes_of(path):
    """`{title: sign}` of every check in a notebook, without its summary."""
    texts = ["".join(out.get("data", {}).get("text/plain", "")) for out in outputs_of(path)]
    return {match[2]: match[1] for text in texts if (match := OUTCOME.match(text))}


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=name_of)
every_exercise_notebook = pytest.mark.parametrize("path", EXERCISES, ids=name_of)


def test_there_are_notebooks():
    assert LESSONS and EXERCISES


def test_every_notebook_is_the_one_its_source_stands_for():
    lines = build.stale(ROOT)
    assert not lines, "\n".join(lines)


@every_notebook
def test_every_cell_is_executed_and_compared(path):
    for cell in cells_of(path, "code"):
        assert source_of(cell).strip(), "an empty code cell"
        assert cell["execution_count"] is not None, source_of(cell)
        tags = set(cell["metadata"].get("tags", []))
        assert tags <= {"solution", "raises-exception"}, tags
        assert not re.search(r"NBVAL|clear_output|display_id", source_of(cell))


@every_notebook
def test_outputs_are_the_same_on_any_machine(path):
    for output in outputs_of(path):
        assert output.get("name") != "stderr", output
        text = json.dumps({k: v for k, v in output.items() if k != "data"}) + json.dumps(
            {kind: data for kind, data in output.get("data", {}).items() if "image" not in kind}
        )
        assert not re.search(r"\d\.\d{6,}", text), f"a measured number: {text[:300]}"
        for trace in (
            r"\\u001b\[",
            r"0x[0-9a-f]{6,}",
            r"/home/|/root/|/tmp/|/Users/|/notebooks/|site-packages",
            "ipykernel_",
        ):
            assert not re.search(trace, text), f"{trace} in {text[:300]}"
        if any("image" in kind for kind in output.get("data", {})):
            assert len("".join(output["data"]["text/plain"])) > 20, "an image without its words"


@every_notebook
def test_headings_are_in_order(path):
    levels = [len(hashes) for hashes in re.findall(r"^(#+) ", text_of(path), re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in zip(levels, levels[1:]))


@every_notebook
def test_links_resolve_and_images_have_alternative_text(path):
    for bang, label, goal in re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", text_of(path)):
        assert label, f"no text for {goal}"
        if not goal.startswith(("https://", "http://")):
            assert (path.parent / goal.split("#")[0]).exists(), goal
    assert not re.search(r"^> \[!|^:::|^```\{", text_of(path), re.M), "not plain Markdown"
    assert text_of(path).count("<details>") == text_of(path).count("</details>")


@every_notebook
def test_code_is_short_and_fits_the_screen(path):
    sizes = []
    for cell in cells_of(path, "code"):
        lines = source_of(cell).splitlines()
        assert max(map(len, lines)) <= 88, max(lines, key=len)
        ast.parse(source_of(cell))
        sizes.append(len([line for line in lines if line.strip()]))
    assert sum(size <= 15 for size in sizes) >= 0.9 * len(sizes)
    if path in LESSONS:
        assert statistics.median(sizes) <= 5


@every_lesson
def test_a_lesson_says_what_it_gives_and_takes(path):
    opening = source_of(cells_of(path)[0])
    for promise in ("# ", "**You will**", "**You need**", "**About "):
        assert promise in opening, promise


@pytest.mark.parametrize("path", EXERCISES, ids=name_of)
def test_a_lesson_with_exercises_ends_in_recap_and_questions(path):
    lesson = path.with_name(path.name.replace("_exercises", ""))
    last = source_of(cells_of(lesson)[-1])
    assert last.startswith("## Recap") and last.count("<details>") == 3
    assert f"({path.name})" in last


@every_exercise_notebook
def test_every_exercise_has_minutes_a_hint_and_a_check(path):
    titles = TITLE.findall(text_of(path))
    assert 4 <= len(titles) <= 6
    assert 20 <= sum(int(minutes) for _, _, minutes in titles) <= 30
    assert len(titles) == text_of(path).count("\n## ") + text_of(path).startswith("## ") - 1
    for part in re.split(r"^## ", text_of(path), flags=re.M)[1:-1]:
        assert 1 <= part.count("<details>") <= 2, f"{part[:30]}: a hint or two"
        assert all(len(hint) > 30 for hint in re.findall(r"</summary>(.+?)</details>", part, re.S))
    checked = [title.split(" ")[0] for title in outcomes_of(path)]
    assert checked == [number for number, _, _ in titles]
    assert source_of(cells_of(path)[-1]) == "check.summary()"


@every_exercise_notebook
def test_unsolved_here_and_solved_there(path):
    unsolved, solved = outcomes_of(path), outcomes_of(ROOT / "solutions" / path.name)
    assert list(unsolved) == list(solved)
    assert "✅" not in unsolved.values()
    assert set(solved.values()) == {"✅"}


@every_exercise_notebook
def test_the_solution_explains_each_exercise(path):
    solved = cells_of(ROOT / "solutions" / path.name, "markdown")
    explained = [cell for cell in solved if "solution" in cell["metadata"].get("tags", [])]
    assert len(explained) == len(TITLE.findall(text_of(path)))


@every_exercise_notebook
def test_only_a_check_uses_an_answer(path):
    """An unsolved notebook must run to its end, so nothing but a check may read what is still todo."""
    todos = set()
    for cell in cells_of(path, "code"):
        tree = ast.parse(source_of(cell))
        todos |= {
            node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.value) == "todo"
        }
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & todos
        assigned = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        if used - assigned:
            assert re.match(r"check\.\w+\(", source_of(cell)), source_of(cell)


def test_there_is_a_compiler_for_lesson_4():
    advice = "lesson 4 compiles a C++ program: install g++ (on Debian and Ubuntu, apt install g++)"
    assert shutil.which("g++"), advice


def test_the_map_of_lesson_0_leads_to_every_notebook():
    start, *others = sorted(path.name for path in ROOT.glob("notebooks/*.ipynb"))
    links = re.findall(r"\]\(([^)]+)\)", text_of(ROOT / "notebooks" / start))
    assert set(others) <= set(links)
    assert {f"../solutions/{path.name}" for path in ROOT.glob("solutions/*.ipynb")} <= set(links)


def test_the_readme_links_resolve():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for goal in re.findall(r"\]\(([^)]+)\)", readme):
        if not goal.startswith("http"):
            assert (ROOT / goal.split("#")[0]).exists(), goal
