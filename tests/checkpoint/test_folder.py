"""checkpoint.py, the folder of a run: names, what is kept, and saving in the background."""

import concurrent.futures
import errno
import math
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import flip, holds, nothing_warned, numbers, partials, steps
from utils import checkpoint
from utils.checkpoint import CheckpointError, Checkpoints, capture
from utils.tools.course import ROOT

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

    def write(*args):
        assert event.wait(60), "nothing let it go on"
        return original(*args)

    monkeypatch.setattr(checkpoint, "write", write)
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


def test_one_at_a_time_in_order(tmp_path, held, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep_last=10)
    checkpoints.save(numbers(1), epoch=1, step=1, background=True)
    original = checkpoints.wait
    monkeypatch.setattr(checkpoints, "wait", lambda: held.set() or original())
    checkpoints.save(numbers(2), epoch=2, step=2)  # waits for the first, which it lets go on
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
        assert concurrent.futures.wait([checkpoints._pending], timeout=60).done
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
import sys, threading, time, torch
from utils import checkpoint
write, the_end = checkpoint.write, threading.Event()
def slow(*args):
    the_end.wait()
    time.sleep(0.2)  # a program that does not wait has ended by then
    if "fail" in sys.argv:
        raise checkpoint.CheckpointError("no luck")
    return write(*args)
checkpoint.write = slow
checkpoints = checkpoint.Checkpoints(sys.argv[1])
checkpoints.save({"w": torch.ones(3)}, epoch=1, step=1, background=True)
print("the end", flush=True)
the_end.set()
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
