"""Set-up: what is installed, when, and its bad situations."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.tools import commands, environment
from utils.tools.course import ROOT


@pytest.fixture
def root(tmp_path):
    """A course's requirements, and nothing installed."""
    for name in ("notebooks", "solutions"):
        (tmp_path / name).mkdir()
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


class Installer:
    """In place of `environment.run`: notes which step is asked for, and answers as told."""

    def __init__(self, **answers):
        self.answers, self.asked, self.variables = answers, [], {}

    def __call__(self, command, env=None, **_):
        if "venv" in command:
            step = "venv"
            python = Path(command[-1]) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            python.parent.mkdir(parents=True)
            python.touch()
        elif command[-1] == "uv":
            step = "get_uv"
        else:
            step = "uv" if command[1] == "pip" else "pip"
        self.asked.append(step)
        self.variables[step] = env
        return environment.Finished(*self.answers.get(step, (0, "")))


@pytest.fixture
def installer(monkeypatch):
    monkeypatch.setattr(environment, "has_nvidia_driver", lambda: True)

    def make(**answers):
        fake = Installer(**answers)
        monkeypatch.setattr(environment, "run", fake)
        return fake

    return make


def test_a_first_call_installs_and_a_second_does_not(root, installer, capsys):
    fake = installer()
    python = environment.ensure(root)
    assert python.exists() and fake.asked == ["venv", "get_uv", "uv"]
    assert "Setting up" in capsys.readouterr().out
    assert environment.ensure(root) == python and len(fake.asked) == 3
    assert not (root / ".venv/course-unfinished").exists()


def test_changed_requirements_are_installed(root, installer):
    fake = installer()
    environment.ensure(root)
    replace(root / "requirements.txt", "numpy==", "numpy==1")
    environment.ensure(root)
    assert fake.asked[3:] == ["get_uv", "uv"]


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


STALE = {
    "a pin": ("requirements.txt", "torch==2", "torch==3"),
    "the Python": ("pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=3.12"'),
    "a dependency": ("pyproject.toml", "[project]\n", '[project]\ndependencies = ["numpy"]\n'),
    "the builder": ("pyproject.toml", "hatchling==1", "hatchling==2"),
    "what is packed": ("pyproject.toml", 'packages = ["utils"]', 'packages = ["utils", "more"]'),
}
NOT_STALE = {
    "a linter's settings": (
        "pyproject.toml",
        "[project]\n",
        "[tool.ruff]\nfix = true\n[project]\n",
    ),
    "importlinter": ("pyproject.toml", '    "show | checkpoint",\n', ""),
    "pytest": ("pyproject.toml", '    "--strict-markers",\n', ""),
    "the version": ("pyproject.toml", 'version = "', 'version = "2'),
    "the description": ("pyproject.toml", "A course", "The course"),
    "a comment": ("requirements.txt", "\n\n", "\n\n# a comment\n"),
}


@pytest.mark.parametrize("what", STALE)
def test_what_is_installed_makes_an_environment_stale(root, what):
    before = environment.wanted(root)
    name, old, new = STALE[what]
    replace(root / name, old, new)
    assert environment.wanted(root) != before


@pytest.mark.parametrize("what", NOT_STALE)
def test_what_is_not_installed_leaves_an_environment_ready(root, what):
    before = environment.wanted(root)
    name, old, new = NOT_STALE[what]
    replace(root / name, old, new)
    assert environment.wanted(root) == before


def test_a_broken_pyproject_is_one_sentence(root, capsys):
    (root / "pyproject.toml").write_text("[project\n", encoding="utf-8")
    assert commands.main(["open"], root) == 1
    assert capsys.readouterr().err.startswith("pyproject.toml cannot be read: ")


def test_an_interrupted_install_is_started_over(root, installer, capsys):
    fake = installer()
    environment.ensure(root)
    (root / ".venv/course-unfinished").touch()
    (root / ".venv/course-ready.json").unlink()
    (root / ".venv/half-a-package").touch()
    environment.ensure(root)
    assert fake.asked[3:] == ["venv", "get_uv", "uv"]
    assert not (root / ".venv/half-a-package").exists()
    assert "did not finish" in capsys.readouterr().out


def test_a_moved_folder_gets_a_new_environment(root, installer):
    fake = installer()
    environment.ensure(root)
    moved = shutil.move(root, root.with_name("moved"))
    environment.ensure(Path(moved))
    assert fake.asked[3:] == ["venv", "get_uv", "uv"]


def test_an_environment_made_by_hand_is_completed_not_removed(root, installer):
    fake = installer()
    python = root / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")
    python.parent.mkdir(parents=True)
    python.touch()
    (root / ".venv/mine").touch()
    environment.ensure(root)
    assert fake.asked == ["get_uv", "uv"] and (root / ".venv/mine").exists()


def test_pip_takes_over_where_uv_fails(root, installer, capsys):
    fake = installer(uv=(2, ""))
    environment.ensure(root)
    assert fake.asked == ["venv", "get_uv", "uv", "pip"]
    assert "with pip" in capsys.readouterr().out


BAD = {
    "No connection": ("get_uv", "ERROR: Failed to resolve 'host' ([Errno -3] name resolution)"),
    "became full": ("pip", "OSError: [Errno 28] No space left on device"),
    "not published for Python": ("pip", "ERROR: No matching distribution found for torch==2"),
    "could not be installed: strange": ("pip", "something\nstrange\n"),
    "virtual environment": ("venv", "ensurepip is not available"),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_situation_is_one_sentence_and_the_next_call_starts_over(
    root, installer, words, capsys
):
    step, output = BAD[words]
    installer(**{"uv": (1, ""), step: (1, output)})
    assert commands.main(["open"], root) == 1
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1
    assert not (root / ".venv/course-ready.json").exists() and not (root / "work").exists()
    installer()
    assert environment.ensure(root).exists()


def test_a_full_disk_is_told_before_anything_is_made(root, installer, monkeypatch, capsys):
    fake = installer()
    usage = shutil.disk_usage(root)._replace(free=2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert commands.main(["test"], root) == 1
    assert "disk is too full" in capsys.readouterr().err
    assert fake.asked == [] and not (root / ".venv").exists()


def test_two_set_ups_at_once_do_not_meet(root, installer, capsys):
    installer()
    with environment.only_one_setup(root):
        assert commands.main(["open"], root) == 1
    assert "Another set-up of this course is running" in capsys.readouterr().err
    environment.ensure(root)


def test_interrupting_is_one_sentence(root, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "run", interrupted)
    assert commands.main(["open"], root) == 1
    assert capsys.readouterr().err.strip().startswith("Interrupted: start the same command again")


def test_the_requirements_pin_every_direct_dependency():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages[-1] == "-e ."
    assert all("==" in line for line in packages[:-1])


def test_uv_trusts_what_the_system_trusts_unless_told_otherwise(root, installer, monkeypatch):
    for name in environment.CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    fake = installer()
    environment.ensure(root)
    given = fake.variables["uv"]
    assert given["UV_SYSTEM_CERTS"] == given["UV_NATIVE_TLS"] == "1"
    assert given["PATH"] == os.environ["PATH"]
    monkeypatch.setenv("UV_SYSTEM_CERTS", "0")
    replace(root / "requirements.txt", "numpy==", "numpy==1")
    environment.ensure(root)
    assert fake.variables["uv"]["UV_SYSTEM_CERTS"] == "0"


# ---------------------------------------------------------------- which build of PyTorch

UV = """#!{python}
import os, sys, time
from pathlib import Path

here = Path(__file__).resolve().parent.parent
arguments = sys.argv[1:]
cpu, probe = "--torch-backend=cpu" in arguments, "--dry-run" in arguments
kind = "probe" if probe else "cpu" if cpu else "default"
again = any(a.startswith("--reinstall-package=torch") for a in arguments)
with open(here.parent / "asked", "a") as file:
    print(kind + " again" * again, file=file)
assert os.environ["UV_SYSTEM_CERTS"] == "1"
assert probe or os.environ.get("UV_HTTP_RETRIES") is None
if cpu and "{index}" == "fails":
    print("error: Failed to fetch: `https://index/whl/cpu/torch/`", file=sys.stderr)
    print("  cause: failed to lookup address information", file=sys.stderr)
    sys.exit(2)
if cpu and "{index}" == "hangs":
    time.sleep(60)
if cpu and not probe and "{index}" == "is slow":
    time.sleep(3)
if cpu and not probe and "{index}" == "has no files":
    sys.exit(1)
if not probe:
    packages = here / "lib/python3/site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    installed = list(packages.iterdir())
    if again or not installed:
        for path in installed:
            path.rmdir()
        (packages / ("torch-2.15.0+cpu.dist-info" if cpu else "torch-2.15.0.dist-info")).mkdir()
"""


@pytest.fixture
def with_uv(root, monkeypatch):
    """Make set-up meet a program called uv, to which PyTorch's index of CPU builds is as said."""
    if sys.platform != "linux":
        pytest.skip("the CPU build is a choice only on Linux")
    monkeypatch.setattr(environment, "has_nvidia_driver", lambda: False)
    for name in (*environment.CERTIFICATES, "UV_HTTP_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    really_run, fake = environment.run, Installer()

    def make(index):
        def run(command, **options):
            if command[0].endswith("uv"):
                return really_run(command, **options)
            done = fake(command, **options)
            uv = root / ".venv/bin/uv"
            uv.write_text(UV.format(python=sys.executable, index=index), encoding="utf-8")
            uv.chmod(0o755)
            return done

        monkeypatch.setattr(environment, "run", run)

    return make


def asked(root):
    return (root / "asked").read_text(encoding="utf-8").splitlines()


def test_without_a_driver_the_cpu_build_is_installed_once(root, with_uv, capsys):
    with_uv("answers")
    environment.ensure(root)
    assert asked(root) == ["probe", "cpu"]
    told = capsys.readouterr().out
    assert "about 1 GB, which becomes 2 GB" in told and "3 GB" not in told
    start = time.perf_counter()
    environment.ensure(root)
    assert time.perf_counter() - start < 1 and asked(root) == ["probe", "cpu"]


def test_with_a_driver_the_default_build_is_asked_for_at_once(root, with_uv, monkeypatch, capsys):
    with_uv("answers")
    monkeypatch.setattr(environment, "has_nvidia_driver", lambda: True)
    environment.ensure(root)
    assert asked(root) == ["default"]
    assert "about 3 GB, which become 6 GB" in capsys.readouterr().out


@pytest.mark.parametrize("index", ["fails", "hangs", "has no files"])
def test_the_default_build_is_taken_where_the_cpu_build_cannot_be_had(
    root, with_uv, monkeypatch, capsys, index
):
    with_uv(index)
    assert environment.PATIENCE < 10
    monkeypatch.setattr(environment, "PATIENCE", 1)
    start = time.perf_counter()
    environment.ensure(root)
    assert time.perf_counter() - start < 10
    assert asked(root)[0] == "probe" and asked(root)[-1] == "default"
    told = [line for line in capsys.readouterr().out.splitlines() if "cannot be had" in line]
    assert len(told) == 1 and "about 3 GB, which become 6 GB" in told[0]
    before = asked(root)
    environment.ensure(root)
    environment.ensure(root, full_torch=True)
    assert asked(root) == before


def test_a_slow_download_of_the_cpu_build_is_not_cut_off(root, with_uv, monkeypatch):
    with_uv("is slow")
    monkeypatch.setattr(environment, "PATIENCE", 2)
    environment.ensure(root)
    assert asked(root) == ["probe", "cpu"]


def test_full_torch_takes_the_default_build_at_once(root, with_uv, capsys):
    with_uv("answers")
    environment.ensure(root, full_torch=True)
    environment.ensure(root)
    assert asked(root) == ["default"]
    assert "about 3 GB, which become 6 GB" in capsys.readouterr().out


def test_full_torch_replaces_a_cpu_build_once(root, with_uv, capsys):
    with_uv("answers")
    environment.ensure(root)
    (root / ".venv/mine").touch()
    for full_torch in (True, True, False):
        environment.ensure(root, full_torch)
    assert asked(root) == ["probe", "cpu", "default again"]
    assert environment.torch_in(root / ".venv") == environment.DEFAULT
    assert "Replacing PyTorch's CPU build" in capsys.readouterr().out
    assert (root / ".venv/mine").exists()


@pytest.mark.parametrize("full_torch", [False, True])
def test_changed_requirements_keep_the_build_that_is_here(root, with_uv, full_torch):
    with_uv("answers")
    environment.ensure(root, full_torch)
    before = len(asked(root))
    replace(root / "requirements.txt", "numpy==", "numpy==1")
    environment.ensure(root)
    assert asked(root)[before:] == (["default"] if full_torch else ["probe", "cpu"])


def test_the_disk_must_hold_the_build_that_is_taken(root, with_uv, monkeypatch, capsys):
    usage = shutil.disk_usage(root)._replace(free=4 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with_uv("fails")
    assert commands.main(["open"], root) == 1
    assert "PyTorch's default build needs 9 GB, and 4.0 GB" in capsys.readouterr().err
    with_uv("answers")
    assert environment.ensure(root).exists()


@pytest.mark.parametrize("command", ["open", "test"])
def test_full_torch_is_an_option_of_ours(root, monkeypatch, command):
    seen = []
    monkeypatch.setattr(
        commands, "ensure", lambda *given: seen.append(given) or Path(sys.executable)
    )
    monkeypatch.setattr(os, "execve", lambda *given: seen.append(given[1]))
    monkeypatch.setattr(
        subprocess, "run", lambda given, **_: seen.append(given) or environment.Finished(0, "")
    )
    monkeypatch.chdir(root)
    commands.main([command, "--full-torch", "one"], root)
    assert seen[0] == (root, True)
    assert "one" in seen[-1] and "--full-torch" not in seen[-1]
