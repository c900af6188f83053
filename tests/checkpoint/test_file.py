"""checkpoint.py, one file: what is written, read, refused and recorded."""

import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoints import holds, numbers, partials
from utils import checkpoint
from utils.checkpoint import CheckpointDamaged, CheckpointError, Checkpoints
from utils.models import SmallCNN
from utils.tools.course import ROOT

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
    path = tmp_path / "x.pt"
    torch.save({"model": {"w": torch.ones(2)}, "epoch": 3, "rng": torch.get_rng_state()}, path)
    with pytest.raises(CheckpointError, match="has no checksum: plain torch.save wrote it") as info:
        checkpoint.load(path)
    assert not isinstance(info.value, CheckpointDamaged)
    state = checkpoint.load(path, verify=False)
    assert state["position"] == {"epoch": 3} and "epoch" not in state  # schema 0 is migrated
    assert set(state["rng"]) == {"torch"} and state["record"]["schema"] == checkpoint.SCHEMA
    torch.save([1], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        checkpoint.load(path, verify=False)


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
    (repository / "a").write_text("1", encoding="utf-8")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-qm", "m"]):
        subprocess.run([*git, *arguments], check=True)
    assert re.fullmatch("[0-9a-f]{40}", checkpoint.git_commit(str(repository)))
    checkpoint.git_commit.cache_clear()
    (repository / "a").write_text("2", encoding="utf-8")
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


# ---------------------------------------------------------------- the file itself


def test_it_can_be_copied():
    """Nothing but torch and the standard library; and it does not grow without anybody noticing."""
    text = (ROOT / "utils/checkpoint.py").read_text(encoding="utf-8")
    modules = re.findall(r"^\s*(?:import|from) (\w+)", text, re.M)
    assert set(modules) - set(sys.stdlib_module_names) == {"torch"}
    assert len(text.splitlines()) < 700


WRONG = """
from utils.checkpoint import Checkpoints, load, save
save({"w": 1}, "x.pt")  # incompatible type "dict[str, int]"
load("x.pt", check=False)  # Unexpected keyword argument "check"
load("x.pt", mmap="yes")  # expected "bool"
run = Checkpoints("run", mode="maximum")  # expected "Literal['max', 'min']"
run.save({}, 1, 2)  # Too many positional arguments
run.save({}, epoch="1", step=2)  # "epoch" to "save" of "Checkpoints" has incompatible type "str"
run.load("newest")  # expected "Literal['latest', 'best']"
run.load(check=False)  # Unexpected keyword argument "check"
run.load()["model"]  # "dict[str, Any] | None" is not indexable
run.latest().name  # "Path | None" has no attribute "name"
"""
RIGHT = """
from utils.checkpoint import Checkpoints, load, save
load(save("x.pt", {"w": 1}), mmap=True, verify=False)["w"]
run = Checkpoints("run", mode="min", keep_every=5)
run.save({}, epoch=1, step=2, metrics={"acc": 1}, background=True).name
if (state := run.load("best", map_location="cpu")) is not None:
    state["model"]
"""


def test_wrong_calls_are_refused_by_their_types(tmp_path):
    """Of mypy, which the gate runs on the file itself. Here torch is not read: that takes 11 s."""
    for name, text in (("wrong.py", WRONG), ("right.py", RIGHT)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = ["--config-file=", "--follow-imports=skip", f"--cache-dir={tmp_path / 'cache'}"]
    files = [tmp_path / "wrong.py", tmp_path / "right.py", ROOT / "utils/checkpoint.py"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    wanted = [line.partition("  # ")[2] for line in WRONG.splitlines()]
    for number, words in enumerate(wanted, start=1):
        found = [line for line in errors if f"wrong.py:{number}:" in line]
        assert bool(words) == any(words in line for line in found) == bool(found), (number, errors)
    assert "right.py" not in done.stdout
