"""What a notebook uses of `utils/`, and what makes it stale."""

import pytest

from tests.support.course import change, write
from utils.tools import uses

FILES = {
    "__init__.py": "",
    "data.py": "SIZE = 3\n\n\ndef digits():\n    return [0] * SIZE\n",
    "show.py": (
        "from utils.data import digits\n\nWIDTH = 4\n\n\ndef table():\n    return WIDTH\n\n\n"
        "def curve():\n    return len(digits())\n\n\nclass Picture:\n    pass\n"
    ),
    "training.py": "import math\n\nprint('at import')\n\n\ndef epoch():\n    return math.pi\n",
    "checks/__init__.py": "from utils.show import table\n",
    "checks/first.py": "from utils import show\n\n\ndef is_right():\n    return show.curve()\n",
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "utils/checks").mkdir(parents=True)
    for name, text in FILES.items():
        write(tmp_path / "utils" / name, text)
    return tmp_path


CURVE = ["from utils import show", "show.curve()"]


@pytest.mark.parametrize(
    "cells, file, old, new, is_stale",
    [
        (CURVE, "show.py", "len(digits())", "1 + len(digits())", True),
        (CURVE, "data.py", "[0]", "[1]", True),  # through another module
        (CURVE, "data.py", "SIZE = 3", "SIZE = 4", True),  # through a constant
        (CURVE, "show.py", "return WIDTH", "return 1", False),  # another function
        (CURVE, "show.py", "pass", "x = 1", False),
        (CURVE, "training.py", "at import", "when imported", False),
        (CURVE, "show.py", "WIDTH = 4\n", "# a comment\nWIDTH = 4\n", False),
        (CURVE, "show.py", "    return len(digits())", "    return  len(digits())", False),
        (["from utils.show import table as t", "t()"], "show.py", "return WIDTH", "return 1", True),
        (["import utils.show", "utils.show.table()"], "show.py", "return WIDTH", "return 1", True),
        (
            ["from utils import show", "getattr(show, name)"],
            "show.py",
            "return WIDTH",
            "return 1",
            True,
        ),
        (["from utils.training import epoch", "epoch()"], "training.py", "at import", "now", True),
        (
            ["from utils.checks import first as check", "check.is_right()"],
            "data.py",
            "[0]",
            "[1]",
            True,
        ),
        (
            ["from utils.checks import first as check", "check.is_right()"],
            "show.py",
            "= 4",
            "= 5",
            False,
        ),
        (["run('from utils.show import table')"], "show.py", "return WIDTH", "return 1", True),
        (
            ["run('import utils.show; utils.show.table()')"],
            "show.py",
            "return WIDTH",
            "return 1",
            True,
        ),
        (["print('utils')"], "show.py", "return WIDTH", "return 1", False),
    ],
)
def test_what_is_used_counts_and_nothing_else(root, cells, file, old, new, is_stale):
    before = uses.digest(cells, root)
    assert before == uses.digest(cells, root)
    change(root / "utils" / file, old, new)
    assert (uses.digest(cells, root) != before) == is_stale


def test_a_name_that_is_not_there_any_more_is_no_error(root):
    assert uses.digest(["from utils.nothing import x", "x()"], root)
