"""`python3 -m utils here`: the course in a Python that brings its own torch. Standard library only.

What is installed stays as it is; torch and torchvision are never installed. Which versions are
here is read from the packages' metadata: to import torch would take seconds.
"""

import re
import site
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

from utils.tools.environment import SetupError, diagnose, last_line, run, say
from utils.tools.versions import OLDEST_TORCH

PATH_FILE = "saving-and-loading-pytorch-models.pth"
TORCH = ("torch", "torchvision")
OTHERWISE = "or let `python3 -m utils open` make an environment of its own."
CONDITION = re.compile(r"(===|==|>=|<=|!=|~=|<|>)\s*([^\s,;()]+)")
MEETS = {
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
}


def make_ready(root):
    """Add to this Python what notebooks need and it lacks, and the course to its path.

    Raises:
        SetupError: it has no torch that will do, or nothing can be added to it, and why.
    """
    refuse_unfit_torch()
    needed = notebooks_need(root)
    missing = {name: pin for name, pin in needed.items() if installed(name) is None}
    if missing:
        say(f"Adding to this Python: {', '.join(missing)}. What it has stays as it is.")
        add(missing, keep=[name for name in (*TORCH, *needed) if name not in missing])
    put_on_path(root)
    refuse_other_utils(root)


def notebooks_need(root):
    """`{name: pin}` from the sections of `requirements.txt` whose name begins with "notebooks"."""
    needed, counts = {}, False
    for line in (root / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            counts = line.startswith("# notebooks")
        elif counts and line.strip():
            needed[line.partition("==")[0].strip()] = line.strip()
    return {name: pin for name, pin in needed.items() if name not in TORCH}


def installed(name):
    """The version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- torch


def refuse_unfit_torch():
    oldest = ".".join(map(str, OLDEST_TORCH))
    torch, torchvision = map(installed, TORCH)
    if torch is None:
        raise SetupError(
            f"This Python has no torch: install torch {oldest} or newer and its torchvision, {OTHERWISE}"
        )
    if release(torch) < OLDEST_TORCH:
        raise SetupError(
            f"This Python has torch {torch}, and the course needs {oldest} or newer: "
            f"install a newer torch and torchvision in one command, {OTHERWISE}"
        )
    if torchvision is None:
        raise SetupError(
            f"This Python has torch {torch} and no torchvision: install the one "
            f"that was made for this torch, {OTHERWISE}"
        )
    if not fits(torch, asked := torch_for_torchvision()):
        raise SetupError(
            f"torchvision {torchvision} is made for torch {asked}, and this Python has torch {torch}: "
            f"install both again in one command, {OTHERWISE}"
        )


def torch_for_torchvision():
    """What torchvision itself asks for, as `==2.10.0`; '' if it does not say."""
    for line in metadata.requires("torchvision") or []:
        wanted = re.fullmatch(r"torch(?![\w.-])([^;]*)(;.*)?", line.strip())
        if wanted:
            return wanted[1].strip().strip("()")
    return ""


def release(version):
    """`(2, 10)` of `2.10.0+cu128`: which build it is does not count, nor do zeros at the end."""
    numbers = [int(n) for n in re.match(r"\d+(?:\.\d+)*", version)[0].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def fits(version, wanted):
    """Whether a version meets every condition, as `==2.10.0` or `>=2.14,<3`."""
    return all(meets(release(version), *each) for each in CONDITION.findall(wanted))


def meets(have, condition, number):
    want = release(number)
    if condition in MEETS:
        return MEETS[condition](have, want)
    if condition == "~=":
        series = len(number.split(".")) - 1
        return have >= want and have[:series] == want[:series]
    same = have[: len(want)] == want if number.endswith(".*") else have == want
    return not same if condition == "!=" else same


# ---------------------------------------------------------------- packages and path


def add(missing, keep):
    """Install what is missing, in the course's versions if they fit what is here."""
    done = pip_install(missing.values(), keep)
    if done.returncode and "conflict" in done.output.lower():
        say("The course's versions do not fit what this Python has: taking others that do.")
        done = pip_install(missing, keep)
    if done.returncode == 0:
        return
    names = " ".join(missing)
    if "No module named pip" in done.output:
        raise SetupError(
            f"This Python ({sys.executable}) has no pip to install {names} with: "
            "install these packages, then start this again."
        )
    if "externally-managed-environment" in done.output:
        raise SetupError(
            f"This Python belongs to the operating system, which does not let pip add {names}: "
            f"start this with the Python of a virtual environment, {OTHERWISE}"
        )
    raise SetupError(
        diagnose(done.output) or f"{names} could not be installed: {last_line(done.output)}"
    )


def pip_install(packages, keep):
    """Run pip so that nothing of `keep` is replaced."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "as-they-are.txt"
        pins.write_text("".join(f"{name}=={installed(name)}\n" for name in keep), encoding="utf-8")
        return run([*pip, "--constraint", str(pins), *packages], show=False)


def site_folders():
    """Where a Python looks for packages: its own folder, then the user's."""
    folders = [sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [Path(folder) for folder in folders]


def put_on_path(root):
    """Let every program of this Python `import utils`, from whatever folder."""
    files = [folder / PATH_FILE for folder in site_folders()]
    if any(
        file.exists() and file.read_text(encoding="utf-8").strip() == str(root) for file in files
    ):
        return
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{root}\n", encoding="utf-8")
            return
        except OSError:
            continue
    raise SetupError(
        f"This Python lets nobody add to it (tried {', '.join(str(file.parent) for file in files)}): "
        f"start this with one that does, {OTHERWISE}"
    )


def refuse_other_utils(root):
    """Another package of that name is common, and may come first."""
    program = "import utils; print(utils.__file__)"
    found = run([sys.executable, "-c", program], cwd=root / "notebooks", show=False)
    place = last_line(found.output)
    if found.returncode == 0 and Path(place).resolve() != (root / "utils/__init__.py").resolve():
        raise SetupError(
            f"Another package called utils is in the way: {place}. Start this with a Python without it, "
            f"{OTHERWISE}"
        )
