"""The error clinic: a message leads from the index to a section in which it is really printed."""

import re

import pytest

from tests.support.notebooks import cells_of, source_of
from tests.support.refuse import refuse
from utils.tools.course import ROOT

CLINIC = ROOT / "notebooks/12_error_clinic.ipynb"
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


def faults_of_index(index, headings):
    """Where the index and the headings of the sections do not fit each other, in sentences."""
    where = "notebooks/source/12_error_clinic.py: the index"
    rows = ROW.findall(index)
    if len(rows) != index.count("](#"):
        yield f"{where}: a row is not `| message | [heading](#heading) |`"
    headings = list(headings)
    groups = re.findall(r"^\*\*(.+)\*\*$", index, re.M)
    for group in groups:
        if group not in headings:
            yield f"{where}: its group {group!r} is not a heading of the clinic"
    start = headings.index("What the file is") + 1
    end = next(n for n, heading in enumerate(headings) if heading.startswith("Six things"))
    sections_there = [heading for heading in headings[start:end] if heading not in groups]
    for _, heading, anchor in rows:
        if heading not in sections_there:
            yield f"{where}: leads to a section that is not there: {heading!r}"
        if anchor != heading.replace(" ", "-"):
            yield f"{where}: JupyterLab's anchor of {heading!r} is #{heading.replace(' ', '-')}, not #{anchor}"
    for heading in sections_there:
        if heading not in [row[1] for row in rows]:
            yield f"{where}: no row leads to the section {heading!r}"


def unprinted(messages, printed):
    """The literal texts of a row that its section never prints."""
    if "(described)" in messages:
        return []
    texts = (d or s for d, s in CODE.findall(messages.partition("; described:")[0]))
    return [text for text in texts if in_one_line(text) not in in_one_line(printed)]


def test_the_index_has_a_row_for_every_section_and_no_other():
    assert len(ROWS) >= 35, "the index has lost rows"
    refuse(faults_of_index(INDEX, sections()))


def test_a_message_leads_to_the_section_that_prints_it():
    found, problems = sections(), []
    for messages, heading, _ in ROWS:
        for text in unprinted(messages, found.get(heading, "")):
            problems.append(
                f"notebooks/source/12_error_clinic.py: the index promises {text!r} in the section {heading!r}, "
                f"which prints: {in_one_line(found.get(heading, ''))}"
            )
    refuse(problems)


SMALL = """## Index

**What the file is**

| `a` | [One thing](#One-thing) |
"""
HEADINGS = ["What the file is", "One thing", "Six things that many say"]


@pytest.mark.parametrize(
    "change, headings, words",
    [
        (
            ("[One thing](#One-thing)", "[No such file](#No-such-file)"),
            HEADINGS,
            "leads to a section that is not there: 'No such file'",
        ),
        (
            ("#One-thing", "#one-thing"),
            HEADINGS,
            "JupyterLab's anchor of 'One thing' is #One-thing, not #one-thing",
        ),
        (
            ("| `a` | [One thing](#One-thing) |", "`a`: [One thing](#One-thing)"),
            HEADINGS,
            "a row is not `| message |",
        ),
        (
            ("What the file", "How the file"),
            HEADINGS,
            "its group 'How the file is' is not a heading",
        ),
        (
            ("", ""),
            [*HEADINGS[:2], "Another", HEADINGS[2]],
            "no row leads to the section 'Another'",
        ),
    ],
)
def test_an_index_that_does_not_fit_is_told_how(change, headings, words):
    assert not list(faults_of_index(SMALL, HEADINGS))
    assert any(words in line for line in faults_of_index(SMALL.replace(*change), headings))


def test_a_message_that_is_not_printed_is_found():
    assert unprinted("`a b`, ``c `d` ``", "x a\nb y c d z") == []
    assert unprinted("`a b`, `no such`", "a b") == ["no such"]
    assert unprinted("`no such` (described)", "a b") == []
