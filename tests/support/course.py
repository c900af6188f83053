"""A course of one lesson, small enough to be broken in a second."""

import json

from utils.tools import build

NAME = "07_devices_memory"
LESSON = """\
# %% [markdown]
# # Measure the memory
#
# **You will** see one thing. **You need** nothing. **About {{read}} minutes.**

# %%
from pathlib import Path

folder = Path("files/07_devices_memory")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## First
#
# One claim.

# %%
print("≈ 0.97", folder.exists())

# %% [markdown]
# ## Recap
#
# <details>
# <summary>One?</summary>
#
# Yes, it is one.
# </details>
#
# <details>
# <summary>Two?</summary>
#
# Yes, it is two.
# </details>
#
# <details>
# <summary>Three?</summary>
#
# Yes, it is three.
# </details>
#
# Now you: [the exercises](07_devices_memory_exercises.ipynb).
"""
EXERCISES_TOP = """\
# %% [markdown]
# # Exercises: measure the memory
#
# {{Count}} exercises on [lesson 7](07_devices_memory.ipynb), about {{minutes}} minutes.

# %%
from utils.checks import todo, devices_memory as check

"""
EXERCISE = """\
# %% [markdown]
# ## 7.§ Count § (6 minutes)
#
# Count.
#
# <details>
# <summary>Hint</summary>
#
# It is enough to look at the length of it.
# </details>

# %%
def count§(state):
    # BEGIN SOLUTION
    return len(state)
    # END SOLUTION

# %%
check.counts§(count§)

# %% [markdown] tags=["solution"]
# Because.

"""
EXERCISES_END = """\
# %% [markdown]
# ## How far you are

# %%
check.summary()
"""
CHECKS = """\
from utils.checking.errors import expect
from utils.checking.outcomes import Exercises

exercises = Exercises()
check, summary = exercises.check, exercises.summary

"""
CHECK = """\
@check("7.§", "count §")
def counts§(count):
    expect(count({"a": 1}) == 1, "one entry, and another number")


"""
START = """\
# %% [markdown]
# # Start here
#
# **You will** see all. **You need** nothing. **About {{read}} minutes.**
#
# {{map}}
#
# {{to come}}
"""


def numbered(text, count):
    return "".join(text.replace("§", str(n)) for n in range(1, count + 1))


def make_course(root, exercises=4):
    """Sources, checks and answers of one good lesson with four exercises, and lesson 0."""
    from utils.tools.course import ROOT

    for folder in ("notebooks/source", "utils/checks", "tests/answers"):
        (root / folder).mkdir(parents=True)
    for name in ("utils/checking", "utils/tools", "tests/support", "tests/__init__.py"):
        (root / name).symlink_to(ROOT / name)
    for path in ROOT.glob("utils/*.py"):
        (root / "utils" / path.name).symlink_to(path)
    write(root / "notebooks/source/00_start_here.py", START)
    write(root / f"notebooks/source/{NAME}.py", LESSON)
    text = EXERCISES_TOP + numbered(EXERCISE, exercises) + EXERCISES_END
    write(root / f"notebooks/source/{NAME}_exercises.py", text)
    write(root / "utils/checks/__init__.py", (ROOT / "utils/checks/__init__.py").read_text("utf-8"))
    write(root / "utils/checks/devices_memory.py", CHECKS + numbered(CHECK, exercises))
    for name in ("start_here", "devices_memory"):
        write(root / f"tests/answers/{name}.py", "")
    write(root / "utils/checks/start_here.py", "")
    write(root / "tests/answers/__init__.py", "")
    write(root / "README.md", "# It\n\n<!-- lessons -->\n<!-- /lessons -->\n")
    return root


def write(path, text):
    path.write_text(text, encoding="utf-8")


def change(path, old, new):
    """Replace a text that must be there, once."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    write(path, text.replace(old, new, 1))


def edit(path, change):
    """Change a notebook on disk by a function of its JSON."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    write(path, json.dumps(notebook))


def built(root):
    """Build it, and demand that nothing was wrong."""
    written, problems = build.build(root=root)
    assert not problems, problems
    return written
