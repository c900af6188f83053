"""Each rule of the contract refuses what it is there for, in a sentence with file, line and cure."""

import re

import pytest

from tests.support.course import NAME, change, edit
from utils.tools import build, contract

LESSON = f"notebooks/{NAME}.ipynb"
EXERCISES = f"notebooks/{NAME}_exercises.ipynb"
SOLVED = f"solutions/{NAME}_exercises.ipynb"
SOURCE = f"notebooks/source/{NAME}.py"
AT = rf"{SOURCE}:\d+: "
AT_EXERCISES = rf"notebooks/source/{NAME}_exercises.py:\d+: "


def test_a_good_course_has_no_problem(course):
    for rule in contract.OF_A_PAGE + contract.OF_THE_COURSE:
        assert contract.problems(rule, root=course) == [], rule.__name__


def outputs(**change):
    def apply(notebook):
        notebook["cells"][3]["outputs"][0].update(change)

    return apply


def displayed(**data):
    def apply(notebook):
        notebook["cells"][3]["outputs"] = [
            {"output_type": "display_data", "metadata": {}, "data": data}
        ]

    return apply


def code(text):
    return lambda notebook: notebook["cells"][3].update(source=text)


def words(index, old, new):
    def apply(notebook):
        source = "".join(notebook["cells"][index]["source"])
        assert old in source
        notebook["cells"][index]["source"] = source.replace(old, new)

    return apply


def count(number):
    return lambda notebook: notebook["cells"][3].update(execution_count=number)


# the rule, the notebook, what becomes of it, what is said
WOUNDS = {
    "never executed": (
        "is_executed_and_compared",
        LESSON,
        count(None),
        AT + "never executed, so never compared",
    ),
    "hidden": (
        "is_executed_and_compared",
        LESSON,
        code("# NBVAL_SKIP\nx"),
        AT + "NBVAL_SKIP hides an output",
    ),
    "cleared": (
        "is_executed_and_compared",
        LESSON,
        code("clear_output()"),
        AT + "clear_output hides an output",
    ),
    "empty": ("is_executed_and_compared", LESSON, code(" "), AT + "an empty code cell: remove it"),
    "stderr": ("prints_the_same_anywhere", LESSON, outputs(name="stderr"), AT + "prints to stderr"),
    "a long number": (
        "prints_the_same_anywhere",
        LESSON,
        outputs(text=["0.12345678"]),
        AT
        + "prints 0.12345678, which another machine would not: round it and print it behind `≈ `",
    ),
    "a path": (
        "prints_the_same_anywhere",
        LESSON,
        outputs(text=["/home/somebody/x.pt"]),
        AT + r"prints a path of this machine \('/home/somebody/x.pt'\): print a relative path",
    ),
    "a path of Windows": (
        "prints_the_same_anywhere",
        LESSON,
        outputs(text=["C:\\Users\\me"]),
        AT + "prints a path of this machine",
    ),
    "an address": (
        "prints_the_same_anywhere",
        LESSON,
        displayed(**{"text/plain": "<object at 0x7f3a2b1c>"}),
        AT + "prints an address in memory",
    ),
    "colours": (
        "prints_the_same_anywhere",
        LESSON,
        outputs(text=["\x1b[31mred"]),
        AT + "prints colour codes",
    ),
    "the kernel": (
        "prints_the_same_anywhere",
        LESSON,
        outputs(text=["ipykernel_12/3.py"]),
        AT + "prints the path of",
    ),
    "an image alone": (
        "prints_the_same_anywhere",
        LESSON,
        displayed(**{"image/png": "iVBOR", "text/plain": "<Figure>"}),
        AT + "an image without its message in words: show it with `show.Picture",
    ),
    "no title": (
        "has_headings_in_order",
        LESSON,
        words(0, "# Measure", "## Measure"),
        AT + "a notebook begins with its title",
    ),
    "two titles": (
        "has_headings_in_order",
        LESSON,
        words(2, "## First", "# First"),
        AT + "a second title",
    ),
    "a level left out": (
        "has_headings_in_order",
        LESSON,
        words(2, "## First", "### First"),
        AT + "a heading with 3 # below one with 1",
    ),
    "a dead link": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One claim", "[One](01_nothing.ipynb)"),
        AT + "the link to 01_nothing.ipynb leads to no file",
    ),
    "a dead anchor": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One claim", f"[One]({NAME}_exercises.ipynb#Nowhere)"),
        AT + f"the link to {NAME}_exercises.ipynb#Nowhere leads to no heading",
    ),
    "a dead anchor here": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One", "[One](#Nowhere)"),
        AT + "the link to #Nowhere leads to no heading",
    ),
    "an image without words": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One claim", "![](../README.md)"),
        AT + r"the link to ../README.md has no text \(an image: no alternative text\)",
    ),
    "another lesson's link": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One claim", "[lesson 7](00_start_here.ipynb)"),
        AT + "`lesson 7` leads to 00_start_here.ipynb",
    ),
    "not plain Markdown": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(2, "One", "> [!NOTE]\n> One"),
        AT + r"`> \[!NOTE\]` is shown as it stands",
    ),
    "details left open": (
        "has_links_that_lead_somewhere",
        LESSON,
        words(4, "</details>", ""),
        AT + "<details> without its </details>",
    ),
    "a long line": (
        "has_short_code",
        LESSON,
        code("x = 1  # " + "y" * 90),
        AT + "a line of 99 columns: 88 fit the screen",
    ),
    "long cells": (
        "has_short_code",
        LESSON,
        code("x = 1\n" * 16),
        AT + "1 of 2 code cells have over 15 lines, one in ten may",
    ),
    "another folder": (
        "writes_into_its_own_folder",
        LESSON,
        code('torch.save(1, "files/run.pt")'),
        AT
        + f"writes into files/run.pt: two open notebooks would meet there, so use `files/{NAME}`",
    ),
    "a lesson that is not there": (
        "names_lessons_that_exist",
        LESSON,
        words(2, "One claim", "See lesson 9"),
        AT + "there is no lesson 9",
    ),
    "lessons that are not there": (
        "names_lessons_that_exist",
        LESSON,
        words(2, "One claim", "Lessons 0, 7 and 8"),
        AT + "there is no lesson 8",
    ),
    "no needs": (
        "says_what_it_gives_and_takes",
        LESSON,
        words(0, "**You need**", "You need"),
        AT + r"a lesson's first cell has `\*\*You need",
    ),
    "no payoffs": (
        "says_what_it_gives_and_takes",
        LESSON,
        words(0, "**You will**", "You"),
        AT + r"a lesson's first cell has `\*\*You will",
    ),
    "no minutes": (
        "says_what_it_gives_and_takes",
        LESSON,
        words(0, "**About", "About"),
        AT + r"a lesson's first cell says `\*\*About \{\{read\}\} minutes",
    ),
    "too long": (
        "fits_into_one_sitting",
        LESSON,
        words(2, "One claim", "word " * 9600),
        AT + "takes about 50 minutes to read, and 45 are the limit",
    ),
    "no recap": (
        "ends_in_recap_and_questions",
        LESSON,
        words(4, "## Recap", "## End"),
        AT + "a lesson ends in a cell `## Recap`",
    ),
    "two questions": (
        "ends_in_recap_and_questions",
        LESSON,
        words(4, "<details>\n<summary>Two?</summary>", "Two?"),
        AT + "3 questions close a lesson, each with its answer in <details>; here are 2",
    ),
    "no way on": (
        "ends_in_recap_and_questions",
        LESSON,
        words(4, f"({NAME}_exercises.ipynb)", "(00_start_here.ipynb)"),
        AT + "a lesson ends with a link to its exercises",
    ),
    "too few exercises": (
        "asks_what_fits_into_one_sitting",
        EXERCISES,
        lambda n: n["cells"].__delitem__(slice(2, 5)),
        AT_EXERCISES + "4 to 6 exercises are one sitting, and there are 3",
    ),
    "too many minutes": (
        "asks_what_fits_into_one_sitting",
        EXERCISES,
        words(2, "(6 minutes)", "(16 minutes)"),
        AT_EXERCISES + "20 to 30 minutes are one sitting, and there are 34",
    ),
    "a heading without minutes": (
        "asks_what_fits_into_one_sitting",
        EXERCISES,
        words(2, " (6 minutes)", ""),
        AT_EXERCISES + "'## 7.1 Count 1' is not `## 1.2 Title",
    ),
    "no summary": (
        "asks_what_fits_into_one_sitting",
        EXERCISES,
        lambda n: n["cells"].pop(),
        AT_EXERCISES + "an exercise notebook ends in a cell `check.summary",
    ),
    "no hint": (
        "helps_and_checks_each_exercise",
        EXERCISES,
        words(2, "<details>", "<p>"),
        AT_EXERCISES + "exercise 7.1 has 0 hints, and needs one or two",
    ),
    "an empty hint": (
        "helps_and_checks_each_exercise",
        EXERCISES,
        words(2, "It is enough to look at the length of it.", "Think."),
        AT_EXERCISES + "a hint of 6 characters helps nobody: 'Think.'",
    ),
    "no check": (
        "helps_and_checks_each_exercise",
        EXERCISES,
        lambda n: n["cells"][4].update(outputs=[]),
        AT_EXERCISES + "exercise 7.1 has no check that shows its outcome",
    ),
    "a wrong number": (
        "helps_and_checks_each_exercise",
        EXERCISES,
        words(2, "## 7.1", "## 7.5"),
        AT_EXERCISES + "the exercises are numbered 7.5, 7.2, 7.3, 7.4, and should be 7.1",
    ),
    "another title": (
        "helps_and_checks_each_exercise",
        EXERCISES,
        words(2, "7.1 Count 1", "7.1 Count one"),
        AT_EXERCISES + "exercise 7.1 is 'Count one', and its check says 'count 1'",
    ),
    "solved too early": (
        "is_unsolved_here_and_solved_there",
        EXERCISES,
        lambda n: n["cells"][4]["outputs"][0]["data"].update({"text/plain": ["✅ 7.1 count 1"]}),
        AT_EXERCISES + "the check 7.1 passes before anything is solved",
    ),
    "not solved": (
        "is_unsolved_here_and_solved_there",
        SOLVED,
        lambda n: n["cells"][4]["outputs"][0]["data"].update(
            {"text/plain": ["❌ 7.1 count 1: no"]}
        ),
        AT_EXERCISES + "the solution does not pass its check: ❌ 7.1 count 1",
    ),
    "not explained": (
        "is_explained_in_its_solution",
        SOLVED,
        lambda n: n["cells"].pop(5),
        AT_EXERCISES
        + "3 cells explain the solutions of 4 exercises: after each check comes one text cell",
    ),
    "an answer is used": (
        "lets_only_checks_use_an_answer",
        EXERCISES,
        lambda n: (
            n["cells"][3].update(source="answer = todo"),
            n["cells"][4].update(source="print(answer)"),
        ),
        AT_EXERCISES + "this cell uses the answer `answer`, which a learner has not written yet",
    ),
}


@pytest.mark.parametrize("wound", WOUNDS)
def test_a_wound_is_found_by_its_rule(course, wound):
    rule, path, wounded, sentence = WOUNDS[wound]
    edit(course / path, wounded)
    found = contract.problems(getattr(contract, rule), root=course)
    assert any(re.match(sentence, problem) for problem in found), found
    for problem in found:
        assert re.match(r"(notebooks|solutions)/\S+:\d+: ", problem)


def test_a_reading_time_that_was_typed_is_refused(course):
    change(course / SOURCE, "**About {{read}} minutes.**", "**About 5 minutes.**")
    (found,) = contract.problems(contract.says_what_it_gives_and_takes, root=course)
    assert "a reading time that was typed: write `**About {{read}} minutes.**`" in found


IN_THE_COURSE = {
    "no checks": (
        "has_a_name_in_all_five_places",
        lambda root: (root / "utils/checks/devices_memory.py").unlink(),
        f"notebooks/source/{NAME}_exercises.py:1: its checks are missing: utils/checks/devices_memory.py",
    ),
    "no answers": (
        "has_a_name_in_all_five_places",
        lambda root: (root / "tests/answers/devices_memory.py").unlink(),
        f"notebooks/source/{NAME}_exercises.py:1: the answers that try its checks are missing: tests/answers/devices",
    ),
    "checks of nothing": (
        "has_a_name_in_all_five_places",
        lambda root: (root / "utils/checks/other.py").touch(),
        "utils/checks/other.py: there is no notebooks/source/NN_other_exercises.py",
    ),
    "no lesson": (
        "has_a_name_in_all_five_places",
        lambda root: (root / SOURCE).unlink(),
        f"notebooks/source/{NAME}_exercises.py:1: exercises without their lesson",
    ),
    "a number twice": (
        "has_each_number_once",
        lambda root: (root / "notebooks/source/07_other.py").write_text(
            "# %% [markdown]\n# # x\n", encoding="utf-8"
        ),
        "notebooks/source/07_other.py:1: the number of 07_devices_memory.py",
    ),
    "a dead link in README": (
        "has_pages_whose_links_lead_somewhere",
        lambda root: change(root / "README.md", "# It", "[it](nowhere.md)"),
        "README.md:1: the link to nowhere.md leads to no file",
    ),
    "a lesson that is not there, in README": (
        "has_pages_whose_links_lead_somewhere",
        lambda root: change(root / "README.md", "# It", "See lesson 3"),
        "README.md:1: there is no lesson 3",
    ),
    "a lesson that is not there, in a check": (
        "has_pages_whose_links_lead_somewhere",
        lambda root: change(root / "utils/checks/devices_memory.py", "one entry", "lesson 3"),
        r"utils/checks/devices_memory.py:\d+: there is no lesson 3",
    ),
    "a map without it": (
        "has_a_map_that_leads_to_every_notebook",
        lambda root: edit(root / "notebooks/00_start_here.ipynb", words(0, NAME, "x")),
        f"notebooks/source/00_start_here.py:1: no link leads to {NAME}.ipynb",
    ),
    "a test that imports a test": (
        "imports_no_test_from_a_test",
        lambda root: (root / "tests/test_x.py").write_text(
            "import os\nfrom tests.test_y import z\n",
            encoding="utf-8",
        ),
        "tests/test_x.py:2: imports from a test: what tests share belongs into tests/support",
    ),
}


@pytest.mark.parametrize("wound", IN_THE_COURSE)
def test_a_wound_of_the_course_is_found(course, wound):
    rule, wounded, sentence = IN_THE_COURSE[wound]
    wounded(course)
    found = contract.problems(getattr(contract, rule), root=course)
    assert any(re.match(sentence, problem) for problem in found), found


def test_every_rule_is_watched_refusing():
    watched = {wound[0] for wound in [*WOUNDS.values(), *IN_THE_COURSE.values()]}
    assert watched == {rule.__name__ for rule in contract.OF_A_PAGE + contract.OF_THE_COURSE}


def test_a_draft_is_excused_from_limits_and_says_so(course):
    for name in (NAME, f"{NAME}_exercises"):
        change(
            course / f"notebooks/source/{name}.py",
            "# %% [markdown]",
            '# %% [markdown] tags=["draft"]',
        )
    edit(course / EXERCISES, lambda n: n["cells"].__delitem__(slice(2, 5)))
    edit(course / LESSON, words(4, "<details>\n<summary>Two?</summary>", "Two?"))
    for rule in ("asks_what_fits_into_one_sitting", "ends_in_recap_and_questions"):
        found = contract.problems(getattr(contract, rule), root=course)
        assert not any(
            "one sitting" in problem or "questions close" in problem for problem in found
        )
    build.build([NAME], course, force=True)
    assert "> **Draft:** this notebook is being written" in (course / LESSON).read_text("utf-8")
