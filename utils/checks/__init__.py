"""Automatic checks of the exercises.

errors (what is wrong, in words) → fresh (a new process) → core (how a check answers) → one module per
lesson (what it asks).
"""

from utils.checks.core import todo

__all__ = ["todo"]
