"""Answers as a learner would write them, to try the checks on."""

import linecache
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """Code, the names it defines that the check gets, and the words that the check must answer with."""

    check: str
    code: str
    words: str = ""  # empty: a right answer

    def outcome(self, module):
        """What the check says to this answer, written in a notebook (`__main__`)."""
        names = {"__name__": "__main__"}
        filename = f"<answer {abs(hash(self.code))}>"
        code = module.PREAMBLE + self.code
        linecache.cache[filename] = (0, None, code.splitlines(True), filename)
        exec(compile(code, filename, "exec"), names)
        return getattr(module.CHECKS, self.check)(*(names[n] for n in module.ARGUMENTS[self.check]))
