"""Makes a Python process look like one on Windows: the names that Windows lacks are gone.

The standard library, torch and Jupyter need those names here, so they are gone for the course's
code only: notebook cells, `utils`, tests, answers, and the programs that any of them start. The
built-in `__import__` is told which module imports; if that is not an installed one, it gets a
stand-in for `os`, `signal` and a few more, which has all of their names but these.

What the libraries can do without is gone for them too: the start methods of multiprocessing that
fork, programs such as `ldd`, and exit codes that name a signal. The names are those that Python's
documentation marks with "Availability: Unix". `os.name`, `sys.platform` and paths stay as they are.

`environment` passes all of this on to new processes.
"""

import builtins
import errno
import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.popen_fork
import os
import shutil
import signal
import subprocess
import sys
import types
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODULES = """
    crypt curses fcntl grp nis ossaudiodev pty pwd readline resource spwd syslog termios tty
"""

# What a module lacks there; the patterns are those of fnmatch.
NAMES = {
    "os": """
        chflags chown chroot CLD_* CLONE_* confstr confstr_names copy_file_range ctermid EFD_*
        environb eventfd* EX_[!O]* F_LOCK F_TEST F_TLOCK F_ULOCK fchdir fchmod fchown fdatasync
        fork forkpty fpathconf fstatvfs fwalk get_blocking getegid getenvb geteuid getgid
        getgrouplist getgroups getloadavg getpgid getpgrp getpriority getrandom getresgid
        getresuid getsid getuid getxattr GRND_* initgroups killpg lchflags lchmod lchown listxattr
        lockf login_tty major makedev memfd_create MFD_* minor mkfifo mknod NGROUPS_MAX nice
        O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_EXLOCK O_LARGEFILE O_NDELAY O_NOATIME
        O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_RSYNC O_SHLOCK O_SYNC O_TMPFILE openpty P_ALL
        P_PGID P_PID P_PIDFD pathconf pathconf_names pidfd_open pipe2 plock POSIX_* posix_* pread
        preadv PRIO_* pwrite pwritev readv register_at_fork removexattr RTLD_* RWF_* SCHED_*
        sched_* SEEK_DATA SEEK_HOLE sendfile set_blocking setegid seteuid setgid setgroups setns
        setpgid setpgrp setpriority setregid setresgid setresuid setreuid setsid setuid setxattr
        SF_* spawnlp spawnlpe spawnvp spawnvpe splice SPLICE_* ST_* statvfs sync sysconf
        sysconf_names tcgetpgrp tcsetpgrp ttyname uname unshare W[A-Z]* wait wait3 wait4 waitid
        waitid_result writev XATTR_*
    """,
    "signal": """
        alarm getitimer ITIMER_* ItimerError pause pidfd_send_signal pthread_* setitimer SIG_BLOCK
        SIG_SETMASK SIG_UNBLOCK SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGEMT SIGHUP SIGINFO
        siginterrupt SIGIO SIGIOT SIGKILL Sigmasks sigpending SIGPIPE SIGPOLL SIGPROF SIGPWR
        SIGQUIT SIGRTMAX SIGRTMIN SIGSTKFLT SIGSTOP SIGSYS sigtimedwait SIGTRAP SIGTSTP SIGTTIN
        SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM sigwait sigwaitinfo SIGWINCH SIGXCPU SIGXFSZ
        struct_siginfo
    """,
    "time": "CLOCK_* clock_* pthread_getcpuclockid tzset",
    "socket": "AF_UNIX AF_NETLINK AF_PACKET CMSG_* recv_fds send_fds sethostname",
    "select": "devpoll epoll EPOLL* kevent kqueue poll POLL*",
    "mmap": "MADV_* MAP_* PROT_*",
    "shutil": "chown",
    "faulthandler": "register unregister",
}

PROGRAMS = """
    bash cat chmod cp dash df du false gdb grep head kill killall ldd ln ls ltrace mkdir mount mv nm
    objdump pgrep pkill ps python3 readelf rm sed sh strace tail taskset touch true umount uname wc
    zsh
"""


# ---------------------------------------------------------------- for the course's code


@functools.cache
def lacks(module, name):
    """Whether Windows lacks a name of a module."""
    return any(fnmatchcase(name, pattern) for pattern in NAMES.get(module, "").split())


class StandIn(types.ModuleType):
    """A module without the names that Windows lacks; what is set in it is set in the module."""

    def __getattr__(self, name):
        if lacks(self.__name__, name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)
        value = getattr(sys.modules[self.__name__], name)
        return [n for n in value if not lacks(self.__name__, n)] if name == "__all__" else value

    def __setattr__(self, name, value):
        setattr(sys.modules[self.__name__], name, value)

    def __delattr__(self, name):
        delattr(sys.modules[self.__name__], name)

    def __dir__(self):
        names = dir(sys.modules[self.__name__])
        return [name for name in names if not lacks(self.__name__, name)]

    def __reduce__(self):  # a function that goes to another process takes its modules along
        return stand_in, (self.__name__,)


@functools.cache
def stand_in(name):
    return StandIn(name)


LIBRARIES = (sys.prefix, sys.base_prefix)
original_import = builtins.__import__


def import_there(name, globals=None, locals=None, fromlist=(), level=0):
    """`__import__`, for code that is the course's with the names of Windows."""
    ours = is_the_courses(globals or {})
    if ours and level == 0 and name.partition(".")[0] in MODULES.split():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = original_import(name, globals, locals, fromlist, level)
    return stand_in(module.__name__) if ours and module.__name__ in NAMES else module


# checks do not take this frame for a learner's line
import_there.__code__ = import_there.__code__.replace(co_filename="<frozen elsewhere>")


def is_the_courses(globals):
    """Whether these global names are those of a notebook, a program, a test or a module of ours."""
    if file := globals.get("__file__"):
        return not file.startswith(LIBRARIES)
    return globals.get("__name__") == "__main__"


# ---------------------------------------------------------------- for everybody


class Popen(subprocess.Popen):
    """As on Windows: some programs are not found, some options refused, no exit code is a signal."""

    ended_by_parent = False

    def __init__(self, args, *others, **options):
        first = args if isinstance(args, (str, bytes, os.PathLike)) else next(iter(args))
        program = os.fsdecode(first).split()[0] if options.get("shell") else os.fsdecode(first)
        if options.get("preexec_fn") or options.get("pass_fds"):
            raise ValueError("preexec_fn and pass_fds are not supported on Windows platforms")
        if os.path.basename(program) in PROGRAMS.split():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
        super().__init__(args, *others, **options)

    def kill(self):
        self.ended_by_parent = True
        super().kill()

    def terminate(self):  # on Windows the two are one
        self.kill()

    def _handle_exitstatus(self, *status):
        super()._handle_exitstatus(*status)
        if self.returncode is not None and self.returncode < 0:
            self.returncode = 1 if self.ended_by_parent else -self.returncode


def which_there(command, *others, **options):
    """`shutil.which`, which does not find the programs that Windows lacks."""
    if os.path.basename(command) not in PROGRAMS.split():
        return original_which(command, *others, **options)


def poll_there(process, *flag):
    """`Popen.poll` of multiprocessing: negative is the exit code of what its parent ended."""
    code = original_poll(process, *flag)
    if code is not None and code < 0:
        by_parent = code in (-signal.SIGTERM, -signal.SIGKILL)
        process.returncode = -signal.SIGTERM if by_parent else -code
    return process.returncode


original_which = shutil.which
original_poll = multiprocessing.popen_fork.Popen.poll


def install():
    """Make this process such a one, for what is imported from now on."""
    contexts = multiprocessing.context
    for method in ("fork", "forkserver"):
        del contexts._concrete_contexts[method]
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    contexts._default_context._default_context = contexts._concrete_contexts["spawn"]
    multiprocessing.popen_fork.Popen.poll = poll_there
    subprocess.Popen = Popen
    shutil.which = which_there
    builtins.__import__ = import_there


def environment(folder):
    """The variables with which a new Python, and each that it starts, is such a process.

    Args:
        folder: an empty `Path`, which must stay. Python runs a `sitecustomize` that it finds there.
    """
    program = "from tests.support import elsewhere\nelsewhere.install()\n"
    (folder / "sitecustomize.py").write_text(program, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
