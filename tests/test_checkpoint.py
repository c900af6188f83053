"""checkpoint.py: what it promises, and the same with processes killed, bytes flipped, disks full.

`python3 -m utils test --full` kills 500 processes and damages 1,200 files in place of some dozens.
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
import threading
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils import checkpoint
from utils.checking import fresh
from utils.checkpoint import CheckpointDamaged, CheckpointError, Checkpoints, capture, restore
from utils.models import SmallCNN
from utils.tools import bench
from utils.tools.course import ROOT
from utils.training import train_epoch


@pytest.fixture
def full(request):
    return request.config.getoption("--full")


def numbers(value, count=8, length=1000):
    """A state that says by each of its numbers which one it is."""
    return {f"w{i}": torch.full((length,), float(value)) for i in range(count)}


def holds(state, value):
    tensors = [v for v in state.values() if torch.is_tensor(v)]
    return bool(tensors) and all((tensor == value).all() for tensor in tensors)


def partials(folder):
    return [path.name for path in Path(folder).iterdir() if "partial" in path.name]


def names(checkpoints):
    return [path.name for path in checkpoints.list()]


def steps(checkpoints):
    return [checkpoint.parse_name(name).step for name in names(checkpoints)]


def flip(path, position, mask=1):
    """Change bits of one byte; a second call with the same arguments changes them back."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ mask]))


@contextlib.contextmanager
def nothing_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---------------------------------------------------------------- one file


def test_what_is_saved_is_loaded_by_us_and_by_torch(tmp_path):
    state = {
        "model": SmallCNN().state_dict(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "empty": torch.zeros(0),
        "plain": {"lr": 0.1, 3: [1, (2, None)], "flag": True, "text": "ü", "inf": -math.inf},
        "shape": torch.Size([1, 2]),
        "dtype": torch.float16,
    }
    path = checkpoint.save(tmp_path / "x.pt", state, metadata={"metrics": {"acc": 0.5}})
    assert path == tmp_path / "x.pt" and partials(tmp_path) == []
    ours = [checkpoint.load(path, mmap=m, verify=v) for m in (False, True) for v in (False, True)]
    for loaded in [*ours, torch.load(path), torch.load(path, mmap=True)]:
        assert loaded["plain"] == state["plain"] and loaded["dtype"] is torch.float16
        assert loaded["record"]["metrics"] == {"acc": 0.5}
        assert loaded["model"]._metadata == state["model"]._metadata
        for key, value in state["model"].items():
            assert torch.equal(loaded["model"][key], value)
        assert torch.equal(loaded["half"], state["half"]) and loaded["empty"].shape == (0,)
    checkpoint.save(path, ours[0])  # what was loaded can be saved again
    assert "record" in checkpoint.load(path)


@pytest.mark.parametrize(
    "value, place, kind",
    [
        ({"a": {"lr": [0.1, np.float64(0.1)]}}, r"state\['a'\]\['lr'\]\[1\]", "numpy.float64"),
        ({"a": np.zeros(2)}, r"state\['a'\]", "numpy.ndarray"),
        ({"a": Path("x")}, r"state\['a'\]", "pathlib"),
        ({"a": {Path("x"): 1}}, r"a key of state\['a'\]", "pathlib"),
        ({"a": torch.nn.Linear(1, 1)}, r"state\['a'\]", "torch.nn.modules.linear.Linear"),
        ({"a": [lambda: 1]}, r"state\['a'\]\[0\]", "builtins.function"),
    ],
)
def test_what_torch_would_refuse_to_load_is_not_saved(tmp_path, value, place, kind):
    path = checkpoint.save(tmp_path / "x.pt", numbers(1))
    for background in (False, True):  # in the background too, the call itself refuses
        checkpoints = Checkpoints(tmp_path)
        with pytest.raises(CheckpointError, match=f"{place} is a {kind}.*default torch.load"):
            checkpoints.save(value, epoch=0, step=0, background=background)
    with pytest.raises(CheckpointError, match=place):
        checkpoint.save(path, value)
    with pytest.raises(CheckpointError, match=r"state\['record'\]\['args'\]"):
        checkpoint.save(path, {}, metadata={"args": Path("x")})
    assert holds(checkpoint.load(path), 1) and os.listdir(tmp_path) == ["x.pt"]


def test_folders_are_made_links_followed_and_permissions_the_usual(tmp_path):
    path = checkpoint.save(tmp_path / "a/b/x.pt", numbers(1))
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode
    (tmp_path / "link.pt").symlink_to(path)
    assert checkpoint.save(tmp_path / "link.pt", numbers(2)) == path
    assert (tmp_path / "link.pt").is_symlink() and holds(checkpoint.load(path), 2)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.pt")


def test_the_order_in_which_things_reach_the_disk(tmp_path, monkeypatch):
    """A kill cannot show what fsync is for; a power cut could. So: who is called, and when?"""
    calls = []

    def spy(module, name, describe):
        original = getattr(module, name)

        def wrapper(*args, **kwargs):
            calls.append((name, *describe(*args)))
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    def of_descriptor(descriptor):
        own = os.fstat(descriptor)
        paths = [tmp_path, *tmp_path.rglob("*")]
        (path,) = [path for path in paths if os.path.samestat(path.stat(), own)]
        return path.name, own.st_size if path.is_file() else None

    Checkpoints(tmp_path / "run", keep_last=1, keep_best=0).save(numbers(1), epoch=1, step=1)
    spy(os, "fsync", of_descriptor)
    spy(os, "replace", lambda source, target: (Path(source).name, Path(target).name))
    spy(Path, "unlink", lambda path: (path.name,))
    checkpoints = Checkpoints(tmp_path / "run", keep_last=1, keep_best=0)
    path = checkpoints.save(numbers(2), epoch=2, step=2)
    (_, partial, size), *others = calls
    assert (
        partial.endswith(".partial") and size == path.stat().st_size
    )  # all of it, under its other name
    assert others == [
        ("replace", partial, path.name),
        ("fsync", "run", None),
        ("unlink", "model_epoch001_step000001.pt"),
    ]
    calls.clear()
    checkpoint.save(tmp_path / "new/er/x.pt", {})
    synced = [call[1] for call in calls if call[0] == "fsync"]
    assert {"new", tmp_path.name} <= set(synced[:-2]) and synced[-1] == "er"


def test_other_writers_of_torch_files_keep_their_checksums(tmp_path):
    checkpoint.save(tmp_path / "x.pt", numbers(1))
    torch.save(numbers(1), tmp_path / "y.pt")
    with zipfile.ZipFile(tmp_path / "y.pt") as archive:
        assert archive.testzip() is None and all(info.CRC for info in archive.infolist())


def test_a_plain_file_is_refused_unless_one_says_so(tmp_path):
    torch.save({"model": {"w": torch.ones(2)}, "epoch": 3, "rng": torch.get_rng_state()}, "x.pt")
    path = Path("x.pt").rename(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="has no checksum: plain torch.save wrote it") as info:
        checkpoint.load(path)
    assert not isinstance(info.value, CheckpointDamaged)
    state = checkpoint.load(path, verify=False)
    assert state["position"] == {"epoch": 3} and "epoch" not in state  # schema 0 is migrated
    assert set(state["rng"]) == {"torch"} and state["record"]["schema"] == checkpoint.SCHEMA
    torch.save([1], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        checkpoint.load(path, verify=False)


# ---------------------------------------------------------------- damage


@pytest.fixture
def trained(tmp_path):
    """The file of a small model with its momentum; large enough to have all kinds of bytes."""
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train_epoch(model, [(torch.randn(5, 3, 32, 32), torch.arange(5))], optimizer)
    return checkpoint.save(tmp_path / "x.pt", capture(model=model, optimizer=optimizer))


def must_be_found(path, **options):
    with pytest.raises(CheckpointDamaged, match=re.escape(str(path))):
        checkpoint.load(path, **options)
    with pytest.raises(CheckpointDamaged, match="damaged or cut short"):
        checkpoint.check(path)


def test_every_flipped_byte_is_found(trained, full):
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
    print(f"{len(positions)} flipped bytes, all found; torch.load alone loaded {silent}")


def test_every_truncation_is_found(trained, full):
    rng, content = random.Random(1), trained.read_bytes()
    lengths = {rng.randrange(len(content)) for _ in range(200 if full else 30)}
    ends = [len(content) - n for n in range(1, 90)]
    for length in [0, 1, 2, 22, *ends, *sorted(lengths)]:
        trained.write_bytes(content[:length])
        must_be_found(trained)
    for more in (b"\0", content):
        trained.write_bytes(content + more)
        must_be_found(trained)
    trained.write_bytes(content[:100] + content[100:200] * 2 + content[300:])  # same length
    must_be_found(trained)
    print(f"{len(lengths) + 93} truncations, all found")


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

    Returns:
        How many kills met an unfinished file, and what was wrong, a list of texts.
    """
    torch.set_num_threads(1)  # a process with threads must not be forked
    checkpoint.git_commit(os.getcwd())  # remembered from now on
    rng, middle, wrong, number = random.Random(seed), 0, [], 0
    state = numbers(0, count=8, length=1 << 17)  # 4 MB
    start = time.perf_counter()
    for _ in range(3):
        save(folder, number, state)
    duration = (time.perf_counter() - start) / 3
    for _ in range(kills):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            while True:
                number += 1
                for tensor in state.values():
                    tensor.fill_(number)
                os.write(writer, b"s")  # starts
                save(folder, number, state)
                os.write(writer, b"d")  # done
        os.close(writer)
        os.read(reader, 1)
        time.sleep(rng.uniform(0, 2.5 * duration))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        done = 0
        while signs := os.read(reader, 1000):
            done += signs.count(b"d")
        os.close(reader)
        middle += bool(partials(folder))
        number, problem = look(folder, number + done)
        wrong += [problem] if problem else []
    return middle, wrong


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
def test_killed_at_any_moment(tmp_path, save, full):
    kills = 260 if full else 25
    middle, wrong = fresh.call(kill_savers, str(tmp_path), save, kills, 0, timeout=600)
    assert wrong == [] and middle > kills / 4, f"{middle} of {kills} in the middle of a save"
    print(
        f"{kills} kills, {middle} in the middle of a save, none left without an intact checkpoint"
    )


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


def write_many(folder, start, seconds):
    """Save again and again, with retention and the removal of leftovers; returns how often."""
    end, count = time.monotonic() + seconds, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other one may be ahead
        while time.monotonic() < end:
            number = start + 2 * count
            checkpoints = Checkpoints(folder, keep_last=2)
            for step in (7, 1000 + number):  # one name for both, and one of its own
                checkpoints.save(
                    numbers(number, length=20_000), epoch=0, step=step, metrics={"acc": 0}
                )
            assert checkpoints.load() is not None
            count += 1
    return count


def test_two_writers_at_once(tmp_path):
    def writer(number):
        return fresh.call(write_many, str(tmp_path), number, 1.5, timeout=60)

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(writer, range(2)))
    assert min(counts) > 3
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
    results, intact, left, count = fresh.call(with_a_limit, str(tmp_path), timeout=60)
    for cause, message in results:
        assert cause == errno.EFBIG
        assert re.fullmatch(
            r".*model_epoch000_step000000.pt was not saved: .*File too large.*", message
        )
    assert intact and left == [] and count == 1


def limited_full_disk(folder):
    """Where nothing can be mounted: writes beyond 10 MB in all fail as on a full disk."""
    original, room = checkpoint.ChecksumWriter.write, [10 << 20]

    def write(self, data):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    checkpoint.ChecksumWriter.write = write
    return save_until_full(folder)


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_loses_nothing(tmp_path, background):
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
            result = fresh.call(limited_full_disk, str(disk), timeout=60)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    print("a mounted disk of 10 MB" if mounted else "writes that fail after 10 MB")
    assert 3 <= result["saved"] == result["intact"] < 12 and result["partials"] == []
    assert result["cause"] == errno.ENOSPC and "No space left on device" in result["message"]


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
        messages, intact = fresh.call(without_permission, folder, timeout=60)
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


# ---------------------------------------------------------------- a state of training


def build():
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": OneCycleLR(optimizer, 0.1, total_steps=12),
        "scaler": torch.amp.GradScaler("cpu", init_scale=1024.0),
        "ema": AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
        "order": torch.Generator().manual_seed(5),
    }


def epoch_of(parts):
    """Images from all four generators: torch's, one of our own, Python's, NumPy's."""
    for _ in range(3):
        images = torch.randn(10, 3, 32, 32, generator=parts["order"]) * random.random()
        batch = images + np.random.rand(), torch.arange(10)
        train_epoch(parts["model"], [batch], parts["optimizer"], parts["scheduler"])
        parts["scaler"].scale(torch.ones(()))
        parts["ema"].update_parameters(parts["model"])


def resumed_elsewhere(path):
    torch.set_num_threads(1)
    parts = build()
    state = checkpoint.load(path)
    restore(state, **parts)
    assert state["position"] == {"epoch": 2}
    for _ in range(2):
        epoch_of(parts)
    return capture(**parts)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    from utils.checking.errors import same

    torch.set_num_threads(1)
    parts = build()
    for _ in range(2):
        epoch_of(parts)
    path = checkpoint.save(tmp_path / "x.pt", capture(**parts, position={"epoch": 2}))
    for _ in range(2):
        epoch_of(parts)
    ended = fresh.call(resumed_elsewhere, path, timeout=60)
    assert same(ended, capture(**parts)), [
        k for k in ended if not same(ended[k], capture(**parts)[k])
    ]


def test_restore_changes_nothing_if_something_does_not_fit():
    saved = capture(**build())
    cases = [
        ({"other": torch.nn.Linear(1, 1)}, "No other in it, only model, optimizer"),
        ({"ema": SmallCNN()}, "ema does not fit at .* keys, first .*missing"),
        (
            {"model": SmallCNN(num_classes=7)},
            r"2 keys, first head.weight: \(10, 512\), here \(7, 512\)",
        ),
        ({"optimizer": torch.optim.SGD(SmallCNN().features.parameters(), lr=1)}, "parameter group"),
    ]
    for wrong, words in cases:
        parts = {"model": SmallCNN(), **wrong}
        before = {k: v.clone() for k, v in parts["model"].state_dict().items()}
        rng = torch.get_rng_state()
        with pytest.raises((CheckpointError, ValueError), match=words):
            restore(saved, **parts)
        after = parts["model"].state_dict()
        assert all(torch.equal(after[k], before[k]) for k in before)
        assert torch.equal(torch.get_rng_state(), rng)
    model = SmallCNN()
    restore({"model": saved["model"]}, rng=False, model=model, scaler=None)
    assert torch.equal(model.head.weight, saved["model"]["head.weight"])
    with pytest.raises(CheckpointError, match="No rng in it"):
        restore({"model": saved["model"]}, model=model)


# ---------------------------------------------------------------- the record


def test_the_record(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, arguments={"lr": 0.1})
    checkpoints.save(numbers(1), epoch=3, step=40, metrics={"acc": 0.25, "loss": 2.0})
    record = checkpoints.load()["record"]
    assert record["schema"] == 1 and record["torch"] == torch.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["time"])
    assert record["command"] == sys.argv and record["arguments"] == {"lr": 0.1}
    assert record["metrics"] == {"acc": 0.25, "loss": 2.0}
    assert (record["epoch"], record["step"]) == (3, 40)


@pytest.fixture
def no_git_yet():
    checkpoint.git_commit.cache_clear()
    yield
    checkpoint.git_commit.cache_clear()


def test_the_commit_if_there_is_one(tmp_path, monkeypatch, no_git_yet):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkpoint.git_commit(str(tmp_path)) is None
    repository = tmp_path / "repository"
    repository.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(repository)]
    (repository / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-qm", "m"]):
        subprocess.run([*git, *arguments], check=True)
    assert re.fullmatch("[0-9a-f]{40}", checkpoint.git_commit(str(repository)))
    checkpoint.git_commit.cache_clear()
    (repository / "a").write_text("2")
    assert re.fullmatch("[0-9a-f]{40}-dirty", checkpoint.git_commit(str(repository)))
    checkpoint.git_commit.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of that name
    assert checkpoint.git_commit(str(repository)) is None
    checkpoint.save(tmp_path / "x.pt", {})


def test_old_schemas_are_migrated_newer_ones_refused(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path / "x.pt", {"lr": 1})
    monkeypatch.setattr(checkpoint, "SCHEMA", 3)
    steps = {1: lambda s: {**s, "rate": s["lr"]}, 2: lambda s: {**s, "rate": s["rate"] * 10}}
    monkeypatch.setattr(checkpoint, "MIGRATIONS", steps)
    state = checkpoint.load(path)
    assert state["rate"] == 10 and state["record"]["schema"] == 3
    checkpoint.save(path, state)
    Checkpoints(tmp_path).save(state, epoch=1, step=1)
    monkeypatch.setattr(checkpoint, "SCHEMA", 2)
    for load in (lambda: checkpoint.load(path), Checkpoints(tmp_path).load):
        with pytest.raises(
            CheckpointError, match="has schema 3, and this code knows schemas up to 2"
        ):
            load()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "parts, text",
    [
        (("resnet18", 20, 1240, "acc", 0.971), "resnet18_epoch020_step001240_acc0.971.pt"),
        (("my_net_v2", 0, 0), "my_net_v2_epoch000_step000000.pt"),
        (("a_epoch001_step000001", 2, 3), "a_epoch001_step000001_epoch002_step000003.pt"),
        (("n", 1234, 12345678, "val_loss", -1.5), "n_epoch1234_step12345678_val_loss-1.5.pt"),
        (("n", 1, 1, "top5", 1.0), "n_epoch001_step000001_top5=1.pt"),
        (("n", 1, 1, "f1", 1e-7), "n_epoch001_step000001_f1=1e-07.pt"),
        (("n", 1, 1, "x_1e", -3e20), "n_epoch001_step000001_x_1e=-3e+20.pt"),
        (("n", 1, 1, "acc", math.nan), "n_epoch001_step000001_accnan.pt"),
        (("n", 1, 1, "min", -math.inf), "n_epoch001_step000001_min-inf.pt"),
        (("n", 1, 1, "inf", math.inf), "n_epoch001_step000001_infinf.pt"),
        (("n", 1, 1, "banan", math.nan), "n_epoch001_step000001_banannan.pt"),
        (("n.1-b", 1, 1, "acc", 0), "n.1-b_epoch001_step000001_acc0.pt"),
    ],
)
def test_names_are_written_and_read_by_the_same_rules(parts, text):
    assert checkpoint.format_name(*parts) == text
    found = checkpoint.parse_name(text)
    assert found[:4] == (*parts, None)[:4]
    wanted = parts[4] if len(parts) > 4 else None
    assert found.value == wanted or (math.isnan(wanted) and math.isnan(found.value))


def test_names_made_by_chance_are_read_back():
    rng = random.Random(0)
    for _ in range(2000):
        value = rng.choice(
            [rng.gauss(0, 1), rng.gauss(0, 1) * 10 ** rng.randint(-30, 30), math.inf]
        )
        letters = "".join(rng.choices("aeinf_19", k=rng.randint(1, 6)))
        parts = letters + "x", rng.randrange(2000), rng.randrange(10**7), letters, value
        text = checkpoint.format_name(*parts)
        found = checkpoint.parse_name(text)
        assert found[:4] == parts[:4] and found.value == pytest.approx(value, rel=1e-5)
        assert checkpoint.format_name(*found) == text


def test_names_that_could_not_be_read_are_refused():
    for parts in [
        ("a/b", 1, 1),
        ("../a", 1, 1),
        ("a b", 1, 1),
        ("", 1, 1),
        (".a", 1, 1),
        ("a", -1, 1),
        ("a", 1, -1),
        ("a", 1, 1, "a/b", 1.0),
        ("a", 1, 1, "", 1.0),
        ("a", 1, 1, "a=b", 1.0),
    ]:
        with pytest.raises(ValueError, match="read back"):
            checkpoint.format_name(*parts)
    for text in [
        "x.pt",
        "a_epoch001_step000001.pth",
        "a_epoch1_step1.pt",
        ".a_epoch001_step000001.pt",
    ]:
        assert checkpoint.parse_name(text) is None


# ---------------------------------------------------------------- what is kept


def run_of(folder, values, **options):
    checkpoints = Checkpoints(folder, **options)
    for number, value in enumerate(values):
        metrics = {checkpoints.metric: value}
        checkpoints.save(numbers(number), epoch=number, step=10 * number, metrics=metrics)
    return checkpoints


@pytest.mark.parametrize(
    "options, kept",
    [
        ({"keep_last": 2, "keep_best": 0}, [5, 6]),
        ({"keep_last": 1, "keep_best": 1}, [2, 6]),
        ({"keep_last": 1, "keep_best": 2}, [2, 4, 6]),
        ({"keep_last": 1, "keep_best": 2, "mode": "min"}, [0, 3, 6]),
        ({"keep_last": 1, "keep_best": 0, "keep_every": 3}, [0, 3, 6]),
        ({"keep_last": 1, "keep_best": 1, "metric": "val_f1"}, [2, 6]),
        ({"keep_last": 100}, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_is_kept(tmp_path, options, kept):
    nan = math.nan
    with nothing_warned():
        checkpoints = run_of(tmp_path, [-1.0, nan, 0.9, -0.5, 0.7, nan, 0.1], **options)
        assert [step // 10 for step in steps(checkpoints)] == kept
        assert holds(checkpoints.load("latest"), 6)
        best = {"min": 0}.get(options.get("mode"), 2)
        if options.get("keep_best", 1):
            assert holds(checkpoints.load("best"), best)


def test_a_metric_that_is_nan_is_saved_and_never_best(tmp_path):
    checkpoints = run_of(tmp_path, [math.nan] * 3, keep_last=1)
    assert len(checkpoints.list()) == 1 and checkpoints.best() is None
    assert checkpoints.load("best") is None and holds(checkpoints.load("latest"), 2)
    with pytest.raises(KeyError):
        checkpoints.save({}, epoch=9, step=90, metrics={"other": 1})


def test_of_equals_the_newest_is_best(tmp_path):
    assert holds(run_of(tmp_path, [0.5, 0.5, 0.1]).load("best"), 1)


def test_an_empty_folder_has_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a/b")
    assert checkpoints.load() is checkpoints.latest() is checkpoints.best() is None
    checkpoints.prune()
    for wrong in ({"mode": "maximum"}, {"keep_last": 0}):
        with pytest.raises(ValueError):
            Checkpoints(tmp_path, **wrong)


def test_other_files_are_left_alone(tmp_path):
    other = run_of(tmp_path, [1, 1, 1], name="other")
    (tmp_path / "notes.txt").touch()
    mine = run_of(tmp_path, [1, 1, 1], name="mine", keep_last=1)
    assert len(other.list()) == 3 and len(mine.list()) == 1 and (tmp_path / "notes.txt").exists()


def test_the_only_intact_one_is_never_removed(tmp_path):
    checkpoints = run_of(tmp_path, [0.9, 0.1, 0.2], keep_last=3, keep_best=0)
    for path in checkpoints.list()[1:]:
        flip(path, 3000)
    few = Checkpoints(tmp_path, keep_last=2, keep_best=0)
    with pytest.warns(UserWarning):
        few.prune()
    assert steps(few) == [0, 10, 20]
    few.save(numbers(3), epoch=3, step=30)  # certainly intact: now the first may go
    assert steps(few) == [20, 30]


def test_a_step_back_is_saved_kept_and_told(tmp_path):
    checkpoints = run_of(tmp_path, [0.1, 0.2, 0.3], keep_last=1, keep_best=0)
    with pytest.warns(UserWarning, match="step000020_acc0.3.pt stays the latest"):
        path = checkpoints.save(numbers(9), epoch=0, step=5)
    assert steps(checkpoints) == [5, 20] and holds(checkpoint.load(path), 9)


def test_what_cannot_be_removed_is_no_failure(tmp_path, monkeypatch):
    checkpoints = run_of(tmp_path, [0.1], keep_last=1, keep_best=0)

    def unlink(path, missing_ok=False):
        raise PermissionError("somebody has it open")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.warns(UserWarning, match="should be removed and cannot be: somebody"):
        checkpoints.save(numbers(1), epoch=1, step=1)
    assert len(checkpoints.list()) == 2


def test_changing_the_folder_one_is_in_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("run")
    monkeypatch.chdir("elsewhere")
    path = checkpoints.save(numbers(1), epoch=1, step=1, background=True)
    checkpoints.wait()
    assert path.is_absolute() and path.parent == tmp_path / "run" and checkpoints.latest() == path
    assert os.listdir() == []


# ---------------------------------------------------------------- in the background


@pytest.fixture
def held(monkeypatch):
    """Writing waits until the event that this is, is set."""
    event, original = threading.Event(), checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda *args: event.wait(60) and original(*args))
    yield event
    event.set()


def test_training_on_does_not_change_what_is_saved(tmp_path, held):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight  # tied
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = capture(model=model, position={"batches": [1]})
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(state, epoch=1, step=1, background=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    state["position"]["batches"].append(2)
    assert not path.exists()
    held.set()
    checkpoints.wait()
    saved = checkpoints.load()
    assert saved["position"] == {"batches": [1]}
    assert all(torch.equal(saved["model"][key], before[key]) for key in before)
    first, second = saved["model"]["0.weight"], saved["model"]["1.weight"]
    assert first.data_ptr() == second.data_ptr()
    assert saved["model"]._metadata == model.state_dict()._metadata


def test_the_memory_of_a_copy_is_used_again(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    state = {"a": torch.ones(1000), "b": [torch.ones(3, 4).T, torch.nn.Parameter(torch.ones(2))]}
    checkpoints.prepare(state)
    first = [buffer.data_ptr() for buffer in checkpoints._buffers]
    assert len(first) == 3
    for number in range(3):
        state["a"] = torch.full((1000,), float(number))  # another tensor, of the same shape
        checkpoints.save(state, epoch=0, step=number, background=True)
        assert [buffer.data_ptr() for buffer in checkpoints._buffers] == first
    checkpoints.wait()
    for number, path in enumerate(checkpoints.list()):
        loaded = checkpoint.load(path)
        assert (loaded["a"] == number).all() and torch.equal(loaded["b"][0], torch.ones(4, 3))
    checkpoints.save(
        {"a": torch.ones(7), "view": torch.arange(10)[2:4]}, epoch=1, step=9, background=True
    )
    checkpoints.close()
    assert checkpoints.load()["view"].tolist() == [2, 3] and checkpoints._buffers == []


def test_one_at_a_time_in_order(tmp_path, held):
    checkpoints = Checkpoints(tmp_path, keep_last=10)
    checkpoints.save(numbers(1), epoch=1, step=1, background=True)
    threading.Timer(0.2, held.set).start()
    checkpoints.save(numbers(2), epoch=2, step=2)  # waits for the first
    assert steps(checkpoints) == [1, 2] and holds(checkpoint.load(checkpoints.list()[0]), 1)


@pytest.mark.parametrize("report", ["save", "wait", "close", "prepare"])
def test_a_failure_in_the_background_is_told_once(tmp_path, monkeypatch, report):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(numbers(0), epoch=0, step=0)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        checkpoints.save(numbers(1), epoch=1, step=1, background=True)
        while not checkpoints._pending.done():
            time.sleep(0.01)
    calls = {
        "save": lambda: checkpoints.save(numbers(2), epoch=2, step=2),
        "prepare": lambda: checkpoints.prepare({}),
        "wait": checkpoints.wait,
        "close": checkpoints.close,
    }
    with pytest.raises(CheckpointError, match="step000001.pt was not saved: .*No space left"):
        calls[report]()
    checkpoints.wait()
    assert holds(checkpoints.load(), 0) and partials(tmp_path) == []
    checkpoints.save(numbers(2), epoch=2, step=2, background=True)
    checkpoints.wait()
    assert holds(checkpoints.load(), 2)


PROGRAM = """
import sys, time, torch
from utils import checkpoint
write = checkpoint.write
def slow(*args):
    time.sleep(1)
    if "fail" in sys.argv:
        raise checkpoint.CheckpointError("no luck")
    return write(*args)
checkpoint.write = slow
checkpoints = checkpoint.Checkpoints(sys.argv[1])
checkpoints.save({"w": torch.ones(3)}, epoch=1, step=1, background=True)
print("the end", flush=True)
"""


def test_a_program_ends_when_its_save_has(tmp_path):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / how), how],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for how in ("succeed", "fail")
    ]
    (printed, errors), (_, told) = [program.communicate(timeout=120) for program in programs]
    assert printed == "the end\n" and errors == ""
    assert torch.equal(Checkpoints(tmp_path / "succeed").load()["w"], torch.ones(3))
    assert "CheckpointError: no luck" in told


# ---------------------------------------------------------------- the file itself


def test_it_can_be_copied():
    """Nothing but torch and the standard library; and it does not grow without anybody noticing."""
    text = (ROOT / "utils/checkpoint.py").read_text(encoding="utf-8")
    modules = re.findall(r"^\s*(?:import|from) (\w+)", text, re.M)
    assert set(modules) - set(sys.stdlib_module_names) == {"torch"}
    assert len(text.splitlines()) < 700


def test_the_bench_measures_and_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SIZES", {"1 MB": (4, 1 << 16)})
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "SPACE", 1)
    assert bench.main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for way in [*bench.SAVES, *bench.LOADS]:
        assert re.search(rf"^{re.escape(way)} +[\d.]+ +\d+\.\d\d ", output, re.M), way
    assert len(re.findall(r" +\d\.\d+ +(?:True|False)$", output, re.M)) >= 3
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(bench, "SPACE", 1 << 60)
    assert bench.main([str(tmp_path)]) == 1 and bench.main([str(tmp_path / "none")]) == 1
    assert "are needed" in capsys.readouterr().out
