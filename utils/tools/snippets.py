"""The snippets of `notebooks/reference.ipynb`, for the command line and the tests. Standard library only."""

import difflib
import json
import re
import textwrap
from dataclasses import dataclass

SHOWN_IN_COMMENT = 96  # columns


@dataclass(frozen=True)
class Snippet:
    """One task of the reference: `text` is what stands between its heading and its code."""

    group: str
    title: str
    text: str
    code: str
    output: str  # what the notebook says that it prints

    @property
    def when(self):
        return self.text.split("\n\n")[0]

    @property
    def trap(self):
        return self.text.split("**Trap:**")[-1].strip()

    def program(self):
        """The code, with title and trap as comments above it."""
        trap = textwrap.fill(" ".join(f"Trap: {self.trap}".split()), SHOWN_IN_COMMENT - 2)
        comments = textwrap.indent(f"{self.title}\n{trap}", "# ")
        return f"{comments}\n\n{self.code}\n"


def read(path):
    """The snippets of a notebook: a cell that begins with `### `, and the code cell below it."""
    found, group, heading = [], None, None
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and heading:
            output = "".join("".join(out.get("text", "")) for out in cell["outputs"])
            found.append(Snippet(group, *heading, source, output))
        title, _, text = source.partition("\n")
        is_text = cell["cell_type"] == "markdown"
        if is_text and title.startswith("## "):
            group = title[3:]
        heading = (title[4:], text.strip()) if is_text and title.startswith("### ") else None
    return found


def listing(snippets):
    """All titles, group by group."""
    lines = []
    for group in dict.fromkeys(snippet.group for snippet in snippets):
        titles = [snippet.title for snippet in snippets if snippet.group == group]
        lines += ["", group, *(f"  {title}" for title in titles)]
    return "\n".join(lines[1:])


def matching(snippets, words):
    """Those with every word in the title; if there are none, in what is said or coded there."""
    patterns = [re.compile(rf"(?<!\w){re.escape(word)}", re.I) for word in words]

    def having(text_of):
        return [s for s in snippets if all(pattern.search(text_of(s)) for pattern in patterns)]

    return having(lambda s: s.title) or having(lambda s: f"{s.title}\n{s.text}\n{s.code}")


def nearest(snippets, words, count=3):
    """The titles whose words look most like `words`, the best first."""

    def likeness(snippet):
        others = snippet.title.lower().split()
        return sum(
            max(difflib.SequenceMatcher(None, word.lower(), other).ratio() for other in others)
            for word in words
        )

    return [s.title for s in sorted(snippets, key=likeness, reverse=True)[:count]]
