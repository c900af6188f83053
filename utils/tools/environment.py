"""`.venv`: made on the first call, left alone afterwards. Standard library only.

A half-made environment never counts: a marker stands in it from before the first download until
the last package is in place, and who finds that marker starts over.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from utils.tools.course import ROOT

GIB = 2**30
LINUX = sys.platform == "linux"
CPU, DEFAULT = "CPU build", "default build"  # of PyTorch; on Linux the default brings CUDA
# measured: 5.9 GB installed on Linux, 4 GB of them for CUDA; plus the download
NEEDED = {CPU: 3 * GIB, DEFAULT: 9 * GIB if LINUX else 3 * GIB}
SIZE = {
    CPU: "about 1 GB, which becomes 2 GB on the disk",
    DEFAULT: "about 3 GB, which become 6 GB on the disk" if LINUX else "about 1 GB",
}
PATIENCE = 8  # seconds for PyTorch's index of CPU builds: uv itself would try for a minute
# uv trusts the certificates that the system trusts, as pip does: some networks inspect TLS.
# Two names, of newer and older versions: a variable that uv does not know does no harm.
CERTIFICATES = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}


class SetupError(Exception):
    """Set-up cannot go on: the message is one sentence for the user."""


def ensure(root=ROOT, full_torch=False):
    """Make sure that `root/.venv` holds exactly what `requirements.txt` asks for.

    Args:
        full_torch: Not with PyTorch's CPU build, which is enough otherwise.

    Returns:
        The path of its Python.

    Raises:
        SetupError: it could not be made, and why.
    """
    venv = root / ".venv"
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if is_ready(venv, python, root, full_torch):
        return python
    with only_one_setup(root):
        # another one may have finished while we waited
        if not is_ready(venv, python, root, full_torch):
            install(venv, python, root, full_torch)
    return python


def wanted(root):
    """What an environment must have been made from to be used as it is."""
    made_from = json.dumps([requirements(root), installed_from(root)], sort_keys=True)
    digest = hashlib.sha256(made_from.encode()).hexdigest()
    return {"requirements": digest, "folder": str(root)}


def requirements(root):
    """The lines of `requirements.txt` that ask for something."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def installed_from(root):
    """What an installer reads of `pyproject.toml`: not the settings of linters, nor the version."""
    try:
        course = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise SetupError(f"pyproject.toml cannot be read: {error}.") from None
    project = course.get("project", {})
    kept = {key: project.get(key) for key in ("name", "requires-python", "dependencies")}
    return [kept, course.get("build-system"), course.get("tool", {}).get("hatch")]


def is_ready(venv, python, root, full_torch=False):
    asked = wanted(root)  # first: a pyproject.toml that cannot be read is told at once
    try:
        stamp = json.loads((venv / "course-ready.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp == asked and python.exists() and not (full_torch and torch_in(venv) == CPU)


def torch_in(venv):
    """Which build of PyTorch is installed in an environment; None if there is none."""
    found = [path.name for path in venv.glob("lib/python*/site-packages/torch-*.dist-info")]
    if not found:
        return None
    return CPU if any("+cpu" in name for name in found) else DEFAULT


def has_nvidia_driver():
    files = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/nvidia-smi")
    return any(map(os.path.exists, files)) or shutil.which("nvidia-smi") is not None


def build_to_ask_for(venv, full_torch):
    """The build that is here already, or else the small one where nothing could use CUDA."""
    if full_torch or not LINUX:
        return DEFAULT
    return torch_in(venv) or (DEFAULT if has_nvidia_driver() else CPU)


@contextlib.contextmanager
def only_one_setup(root):
    """Hold a lock that the operating system drops when the process ends, however it ends."""
    with open(root / ".setup-lock", "w", encoding="utf-8") as lock:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                "Another set-up of this course is running: wait until it has finished, then start this again."
            ) from None
        yield


def refuse_full_disk(root, build):
    free, needed = shutil.disk_usage(root).free, NEEDED[build]
    if free < needed:
        raise SetupError(
            f"The disk is too full: setting up with PyTorch's {build} needs {needed / GIB:.0f} GB, "
            f"and {free / GIB:.1f} GB are free."
        )


def install(venv, python, root, full_torch=False):
    build = build_to_ask_for(venv, full_torch)
    refuse_full_disk(root, build)
    unfinished, ready = venv / "course-unfinished", venv / "course-ready.json"
    if unfinished.exists() or belongs_elsewhere(ready, root):
        say("Removing a set-up that did not finish, or that came from another folder.")
        shutil.rmtree(venv)
    replacing = full_torch and torch_in(venv) == CPU
    if replacing:
        say(f"Replacing PyTorch's {CPU} with the {DEFAULT}: together {SIZE[DEFAULT]}, once.")
    elif python.exists():
        say("The course needs other packages than before: bringing them up to date.")
    else:
        say(f"Setting up the course in {venv.name}: a download of {SIZE[build]}, once.")
        if build == CPU:
            say(f"No NVIDIA driver is here, so with PyTorch's {CPU}; --full-torch takes the other.")
        make_venv(venv)
    ready.unlink(missing_ok=True)
    unfinished.touch()
    install_packages(python, root, build, replacing)
    no_news(venv)
    ready.write_text(json.dumps(wanted(root)), encoding="utf-8")
    unfinished.unlink()
    say("Set-up is complete.")


def no_news(venv):
    """JupyterLab would ask at its first start whether it may fetch news, over the first lesson."""
    settings = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    file = venv / "share/jupyter/lab/settings/overrides.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings), encoding="utf-8")


def belongs_elsewhere(ready, root):
    """Whether the whole folder was moved: scripts in an environment name the place they were made for."""
    try:
        return json.loads(ready.read_text(encoding="utf-8"))["folder"] != str(root)
    except (OSError, ValueError, KeyError):
        return False


def make_venv(venv):
    made = run([sys.executable, "-m", "venv", "--clear", str(venv)], show=False)
    if made.returncode:
        shutil.rmtree(venv, ignore_errors=True)
        raise SetupError(
            "Python could not make a virtual environment: on Debian and Ubuntu install the package "
            f"python{sys.version_info[0]}.{sys.version_info[1]}-venv, then start this again. "
            f"({last_line(made.output)})"
        )


def install_packages(python, root, build, replacing=False):
    """With uv, in a fraction of pip's time; with pip where uv cannot."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    uv_itself = run([*pip, "install", "--quiet", "--retries", "1", "uv"], show=False)
    if uv_itself.returncode == 0:
        uv = Path(sysconfig.get_path("scripts", "venv", {"base": str(python.parent.parent)})) / "uv"
        with_uv = [str(uv), "pip", "install", "--python", str(python)]
        if build == CPU and install_cpu_build(with_uv, root):
            return
        again = [f"--reinstall-package={name}" for name in ("torch", "torchvision") if replacing]
        everything = [*with_uv, *again, "-r", "requirements.txt"]
        if run(everything, cwd=root, env=for_uv()).returncode == 0:
            return
        say("uv did not succeed: trying again with pip, which takes longer.")
    elif reason := diagnose(uv_itself.output):
        raise SetupError(reason)
    elif build == CPU:
        take_default_build(root)
    again = ["--force-reinstall"] if replacing else []
    with_pip = run(
        [*pip, "install", "--retries", "1", *again, "-r", "requirements.txt"], cwd=root, tee=True
    )
    if with_pip.returncode:
        raise SetupError(
            diagnose(with_pip.output)
            or f"The packages could not be installed: {last_line(with_pip.output)}"
        )


def install_cpu_build(with_uv, root):
    """Everything, with PyTorch's CPU build; False, and said why, if that cannot be had.

    Whether its index answers is tried first: only that try is cut off, never a slow download.
    """
    with_uv = [*with_uv, "--torch-backend=cpu"]
    torch = [line for line in requirements(root) if line.startswith(("torch==", "torchvision=="))]
    index_answers = finishes([*with_uv, "--dry-run", "--no-deps", *torch], PATIENCE)
    everything = [*with_uv, "-r", "requirements.txt"]
    if index_answers and run(everything, cwd=root, env=for_uv()).returncode == 0:
        return True
    take_default_build(root)
    return False


def take_default_build(root):
    say(f"PyTorch's {CPU} cannot be had from here: taking the {DEFAULT}, together {SIZE[DEFAULT]}.")
    refuse_full_disk(root, DEFAULT)


def for_uv(**more):
    """The variables that uv runs with; what the user has set wins."""
    return {**CERTIFICATES, **more, **os.environ}


def finishes(command, seconds):
    """Whether uv succeeds within so many seconds; it is stopped then."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        env = for_uv(UV_HTTP_RETRIES="1")
        return subprocess.run(command, timeout=seconds, env=env, **quiet).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def diagnose(output):
    """The sentence for what an installer said, or None."""
    text = output.lower()
    if "no space left" in text or "not enough space" in text or "errno 28" in text:
        return "The disk became full during set-up: make room, then start this again."
    # before the network: an unreachable index also ends in "no matching distribution"
    offline = (
        "resolution",
        "resolve host",
        "getaddrinfo",
        "connection",
        "unreachable",
        "timed out",
    )
    if any(word in text for word in offline):
        return (
            "No connection to the package index: check the network (or the proxy), then start this "
            "again; it goes on where it stopped."
        )
    if "no matching distribution" in text or "could not find a version" in text:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return (
            f"Some package of requirements.txt is not published for Python {version} on this system: "
            "README.md says which systems work."
        )
    return None


def last_line(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


class Finished:
    def __init__(self, returncode, output):
        self.returncode, self.output = returncode, output


def run(command, cwd=None, show=True, tee=False, env=None):
    """Run a command: shown as it runs, kept for a diagnosis, or (`tee`) both."""
    if show and not tee:
        return Finished(subprocess.run(command, cwd=cwd, env=env).returncode, "")
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdout=None if tee else subprocess.PIPE,  # pip: progress on stdout, errors on stderr
        stderr=subprocess.PIPE if tee else subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    kept = []
    for line in process.stderr if tee else process.stdout:
        kept.append(line)
        if tee:
            sys.stderr.write(line)
    return Finished(process.wait(), "".join(kept))


def say(text):
    print(text, flush=True)
