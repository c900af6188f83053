"""`python3 -m utils here`: what is added to a Python that brings its own torch, and what stays."""

import json
import re
import shutil
import site
import sys
import sysconfig
import time
from importlib import metadata
from pathlib import Path

import pytest

from utils.tools import commands, environment, here
from utils.tools.course import ROOT
from utils.tools.versions import OLDEST_TORCH

TORCH = {"torch": "2.10.0+cu128", "torchvision": "0.25.0+cu128"}


class Python:
    """A Python with a folder of packages that are only metadata, and a pip that adds such."""

    def __init__(self, folder):
        self.folder, self.calls, self.pins, self.answers = folder, [], "", []
        self.utils = ROOT / "utils/__init__.py"

    def has(self, name, version, *requires):
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, command, cwd=None, show=True):
        if "-c" in command:
            return environment.Finished(0, f"{self.utils}\n")
        assert command[:3] == [sys.executable, "-m", "pip"]
        rest = command[command.index("--constraint") + 1 :]
        self.calls.append(rest[1:])
        self.pins = Path(rest[0]).read_text(encoding="utf-8").split()
        if self.answers:
            return environment.Finished(*self.answers.pop(0))
        for package in rest[1:]:
            name, _, version = package.partition("==")
            self.has(name, version or "1.0")
        return environment.Finished(0, "")

    def versions(self):
        found = metadata.distributions(path=[str(self.folder)])
        return {each.name: each.version for each in found}


@pytest.fixture
def python(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    python = Python(folder)
    monkeypatch.setattr(here, "run", python.run)
    monkeypatch.setattr(here, "site_folders", lambda: [folder, tmp_path / "user"])
    others = [place for place in sys.path if "site-packages" not in place]
    monkeypatch.setattr(sys, "path", [str(folder), *others])
    return python


@pytest.fixture
def root(tmp_path, python):
    """A course with two notebooks, and no environment."""
    root = tmp_path / "course"
    for folder in ("notebooks", "solutions", "utils"):
        (root / folder).mkdir(parents=True)
    for name in ("00_start_here", "reference"):
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", root / "notebooks")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    python.utils = root / "utils/__init__.py"
    return root


def hosted(python, **others):
    """As a hosted notebook has it: torch, torchvision that fits, and a few packages."""
    python.has("torch", TORCH["torch"])
    python.has("torchvision", TORCH["torchvision"], "numpy", "torch (==2.10.0)", "pillow>=5.3")
    for name, version in others.items():
        python.has(name, version)


def test_what_is_missing_is_added_and_what_is_here_stays(root, python, capsys):
    hosted(python, numpy="2.0.2", matplotlib="3.10.0")
    assert commands.main(["here"], root) == 0
    versions = python.versions()
    assert versions["torch"] == TORCH["torch"] and versions["numpy"] == "2.0.2"
    assert versions["matplotlib"] == "3.10.0"
    (call,) = python.calls
    names = {package.partition("==")[0] for package in call}
    assert {"safetensors", "picklescan", "scikit-learn", "cloudpickle", "silero-vad"} <= names
    assert not names & {
        "torch",
        "torchvision",
        "numpy",
        "matplotlib",
        "jupyterlab",
        "pytest",
        "-e .",
    }
    kept = {"torch==2.10.0+cu128", "torchvision==0.25.0+cu128", "numpy==2.0.2"}
    assert kept | {"matplotlib==3.10.0"} == set(python.pins)
    assert (python.folder / here.PATH_FILE).read_text(encoding="utf-8").strip() == str(root)
    assert (root / "work/00_start_here.ipynb").exists() and not (root / ".venv").exists()
    told = capsys.readouterr().out
    assert "00_start_here.ipynb" in told and "Restart the kernel" in told


def test_a_second_call_adds_nothing_and_is_fast(root, python):
    hosted(python)
    commands.main(["here"], root)
    path_file = python.folder / here.PATH_FILE
    written = path_file.stat().st_mtime_ns
    start = time.perf_counter()
    assert commands.main(["here"], root) == 0
    assert time.perf_counter() - start < 1
    assert len(python.calls) == 1 and path_file.stat().st_mtime_ns == written


def test_a_folder_that_moved_is_found_again(root, python, tmp_path):
    hosted(python)
    commands.main(["here"], root)
    moved = Path(shutil.move(root, tmp_path / "moved"))
    python.utils = moved / "utils/__init__.py"
    assert commands.main(["here"], moved) == 0
    assert (python.folder / here.PATH_FILE).read_text(encoding="utf-8").strip() == str(moved)


UNFIT = {
    "has no torch: install": {},
    "has torch 2.9.1+cpu, and the course needs 2.10 or newer": {"torch": "2.9.1+cpu"},
    "has torch 2.10.0 and no torchvision": {"torch": "2.10.0"},
    "torchvision 0.24.0 is made for torch ==2.9.0, and this Python has torch 2.10.0": {
        "torch": "2.10.0",
        "torchvision": "0.24.0",
    },
}


@pytest.mark.parametrize("words", UNFIT)
def test_a_torch_that_will_not_do_is_one_sentence(root, python, words, capsys):
    for name, version in UNFIT[words].items():
        python.has(name, version, *(["torch==2.9.0"] if name == "torchvision" else []))
    assert commands.main(["here"], root) == 1
    error = capsys.readouterr().err.strip()
    assert words in error and "python3 -m utils open" in error and len(error.splitlines()) == 1
    assert python.calls == [] and not (root / "work").exists()
    assert not (python.folder / here.PATH_FILE).exists()


@pytest.mark.parametrize(
    "version, wanted, fit",
    [
        ("2.10.0", "==2.10.0", True),
        ("2.10.0+cu128", "==2.10.0", True),
        ("2.10.0a0+b4e4ee8.nv25.12", "==2.10.0a0+b4e4ee8", True),
        ("2.10.0", "==2.10", True),
        ("2.10.1", "==2.10.0", False),
        ("2.10.1", "==2.10.*", True),
        ("2.15.0", ">=2.14.0", True),
        ("2.9.1", ">=2.14.0", False),
        ("3.0", ">=2.14,<3", False),
        ("2.15", "!=2.15.0", False),
        ("2.15.3", "~=2.15.1", True),
        ("2.16.0", "~=2.15.1", False),
        ("2.10.0", "", True),
    ],
)
def test_what_torchvision_asks_for_is_understood(version, wanted, fit):
    assert here.fits(version, wanted) is fit


def test_a_dependency_whose_name_begins_with_torch_is_not_torch(root, python):
    python.has("torch", "2.10.0")
    python.has(
        "torchvision", "0.25.0", "torchdata==0.1", "torch-extra==1", "torch==2.10.0; extra == 'x'"
    )
    assert commands.main(["here"], root) == 0


def test_versions_that_do_not_fit_give_way_to_others(root, python, capsys):
    hosted(python, numpy="1.26.4")
    python.answers = [
        (1, "ERROR: Cannot install: these package versions have conflicting dependencies")
    ]
    assert commands.main(["here"], root) == 0
    first, second = python.calls
    assert [package.partition("==")[0] for package in first] == second
    assert "numpy==1.26.4" in python.pins and "taking others" in capsys.readouterr().out


BAD = {
    "has no pip to install": f"{sys.executable}: No module named pip",
    "belongs to the operating system": "error: externally-managed-environment\n\n× This\nhint: See",
    "No connection": "WARNING: Retrying\nERROR: Failed to resolve 'host' ([Errno -3] name resolution)",
    "could not be installed: strange": "something\nstrange\n",
}


@pytest.mark.parametrize("words", BAD)
def test_a_pip_that_cannot_is_one_sentence(root, python, words, capsys):
    hosted(python)
    python.answers = [(1, BAD[words])]
    assert commands.main(["here"], root) == 1
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1
    assert not (root / "work").exists() and not (python.folder / here.PATH_FILE).exists()


def test_the_users_folder_is_taken_where_the_other_cannot_be_written(
    root, python, tmp_path, monkeypatch, capsys
):
    hosted(python)
    (tmp_path / "file").touch()  # no folder can be made in it, not even by root
    closed = tmp_path / "file/site-packages"
    monkeypatch.setattr(here, "site_folders", lambda: [closed, tmp_path / "user"])
    assert commands.main(["here"], root) == 0
    assert (tmp_path / "user" / here.PATH_FILE).exists()
    monkeypatch.setattr(here, "site_folders", lambda: [closed])
    assert commands.main(["here"], root) == 1
    assert "lets nobody add to it" in capsys.readouterr().err


def test_packages_are_looked_for_where_this_python_does():
    folders = here.site_folders()
    assert folders[0] == Path(sysconfig.get_path("purelib"))
    assert (Path(site.getusersitepackages()) in folders) == bool(site.ENABLE_USER_SITE)


def test_another_utils_in_the_way_is_named(root, python, tmp_path, capsys):
    hosted(python)
    python.utils = tmp_path / "elsewhere/utils/__init__.py"
    assert commands.main(["here"], root) == 1
    assert "Another package called utils is in the way" in capsys.readouterr().err


def test_arguments_are_refused(root, python, capsys):
    assert commands.main(["here", "--full-torch"], root) == 1
    assert "takes no arguments" in capsys.readouterr().err and python.calls == []


def test_what_notebooks_import_stands_in_their_sections():
    pinned = {line.partition("==")[0] for line in environment.requirements(ROOT)}
    needed = {*here.notebooks_need(ROOT), *TORCH}
    owners = metadata.packages_distributions()
    files = [path for path in (ROOT / "utils").rglob("*.py") if "tools" not in path.parts]
    texts = [path.read_text(encoding="utf-8") for path in files]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", "\n".join(texts), re.M))
    packages = {owner for name in imported for owner in owners.get(name, [])} & pinned
    assert {"torch", "safetensors", "picklescan", "cloudpickle"} <= packages
    assert packages <= needed


def test_the_oldest_torch_is_not_newer_than_the_pinned_one():
    pins = dict(line.split("==") for line in environment.requirements(ROOT) if "==" in line)
    assert here.release(pins["torch"]) >= OLDEST_TORCH
