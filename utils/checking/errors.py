"""What can be wrong with an answer, in words for the learner."""

import linecache
import re
import sys
import traceback
from pathlib import Path

import torch

ANSI = re.compile(r"\x1b\[\d+m")
PACKAGE = Path(__file__).resolve().parents[1]


class Wrong(Exception):
    """What a check found wrong, in words for the learner."""


def expect(condition, message):
    """Raise `Wrong(message)` unless `condition` holds."""
    if not condition:
        raise Wrong(message)


def a_kind(value):
    """`an int`, `a list`: what kind of object a value is, for a message."""
    name = type(value).__name__
    return f"an {name}" if name.lower().startswith(("a", "e", "i", "o", "u")) else f"a {name}"


def a_function(answer, name):
    """Refuse what cannot be called, under the name that the exercise gave it."""
    expect(callable(answer), f"`{name}` is {a_kind(answer)}, and a function is wanted")


def same(first, second):
    """Whether two nested states are equal, tensors to the last bit."""
    if torch.is_tensor(first):
        return torch.is_tensor(second) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def listed(names):
    """`a, b and 3 more`: some names, for a message."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"`{name}`" for name in names[:3]) + more


def must_load(path):
    """Refuse a file that is not there, or that the default `torch.load` refuses."""
    expect(path.exists(), "no file was written at the path that was given")
    try:
        torch.load(path)
    except Exception as error:
        cause = in_short(error)
        raise Wrong(f"the default torch.load refuses the file that was written: {cause}") from None


def stub_name(error):
    """The name of the unwritten function that raised its bare NotImplementedError; else None."""
    if isinstance(error, NotImplementedError) and not error.args:
        return traceback.extract_tb(error.__traceback__)[-1].name
    return None


def in_short(error):
    """`KeyError: 'optimizer'`, on one line; of torch's longest message its beginning and the cause."""
    what = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    what = ANSI.sub("", what)
    if "WeightsUnpickler error: " in what:
        cause = what.partition("WeightsUnpickler error: ")[2].partition(". Please use")[0]
        what = f"{what.partition('.')[0]}: {cause}"
    return what if len(what) <= 300 else what[:300] + " …"


def describe(error):
    """`your code raised KeyError: 'optimizer'`, with the line of the learner's that did it."""
    what = in_short(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_learners(f.filename)]
    if not frames:
        return f"checking your answer raised {what}"
    line = linecache.getline(frames[-1].filename, frames[-1].lineno).strip()
    return f"your code raised {what}" + (f", at the line `{line}`" if line else "")


def is_learners(filename):
    """Whether a traceback's file is neither this package nor an installed library."""
    ours = (str(PACKAGE), sys.prefix, sys.base_prefix, "<frozen")
    return not filename.startswith(ours)
