"""The questions that people asked: each leads to a section whose cells answer it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.notebooks import cells_of, source_of

HERE = Path(__file__).resolve().parent
ROW = re.compile(r"^\| (\d+) \| (.+) \| \[.+\]\((https://\S+)\) \| (.+) \|$", re.M)
ANSWER = re.compile(r"\[(\w+): (.+)\]\((\S+\.ipynb)#(\S+)\)$")
ROWS = ROW.findall((HERE / "questions.md").read_text(encoding="utf-8"))
ANSWERED = [row for row in ROWS if not row[3].startswith("*open*")]


def sections(path):
    """`{heading: number of code cells below it}`; an anchor goes to the first of its name."""
    found, heading = {}, ""
    for cell in cells_of(path):
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^#{1,3} (.+)$", source_of(cell), re.M):
                found.setdefault(heading, 0)
        elif heading:
            found[heading] += 1
    return found


def test_there_are_fifty_and_nearly_all_are_answered():
    lines = (HERE / "questions.md").read_text(encoding="utf-8").count("\n| ") - 1
    form = "tests/questions.md: a row is not `| number | question | [thread](https://…) | answer |`"
    assert len(ROWS) == lines >= 50, form  # without the table's head
    numbers = [int(number) for number, *_ in ROWS]
    assert numbers == list(range(1, lines + 1)), "tests/questions.md: rows are numbered from 1 on"
    assert len(ANSWERED) >= 0.96 * len(ROWS), "tests/questions.md: too many questions are *open*"


@pytest.mark.parametrize("column", [1, 2], ids=["question", "thread"])
def test_no_two_are_the_same(column):
    values = [row[column] for row in ROWS]
    twice = {value for value in values if values.count(value) > 1}
    assert not twice, f"tests/questions.md: twice there: {twice}"


@pytest.mark.parametrize("answer", [row[3] for row in ANSWERED], ids=[row[0] for row in ANSWERED])
def test_an_answer_is_a_section_with_cells(answer):
    match = ANSWER.match(answer)
    form = f"tests/questions.md: {answer!r} is not `[NN_topic: Heading](../notebooks/NN_topic.ipynb#Heading)`"
    assert match, form
    name, heading, path, anchor = match.groups()
    notebook = (HERE / path).resolve()
    assert notebook.exists() and notebook.stem == name, form
    assert unquote(anchor) == heading.replace(" ", "-"), form  # as JupyterLab makes it
    lost = f"tests/questions.md: {name} has no section {heading!r} with code cells"
    assert sections(notebook).get(heading, 0) >= 1, (
        f"{lost}; there are {sorted(sections(notebook))}"
    )
