"""Reading the course's notebooks as they are stored."""

import json


def cells_of(path, kind=None):
    """The cells of a notebook, or those of one kind (`"code"`, `"markdown"`)."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if kind in (None, cell["cell_type"])]


def source_of(cell):
    return "".join(cell["source"])


def text_of(path):
    return "\n\n".join(source_of(cell) for cell in cells_of(path, "markdown"))


def outputs_of(path):
    return [output for cell in cells_of(path, "code") for output in cell["outputs"]]
