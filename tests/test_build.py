"""The grammar of the sources, what the build does with it, and what it says when something is wrong."""

import json
import re

import nbformat
import pytest

from tests.support.course import NAME, change, edit
from utils.tools import build, facts, grammar

SOURCE = """\
# %% [markdown]
# # A title
#
# **About {{read}} minutes.**

# %% [markdown]
# ## 1.1 First (2 minutes)
# in all {{minutes}} in {{count}}

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
    return [cell.source for cell in grammar.generate(target).cells if cell.cell_type == "code"]


def test_the_learner_gets_placeholders(root):
    unsolved, _ = grammar.targets(root)
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
    _, solved = grammar.targets(root)
    _, answer, broken, _ = code_of(solved)
    assert "    return y" in answer and "third: int = 3" in answer
    assert broken.split("\n") == ["def broken():", "    return 2"]
    assert "BEGIN" not in answer + broken and "TODO" not in answer + broken


def test_solution_cells_and_minutes(root):
    unsolved, solved = map(grammar.generate, grammar.targets(root))
    assert len(solved.cells) == len(unsolved.cells) + 1
    assert "in all 2 in one" in unsolved.cells[1].source


SAYINGS = {  # what somebody writes by mistake: a text of SOURCE, what becomes of it, what must be said
    "a BEGIN without END": (
        ("    # END SOLUTION\n\n\n", "\n\n"),
        "09_x_exercises.py:16: BEGIN SOLUTION is never closed: end it in the same cell, with a line `# END SOLUTION`",
    ),
    "an END without BEGIN": (
        ("    # BEGIN SOLUTION\n    return y", "    return y"),
        "09_x_exercises.py:17: END SOLUTION without a BEGIN SOLUTION: a line `# BEGIN SOLUTION`",
    ),
    "an END in another cell": (
        ("# END SOLUTION\n\n# %%\ndef", "# %%\ndef"),
        "09_x_exercises.py:21: BEGIN SOLUTION is never closed",
    ),
    "the END of another kind": (
        ("    # END BROKEN\n", "    # END SOLUTION\n"),
        "09_x_exercises.py:30: END SOLUTION without a BEGIN SOLUTION",
    ),
    "a solution that assigns nothing": (
        ("first, (second, *rest) = 1, (2, 3)\nthird: int = 3", "print(1)"),
        "09_x_exercises.py:21: a solution at the start of a line assigns nothing ('print(1)'): the learner",
    ),
    "a tag that means nothing": (
        ('tags=["solution"]', 'tags=["solutions"]'),
        "09_x_exercises.py:35: the tag 'solutions' means nothing here: there are draft, raises-exception, solution",
    ),
    "an unknown name": (
        ("{{minutes}}", "{{minute}}"),
        "09_x_exercises.py:6: nothing is known as {{minute}}: there are Count, count, minutes, read",
    ),
    "no Python": (
        ("y = x + 1", "y = x +"),
        "09_x_exercises.py:15: with its markers taken for comments",
    ),
    "text before the first cell": (
        ("# %% [markdown]\n# # A", "# A"),
        "a source begins with a line `# %%",
    ),
}


@pytest.mark.parametrize("mistake", SAYINGS)
def test_a_source_that_breaks_the_grammar_is_told_file_line_and_cure(root, mistake):
    (old, new), sentence = SAYINGS[mistake]
    path = root / "notebooks/source/09_x_exercises.py"
    change(path, old, new)
    with pytest.raises(grammar.SourceError, match=re.escape(sentence)):
        grammar.generate(grammar.targets(root)[0])


@pytest.mark.parametrize(
    "line",
    [
        "# Begin solution",
        "# begin Solution",
        "#BEGIN SOLUTION",
        "### BEGIN SOLUTION",
        "# BEGIN SOLUTION:",
        "# BEGIN SOLUTON",  # misspelled on purpose
        "# BEGINN SOLUTION",  # misspelled on purpose
        "# BEGIN_SOLUTION",
        "# BEGINSOLUTION",
        "# BEGIN ANSWER",
        "# BEGIN THE SOLUTION",
        "# START SOLUTION",
        "# SOLUTION BEGIN",
        "# BEGIN",
        "x = 1  # BEGIN SOLUTION",
        "# BEGIN SOLUTIONS",
        "# --- BEGIN SOLUTION ---",
    ],
)
@pytest.mark.parametrize("edge", ["BEGIN", "END"])
def test_what_is_nearly_a_marker_is_refused(root, line, edge):
    for word in ("BEGIN", "Begin", "begin"):
        line = line.replace(word, edge if word.isupper() else edge.capitalize())
    path = root / "notebooks/source/09_x_exercises.py"
    change(path, "    y = x + 1\n", f"    {line}\n    y = x + 1\n")
    with pytest.raises(
        grammar.SourceError, match="py:15: .* is nearly a marker: write `# (BEGIN|END) "
    ):
        grammar.generate(grammar.targets(root)[0])


@pytest.mark.parametrize(
    "line",
    [
        "# the solution begins here",
        "# in the end, a solution",
        "# endless",
        "x = 1  # end of the file",
    ],
)
def test_other_comments_are_left_alone(root, line):
    change(
        root / "notebooks/source/09_x_exercises.py",
        "    y = x + 1\n",
        f"    {line}\n    y = x + 1\n",
    )
    assert line in code_of(grammar.targets(root)[0])[1]


def ids(target):
    return [cell.id for cell in grammar.finish(grammar.generate(target), target).cells]


def test_ids_depend_on_content_alone(root):
    target = grammar.targets(root)[0]
    before = ids(target)
    assert before == ids(target) and len(set(before)) == len(before)
    target.source.write_text(SOURCE.replace("print(broken())", "broken()"), encoding="utf-8")
    after = ids(target)
    assert before[:-1] == after[:-1] and before[-1] != after[-1]


# ---------------------------------------------------------------- building: `course` is in conftest.py


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*_):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(build, "execute", refuse)


def lesson(course):
    return course / f"notebooks/{NAME}.ipynb"


def source(course):
    return course / f"notebooks/source/{NAME}.py"


def outputs(path):
    return [cell.outputs for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_what_is_built_is_not_built_again(course, no_kernel):
    before = {path: path.stat().st_mtime_ns for path in course.rglob("*.ipynb")}
    assert build.stale(root=course) == [] and build.build(root=course) == ([], [])
    assert before == {path: path.stat().st_mtime_ns for path in course.rglob("*.ipynb")}
    assert outputs(lesson(course))[1][0].text == "≈ 0.97 True\n"
    assert "execution" not in lesson(course).read_text(encoding="utf-8").replace(
        "execution_count", ""
    )


def test_a_change_of_wording_starts_no_kernel(course, no_kernel):
    stored = outputs(lesson(course))
    change(source(course), "One claim.", "One claim, in better words.")
    assert build.build(root=course) == ([f"notebooks/{NAME}.ipynb"], [])
    assert "in better words" in lesson(course).read_text(encoding="utf-8")
    assert outputs(lesson(course)) == stored and build.stale(root=course) == []


def test_a_change_of_code_runs_that_notebook_alone(course, capsys):
    change(source(course), '"≈ 0.97"', '"≈ 0.98"')
    assert build.stale(root=course) == [
        f"notebooks/{NAME}.ipynb: its code cells differ from the source; mend: python3 -m utils build {NAME}"
    ]
    assert build.build(root=course) == ([f"notebooks/{NAME}.ipynb"], [])
    assert capsys.readouterr().out.count("running it") == 1
    assert outputs(lesson(course))[1][0].text == "≈ 0.98 True\n"


def test_what_a_notebook_uses_of_utils_makes_it_stale(course, no_kernel):
    path = course / "utils/checks/devices_memory.py"
    change(path, "one entry, and another number", "one entry, and you say another number")
    lines = build.stale(root=course)
    assert len(lines) == 2 and all(
        "something that it uses from utils/ has changed" in x for x in lines
    )
    assert all(f"{NAME}_exercises.ipynb: " in line for line in lines)


def test_what_it_does_not_use_and_comments_do_not(course):
    path = course / "utils/checks/devices_memory.py"
    change(path, "exercises = ", "# a comment\n\n\ndef nobody_uses():\n    pass\n\n\nexercises = ")
    assert build.stale(root=course) == []


def test_a_hand_edit_is_never_overwritten_silently(course, no_kernel):
    def write_note(notebook):
        notebook["cells"][2]["source"] = ["## First\n", "\n", "What a reader wrote here."]

    edit(lesson(course), write_note)
    mine = lesson(course).read_bytes()
    change(source(course), "One claim.", "Another claim.")
    sentence = (
        f"notebooks/{NAME}.ipynb: the cell that begins '## First' was edited here, and notebooks are generated: "
        f"carry the change into notebooks/source/{NAME}.py, then `python3 -m utils build --force {NAME}`"
    )
    assert build.stale(root=course) == [sentence]
    assert build.build(root=course) == ([], [sentence])
    assert lesson(course).read_bytes() == mine


@pytest.mark.parametrize(
    "change_cells, words",
    [
        (lambda n: n["cells"].pop(2), "a cell was removed here, or moved"),
        (lambda n: n["cells"].insert(1, n["cells"].pop(2)), "a cell was removed here, or moved"),
        (
            lambda n: n["cells"].append({**n["cells"][1], "source": "print(1)", "id": "new"}),
            "the cell that begins 'print(1)' was edited here",
        ),
        (
            lambda n: n["cells"][1].update(source="import torch"),
            "the cell that begins 'import torch' was edited here",
        ),
    ],
)
def test_every_kind_of_hand_edit_is_seen_and_force_overwrites_it(course, change_cells, words):
    before = lesson(course).read_bytes()
    edit(lesson(course), change_cells)
    (line,) = build.stale(root=course)
    assert words in line and "build --force" in line
    assert build.build(root=course)[0] == []
    assert build.build([NAME], course, force=True)[0] == [f"notebooks/{NAME}.ipynb"]
    assert lesson(course).read_bytes() == before


def test_an_edit_that_was_carried_into_the_source_is_no_longer_one(course, no_kernel):
    edit(lesson(course), lambda n: n["cells"][2].update(source="## First\n\nBetter."))
    change(source(course), "One claim.", "Better.")
    assert build.build(root=course) == ([f"notebooks/{NAME}.ipynb"], [])


def test_a_merge_conflict_in_a_notebook_is_built_over(course):
    path = lesson(course)
    path.write_text("<<<<<<< HEAD\n" + path.read_text("utf-8"), encoding="utf-8")
    (line,) = [line for line in build.stale(root=course) if line.startswith(f"notebooks/{NAME}.")]
    assert "not a notebook any more" in line and line.endswith(
        f"mend: python3 -m utils build {NAME}"
    )
    assert build.build(root=course) == ([f"notebooks/{NAME}.ipynb"], [])


def test_stored_outputs_that_were_never_compared_are_stale(course):
    path = lesson(course)
    path.write_text(
        path.read_text("utf-8").replace('"execution_count": 1', '"execution_count": null'), "utf-8"
    )
    (line,) = build.stale(root=course)
    assert "code cell 1 was never executed; mend: python3 -m utils build" in line


def test_a_stray_notebook_is_named(course):
    (course / "notebooks/stray.ipynb").write_text("{}", encoding="utf-8")
    assert build.stale(root=course) == ["notebooks/stray.ipynb: has no source; mend: delete it"]


FAILURES = {
    "raises": (
        'print("≈ 0.97", folder.exists())',
        "run.save()",
        "raised NameError: name 'run' is not defined",
    ),
    "ends": ('print("≈ 0.97", folder.exists())', "import os; os._exit(1)", "ended the kernel"),
    "loops": (
        'print("≈ 0.97", folder.exists())',
        "while True: pass",
        "did not end within 2 seconds",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_cell_that_fails_is_named_by_its_line_and_others_are_built(
    course, kind, monkeypatch, capfd
):
    old, new, words = FAILURES[kind]
    monkeypatch.setattr(build, "SECONDS", 2)
    before = lesson(course).read_bytes()
    change(source(course), old, new)
    change(
        course / "notebooks/source/00_start_here.py", "**You need** nothing", "**You need** time"
    )
    written, (problem,) = build.build(root=course)
    assert problem == (
        f"notebooks/source/{NAME}.py:17: the cell that begins here {words}; nothing was written"
    )
    assert written == ["notebooks/00_start_here.ipynb"] and lesson(course).read_bytes() == before
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_solution_that_does_not_pass_is_said_and_not_written(course):
    path = course / f"notebooks/source/{NAME}_exercises.py"
    change(
        path,
        "    return len(state)\n    # END SOLUTION\n\n# %%\ncheck.counts2",
        "    return 0\n    # END SOLUTION\n\n# %%\ncheck.counts2",
    )
    written, (problem,) = build.build(root=course)
    assert re.fullmatch(
        rf"notebooks/source/{NAME}_exercises.py:\d+: the solution does not pass its check: "
        "❌ 7.2 count 2: one entry, and another number; nothing was written",
        problem,
    )
    assert written == []


def test_a_check_that_passes_an_unsolved_exercise_is_said(course):
    path = course / f"notebooks/source/{NAME}_exercises.py"
    change(
        path,
        "    # BEGIN SOLUTION\n    return len(state)\n    # END SOLUTION",
        "    return len(state)",
    )
    _, problems = build.build(root=course)
    assert any("passes before anything is solved: ✅ 7.1" in problem for problem in problems)


def test_an_unknown_name_is_refused(course):
    with pytest.raises(
        grammar.SourceError, match="no source named nothing; there are: 00_start_here, 07"
    ):
        build.build(["nothing"], course)


@pytest.mark.parametrize(
    "name, count", [(NAME, 1), ("07", 3), ("devices_memory", 3), (f"notebooks/{NAME}.ipynb", 1)]
)
def test_a_notebook_has_several_names(course, name, count):
    assert len(build.select([name], course)) == count


def test_check_says_no_more_than_it_knows(capsys, monkeypatch):
    monkeypatch.setattr(build, "stale", lambda names: [])
    assert build.main(["--check"]) == 0
    assert "was run with what it uses from utils/" in capsys.readouterr().out


def test_wrong_options_are_told_the_usage(capsys):
    assert build.main(["--all"]) == 1 and build.main(["--check", "--force"]) == 1
    assert capsys.readouterr().err.count("usage: python3 -m utils build") == 2


# ---------------------------------------------------------------- facts that nobody counts by hand


def test_table_map_and_count_are_made_from_the_sources(course):
    readme = (course / "README.md").read_text(encoding="utf-8")
    link = f"notebooks/{NAME}_exercises.ipynb"
    assert (
        f"| 7 | [Measure the memory](notebooks/{NAME}.ipynb) | 5 min | [4 exercises]({link}), 24 min |"
        in readme
    )
    assert "**34 min**" in readme
    start = (course / "notebooks/00_start_here.ipynb").read_text(encoding="utf-8")
    assert (
        f"| 7 | [Measure the memory]({NAME}.ipynb) | 5 min | [4 exercises]({NAME}_exercises.ipynb), 24 min |"
        in start
    )
    assert (
        "Still to come: the state_dict (1), " in start
        and "the error clinic (12) and one run" in start
    )
    assert "Four exercises on [lesson 7]" in (course / link).read_text(encoding="utf-8")


def test_lesson_0_follows_the_others(course, no_kernel):
    change(source(course), "# # Measure the memory", "# # Measure all the memory")
    written, problems = build.build([NAME], course)
    assert not problems
    assert written == [f"notebooks/{NAME}.ipynb", "notebooks/00_start_here.ipynb", "README.md"]
    assert "Measure all the memory" in (course / "notebooks/00_start_here.ipynb").read_text("utf-8")


def test_a_lesson_without_its_minutes_stops_no_other(course, no_kernel):
    change(source(course), "**About {{read}} minutes.**", "")
    written, problems = build.build(root=course)
    assert not problems and f"notebooks/{NAME}.ipynb" in written
    assert "| to look up |" in (course / "README.md").read_text(encoding="utf-8")


def test_reading_minutes_are_those_of_the_formula():
    def cell(kind, text, lines=0):
        output = {"output_type": "stream", "text": "x\n" * lines}
        return {"cell_type": kind, "source": text, "outputs": [output] if lines else []}

    cells = [
        cell("markdown", "word " * 400 + "[two words](a/very/long/link.ipynb) <details>"),
        cell("markdown", "Predict, then run."),
        cell("code", "x = 1\n\n" * 24, lines=50),
    ]
    minutes = 402 / 200 + 3 / 200 + 0.4 + 24 / 12 + 50 / 25
    assert facts.reading_minutes(cells) == pytest.approx(minutes)
    assert [facts.rounded(m) for m in (1, 7, 8, 42.4, 42.6)] == [5, 5, 10, 40, 45]


def test_the_fault_figures_come_from_the_last_full_run(course):
    (course / "docs").mkdir()
    readme = course / "README.md"
    change(readme, "# It\n", "# It\n<!-- faults -->\nno figures yet\n<!-- /faults -->\n")
    figures = dict.fromkeys(facts.FIGURES, 1234) | {"torch": "2.15.0"}
    (course / "docs/faults.json").write_text(json.dumps(figures), encoding="utf-8")
    assert any("README.md: a table or figure" in line for line in build.stale(root=course))
    build.build(root=course)
    text = readme.read_text(encoding="utf-8")
    assert "1,234 processes were killed" in text and "no figures yet" not in text
