"""Run a learner's function in a new process, which has none of the notebook's variables.

Starting Python and importing torch takes seconds, so a server process that has torch imported,
and nothing else, waits to be forked (`multiprocessing`'s forkserver). Windows cannot fork: there
a spare process that has imported torch waits for the next call, and each call starts another one.
"""

import builtins
import contextlib
import importlib
import io
import linecache
import multiprocessing
import os
import signal
import sys
import threading
import types
from pathlib import PurePath

import cloudpickle

from utils.checking.errors import Wrong, describe, stub_name

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONSTANTS = (types.BuiltinFunctionType, int, float, str, bytes, PurePath, type(None))
context = multiprocessing.get_context(METHOD)
preloaded = ["torch", "utils.models"]
spare = None  # where there is no fork: the process for the next call


class RaisedInFreshProcess(Exception):
    """The learner's code failed there: its message says how.

    Attributes:
        stub: the name of the function if it was not written yet, else None.
        ended: whether the process ended before the function did, by a kill for example.
    """

    def __init__(self, message, stub=None, ended=False):
        super().__init__(message)
        self.stub, self.ended = stub, ended


def warm_up(*modules):
    """Start what waits for the first call now, in the background, so that it is quick too.

    Args:
        modules: names of what it is to import beside torch.
    """
    global spare
    if multiprocessing.parent_process() or "--multiprocessing-fork" in sys.orig_argv:
        return  # a fresh process, or one that becomes one, needs none of its own
    preloaded.extend(module for module in modules if module not in preloaded)
    with deaf_to_interrupts():
        if METHOD == "forkserver":
            from multiprocessing import forkserver

            context.set_forkserver_preload(preloaded)
            forkserver.ensure_running()
        elif spare is None:
            spare = start()


@contextlib.contextmanager
def deaf_to_interrupts():
    """What is born in here ignores interrupts: they are meant for a cell, and could end it half-made."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    handler = on_main_thread and signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if on_main_thread:
            signal.signal(signal.SIGINT, handler)


def start():
    """A new process, and our end of the connection over which it gets its job when it is ready."""
    ours, theirs = context.Pipe()
    modules = [] if METHOD == "forkserver" else preloaded
    process = context.Process(target=_work, args=(theirs, modules), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def take():
    """A process that is ready, as `start` returns it: the spare one if there is one."""
    global spare
    (process, connection), spare = spare or start(), None
    try:
        connection.recv_bytes()
    except (EOFError, OSError):  # somebody has ended the spare one
        process, connection = start()
        connection.recv_bytes()
    return process, connection


def call(function, *args, timeout=10):
    """`function(*args)` in a new process.

    Args:
        function, args: anything that cloudpickle can send. Functions written in a notebook take
            along the modules, functions and classes they name, and no other variables.
        timeout: seconds to wait, after which the process is killed.

    Returns:
        What the function returned, sent back by pickle; what it printed is printed here.

    Raises:
        RaisedInFreshProcess: it raised, did not finish in time, or ended the process.
        checks.errors.Wrong: it raised that, with the same words.
    """
    warm_up()
    sources = {}  # the new process cannot read a notebook's cells: for its error messages
    for part in args:
        if code := getattr(part, "__code__", None):
            sources[code.co_filename] = linecache.getlines(code.co_filename)
    job = cloudpickle.dumps((sys.path, sources, *map(portable, (function, *args))))
    process, connection = take()
    try:
        connection.send_bytes(job)
        warm_up()  # the one for the next call
        try:
            if not connection.poll(timeout):
                raise RaisedInFreshProcess(f"your code did not finish within {timeout} seconds")
            kind, value, printed = cloudpickle.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):  # a broken pipe, says Windows
            process.join()
            how = f"with exit code {process.exitcode}"
            if process.exitcode < 0:
                how = f"with signal {-process.exitcode}"
            raise RaisedInFreshProcess(f"your code ended the process {how}", ended=True) from None
    finally:
        process.kill()
        process.join()
        connection.close()
    sys.stdout.write(printed)
    if kind == "wrong":
        raise Wrong(value)
    if kind == "stub":
        raise RaisedInFreshProcess("not written yet", stub=value)
    if kind == "raised":
        raise RaisedInFreshProcess(value)
    return value


def run(program, folder="."):
    """Run a program's text in a new process, as `python -c` would in `folder`, without the wait for torch.

    Args:
        program: Python source. It can import what `folder` holds.
        folder: where it runs.

    Prints what the program prints and, if it ends in an error, the error.
    """
    call(_run, program, str(folder), timeout=60)


def _run(program, folder):
    os.chdir(folder)
    sys.path.insert(0, "")
    try:
        exec(program, {"__name__": "__main__"})
    except Exception as error:
        text = with_slashes(f"{type(error).__name__}: {error}")
        print(text.replace(with_slashes(os.getcwd()), "…"))


def with_slashes(text, separator=os.sep):
    """The paths in `text` as all systems can write them; Windows doubles its separator in a repr."""
    return text if separator == "/" else text.replace(2 * separator, "/").replace(separator, "/")


def _work(connection, modules):
    """The new process: say that it is ready, get the job, do it, send `(kind, value, printed)`."""
    for module in modules:
        importlib.import_module(module)
    try:
        connection.send_bytes(b"ready")
        job = connection.recv_bytes()
    except (EOFError, ConnectionError):  # the notebook has ended, and needed no spare one
        return
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            sys.path[:], sources, function, *args = cloudpickle.loads(job)
            for name, lines in sources.items():
                linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
            result = ("value", function(*args))
    except Wrong as wrong:
        result = ("wrong", str(wrong))
    except BaseException as error:
        message = describe(error)
        if isinstance(error, NameError):
            message += (
                " (of this notebook's variables, a new process gets functions, classes,"
                " modules, numbers and texts only)"
            )
        stub = stub_name(error)
        result = ("stub", stub) if stub else ("raised", message)
    connection.send_bytes(cloudpickle.dumps((*result, printed.getvalue())))


def is_of_ipython(function):
    return str(function.__globals__.get("__name__")).startswith("IPython.")


def portable(part, copies=None):
    """`part`, or if it is a function of a notebook a copy that leaves the notebook's data behind.

    Without this, cloudpickle would send along every global the function mentions, so a function
    that leans on the notebook's own `model` would pass and then fail in the learner's real script.
    """
    if not isinstance(part, types.FunctionType) or part.__module__ != "__main__":
        return part
    copies = {} if copies is None else copies
    if id(part) not in copies:
        names = {"__builtins__": builtins, "__name__": "__main__"}
        copy = types.FunctionType(
            part.__code__, names, part.__name__, part.__defaults__, part.__closure__
        )
        copy.__kwdefaults__ = part.__kwdefaults__
        copies[id(part)] = copy
        for name, value in part.__globals__.items():
            if isinstance(value, types.FunctionType) and is_of_ipython(value):
                continue  # a notebook's own `open`, for example: a script has Python's
            if isinstance(value, (types.ModuleType, type, types.FunctionType)):
                names[name] = portable(value, copies)
            elif isinstance(value, CONSTANTS):
                names[name] = value
    return copies[id(part)]
