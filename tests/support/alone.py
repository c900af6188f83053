"""Programs run as a reader runs them: each in a process and a folder of its own, without this repository.

This file is also a program: it imports torch once and then runs each program in a fork of itself,
which is as new as a process that has imported torch and done nothing else. (Windows cannot fork:
there every program gets an interpreter.)
"""

import functools
import json
import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 2
CAN_FORK = hasattr(os, "fork")
MEASURED = re.compile(r"≈ -?\d[\d.,]*")  # the rule of sanitize.cfg


@dataclass(frozen=True)
class Done:
    """What became of a program."""

    code: int
    output: str
    errors: str


def run(programs, folder, fork=CAN_FORK, python=sys.executable):
    """Run every program in an empty folder of its own, two at a time; returns a `Done` for each.

    Args:
        programs: texts.
        folder: a `Path`, where the folders are made.
        fork: from one process that has imported torch; otherwise each in an interpreter of its own.
        python: of another environment, to run them with its packages.
    """
    places = [folder / str(number) for number in range(len(programs))]
    for place, program in zip(places, programs):
        (place / "empty").mkdir(parents=True)
        (place / "empty/program.py").write_text(program, encoding="utf-8")
    jobs = [places] if fork else [[place] for place in places]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, jobs, [fork] * len(jobs), [python] * len(jobs)))
    return [Done(*json.loads((place / "done.json").read_text("utf-8"))) for place in places]


def start(places, fork, python):
    """A new interpreter that knows the installed packages, and neither this repository nor its user's.

    `-S` is for the course's own `.pth` file, which would put the repository on the path.
    """
    job = {"places": list(map(str, places)), "packages": packages_of(python), "fork": fork}
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    command = [str(python), "-I", "-S", __file__, json.dumps(job)]
    subprocess.run(command, check=True, cwd=places[0], env=environment, timeout=300)


@functools.cache
def packages_of(python):
    """The folders in which an interpreter's environment keeps its packages."""
    code = "import sysconfig; print(*map(sysconfig.get_path, ('purelib', 'platlib')), sep='\\n')"
    asked = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True)
    return list(dict.fromkeys(asked.stdout.splitlines()))


def serve(job):
    """In the new interpreter."""
    sys.path += job["packages"]
    if not job["fork"]:
        return finish(job["places"][0], become(job["places"][0]))
    import torch  # noqa: F401

    running = {}
    for place in job["places"]:
        if len(running) == AT_ONCE:
            wait(running)
        if not (child := os.fork()):
            os._exit(become(place))
        running[child] = place
    while running:
        wait(running)


def wait(running):
    child, status = os.wait()
    finish(running.pop(child), os.waitstatus_to_exitcode(status))


def become(place):
    """Run the program in this process, whose output goes into files; returns its exit code."""
    import traceback

    for stream, name in ((sys.stdout, "output.txt"), (sys.stderr, "errors.txt")):
        with open(os.path.join(place, name), "wb") as file:
            os.dup2(file.fileno(), stream.fileno())
        stream.reconfigure(encoding="utf-8")
    folder = os.path.join(place, "empty")
    os.chdir(folder)
    sys.path.insert(0, folder)  # as `python program.py` has it
    sys.argv = ["program.py"]
    sys.addaudithook(refuse_network)
    try:
        code = 0
        runpy.run_path("program.py", run_name="__main__")
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def refuse_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError("a snippet must not need the network")


def finish(place, code):
    texts = [Path(place, name).read_text("utf-8") for name in ("output.txt", "errors.txt")]
    Path(place, "done.json").write_text(json.dumps([code, *texts]), encoding="utf-8")


def without_measured(text):
    return MEASURED.sub("MEASURED", text)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
