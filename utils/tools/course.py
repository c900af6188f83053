"""What the course consists of, and where it is. Standard library only."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def is_lesson(path):
    """Whether this notebook or source is one of the course's steps, which have numbers."""
    return path.stem[0].isdigit() and not path.stem.endswith("_exercises")
