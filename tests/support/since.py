"""From which torch on does each snippet of the reference run? This measures it:

    python -m tests.support.since 2.0 2.1 2.2 2.3

makes, one after the other, an environment with 2.0.0, 2.1.0 and so on, and removes it again: a
minute or more and 5 GB for each. It prints the snippets that fail with a version, and why.
"""

import sys
import tempfile
from pathlib import Path

from tests.support import alone, torches
from utils.tools import snippets
from utils.tools.course import ROOT

NUMPY_2 = (2, 3)  # the first torch that was built for it


def requirements(version):
    """What was around at the time of that torch, where a newer one would be refused."""
    numpy = "numpy" if version >= NUMPY_2 else "numpy<2"
    torch = f"torch=={version[0]}.{version[1]}.0"
    return "\n".join([torch, "torchvision", numpy, "safetensors", "setuptools<81"])


def failures(python, folder):
    """`{title: why}` of the snippets that do not end well, or print something else, with a Python."""
    wanted = snippets.read(ROOT / "notebooks/reference.ipynb")
    results = alone.run([snippet.code for snippet in wanted], folder, python=python)
    found = {}
    for snippet, done in zip(wanted, results):
        printed, stored = map(alone.without_measured, (done.output, snippet.output))
        if done.code:
            found[snippet.title] = (done.errors.strip().splitlines() or [f"exit {done.code}"])[-1]
        elif printed != stored:
            found[snippet.title] = f"printed {printed!r}, and the notebook has {stored!r}"
    return found


def main(versions):
    for text in versions:
        version = tuple(map(int, text.split(".")))
        with tempfile.TemporaryDirectory(prefix="torch-") as folder:
            python = torches.make(Path(folder) / "made", requirements(version))
            found = failures(python, Path(folder) / "run")
        print(f"torch {text}: {len(found)} fail", flush=True)
        for title, why in found.items():
            print(f"  {title}: {why[:100]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
