"""`new 07_devices_memory`: the five files of a lesson, green from the start.

Both sources are marked as a draft (`tags=["draft"]` in their first line): that excuses them from the limits on
exercises, answers and questions, and says so in the notebook until the mark is taken away.
"""

import re
import sys

from utils.tools import build
from utils.tools.course import MAP, ROOT, sources, topic_of

NAME = re.compile(r"\d\d_[a-z][a-z0-9]*(_[a-z0-9]+)*")

LESSON = """\
# %% [markdown] tags=["draft"]
# # Say in a verb what the reader can do afterwards
#
# **You will** name three things that the reader takes away; each is shown below; none is missing.
#
# **You need** [lesson 1](01_state_dict.ipynb). **About {{read}} minutes.**

# %%
from pathlib import Path
import torch

folder = Path("files/NAME")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## If you have only 10 seconds
#
# Say the claim in one sentence, and show it in one to five lines with a visible result.

# %%
torch.save({"weight": torch.ones(2)}, folder / "first.pt")
torch.load(folder / "first.pt")

# %% [markdown]
# ## Recap
#
# Three sentences, then three questions with their answers.
#
# Now you: [the exercises](NAME_exercises.ipynb).
"""

EXERCISES = """\
# %% [markdown] tags=["draft"]
# # Exercises: the lesson's title
#
# {{Count}} exercises on [lesson NUMBER](NAME.ipynb), about {{minutes}} minutes. Write your answer where it says `TODO`, or
# repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
from utils.checks import todo, TOPIC as check

# %% [markdown]
# ## NUMBER.1 Count the entries (5 minutes)
#
# `count(state)` returns how many entries the dictionary `state` has. Say what must be true afterwards, so that two careful
# readers give every answer the same verdict.
#
# <details>
# <summary>Hint</summary>
#
# One hint or two: where to look, and not what to type.
# </details>

# %%
def count(state):
    # BEGIN SOLUTION
    return len(state)
    # END SOLUTION

# %%
check.counts(count)

# %% [markdown] tags=["solution"]
# Why it works, and what else would.

# %% [markdown]
# ## How far you are

# %%
check.summary()
"""

CHECKS = '''\
"""Checks of `NAME_exercises`."""

from utils.checking.errors import a_function, expect
from utils.checking.outcomes import Exercises

exercises = Exercises()
check, summary = exercises.check, exercises.summary


# ---------------------------------------------------------------- NUMBER.1


@check("NUMBER.1", "count the entries")
def counts(count):
    """The number of entries, of dictionaries with none, one and five."""
    a_function(count, "count")
    for size in (0, 1, 5):
        found = count(dict.fromkeys(range(size)))
        expect(found == size, f"a dictionary has {size} entries, and `count` says {found!r}")
'''

ANSWERS = """\
from tests.support.answer import Answer
from utils.checks import TOPIC as CHECKS  # noqa: F401

PREAMBLE = ""
ARGUMENTS = {
    "counts": ["count"],
}

ANSWERS = [
    # NUMBER.1
    Answer("counts", "def count(state): return sum(1 for _ in state)"),
    Answer("counts", "def count(state): return 5", "has 0 entries"),
]
"""


def main(arguments, root=ROOT):
    """Write them and build them; returns the exit code."""
    name = arguments[0] if len(arguments) == 1 else ""
    problem = objection(name, root)
    if problem:
        print(f"{problem}\nusage: python3 -m utils new 07_devices_memory", file=sys.stderr)
        return 1
    number, topic = name.split("_", 1)
    files = {
        f"notebooks/source/{name}.py": LESSON,
        f"notebooks/source/{name}_exercises.py": EXERCISES,
        f"utils/checks/{topic}.py": CHECKS,
        f"tests/answers/{topic}.py": ANSWERS,
    }
    for path, text in files.items():
        words = (("NAME", name), ("NUMBER", str(int(number))), ("TOPIC", topic))
        for word, value in words:
            text = text.replace(word, value)
        (root / path).write_text(text, encoding="utf-8")
    written, problems = build.build([name, f"{name}_exercises"], root)
    print("\n".join(f"wrote {path}" for path in [*files, *written]))
    print("\n".join(problems), file=sys.stderr, end="\n" * bool(problems))
    print(
        f"It is a draft: the limits on exercises, answers and questions wait until you take "
        f'tags=["draft"] away from both sources. Next: edit them, then `python3 -m utils check {number}`.'
    )
    return 1 if problems else 0


def objection(name, root):
    """Why no lesson can have this name; '' if one can."""
    if not NAME.fullmatch(name) or name.endswith("_exercises"):
        return f"{name!r} is not a lesson's name: two digits and a topic, in small letters, such as 07_devices_memory."
    for path in sources(root):
        if path.stem == name or path.stem[:2] == name[:2] and path.stem[:2].isdigit():
            return f"There is a lesson {name[:2]} already: {path.stem}."
        if topic_of(path) == name[3:]:
            return f"There is a lesson of this topic already: {path.stem}."
    planned = {n for n in MAP if n[:2] == name[:2]} - {name}
    if planned:
        return f"The map has {planned.pop()} as lesson {name[:2]}: use that name, or change MAP in utils/tools/course.py."
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
