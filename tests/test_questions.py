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
    assert len(ROWS) == lines >= 50  # without the table's head
    assert [int(number) for number, *_ in ROWS] == list(range(1, lines + 1))
    assert len(ANSWERED) >= 0.96 * len(ROWS)


@pytest.mark.parametrize("column", [1, 2], ids=["question", "thread"])
def test_no_two_are_the_same(column):
    values = [row[column] for row in ROWS]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("answer", [row[3] for row in ANSWERED], ids=[row[0] for row in ANSWERED])
def test_an_answer_is_a_section_with_cells(answer):
    name, heading, path, anchor = ANSWER.match(answer).groups()
    notebook = (HERE / path).resolve()
    assert notebook.exists() and notebook.stem == name
    assert unquote(anchor) == heading.replace(" ", "-")  # as JupyterLab makes it
    assert sections(notebook).get(heading, 0) >= 1, sorted(sections(notebook))
