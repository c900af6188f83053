"""The error clinic: a message leads from the index to a section in which it is really printed."""

import re
from pathlib import Path

import pytest

from tests.support.notebooks import cells_of, source_of

CLINIC = Path(__file__).resolve().parent.parent / "notebooks/12_error_clinic.ipynb"
ROW = re.compile(r"^\| (.+) \| \[(.+?)\]\(#(.+?)\) \|$", re.M)
CODE = re.compile(r"``(.+?)``(?!`)|`([^`]+)`")


def in_one_line(text):
    return " ".join(text.replace("`", "").split())


def sections():
    """`{heading: everything that the section's cells print}`, in order."""
    found, heading = {}, None
    for cell in cells_of(CLINIC):
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^#{2,3} (.+)$", source_of(cell), re.M):
                found[heading] = ""
        elif heading:
            for output in cell["outputs"]:
                found[heading] += "".join(output.get("text", []))
    return found


INDEX = next(text for text in map(source_of, cells_of(CLINIC)) if text.startswith("## Index"))
ROWS = ROW.findall(INDEX)


def test_the_index_has_a_row_for_every_section_and_no_other():
    assert len(ROWS) == INDEX.count("](#") >= 35
    headings = list(sections())
    start = headings.index("What the file is") + 1
    end = next(n for n, heading in enumerate(headings) if heading.startswith("Six things"))
    groups = re.findall(r"^\*\*(.+)\*\*$", INDEX, re.M)
    assert set(groups) <= set(headings)
    assert {heading for _, heading, _ in ROWS} == set(headings[start:end]) - set(groups)


@pytest.mark.parametrize("messages, heading, anchor", ROWS, ids=[row[1] for row in ROWS])
def test_a_message_leads_to_the_section_that_prints_it(messages, heading, anchor):
    assert anchor == heading.replace(" ", "-")  # as JupyterLab makes it
    printed = in_one_line(sections()[heading])
    described = "(described)" in messages
    for double, single in CODE.findall(messages.partition("; described:")[0]):
        assert described or in_one_line(double or single) in printed, (double or single, printed)
