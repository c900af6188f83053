"""States that say which one they are, and looks at a folder of checkpoints."""

import contextlib
import warnings
from pathlib import Path

import torch

from utils import checkpoint


def numbers(value, count=8, length=1000):
    """A state that says by each of its numbers which one it is."""
    return {f"w{i}": torch.full((length,), float(value)) for i in range(count)}


def holds(state, value):
    tensors = [v for v in state.values() if torch.is_tensor(v)]
    return bool(tensors) and all((tensor == value).all() for tensor in tensors)


def partials(folder):
    return [path.name for path in Path(folder).iterdir() if "partial" in path.name]


def names(checkpoints):
    return [path.name for path in checkpoints.list()]


def steps(checkpoints):
    return [checkpoint.parse_name(name).step for name in names(checkpoints)]


def flip(path, position, mask=1):
    """Change bits of one byte; a second call with the same arguments changes them back."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ mask]))


@contextlib.contextmanager
def nothing_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
