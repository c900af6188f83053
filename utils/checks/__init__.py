"""The automatic checks: one module for each exercise notebook, and nothing else.

What they are made of is in `utils.checking`.
"""

# `fresh` is here for notebooks that were copied into `work/` before it had its place in `checking`
from utils.checking import fresh
from utils.checking.outcomes import todo

__all__ = ["fresh", "todo"]
