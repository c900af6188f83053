"""Checks of `04_torchscript_exercises`."""

import random
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from utils.checking import fresh
from utils.checking.errors import Wrong, a_function, a_kind, expect
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up()


def reason(error):
    """`RuntimeError: forward() expected …`, of the pages that torch.jit says, with the line it points to."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]
    text = text.removeprefix("RuntimeError: ").partition(" Declaration:")[0].removesuffix(":")
    pointers = [i for i, line in enumerate(lines) if line.endswith("<--- HERE")]
    where = f", at `{lines[pointers[-1] - 1]}`" if pointers and pointers[-1] else ""
    return f"{type(error).__name__}: {text[:300]}{where}"


def trained(**arguments):
    model = SmallCNN(**arguments)
    train_for_a_moment(model, batches=3)
    return model


# ---------------------------------------------------------------- 4.1


class DarkToo(nn.Module):
    """A model that decides by the values of its images: a trace would lose one side."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        if images.mean() > 0:
            images = -images
        return self.net(images)


@check("4.1", "deliver a model")
def delivers(deliver, read_labels):
    a_function(deliver, "deliver")
    a_function(read_labels, "read_labels")
    for mode, labels in (("train", ["nought", "one", "two words"]), ("eval", ["café", "7"])):
        model = DarkToo(trained()).train(mode == "train")
        model.net.features[1].eval()  # somebody has frozen these statistics
        modes = [module.training for module in model.modules()]
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "delivered.pt"
            deliver(model, list(labels), path)
            expect(path.exists(), "no file was written at the path that was given")
            after = [module.training for module in model.modules()]
            expect(after[0] == modes[0], f"the model was in {mode} mode, and is no longer")
            expect(after == modes, "parts of the model are no longer in the mode they were in")
            images = -torch.rand(6, 3, 32, 32)
            with torch.no_grad():
                answers = deepcopy(model).eval()(images)
            fresh.call(answers_elsewhere, path, images, answers, labels)
            expect(
                all(torch.equal(before[n], v) for n, v in model.state_dict().items()),
                "the model's weights or running statistics have changed",
            )
            reads(read_labels, path, labels)


def reads(read_labels, path, labels):
    found = read_labels(path)
    wanted = f"{labels!r} is wanted"
    expect(found is not None, "read_labels returned None")
    expect(isinstance(found, list), f"read_labels returned {a_kind(found)}: {wanted}")
    expect(
        not any(isinstance(label, bytes) for label in found),
        f"read_labels returned bytes, {found!r}: {wanted}",
    )
    expect(found == labels, f"read_labels returned {found!r}: {wanted}")


def answers_elsewhere(path, images, answers, labels):
    """In a new process that cannot import the model's class."""
    torch.set_num_threads(1)
    sys.modules["utils.models"] = None
    extra = {"labels.txt": "", "labels": "", "labels.json": ""}
    try:
        model = torch.jit.load(path, _extra_files=extra)
    except Exception:
        raise Wrong("torch.jit.load does not accept the file that was written") from None
    with torch.no_grad():
        found = [model(images) for _ in range(2)]
        expect(
            torch.equal(*found),
            "the archive gives other answers each time: dropout is at work in it",
        )
        expect(
            torch.allclose(found[0], answers, atol=1e-4),
            "the archive's answers are not those of the model in eval mode",
        )
        expect(
            torch.allclose(model(-images[:2]), answers[:2], atol=1e-4),
            "for images on dark paper the archive's answers are wrong: the model inverts these, and"
            " the archive does not",
        )
    text = extra["labels.txt"]
    text = text.decode() if isinstance(text, bytes) else text
    expect(text, "the archive has no extra file labels.txt, or an empty one")
    expect(
        text.splitlines() == labels,
        f"labels.txt holds {text!r}, not one of the labels on each line",
    )


# ---------------------------------------------------------------- 4.2


@check("4.2", "keep the branch")
def keeps_the_branch(scaled):
    expect(isinstance(scaled, type), f"the class is wanted, and this is {a_kind(scaled)}")
    net = trained().eval()
    model = scaled(net).eval()
    expect(isinstance(model, nn.Module), "a module is wanted: a class derived from nn.Module")
    expect(
        set(model.state_dict()) == {f"net.{name}" for name in net.state_dict()},
        "the names in the state_dict have changed: old weights would not fit",
    )
    small = torch.rand(4, 3, 32, 32) * 2 - 1
    small[:, 0, 0, 0] = 1
    large = (small + 1) * 127.5
    peak = -torch.ones(1, 3, 32, 32)
    peak[0, 2, 5, 7] = 1.5
    inputs = {
        "4 images from -1 to 1": small,
        "4 images from 0 to 255": large,
        "one image from 0 to 255": large[:1],
        "8 images from 0 to 255": torch.cat([large, large]),
        "both kinds in one batch": torch.cat([small[:1], large[:2], small[2:]]),
        "an image with a single value of 1.5": torch.cat([peak, small[:1]]),
    }
    for example, images in (("from -1 to 1", small[:3]), ("from 0 to 255", large[:3])):
        try:
            plain = model(images)
        except Exception as error:
            raise Wrong(f"it cannot be called: {reason(error)}") from None
        expect(torch.is_tensor(plain), f"forward returns {a_kind(plain)}")
        traced = torch.jit.trace(model, images, check_trace=False)
        for given, images in inputs.items():
            answers_right(traced, net, images, f"traced with 3 images {example}, given {given}: ")


def answers_right(traced, net, images, where):
    is_large = torch.tensor([bool(image.max() > 1) for image in images])
    wanted = net(torch.where(is_large[:, None, None, None], images / 127.5 - 1, images))
    before = images.clone()
    try:
        found = traced(images)
    except RuntimeError as error:
        raise Wrong(f"{where}{reason(error)}") from None
    expect(torch.equal(images, before), f"{where}the images that were passed in have been changed")
    expect(found.shape == wanted.shape, f"{where}the answers have the shape {tuple(found.shape)}")
    expect(torch.allclose(found, wanted, atol=1e-4), f"{where}the answers are wrong")


# ---------------------------------------------------------------- 4.3

BODIES = {
    "a": lambda images: images / images.abs().max(),
    "b": lambda images: images * len(images),
    "c": lambda images: -images if images.mean() > 0 else images,
    "d": lambda images: images[: images.shape[0] // 2],
    "e": lambda images: torch.cat([images[i : i + 1] for i in range(images.shape[0])]),
    "f": lambda images: torch.where(images > 0, images, -images),
}
CLUES = {
    "a": "is there anything but operations on tensors?",
    "b": "what does `len` take out of the tensor, and when?",
    "c": "which of the two sides did the example take?",
    "d": "does Python get a plain number here?",
    "e": "how many rounds did the loop make, when it was traced?",
    "f": "is there a decision of Python's in it?",
}


def traced_result(body):
    """What a traced `body` really returns for other images: same, other or fewer."""
    images = -torch.rand(6, 3, 4, 4) - 0.5
    traced = torch.jit.trace(body, torch.rand(4, 3, 4, 4) + 0.5, check_trace=False)
    found, wanted = traced(images), body(images)
    if len(found) < len(wanted):
        return "fewer"
    return "same" if torch.equal(found, wanted) else "other"


@check("4.3", "predict the trace")
def predicts_the_trace(results):
    expect(isinstance(results, dict), "a dictionary is wanted: from the letters to the words")
    expect(set(results) == set(BODIES), "the lines have the letters a to f, all of them")
    words = ("same", "other", "fewer")
    for letter, word in results.items():
        expect(
            isinstance(word, str) and word in words,
            f"{letter} is {word!r}: each result is one of the words {', '.join(words)}",
        )
    wrong = [n for n, body in BODIES.items() if results[n] != traced_result(body)]
    expect(not wrong, "; ".join(f"line {n} returns something else: {CLUES[n]}" for n in wrong))


# ---------------------------------------------------------------- 4.4


@check("4.4", "make it scriptable")
def can_be_scripted(committee):
    expect(isinstance(committee, type), f"the class is wanted, and this is {a_kind(committee)}")
    for count, classes in ((2, 10), (3, 7)):
        nets = [trained(num_classes=classes).eval() for _ in range(count)]
        weights = [random.uniform(0.5, 2) for _ in range(count)]
        images = torch.randn(2 + count, 3, 32, 32)
        plain = sum(weight * net(images) for weight, net in zip(weights, nets))
        module = committee(nets)
        expect(
            len(module.state_dict()) == count * len(nets[0].state_dict()),
            "the state_dict no longer has the weights of every net",
        )
        calls = (
            ("without the option", {}, plain),
            ("with softmax=False", {"softmax": False}, plain),
            ("with softmax=True", {"softmax": True}, plain.softmax(dim=1)),
        )
        for how, options, wanted in calls:
            where = f"as plain Python, with {count} nets, called {how}, it "
            called_right(module, images, weights, options, wanted, where)
        try:
            scripted = torch.jit.script(module)
        except Exception as error:
            raise Wrong(f"it cannot be scripted: {reason(error)}") from None
        for how, options, wanted in calls:
            where = f"scripted, with {count} nets, called {how}, it "
            called_right(scripted, images, weights, options, wanted, where)


def called_right(module, images, weights, options, wanted, where):
    try:
        found = module(images, list(weights), **options)
    except Exception as error:
        raise Wrong(f"{where}raises {reason(error)}") from None
    expect(torch.is_tensor(found), f"{where}returns {a_kind(found)}")
    expect(
        found.shape == wanted.shape,
        f"{where}returns the shape {tuple(found.shape)}, not {tuple(wanted.shape)}",
    )
    expect(torch.allclose(found, wanted, atol=1e-4), f"{where}gives other answers than before")


# ---------------------------------------------------------------- 4.5


class Pickled(nn.Linear):
    """A class whose loading is noticed."""

    loaded = False

    def __setstate__(self, state):
        Pickled.loaded = True
        super().__setstate__(state)


REFUSED = object()


@check("4.5", "the weights, whatever the file")
def finds_weights(weights_of):
    a_function(weights_of, "weights_of")
    model = trained().eval()
    weights = dict(model.state_dict())
    scripted = torch.jit.script(model)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        good = {
            "a state_dict": folder / "one.jit",
            "an archive": folder / "two.pth",
            "a traced archive": folder / "three.bin",
            "a state_dict in the format from before torch 1.6": folder / "four.pt",
        }
        torch.save(model.state_dict(), good["a state_dict"])
        scripted.save(good["an archive"])
        torch.jit.trace(model, torch.randn(2, 3, 32, 32)).save(good["a traced archive"])
        torch.save(
            model.state_dict(),
            good["a state_dict in the format from before torch 1.6"],
            _use_new_zipfile_serialization=False,
        )
        for what, path in good.items():
            try:
                found = weights_of(path)
            except ValueError as error:
                raise Wrong(f"{what} was refused: {str(error)[:200]}") from None
            except NotImplementedError:
                raise
            except Exception as error:
                first = reason(error).partition(". ")[0]
                raise Wrong(f"for {what}, your code raised {first}") from None
            expect(
                not isinstance(found, nn.Module), f"for {what}, a model came back, no state_dict"
            )
            expect(isinstance(found, dict), f"for {what}, {a_kind(found)} came back")
            expect(
                found.keys() == weights.keys(), f"for {what}, the names are not those of the model"
            )
            expect(
                all(torch.equal(found[key], value) for key, value in weights.items()),
                f"for {what}, other weights came back",
            )
        bad = refused_files(folder, scripted)
        for what, path in bad.items():
            Pickled.loaded = False
            try:
                found = weights_of(path)
            except ValueError:
                found = REFUSED
            except NotImplementedError:
                raise
            except Exception as error:
                raise Wrong(
                    f"for {what}, {type(error).__name__} was raised, and a ValueError is wanted"
                ) from None
            expect(not Pickled.loaded, f"{what} was unpickled")
            expect(
                found is REFUSED,
                f"for {what}, {a_kind(found)} was returned: no ValueError was raised",
            )


def refused_files(folder, scripted):
    """`{what it is: path}` of files in which there is no state_dict."""
    weights = nn.Linear(2, 2).state_dict()
    contents = {
        "a pickled model": Pickled(2, 2),
        "a checkpoint with the state_dict in it": {"epoch": 3, "state_dict": weights},
        "a dictionary with nothing but a state_dict in it": {"model": weights},
        "a dictionary of tensors and a number": {**weights, "epoch": 3},
        "an empty dictionary": {},
        "a list of tensors": [torch.ones(2)],
    }
    paths = {what: folder / f"stored{i}.pt" for i, what in enumerate(contents)}
    for what, content in contents.items():
        torch.save(content, paths[what])
    others = ("a frozen archive", "a text file", "an empty file", "a state_dict that was cut off")
    paths |= {what: folder / f"other{i}.pt" for i, what in enumerate(others)}
    torch.jit.freeze(scripted).save(paths["a frozen archive"])
    paths["a text file"].write_text(
        "version https://git-lfs.github.com/spec/v1\n", encoding="utf-8"
    )
    paths["an empty file"].write_bytes(b"")
    content = (folder / "one.jit").read_bytes()
    paths["a state_dict that was cut off"].write_bytes(content[: len(content) // 2])
    return paths
