"""What the course consists of: its map, and the patterns in which a source says what it is. Standard library only."""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# the whole map, of which those lessons exist that have a source
MAP = {
    "00_start_here": "start here",
    "01_state_dict": "the state_dict",
    "02_whole_model": "whole models",
    "03_resume": "resuming",
    "04_torchscript": "TorchScript",
    "05_checkpoint_policy": "checkpoint policy",
    "06_partial_loading": "partial loading",
    "07_devices_memory": "devices and memory",
    "08_stages_and_tasks": "stages and tasks",
    "09_pretrained": "pretrained weights",
    "10_export": "export",
    "11_distributed": "many processes",
    "12_error_clinic": "the error clinic",
    "13_capstone": "one run from beginning to end",
}
# notebooks that had another name: a learner's copy moves to the new one
RENAMED = {
    "11_error_clinic": "12_error_clinic",
    "11_error_clinic_exercises": "12_error_clinic_exercises",
}

TITLE = re.compile(r"^# # (.+)$", re.M)  # in a source
EXERCISE = re.compile(
    r"^(?:# )?## (\d+\.\d+) (.+) \((\d+) minutes?\)$", re.M
)  # in a cell, or in a source
ABOUT = re.compile(r"\*\*About (\d+) minutes?\.\*\*")


def is_lesson(path):
    """Whether this notebook or source is one of the course's steps, which have numbers."""
    return path.stem[0].isdigit() and not path.stem.endswith("_exercises")


def is_exercises(path):
    return path.stem.endswith("_exercises")


def number_of(path):
    """`7` of `07_devices_memory`."""
    return int(path.stem.split("_")[0])


def topic_of(path):
    """`devices_memory` of `07_devices_memory_exercises`: the name of its checks and of their answers."""
    return path.stem.partition("_")[2].removesuffix("_exercises")


def title_key(title):
    """An exercise's title as heading and check share it."""
    return title.casefold().rstrip("?!. ")


def version_of(notebook):
    """A short digest of a notebook's cells: the same as long as no cell was changed."""
    ids = " ".join(cell["id"] for cell in notebook["cells"])
    return hashlib.sha256(ids.encode()).hexdigest()[:12]


def sources(root=ROOT):
    """The sources of all notebooks, in order."""
    return sorted((root / "notebooks/source").glob("*.py"))
