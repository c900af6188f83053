"""checkpoint.py and what goes wrong: processes killed, bytes flipped, files cut, disks full.

`python3 -m utils test --full` kills 500 processes and damages 1,500 files; without it, some dozens.
"""

import contextlib
import errno
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoints import flip, holds, nothing_warned, numbers, partials
from utils import checkpoint
from utils.checking import fresh
from utils.checkpoint import CheckpointDamaged, CheckpointError, Checkpoints, capture
from utils.models import SmallCNN
from utils.training import train_epoch

PATIENCE = 1200  # seconds until a process counts as stuck: far more than any needs
ROUNDS = 10  # of two writers at once


@pytest.fixture
def full(request):
    return request.config.getoption("--full")


# ---------------------------------------------------------------- damage


def train_and_save(path):
    torch.manual_seed(0)
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train_epoch(model, [(torch.randn(5, 3, 32, 32), torch.arange(5))], optimizer)
    return checkpoint.save(path, capture(model=model, optimizer=optimizer))


@pytest.fixture
def trained(tmp_path):
    """The file of a small model with its momentum; large enough to have all kinds of bytes."""
    return fresh.call(train_and_save, tmp_path / "x.pt", timeout=PATIENCE)


def must_be_found(path, **options):
    with pytest.raises(CheckpointDamaged, match=re.escape(str(path))):
        checkpoint.load(path, **options)
    with pytest.raises(CheckpointDamaged, match="damaged or cut short"):
        checkpoint.check(path)


def test_every_flipped_byte_is_found(trained, full, record_property):
    rng, size = random.Random(0), trained.stat().st_size
    storages = np.zeros(size, bool)
    with zipfile.ZipFile(trained) as archive:
        for info in archive.infolist():
            if "/data/" in info.filename:
                storages[info.header_offset : info.header_offset + info.file_size] = True
    others = np.flatnonzero(~storages)  # pickle, headers, padding, directory, comment
    count = 600 if full else 60
    positions = [rng.randrange(size) for _ in range(count)]
    positions += [int(rng.choice(others)) for _ in range(count)]
    positions += [0, *range(size - 70, size)]  # the end of the directory, the checksum itself
    silent = 0
    for number, position in enumerate(positions):
        mask = 1 << rng.randrange(8) if number % 2 else rng.randrange(1, 256)
        flip(trained, position, mask)
        must_be_found(trained, mmap=number % 3 == 0)
        with contextlib.suppress(Exception):
            torch.load(trained)
            silent += 1
        flip(trained, position, mask)
    checkpoint.load(trained)  # as it was
    assert silent > count  # and torch.load alone had loaded most of them
    record_property("flipped", len(positions))
    record_property("flipped_and_loaded_by_torch", silent)


def test_every_truncation_is_found(trained, full, record_property):
    rng, content = random.Random(1), trained.read_bytes()
    inside = {rng.randrange(len(content)) for _ in range(200 if full else 30)}
    ends = [len(content) - n for n in range(1, 90)]
    lengths = {0, 1, 2, 22, *ends, *inside}
    for length in sorted(lengths):
        trained.write_bytes(content[:length])
        must_be_found(trained)
    for more in (b"\0", content):
        trained.write_bytes(content + more)
        must_be_found(trained)
    trained.write_bytes(content[:100] + content[100:200] * 2 + content[300:])  # same length
    must_be_found(trained)
    record_property("truncated", len(lengths))


def test_the_newest_intact_one_is_used_instead(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=4)
    paths = [checkpoints.save(numbers(n), epoch=n, step=n, metrics={"acc": n}) for n in range(4)]
    flip(paths[3], 3000)
    with pytest.warns(UserWarning) as caught:
        assert checkpoints.latest() == paths[2] == checkpoints.best()
    words = [str(warning.message) for warning in caught][:2]
    assert paths[3].name in words[0] and "damaged" in words[0]
    assert words[1] == f"{paths[2].name} is used instead."
    os.truncate(paths[2], 1000)
    for which in ("latest", "best"):
        with pytest.warns(UserWarning) as caught:
            assert holds(checkpoints.load(which), 1)
        assert len(caught) == 3 and "used instead" in str(caught[2].message)
    flip(paths[0], 3000)
    flip(paths[1], 3000)
    with pytest.warns(UserWarning), pytest.raises(CheckpointDamaged, match="None of 4 checkpoints"):
        checkpoints.load()
    with pytest.warns(UserWarning), pytest.raises(CheckpointDamaged):
        checkpoints.prune()
    assert len(checkpoints.list()) == 4  # nothing is removed


def test_a_disk_that_cannot_read_counts_as_damage(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    paths = [checkpoints.save(numbers(n), epoch=n, step=n) for n in range(2)]
    original = checkpoint.check

    def check(path):
        if path == paths[1]:
            raise OSError(errno.EIO, "Input/output error", str(path))
        original(path)

    monkeypatch.setattr(checkpoint, "check", check)
    with pytest.warns(UserWarning) as caught:
        assert checkpoints.latest() == paths[0] and holds(checkpoints.load(), 0)
    assert len(caught) == 4 and "Input/output error" in str(caught[0].message)


# ---------------------------------------------------------------- kills


def save_in_place_of_the_last(folder, number, state):
    checkpoint.save(os.path.join(folder, "fixed.pt"), {**state, "step": number})


def save_and_prune(folder, number, state):
    Checkpoints(folder, keep_last=1, keep_best=0).save(state, epoch=number, step=number)


def kill_savers(folder, save, kills, seed):
    """Fork a process that saves without end, kill it at a random moment, look; `kills` times.

    The moment is some step of the first save, the second or the third, and for every second kill
    a few milliseconds later, so that what takes long between two steps is hit too. Nothing is
    measured: a slow machine kills as well as a fast one.

    Returns:
        How many kills met an unfinished file, and what was wrong, a list of texts.
    """
    torch.set_num_threads(1)  # a process with threads must not be forked
    checkpoint.git_commit(os.getcwd())  # remembered from now on
    rng, middle, wrong, number = random.Random(seed), 0, [], 0
    state = numbers(0, count=8, length=1 << 17)  # 4 MB
    signs = []
    tell_each_step(lambda: signs.append(1))
    for _ in range(3):
        signs.clear()
        save(folder, number, state)
    longest = 5 * len(signs) // 2
    for kill in range(kills):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            save_without_end(folder, save, number, state, writer)
        os.close(writer)
        seen = read_signs(reader, rng.randint(1, longest))
        time.sleep(rng.uniform(0, 0.02) * (kill % 2))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        seen += read_signs(reader)
        os.close(reader)
        middle += bool(partials(folder))
        number, problem = look(folder, number + seen.count(b"d"))
        if not os.WIFSIGNALED(status):
            problem = "it ended before it was killed"
        wrong += [problem] if problem else []
    return middle, wrong


def tell_each_step(tell):
    """Call `tell` before each step of a save: a write, a sync, a rename, a removal."""

    def telling(original):
        def step(*args, **kwargs):
            tell()
            return original(*args, **kwargs)

        return step

    for owner, names in (
        (checkpoint.ChecksumWriter, ["write"]),
        (os, ["fsync", "replace"]),
        (Path, ["unlink"]),
    ):
        for name in names:
            setattr(owner, name, telling(getattr(owner, name)))


def save_without_end(folder, save, number, state, writer):
    """In the forked process: a sign for each step, another (`d`) when a save is done."""
    try:
        tell_each_step(lambda: os.write(writer, b"s"))
        while True:
            number += 1
            for tensor in state.values():
                tensor.fill_(number)
            save(folder, number, state)
            os.write(writer, b"d")
    finally:
        os._exit(1)


def read_signs(reader, count=math.inf):
    """So many signs, or as many as there were when the process ended."""
    signs = b""
    while len(signs) < count and (sign := os.read(reader, 1)):
        signs += sign
    return signs


def look(folder, promised):
    """The number of the newest checkpoint, and what is wrong with what a killed process left."""
    checkpoints = Checkpoints(folder)
    left = partials(folder)
    try:
        fixed = Path(folder, "fixed.pt")
        for path in [fixed] if fixed.exists() else checkpoints.list():
            checkpoint.check(path)  # not only the newest: under its name, no file is half-written
        state = checkpoint.load(fixed) if fixed.exists() else checkpoints.load()
    except CheckpointError as error:
        return promised + 1, str(error)
    found = state["step"] if fixed.exists() else state["record"]["step"]
    if left and not fixed.exists():
        return found, f"leftovers stay: {left}"
    for name in left:  # those of a bare save, which belongs to no run
        Path(folder, name).unlink()
    tensors = {key: value for key, value in state.items() if key.startswith("w")}
    if not holds(tensors, found):
        return found, "numbers of another step"
    if found not in (promised, promised + 1):
        return found, f"step {found} in place of {promised}"
    return found, None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("save", [save_in_place_of_the_last, save_and_prune])
def test_killed_at_any_moment(tmp_path, save, full, record_property):
    kills = 260 if full else 25
    middle, wrong = fresh.call(kill_savers, str(tmp_path), save, kills, 0, timeout=PATIENCE)
    assert wrong == [] and middle > kills / 4, f"{middle} of {kills} in the middle of a save"
    record_property("killed", kills)
    record_property("killed_while_saving", middle)


def test_leftovers_of_the_dead_go_those_of_the_living_stay(tmp_path):
    dead = tmp_path / ".model_epoch001_step000001.pt.0123456789abcdef.partial"
    others = [tmp_path / ".vimrc.partial", tmp_path / "model_epoch001_step000001.pt.partial"]
    for path in [dead, *others]:
        path.write_bytes(b"half")
    living, file = checkpoint.open_partial(tmp_path / "model_epoch002_step000002.pt")
    Checkpoints(tmp_path)
    assert not dead.exists() and living.exists() and all(path.exists() for path in others)
    file.close()
    Checkpoints(tmp_path)
    assert not living.exists()


@pytest.mark.skipif(checkpoint.fcntl is None, reason="Windows does not remove what is open")
def test_a_file_that_is_taken_for_a_leftover_before_it_is_locked(tmp_path, monkeypatch):
    original, calls = checkpoint.fcntl.flock, []

    def flock(file, how):
        if not calls:  # between open and flock, another process has cleaned up
            os.unlink(file.name)
        calls.append(file.name)
        original(file, how)

    monkeypatch.setattr(checkpoint.fcntl, "flock", flock)
    path = checkpoint.save(tmp_path / "x.pt", numbers(1))
    assert len(set(calls)) == 2 and holds(checkpoint.load(path), 1)


def test_a_file_that_another_process_removes_meanwhile(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    paths = [checkpoints.save(numbers(n), epoch=n, step=n) for n in range(2)]
    listed = checkpoints.list()
    monkeypatch.setattr(checkpoints, "list", lambda: listed)
    paths[1].unlink()
    with nothing_warned():
        assert checkpoints.latest() == paths[0] and holds(checkpoints.load(), 0)
        paths[0].unlink()
        assert checkpoints.latest() is None
    checkpoints.keep_last = 1
    checkpoints.prune(intact=paths[1])


def write_many(folder, diaries, mine):
    """Save until both have done ROUNDS, with retention and the removal of leftovers.

    Args:
        diaries: a folder with a file for each of the two, as long as the rounds it has done.
        mine: which of the two this is, 0 or 1.
    """
    count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other one may be ahead
        while not both_done(diaries) and not Path(diaries, "failed").exists():
            number = mine + 2 * count
            checkpoints = Checkpoints(folder, keep_last=2)
            for step in (7, 1000 + number):  # one name for both, and one of its own
                checkpoints.save(
                    numbers(number, length=20_000), epoch=0, step=step, metrics={"acc": 0}
                )
            assert checkpoints.load() is not None
            count += 1
            with open(Path(diaries, str(mine)), "a", encoding="utf-8") as diary:
                diary.write(".")


def both_done(diaries):
    files = [Path(diaries, str(writer)) for writer in (0, 1)]
    return all(file.exists() and file.stat().st_size >= ROUNDS for file in files)


def test_two_writers_at_once(tmp_path, tmp_path_factory):
    diaries = tmp_path_factory.mktemp("diaries")

    def writer(number):
        try:
            fresh.call(write_many, str(tmp_path), str(diaries), number, timeout=PATIENCE)
        except fresh.RaisedInFreshProcess:
            (diaries / "failed").touch()  # the other one need not wait
            raise

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(writer, range(2)))
    assert both_done(diaries)
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    for path in checkpoints.list():
        state = checkpoint.load(path)
        tensors = [v for k, v in state.items() if k.startswith("w")]
        assert all((t == tensors[0][0]).all() for t in tensors)  # all of it by one of the two
    assert partials(tmp_path) == [] and 1 <= len(checkpoints.list()) <= 4


# ---------------------------------------------------------------- no room, no permission


def save_until_full(folder, background=False):
    """Save files of 1 MB until one fails; returns what one wants to know then."""
    checkpoints, saved, error = Checkpoints(folder, keep_last=1000), 0, None
    while error is None and saved < 100:
        try:
            checkpoints.save(
                numbers(saved, length=1 << 15), epoch=0, step=saved, background=background
            )
            checkpoints.wait()
            saved += 1
        except CheckpointError as failure:
            error = failure
    intact = [holds(checkpoint.load(p), n) for n, p in enumerate(checkpoints.list())]
    return {
        "saved": saved,
        "intact": sum(intact),
        "partials": partials(folder),
        "cause": getattr(error.__cause__, "errno", None),
        "message": str(error),
    }


def with_a_limit(folder):
    """The largest file this process may write: 100 kB, after which the system refuses."""
    import resource

    first = Checkpoints(folder)
    first.save(numbers(0, length=1 << 15), epoch=0, step=0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    results = [save_over(folder, background) for background in (False, True)]
    return results, holds(first.load(), 0), partials(folder), len(first.list())


def save_over(folder, background):
    checkpoints = Checkpoints(folder, keep_last=1)
    try:
        checkpoints.save(numbers(1, length=1 << 15), epoch=0, step=0, background=background)
        checkpoints.wait()
    except CheckpointError as error:
        return error.__cause__.errno, str(error)


@pytest.mark.skipif(os.name == "nt", reason="needs the limits of POSIX")
def test_a_write_that_fails_loses_nothing(tmp_path):
    results, intact, left, count = fresh.call(with_a_limit, str(tmp_path), timeout=PATIENCE)
    for cause, message in results:
        assert cause == errno.EFBIG
        assert re.fullmatch(
            r".*model_epoch000_step000000.pt was not saved: .*File too large.*", message
        )
    assert intact and left == [] and count == 1


def limited_full_disk(folder, background):
    """Where nothing can be mounted: writes beyond 10 MB in all fail as on a full disk."""
    original, room = checkpoint.ChecksumWriter.write, [10 << 20]

    def write(self, data):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    checkpoint.ChecksumWriter.write = write
    return save_until_full(folder, background)


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_loses_nothing(tmp_path, background, record_property):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    mounted = (
        sys.platform == "linux" and subprocess.run(command, capture_output=True).returncode == 0
    )
    try:
        if mounted:
            result = save_until_full(disk, background)
            again = Checkpoints(disk)
            again.list()[0].unlink()  # room for one more
            again.save(numbers(99, length=1 << 15), epoch=1, step=99)
            assert holds(again.load(), 99)
        else:
            result = fresh.call(limited_full_disk, str(disk), background, timeout=PATIENCE)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    assert 3 <= result["saved"] == result["intact"] < 12 and result["partials"] == []
    assert result["cause"] == errno.ENOSPC and "No space left on device" in result["message"]
    record_property("full_disks", 1)
    record_property("full_disks_mounted", int(mounted))
    record_property("saved_before_a_disk_was_full", result["saved"])


def without_permission(folder):
    """As root one may everything: be nobody."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    messages = []
    for make in (
        lambda: Checkpoints(folder).save(numbers(1), epoch=1, step=1),
        lambda: checkpoint.save(Path(folder, "model_epoch000_step000000.pt"), numbers(1)),
        lambda: Checkpoints(Path(folder, "new")),
    ):
        try:
            make()
        except CheckpointError as error:
            messages.append((type(error.__cause__).__name__, str(error)))
    return messages, holds(Checkpoints(folder).load(), 0)


@pytest.mark.skipif(os.name == "nt", reason="needs the permissions of POSIX")
def test_a_folder_that_cannot_be_written_to():
    with tempfile.TemporaryDirectory() as folder:
        Checkpoints(folder).save(numbers(0), epoch=0, step=0)
        os.chmod(folder, 0o555)
        messages, intact = fresh.call(without_permission, folder, timeout=PATIENCE)
        os.chmod(folder, 0o755)
        assert [name for name, _ in messages] == ["PermissionError"] * 3 and intact
        assert "step000001.pt was not saved" in messages[0][1]
        assert "cannot be used" in messages[2][1]
        assert len(os.listdir(folder)) == 1


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be used"):
        Checkpoints(tmp_path / "file")
    with pytest.raises(CheckpointError, match="was not saved"):
        checkpoint.save(tmp_path / "file/x.pt", {})
