"""How a check answers: four outcomes, each one line, as text and as HTML; and their summary.

While somebody is learning, a check returns its outcome and never raises. For grading, the
environment variable CHECKS_STRICT=1 makes every outcome but ✅ raise `CheckFailed`.
"""

import functools
import html
import os
import re
import warnings
from dataclasses import dataclass

from utils.checking import fresh
from utils.checking.errors import Wrong, describe, stub_name

SIGNS = {"passed": "✅", "failed": "❌", "open": "⬜"}
COLOURS = {"passed": "#2da44e", "failed": "#cf222e", "open": "#8c959f"}
WORDS = {"passed": "passed", "failed": "not yet", "open": "not attempted yet"}


class Todo:
    """Stands for an answer that has not been written yet."""

    def __repr__(self):
        return "todo"


todo = Todo()


class CheckFailed(AssertionError):
    """Raised in place of ❌ and ⬜ when CHECKS_STRICT is set."""

    def _render_traceback_(self):  # IPython: one line in place of a traceback
        return [f"CheckFailed: {self}"]


def box(lines, colour):
    """HTML lines behind a coloured bar; text colour is inherited, for dark themes."""
    body = "".join(f"<div>{line}</div>" for line in lines)
    return f'<div style="border-left: 4px solid {colour}; padding: 2px 10px;">{body}</div>'


@dataclass(frozen=True)
class Outcome:
    """One line: a sign, the exercise's title, and what is still wrong."""

    status: str
    title: str
    message: str = ""

    def __repr__(self):
        return f"{SIGNS[self.status]} {self.title}" + (f": {self.message}" if self.message else "")

    def _repr_html_(self):
        message = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(self.message))
        line = f"{SIGNS[self.status]} <strong>{html.escape(self.title)}</strong>"
        line += f": {message}" if message else ""
        return box([line], COLOURS[self.status])


class Summary:
    """How many checks of a notebook have passed, and where each one stands."""

    def __init__(self, outcomes):
        passed = sum(outcome.status == "passed" for outcome in outcomes)
        self.headline = f"{passed} of {len(outcomes)} checks passed"
        self.colour = COLOURS["passed" if passed == len(outcomes) else "open"]
        self.lines = [f"{SIGNS[o.status]} {o.title}: {WORDS[o.status]}" for o in outcomes]

    def __repr__(self):
        return "\n".join([self.headline, *self.lines])

    def _repr_html_(self):
        lines = [f"<strong>{self.headline}</strong>", *map(html.escape, self.lines)]
        return box(lines, self.colour)


class Exercises:
    """The checks of one notebook, in order; each remembers its latest outcome."""

    def __init__(self):
        self.latest = {}

    def check(self, number, name):
        """Decorator: a function that calls `expect` becomes a check that answers with an `Outcome`."""
        title = f"{number} {name}"
        self.latest[title] = Outcome("open", title)

        def decorate(function):
            @functools.wraps(function)
            def answer(*args):
                outcome = judge(title, function, args)
                self.latest[title] = outcome
                if outcome.status != "passed" and os.environ.get("CHECKS_STRICT") == "1":
                    raise CheckFailed(repr(outcome))
                return outcome

            return answer

        return decorate

    def summary(self):
        """Where every exercise of this notebook stands."""
        return Summary(list(self.latest.values()))


def judge(title, function, args):
    """Run one check on a learner's answer; whatever happens becomes an `Outcome`."""
    if any(map(holds_todo, args)):
        return Outcome("open", title, WORDS["open"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a check answers with one line
            function(*args)
    except Wrong as wrong:
        return Outcome("failed", title, str(wrong))
    except fresh.RaisedInFreshProcess as error:
        if error.stub:
            return still_open(title, error.stub, args)
        return Outcome("failed", title, f"in a new process, {error}")
    except (Exception, SystemExit) as error:
        if name := stub_name(error):
            return still_open(title, name, args)
        return Outcome("failed", title, describe(error))
    return Outcome("passed", title)


def holds_todo(answer):
    parts = answer.values() if isinstance(answer, dict) else answer
    if isinstance(parts, (list, tuple, set)) or isinstance(answer, dict):
        return any(part is todo for part in parts)
    return answer is todo


def still_open(title, name, args):
    """Nothing is written yet; or, of several functions, the one called `name` is not."""
    message = f"`{name}` is not written yet" if len(args) > 1 else WORDS["open"]
    return Outcome("open", title, message)
