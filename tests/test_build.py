"""The grammar of the sources, and what the build does with it."""

import json

import pytest

from utils.tools import build

SOURCE = """\
# %% [markdown]
# # A title
#
# **About 3 minutes.**

# %% [markdown]
# ## 1.1 First (2 minutes)
# in all {{minutes}}

# %%
from utils.checks import todo

# %%
def answer(x):
    y = x + 1
    # BEGIN SOLUTION
    return y
    # END SOLUTION


# BEGIN SOLUTION
first, (second, *rest) = 1, (2, 3)
third: int = 3
# END SOLUTION

# %%
def broken():
    # BEGIN BROKEN
    return 1
    # END BROKEN
    # BEGIN SOLUTION
    return 2
    # END SOLUTION

# %% [markdown] tags=["solution"]
# Because. (7 minutes)

# %%
print(broken())
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "notebooks/source").mkdir(parents=True)
    (tmp_path / "notebooks/source/09_x_exercises.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def code_of(target):
    return [cell.source for cell in build.generate(target).cells if cell.cell_type == "code"]


def test_the_learner_gets_placeholders(root):
    unsolved, _ = build.targets(root)
    _, answer, broken, _ = code_of(unsolved)
    assert answer.split("\n") == [
        "def answer(x):",
        "    y = x + 1",
        "    # TODO: your code here",
        "    raise NotImplementedError",
        "",
        "",
        "# TODO: your code here",
        "first = todo",
        "second = todo",
        "rest = todo",
        "third = todo",
    ]
    assert broken.split("\n") == ["def broken():", "    return 1"]


def test_the_solution_keeps_the_answers_and_no_markers(root):
    _, solved = build.targets(root)
    _, answer, broken, _ = code_of(solved)
    assert "    return y" in answer and "third: int = 3" in answer
    assert broken.split("\n") == ["def broken():", "    return 2"]
    assert "BEGIN" not in answer + broken and "TODO" not in answer + broken


def test_solution_cells_and_minutes(root):
    unsolved, solved = map(build.generate, build.targets(root))
    assert len(solved.cells) == len(unsolved.cells) + 1
    assert "in all 2" in unsolved.cells[1].source


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ("    # END SOLUTION\n\n\n", "\n\n"),
            "09_x_exercises.py:16: BEGIN SOLUTION is never closed",
        ),
        (
            ("    # BEGIN SOLUTION\n    return y", "    return y"),
            "py:17: END SOLUTION without a BEGIN",
        ),
        (("# END SOLUTION\n\n# %%\ndef", "# %%\ndef"), "py:21: BEGIN SOLUTION is never closed"),
        (("    # END BROKEN\n", "    # END SOLUTION\n"), "py:30: END SOLUTION without a BEGIN"),
    ],
)
def test_a_marker_without_its_partner_names_file_and_line(root, change, message):
    assert change[0] in SOURCE
    path = root / "notebooks/source/09_x_exercises.py"
    path.write_text(SOURCE.replace(*change, 1), encoding="utf-8")
    with pytest.raises(build.SourceError, match=message):
        build.generate(build.targets(root)[0])


def test_a_top_level_solution_must_assign_something(root):
    path = root / "notebooks/source/09_x_exercises.py"
    text = SOURCE.replace("first, (second, *rest) = 1, (2, 3)\nthird: int = 3", "print(1)")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(build.SourceError, match="assigns nothing: 'print"):
        build.generate(build.targets(root)[0])


def test_ids_depend_on_content_alone(root):
    target = build.targets(root)[0]
    before = [cell.id for cell in build.generate(target).cells]
    assert before == [cell.id for cell in build.generate(target).cells]
    assert len(set(before)) == len(before)
    target.source.write_text(SOURCE.replace("print(broken())", "broken()"), encoding="utf-8")
    after = [cell.id for cell in build.generate(target).cells]
    assert before[:-1] == after[:-1] and before[-1] != after[-1]


def test_build_writes_once_then_nothing(root, capsys):
    assert len(build.stale(root)) == 2
    assert len(build.build(root=root)) == 2
    solved = root / "solutions/09_x_exercises.ipynb"
    notebook = json.loads(solved.read_text(encoding="utf-8"))
    assert notebook["cells"][-1]["outputs"][0]["text"] == ["2\n"]
    assert "execution" not in json.dumps([cell["metadata"] for cell in notebook["cells"]])
    stamp = solved.stat().st_mtime_ns
    assert build.stale(root) == [] and build.build(root=root) == []
    assert solved.stat().st_mtime_ns == stamp


def test_check_says_what_is_stale_and_how_to_mend_it(root, capsys):
    build.build(root=root)
    path = root / "notebooks/09_x_exercises.ipynb"
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace("# A title", "# Another"), encoding="utf-8")
    (line,) = build.stale(root)
    assert "was edited" in line and line.endswith("mend: python3 -m utils build 09_x_exercises")
    path.write_text(original.replace('"execution_count": 1', '"execution_count": null'), "utf-8")
    assert "was never executed" in build.stale(root)[0]
    path.write_text(original, encoding="utf-8")
    (root / "notebooks/stray.ipynb").write_text("{}", encoding="utf-8")
    assert build.stale(root) == ["notebooks/stray.ipynb: has no source; mend: delete it"]


def test_an_unknown_name_is_refused(root, capsys):
    with pytest.raises(
        build.SourceError, match="no source named nothing; there are: 09_x_exercises"
    ):
        build.build(["nothing"], root)


def test_the_lesson_table_is_made_from_the_sources(root):
    lesson = SOURCE.replace("(2 minutes)", "")
    (root / "notebooks/source/09_x.py").write_text(lesson, encoding="utf-8")
    readme = root / "README.md"
    readme.write_text("before\n<!-- lessons -->\n<!-- /lessons -->\nafter\n", encoding="utf-8")
    text = build.with_lesson_table(readme, root)
    assert "[A title](notebooks/09_x.ipynb) | 3 min | [1 exercise]" in text
    assert "**5 min**" in text  # 3 to read, 2 in the exercise
    assert text.startswith("before\n") and text.endswith("after\n")
