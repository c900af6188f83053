"""Checks of `05_checkpoint_policy_exercises`."""

import functools
import math
import os
import random
import shutil
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import cloudpickle
import torch
from torch.nn.functional import cross_entropy

from utils.checking import fresh, kill
from utils.checking.errors import Wrong, a_function, a_kind, expect, must_load, same
from utils.checking.outcomes import Exercises
from utils.data import digits, loader
from utils.models import SmallCNN

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up()


# ---------------------------------------------------------------- 5.1


@check("5.1", "never lose the old file")
def never_loses(save):
    a_function(save, "save")
    old = {"epoch": 1, "model": torch.arange(50_000.0)}
    new = {"epoch": 2, "model": torch.arange(50_000.0) + 1}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        path = folder / "run.pt"
        save(new, path)
        holds(path, new, "after a save, ")
        torch.save(old, path)
        size = path.stat().st_size
        for bytes_written in (0, 1000, size // 2, size - 1):
            killed = killed_after(save, new, path, bytes_written)
            holds(path, old, f"killed after {bytes_written:,} bytes, ")
            expect(killed, "save was to be killed while it writes, and did not write that much")
            for left in set(folder.iterdir()) - {path}:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        torch.save(old, path)
        try:
            save({"model": torch.ones(3), "bad": (line for line in "ab")}, path)
        except NotImplementedError:
            raise
        except Exception:
            pass
        else:
            raise Wrong("a state that cannot be saved raised no error")
        holds(path, old, "after a state that cannot be saved, ")
        expect(set(folder.iterdir()) == {path}, f"an error left behind {others(folder, path)}")
        for known in (path, folder / "new name.pt"):  # there is a file, and there is none
            calls = fresh.call(save_and_watch, save, new, known)
            holds(known, new, "after a save, ")
        expect(
            set(folder.iterdir()) == {path, known},
            f"a save left behind {others(folder, path, known)}",
        )
        expect("removed" not in calls, "the old file was removed before the new one had its name")
        expect("named" in calls, "the new file did not get its name in one step")
        expect(
            "moved here" not in calls,
            "the partial file was in another folder, maybe on another disk",
        )
        expect(
            "forced" in calls, "the bytes were not forced to the disk: a power cut may lose them"
        )
        expect(
            calls.index("forced") < calls.index("named"),
            "the file got its name before its bytes were forced to the disk",
        )


def others(folder, *known):
    return ", ".join(sorted(path.name for path in set(folder.iterdir()) - set(known)))


def holds(path, wanted, when):
    expect(path.exists(), f"{when}there is no file at the path")
    try:
        found = torch.load(path)
    except Exception:
        raise Wrong(f"{when}the file at the path cannot be read") from None
    expect(same(found, wanted), f"{when}the file does not hold what it should")


def killed_after(save, state, path, limit):
    """Let a process of its own save, killed as soon as a file exceeds the limit; whether it was."""
    try:
        fresh.call(save_up_to, cloudpickle.dumps(fresh.portable(save)), state, path, limit)
    except fresh.RaisedInFreshProcess as error:
        return error.ended
    return False


def save_up_to(save, state, path, limit):
    """In a new process, where `save` is made only now: an `open` that it has as a variable is limited too."""
    kill.when_a_file_exceeds(limit)
    cloudpickle.loads(save)(state, path)


def save_and_watch(save, state, path):
    """In a new process: save, and tell what was done to the file's bytes and names, in order."""
    calls = []

    def watch(name, note):
        function = getattr(os, name)

        def call(*args, **kwargs):
            note(*map(str, args))
            return function(*args, **kwargs)

        setattr(os, name, call)

    def moved(source, target, *_):
        if source == str(path):
            calls.append("removed")
        if target == str(path):
            calls.append("named")
            if path.parent not in Path(source).absolute().parents:
                calls.append("moved here")

    def removed(target, *_):
        if target == str(path) and "named" not in calls:
            calls.append("removed")

    for name in ("fsync", "fdatasync", "sync"):
        if hasattr(os, name):
            watch(name, lambda *_: calls.append("forced"))
    for name in ("replace", "rename"):
        watch(name, moved)
    for name in ("remove", "unlink"):
        watch(name, removed)
    save(state, path)
    return calls


# ---------------------------------------------------------------- 5.2


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.find(torch.ones(500).numpy().tobytes()) + 999] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "with a changed byte": flip,
    "that is empty": lambda path: path.write_bytes(b""),
    "that is cut off": lambda path: path.write_bytes(path.read_bytes()[:900]),
}


@check("5.2", "the newest that is intact")
def finds_the_newest(newest_intact):
    a_function(newest_intact, "newest_intact")
    for damage, damaging in DAMAGES.items():
        finds(newest_intact, {12: damaging, 11: None, 9: None, 2: None}, 11, damage)
    everything = dict(enumerate(DAMAGES.values(), start=101))
    finds(newest_intact, {100: None, 99: None, **everything}, 100, "of each kind of damage")
    finds(newest_intact, everything, None, "of each kind of damage, and none that is intact,")
    finds(newest_intact, {}, None, "")


def finds(newest_intact, epochs, wanted, damage):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "notes.txt").write_text("not a checkpoint", encoding="utf-8")
        (folder / "epoch_9999.txt").write_text("not a checkpoint either", encoding="utf-8")
        for other in ("weights.pt", "epoch_9998.pt.partial"):
            torch.save({"w": torch.ones(500)}, folder / other)
        for epoch, damaging in epochs.items():
            path = folder / f"epoch_{epoch:04d}.pt"
            torch.save({"w": torch.ones(500)}, path)
            if damaging:
                damaging(path)
            os.utime(path, (2e9 - epoch, 2e9 - epoch))  # the clock says the opposite
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        loaded = []

        def refuse(*_, **__):
            loaded.append(True)
            raise RuntimeError("torch.load was called")

        with patch("torch.load", refuse):
            try:
                found = newest_intact(folder)
            finally:
                expect(
                    not loaded, "your code calls torch.load, which unpickles what it is to judge"
                )
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        expect(before == after, "the folder is not as it was")
    if wanted is None:
        where = f"with files {damage} " if damage else "in a folder without checkpoints "
        expect(found is None, f"{where}None is wanted, and {found!r} was returned")
        return
    expect(found is not None, f"None was returned, and there are intact files beside one {damage}")
    expect(isinstance(found, (str, Path)), f"a path is wanted, and this is {a_kind(found)}")
    found = Path(found)
    for number, damaging in epochs.items():
        if damaging and found.name == f"epoch_{number:04d}.pt":
            raise Wrong(f"a file {damage} was returned" if len(epochs) < 5 else "a damaged one")
    expect(
        found.name == f"epoch_{wanted:04d}.pt",
        f"{found.name} was returned, and the newest intact one is epoch_{wanted:04d}.pt",
    )
    expect(found.parent == folder, f"the path {str(found)!r} does not lead into the folder")


# ---------------------------------------------------------------- 5.3


@check("5.3", "what may go")
def says_what_may_go(to_remove):
    a_function(to_remove, "to_remove")
    nan = math.nan
    cases = (
        ({1: 0.5, 2: 0.9, 3: 0.7, 4: 0.6, 5: 0.65}, 2, 100, {1, 3}, "the best is an old one"),
        ({3: 0.1, 1: 0.3, 2: 0.2, 11: 0.2, 10: 0.1}, 1, 100, {2, 3, 10}, "the order is mixed"),
        ({n: n / 10 for n in range(3, 8)}, 1, 3, {4, 5}, "every third is kept"),
        ({1: 0.5, 2: 0.8, 3: 0.8, 4: 0.1}, 1, 100, {1, 2}, "two are equally good"),
        ({1: nan, 2: 0.4, 3: nan, 4: 0.2, 5: nan}, 1, 100, {1, 3, 4}, "there are nan"),
        ({1: nan, 2: nan, 3: nan}, 1, 100, {1, 2}, "all are nan"),
        ({1: 0.3, 2: 0.2}, 5, 100, set(), "there are fewer than keep_last"),
        ({}, 2, 4, set(), "there is no file"),
    )
    for scores, last, every, wanted, what in cases:
        given = dict(scores)
        found = to_remove(given, last, every)
        expect(repr(given) == repr(scores), "the dictionary that was passed in has been changed")
        expect(isinstance(found, (set, frozenset)), f"a set is wanted, and this is {a_kind(found)}")
        lost, kept = found - wanted, wanted - found
        call = f"to_remove({scores}, {last}, {every}): {what}, and "
        expect(not lost, f"{call}{numbers(lost)} would be lost")
        expect(not kept, f"{call}{numbers(kept)} should be removed")


def numbers(epochs):
    return ", ".join(map(str, sorted(epochs, key=lambda epoch: (len(str(epoch)), str(epoch)))))


# ---------------------------------------------------------------- 5.4


@check("5.4", "names that sort")
def names_sort(name_of, read_name):
    a_function(name_of, "name_of")
    a_function(read_name, "read_name")
    epochs = [0, 9, 10, 99, 100, 1240, 9_999, 10_000, 99_999]
    for model in ("small", "resnet18_v2", "a.b-c", "t_p_1", "net.pt", "a_00001_0.500"):
        names = [name_of(model, epoch, 0.9 - 0.1 * i) for i, epoch in enumerate(epochs)]
        expect(all(isinstance(name, str) for name in names), f"name_of returns {a_kind(names[0])}")
        expect(all(name.endswith(".pt") for name in names), f"{names[0]!r} does not end in .pt")
        for first, second in zip(names, names[1:]):
            expect(first < second, f"{second!r} sorts before {first!r}, and is newer")
        for epoch in epochs:
            for score in (0.971, 0.1, 1.0, 0.0, random.random()):
                name = name_of(model, epoch, score)
                found = read_name(name)
                expect(found is not None, f"read_name({name!r}) returns None")
                found = tuple(found)
                call = f"read_name({name!r}) returns {found!r}"
                expect(len(found) == 3, f"{call}: three values are wanted")
                expect(found[0] == model, f"{call}, and the model was {model!r}")
                expect(
                    type(found[1]) is int and found[1] == epoch,
                    f"{call}, and the epoch was {epoch}",
                )
                expect(
                    isinstance(found[2], float) and abs(found[2] - score) < 0.00051,
                    f"{call}, and the score was {score:.3f}",
                )


# ---------------------------------------------------------------- 5.5


@check("5.5", "a file for others")
def is_released(release, answer):
    a_function(release, "release")
    a_function(answer, "answer")
    for labels, width, mean, std in (
        (["cat", "dog", "cow"], 8, 100.0, 50.0),
        ([f"digit {n}" for n in range(10)], 16, 7.5, 4.0),
    ):
        model, images = run_to_release(len(labels), width)
        judge = deepcopy(model).eval()
        images = images * std + mean  # as they were before they were prepared
        with torch.no_grad():
            wanted = [labels[i] for i in judge((images - mean) / std).argmax(dim=1)]
            raw = [labels[i] for i in judge(images).argmax(dim=1)]
        optimizer = {"state": {n: torch.randn(w.shape) for n, w in model.named_parameters()}}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            source, path = Path(folder) / "run.pt", Path(folder) / "release.pt"
            parts = {"model": model.state_dict(), "optimizer": optimizer, "epoch": 3}
            parts |= {"width": width, "mean": mean, "std": std, "labels": labels}
            torch.save(parts, source)
            content = source.read_bytes()
            release(source, path)
            expect(source.read_bytes() == content, "the checkpoint is not as it was")
            expect(path.exists(), "release wrote no file at its path")
            expect(zipfile.is_zipfile(path), "the file is not one that torch.save writes")
            source.unlink()
            must_load(path)
            weights = sum(v.numel() * v.element_size() for v in model.state_dict().values())
            expect(
                path.stat().st_size < 1.5 * weights + 10_000,
                "the file is much larger than the weights: something for training is still in it",
            )
            found, again, nine = fresh.call(answered, answer, path, images, timeout=20)
        expect(isinstance(found, list), f"answer returned {a_kind(found)}, and a list is wanted")
        expect(len(found) == len(wanted), f"{len(found)} answers to {len(wanted)} images")
        expect(
            all(isinstance(label, str) for label in found),
            f"an answer is {a_kind(found[0])}, {found[0]!r}, and a label such as {labels[0]!r} is wanted",
        )
        expect(found != raw, "the images were not prepared as they were for the training")
        expect(found == again, "the same images get other answers the second time")
        expect(nine == found[:9], "the answer to an image depends on which others come with it")
        share = sum(a == b for a, b in zip(found, wanted)) / len(wanted)
        expect(
            share == 1,
            f"{1 - share:.0%} of the answers are others than the model gave in its training program",
        )


@functools.cache
def run_to_release(classes, width):
    """A `SmallCNN` that has trained for an epoch, and 40 pictures of two digits each, one upon the other.

    Such a picture is a narrow choice for the model, so the slightest difference changes answers.
    """
    train, validation, _ = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SmallCNN(num_classes=classes, width=width)
        for images, labels in loader(train, batch_size=25, shuffle=True):
            cross_entropy(model(images), labels % classes).backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= 0.1 * weight.grad
                    weight.grad = None
    images, _ = validation[:80]
    return model, (images[:40] + images[40:]) / 2


def answered(answer, path, images):
    torch.set_num_threads(1)
    torch.seed()  # what draws random numbers shall draw others than it did last time
    return answer(path, images), answer(path, images), answer(path, images[:9])
