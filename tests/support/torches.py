"""Environments with another torch than the pinned one, and notebooks and snippets run in them."""

import os
import re
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.support import alone
from utils.tools import environment
from utils.tools.course import ROOT


def make(folder, requirements):
    """Make an environment in `folder`, or use the one that is there; returns its Python.

    It is made as the course's own is: nothing half-made counts, and other requirements renew it.
    """
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    (folder / "pyproject.toml").touch()
    return environment.ensure(folder)


def requirements_with(torch, torchvision):
    """The course's requirements with these two, as `(2, 10)`, instead of the pinned ones."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    text = re.sub(r"^-e \.$", "", text, flags=re.M)  # on the path of the kernel, see below
    for name, version in (("torch", torch), ("torchvision", torchvision)):
        wanted = f"{name}=={'.'.join(map(str, version))}.*"
        text, count = re.subn(rf"^{name}==.+$", wanted, text, flags=re.M)
        assert count == 1, name
    return text


class OtherPython(KernelSpecManager):
    """Knows one kernel: that of another environment's Python."""

    def __init__(self, python):
        super().__init__()
        self.python = str(python)

    def get_kernel_spec(self, name):
        command = [self.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name=name, language="python")


def run_notebook(python, path, folder):
    """Run a stored notebook in `folder` with another environment; returns its cells as they are then."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = [str(Path(python).parent), os.environ.get("PATH", "")]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": os.pathsep.join(programs)}
    settings.pop("PYTEST_CURRENT_TEST", None)  # ipykernel drops the output of subprocesses with it
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=OtherPython(python), kernel_name="other"),
        timeout=300,
        allow_errors=True,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=settings, cleanup_kc=True)  # else the kernel of a `km` lives on
    return notebook.cells


def said(cell):
    """All that a cell shows, as one text in which measured numbers are alike."""
    parts = []
    for output in cell["outputs"]:
        kind = output["output_type"]
        if kind == "error":
            parts.append(f"{output['ename']}: {output['evalue']}")
        elif kind == "stream":
            parts.append("".join(output["text"]))
        else:
            parts.append("".join(output["data"].get("text/plain", "")))
    return alone.without_measured("\n".join(part.rstrip("\n") for part in parts))


def error_of(cell):
    """The type of the error that a cell ended with, or None."""
    return next((o["ename"] for o in cell["outputs"] if o["output_type"] == "error"), None)
