"""Checkpoints that survive: one file to copy into a project, for torch and the standard library.

    checkpoints = Checkpoints("runs/digits", name="resnet18", metric="acc")
    if (state := checkpoints.load("latest")) is not None:
        restore(state, model=model, optimizer=optimizer)
    ...
    state = capture(model=model, optimizer=optimizer, position={"epoch": epoch})
    checkpoints.save(state, epoch=epoch, step=step, metrics={"acc": 0.971})

**A file is written whole or not at all.** It gets another name in the same folder, is forced to the
disk, and then renamed. Under its own name there is the old file or the new one, whatever happens to
the program or to the power.

**A damaged file is found when it is read.** torch.save writes a CRC-32 for each tensor, but nothing
in torch.load looks at it, and the bytes in between have none. So `save` has torch leave it out, and
computes one over all bytes. It is the last thing in the file, as the comment that a zip file may
have, which torch.load passes over; a second file beside it could be lost, or belong to another
version. CRC-32 finds each flipped bit, each damage of up to 32 bits in a row, and all but 1 in
4 billion of the others; it is no signature. For 1 GB, zlib.crc32 took 0.15 s where SHA-256 took 0.5
and BLAKE2b 0.7, and the write 0.7. (zipfile.testzip() and unzip -t miss torch's own sums: they call
such a file bad.)
"""

import atexit
import concurrent.futures
import contextlib
import copy
import functools
import importlib
import math
import os
import random
import re
import secrets
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypedDict, TypeVar, Unpack, cast

import torch
from torch.utils.serialization import config

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, which does not let go of a file that is open anyway
    fcntl = None

SCHEMA = 1  # raise it when what is in `state` changes, and add to MIGRATIONS how to get there
BUFFER, AHEAD = 1 << 20, 1 << 25  # bytes
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)

State = dict[str, Any]
AnyPath = str | os.PathLike[str]
Paths = list[Path]  # in Checkpoints, `list` is a method
Tensors = list[torch.Tensor]
MapLocation = str | torch.device | dict[str, str] | Callable[..., Any] | None
T = TypeVar("T")


class LoadOptions(TypedDict, total=False):
    """What `load` takes beside the path."""

    map_location: MapLocation
    mmap: bool
    verify: bool


class CheckpointError(Exception):
    """A checkpoint could not be written, or cannot be used; the message says which, and why."""


class CheckpointDamaged(CheckpointError):
    """The file is not what was written: some bytes of it changed, or its end is missing."""


# ---------------------------------------------------------------- one file


def save(
    path: AnyPath, state: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write `state` to `path`. When this returns, it is on the disk.

    Args:
        path: its folder is made if it is missing; a file that is there is replaced.
        state: a dict of what the default `torch.load` accepts: tensors, numbers, texts, None, and
            dicts, lists and tuples of them. See `capture`.
        metadata: a dict that is added to the record: arguments, metrics, labels …

    Returns:
        The absolute path. The file holds `state`, and as `"record"` what `make_record` returns.

    Raises:
        CheckpointError: the disk is full, the folder cannot be written to (`__cause__` is the
            OSError), or the default `torch.load` would refuse a part of `state`, which is named.
            A file that was there is as it was.
    """
    return write(os.path.realpath(path), complete(state, metadata))  # follows a link


def complete(state: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> State:
    """`state` with its record; CheckpointError if the default `torch.load` would refuse it."""
    state = {**state, "record": make_record(metadata)}
    refuse_what_load_refuses(state, "state")
    return state


def write(path: AnyPath, state: State) -> Path:
    """The part of `save` that may run in another thread."""
    path = Path(path)
    partial: Path | None = None
    writer: ChecksumWriter | None = None
    try:
        make_folder(path.parent)
        partial, file = open_partial(path)
        with file:
            writer = ChecksumWriter(file)
            options: Any = config  # torch adds `patch` to it when it is imported
            with options.patch({"save.compute_crc32": False}):  # in this thread alone
                torch.save(state, cast(BinaryIO, writer))  # it needs no more than write and flush
            file.seek(-2, os.SEEK_END)  # the last two bytes of a zip: how long its comment is
            file.write(tail(writer.crc, writer.size))
            file.flush()
            sync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames only what is closed
            os.replace(partial, path)  # still locked: nobody takes it for a leftover
        partial = None
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = (writer and writer.error) or error
        raise CheckpointError(f"{path} was not saved: {cause}") from cause
    finally:
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink()
    return path


def load(
    path: AnyPath, *, map_location: MapLocation = "cpu", mmap: bool = False, verify: bool = True
) -> State:
    """Read a file that `save` wrote.

    Args:
        map_location: as for `torch.load`. The states of random number generators must stay on the
            CPU, hence the default; `load_state_dict` moves the rest to where the model is.
        mmap: leave the numbers in the file until they are used: no memory for a copy. Replacing the
            file by `save` meanwhile does no harm.
        verify: False trusts the bytes: with `mmap`, nothing is read then. It also reads the files
            of a plain `torch.save`.

    Returns:
        The `state` that was saved, migrated to the current schema, with its `record`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointDamaged: a byte of it changed, or its end is missing.
        CheckpointError: it has no checksum and `verify` is True, or newer code wrote it.
    """
    path = Path(os.path.abspath(path))
    with concurrent.futures.ThreadPoolExecutor(1) as helper:
        checked = helper.submit(check, path) if verify else None  # while torch reads it
        try:
            state = torch.load(path, map_location=map_location, mmap=mmap, weights_only=True)
        except Exception:
            check(path)  # says so if damage is why
            raise
        if checked:
            checked.result()
    return migrate(state, path)


def check(path: AnyPath) -> None:
    """Compare all bytes of a file with its checksum, unpickling nothing. Raises as `load` does."""
    buffer, crc = memoryview(bytearray(BUFFER)), 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size - len(tail(0, 0)) + 2  # of what torch.save wrote
        left = size - 2
        while left > 0 and (count := file.readinto(buffer[: min(left, BUFFER)])):
            crc = zlib.crc32(buffer[:count], crc)
            left -= count
        end = file.read()
    if end[-22:-18] == b"PK\5\6" and end[-2:] == b"\0\0":  # a whole zip, without a comment
        raise CheckpointError(f"{path} has no checksum: plain torch.save wrote it (see verify).")
    crc = zlib.crc32(b"\0\0", crc)  # torch.save had written: a comment of length 0
    if end != tail(crc, size):
        raise CheckpointDamaged(f"{path} is damaged or cut short: its checksum does not agree.")


def tail(crc: int, size: int) -> bytes:
    """What a file ends in: the length of the zip's comment, and the comment."""
    comment = f"checkpoint crc32={crc:08x} size={size:015d}".encode()
    return struct.pack("<H", len(comment)) + comment


class ChecksumWriter:
    """The file that torch.save writes to: passes the bytes on, and keeps their sum."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.crc, self.size, self.started = file, 0, 0, 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        try:
            count = self.file.write(data)
        except OSError as error:
            self.error = error  # torch can make a RuntimeError of it that does not tell
            raise
        self.size += count
        if (new := self.size - self.started) >= AHEAD and hasattr(os, "posix_fadvise"):
            # Linux begins to write these bytes to the disk, while we prepare the next ones; without
            # this, all of it would wait for fsync, and a save would take up to twice as long
            os.posix_fadvise(self.file.fileno(), self.started, new, os.POSIX_FADV_DONTNEED)
            self.started = self.size
        return count

    def flush(self) -> None:
        self.file.flush()


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, durably."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk: before that, a rename can be lost with the power."""
    if os.name != "nt":  # which cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


def sync(descriptor: int) -> None:
    os.fsync(descriptor)
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync leaves the bytes in the drive's own memory
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def open_partial(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked as long as it is open; returns its path and the file."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
        file = open(partial, "xb", buffering=BUFFER)
        with contextlib.suppress(OSError):  # some network drives have no locks
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
        if partial.exists():  # else remove_leftovers came between the two
            return partial, file
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written; a living one has a lock on its file."""
    for partial in folder.glob(".*.partial"):
        name = partial.name[1:].rsplit(".", 2)[0]
        with contextlib.suppress(OSError):  # it is being written, or has gone
            if parse_name(name) and fcntl is None:
                partial.unlink()
            elif parse_name(name):
                with open(partial, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    partial.unlink()


def refuse_what_load_refuses(value: Any, place: str) -> None:
    """CheckpointError if the default `torch.load` would not load `value`, and where in it."""
    if type(value) in (dict, OrderedDict, list, tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            refuse_what_load_refuses(key, f"a key of {place}")
            refuse_what_load_refuses(item, f"{place}[{key!r}]")
    elif type(value) not in PLAIN and not isinstance(value, torch.Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(
            f"Nothing was saved: {place} is a {kind}, which the default torch.load refuses. "
            "Save plain numbers, texts, lists or dicts instead."
        )


# ---------------------------------------------------------------- the record, and old files


def make_record(metadata: Mapping[str, Any] | None = None) -> State:
    """What one wants to know later: schema, torch's version, commit, time (UTC), command line."""
    return {
        "schema": SCHEMA,
        "torch": str(torch.__version__),
        "git": git_commit(os.getcwd()),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": list(sys.argv),
        **(metadata or {}),
    }


@functools.cache
def git_commit(folder: str) -> str | None:
    """The commit of `folder`, ending in `-dirty` if files were changed; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def from_plain_files(state: State) -> State:
    """Schema 0, files without a record: torch's random numbers only, the epoch by itself."""
    state = dict(state)
    if torch.is_tensor(state.get("rng")):
        state["rng"] = {"torch": state["rng"]}
    if "epoch" in state:
        state["position"] = {"epoch": state.pop("epoch")}
    return state


# {schema: function from a state of it to one of the next}
MIGRATIONS: dict[int, Callable[[State], State]] = {0: from_plain_files}


def migrate(state: Any, path: AnyPath) -> State:
    """`state` in the current schema. Raises CheckpointError, which names `path`, if it is newer."""
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a state of training.")
    record = state.get("record", {"schema": 0})
    if record["schema"] > SCHEMA:
        raise CheckpointError(
            f"{path} has schema {record['schema']}, and this code knows schemas up to {SCHEMA}: "
            f"load it with newer code (it was written at commit {record.get('git')})."
        )
    for schema in range(record["schema"], SCHEMA):
        state = MIGRATIONS[schema](state)
    return {**state, "record": {**record, "schema": SCHEMA}}


# ---------------------------------------------------------------- a state of training


def capture(*, rng: bool = True, **parts: Any) -> State:
    """A dict of all that training needs to go on, for `save`.

    Args:
        parts: under any names. Of a model, optimizer, scheduler, scaler, EMA or stateful loader its
            `state_dict()` is taken, of a `torch.Generator` its state; other things (position in the
            data, configuration, metrics, None) as they are.
        rng: whether to add the global random number generators, as `"rng"`.

    Tensors are not copied: until they are saved, they change when training goes on.
    """
    state = {name: state_of(part) for name, part in parts.items()}
    return {**state, "rng": get_rng()} if rng else state


def state_of(part: Any) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    return part.state_dict() if hasattr(part, "state_dict") else part


def restore(state: Mapping[str, Any], *, rng: bool = True, **parts: Any) -> None:
    """Bring objects to a captured state. Build all of them first, the scheduler too.

    Args:
        parts: the objects, under the names that `capture` was given; None is passed over. Plain
            data, such as the position, you read from `state` yourself.
        rng: whether to set the global random number generators.

    Raises:
        CheckpointError: the state lacks a part, or a module has other keys or shapes. Nothing was
            changed. (Errors of an optimizer come before any module is changed.)
    """
    parts = {name: part for name, part in parts.items() if part is not None}
    wanted = [*parts, "rng"] if rng else list(parts)
    if missing := [name for name in wanted if state.get(name) is None]:
        raise CheckpointError(f"No {', '.join(missing)} in it, only {', '.join(state)}.")
    modules = [name for name in parts if isinstance(parts[name], torch.nn.Module)]
    for name in modules:  # load_state_dict would change half of a module, and then raise
        own, saved = parts[name].state_dict(), state[name]
        if misfits := [key for key in {**own, **saved} if shape(own, key) != shape(saved, key)]:
            first = f"{misfits[0]}: {shape(saved, misfits[0])}, here {shape(own, misfits[0])}"
            raise CheckpointError(f"{name} does not fit at {len(misfits)} keys, first {first}.")
    for name in sorted(parts, key=modules.__contains__):  # modules last
        part = parts[name]
        load = part.set_state if isinstance(part, torch.Generator) else part.load_state_dict
        load(state[name])
    if rng:
        set_rng(state["rng"])


def shape(state: Mapping[str, Any], key: str) -> tuple[int, ...] | str:
    if key not in state:
        return "missing"
    return tuple(state[key].shape) if torch.is_tensor(state[key]) else "no tensor"


def get_rng() -> State:
    """The states of torch's, Python's, CUDA's and NumPy's generators; the latter two if in use."""
    states = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if numpy := sys.modules.get("numpy"):
        kind, numbers, *rest = numpy.random.get_state()
        states["numpy"] = [kind, numbers.tolist(), *rest]  # torch.load refuses arrays
    return states


def set_rng(states: Mapping[str, Any]) -> None:
    """Set those generators whose states are given; CUDA's where there are as many devices."""
    torch.set_rng_state(states["torch"])
    if "python" in states:
        random.setstate(states["python"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    if "numpy" in states:
        importlib.import_module("numpy").random.set_state(tuple(states["numpy"]))


# ---------------------------------------------------------------- names


class Name(NamedTuple):
    """What a file's name says; `metric` and `value` are None if it has none."""

    name: str
    epoch: int
    step: int
    metric: str | None = None
    value: float | None = None


NAME = re.compile(
    r"(?P<name>\w[\w.+-]*)_epoch(?P<epoch>\d{3,})_step(?P<step>\d{6,})"
    r"(_(?P<metric>[^\W\d]+|\w+(?==))=?(?P<value>-?(\d+(\.\d+)?(e[-+]\d+)?|inf)|nan))?\.pt"
)


def format_name(
    name: str, epoch: int, step: int, metric: str | None = None, value: float | None = None
) -> str:
    """`resnet18_epoch020_step001240_acc0.971.pt`: sorts in order of time, and says what it holds.

    The value has 6 significant digits; a metric with a digit in its name gets a `=`: `top5=0.99`.

    Raises:
        ValueError: it could not be read back: a space or slash, a negative number …
    """
    text = f"{name}_epoch{epoch:03d}_step{step:06d}"
    if metric is not None:
        text += f"_{metric}{'=' * bool(re.search(r'[0-9]', metric))}{float(cast(float, value)):.6g}"
    text += ".pt"
    if (parsed := parse_name(text)) is None or parsed[:4] != (name, epoch, step, metric):
        raise ValueError(f"{text!r} would not be a name that can be read back.")
    return text


def parse_name(text: str) -> Name | None:
    """The `Name` in a file name of `format_name`; None if it is none."""
    if not (match := NAME.fullmatch(text)):
        return None
    value = float(match["value"]) if match["value"] else None
    return Name(match["name"], int(match["epoch"]), int(match["step"]), match["metric"], value)


def name_of(path: Path) -> Name:
    """The `Name` of a path that `Checkpoints.list` gave: it is sure to have one."""
    return cast(Name, parse_name(path.name))


# ---------------------------------------------------------------- a folder of them


class Checkpoints:
    """The checkpoints of one run in one folder: written, kept or removed, and loaded.

    Args:
        folder: made if it is missing; what killed processes left half-written in it is removed. It
            stays the same folder after an `os.chdir`.
        name: how the file names begin; files of another name are left alone.
        metric, mode: the metric that is in the file names; the best is its "max" or its "min".
        keep_last: how many of the newest to keep, at least 1. Newer is what has the higher step.
        keep_best: how many of the best to keep too. NaN is never best.
        keep_every: keep too each epoch that is a multiple of it.
        arguments: a dict for each record, such as `vars(args)`.

    Raises:
        CheckpointError: the folder cannot be made.
    """

    def __init__(
        self, folder: AnyPath, *, name: str = "model",
        metric: str = "acc", mode: Literal["max", "min"] = "max",
        keep_last: int = 3, keep_best: int = 1, keep_every: int | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if mode not in ("max", "min") or keep_last < 1:
            raise ValueError("mode must be 'max' or 'min', and keep_last at least 1.")
        self.folder, self.name, self.arguments = Path(os.path.abspath(folder)), name, arguments
        self.metric, self.sign = metric, 1 if mode == "max" else -1
        self.keep_last, self.keep_best, self.keep_every = keep_last, keep_best, keep_every
        self._worker = concurrent.futures.ThreadPoolExecutor(1)  # awaited when the program ends,
        atexit.register(self.close)  # which then tells if it failed
        self._pending: concurrent.futures.Future[None] | None = None
        self._buffers: Tensors = []
        try:
            make_folder(self.folder)
        except OSError as error:
            raise CheckpointError(f"{self.folder} cannot be used: {error}") from error
        remove_leftovers(self.folder)

    def save(
        self, state: Mapping[str, Any], *, epoch: int, step: int,
        metrics: Mapping[str, float] | None = None, background: bool = False,
    ) -> Path:  # fmt: skip
        """Save `state`, and then remove what need not be kept.

        Args:
            state: see `save` and `capture`.
            metrics: `{name: number}` for the record; that of `self.metric` is in the file's name.
            background: copy the tensors, into memory that is used again (so the first time is the
                slowest: see `prepare`), and return; a thread writes the copy. A second call waits
                for the first. The program does not end before all is written.

        Returns:
            The path; in the background, there is a file when `wait` returns.

        Raises:
            CheckpointError: as the function `save`; or the background save before this one failed.
        """
        self.wait()
        chosen = () if metrics is None else (self.metric, metrics[self.metric])
        path = self.folder / format_name(self.name, epoch, step, *chosen)
        if (newest := self.list()[-1:]) and recency(newest[0]) > recency(path):
            warnings.warn(f"{newest[0].name} stays the latest: {path.name} is older.", stacklevel=2)
        metadata = {"epoch": epoch, "step": step, "metrics": metrics, "arguments": self.arguments}
        state = complete(state, metadata)
        if background:
            self._pending = self._worker.submit(self._write, path, self._snapshot(state))
        else:
            self._write(path, state)
        return path

    def prepare(self, state: State) -> None:
        """Take the memory that background saves of such a state need, before training starts."""
        self.wait()
        self._snapshot(state)

    def wait(self) -> None:
        """Wait for the background save. Raises CheckpointError if it failed, once."""
        if self._pending is not None:
            concurrent.futures.wait([self._pending])  # if interrupted here, it stays pending
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Give the memory of background saves back, and wait as `wait` does."""
        self._buffers = []
        self.wait()

    def list(self) -> Paths:
        """The paths of this run's checkpoints, oldest first, damaged ones too."""
        names = {path: parse_name(path.name) for path in self.folder.iterdir()}
        return sorted(
            (p for p, name in names.items() if name and name.name == self.name), key=recency
        )

    def latest(self) -> Path | None:
        """The path of the newest intact checkpoint; None if there is none of any kind.

        Warns of each damaged one that is passed over. Raises CheckpointDamaged if all are.
        """
        return self._first_intact(self._newest_first(), check)[0]

    def best(self) -> Path | None:
        """The path of the intact one with the best metric (not NaN); otherwise as `latest`."""
        return self._first_intact(self._best_first(), check)[0]

    def load(
        self, which: Literal["latest", "best"] = "latest", **options: Unpack[LoadOptions]
    ) -> State | None:
        """The state in the "latest" or "best" intact checkpoint; None if there is none.

        `options` as for the function `load`; with `verify=False` most damage is not found.
        """
        paths = {"latest": self._newest_first, "best": self._best_first}[which]()
        return self._first_intact(paths, functools.partial(load, **options))[1]

    def prune(self, intact: Path | None = None) -> None:
        """Remove what need not be kept; nothing unless `intact`, or another one, is intact."""
        if (intact := intact or self.latest()) is None:
            return
        keep = {intact, *self._newest_first()[: self.keep_last]}
        keep.update(self._best_first()[: self.keep_best])
        for path in self.list():
            every = self.keep_every and name_of(path).epoch % self.keep_every == 0
            if path not in keep and not every:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:  # no reason to call the save before it a failure
                    warnings.warn(f"{path.name} should be removed and cannot be: {error}")

    def _write(self, path: Path, state: State) -> None:
        write(path, state)  # only what is on the disk makes others dispensable
        self.prune(intact=path)

    def _newest_first(self) -> Paths:
        return self.list()[::-1]

    def _best_first(self) -> Paths:
        """Those that have the metric, best first, of equals the newest."""
        names = {path: name_of(path) for path in self._newest_first()}
        values = {p: cast(float, n.value) for p, n in names.items() if n.metric == self.metric}
        ranked = [path for path, value in values.items() if not math.isnan(value)]
        return sorted(ranked, key=lambda path: -self.sign * values[path])

    def _first_intact(
        self, paths: Iterable[Path], use: Callable[[Path], T]
    ) -> tuple[Path, T] | tuple[None, None]:
        """The first path that `use` accepts, and what it returned."""
        damaged: Paths = []
        for path in paths:
            try:
                found = path, use(path)
            except FileNotFoundError:  # another process has just removed it
                continue
            except (CheckpointDamaged, OSError) as error:
                damaged.append(path)
                warnings.warn(f"Passed over: {error}", stacklevel=3)
                continue
            if damaged:
                warnings.warn(f"{path.name} is used instead.", stacklevel=3)
            return found
        if damaged:
            raise CheckpointDamaged(
                f"None of {len(damaged)} checkpoints in {self.folder} is intact."
            )
        return None, None

    def _snapshot(self, state: State) -> State:
        """A copy of `state` on the CPU; its memory is used again by the next one."""
        groups: dict[Any, Tensors] = {}  # tensors that are the same memory, as tied weights are

        def visit(value: Any) -> None:
            if torch.is_tensor(value) and value.layout is torch.strided:
                place = value.untyped_storage().data_ptr(), value.storage_offset(), value.stride()
                groups.setdefault((*place, value.shape, value.dtype), []).append(value)
            elif isinstance(value, (dict, list, tuple)):
                for item in value.values() if isinstance(value, dict) else value:
                    visit(item)

        visit(state)
        buffers = self._buffers
        copies: dict[int, Any] = {}
        for index, (tensor, *others) in enumerate(groups.values()):
            if index == len(buffers) or not alike(buffers[index], tensor):
                pinned: dict[str, Any] = {"pin_memory": True} if tensor.is_cuda else {}
                buffers[index:] = [torch.empty_like(tensor.detach(), device="cpu", **pinned)]
            buffers[index].copy_(tensor.detach(), non_blocking=True)
            copies |= {id(each): buffers[index] for each in (tensor, *others)}
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return copy.deepcopy(state, copies)  # new dicts and lists, and in them these copies


def alike(first: torch.Tensor, second: torch.Tensor) -> bool:
    return (first.shape, first.dtype, first.stride()) == (
        second.shape,
        second.dtype,
        second.stride(),
    )


def recency(path: Path) -> tuple[int, int, str]:
    """Sorts paths from old to new."""
    name = name_of(path)
    return name.step, name.epoch, path.name
