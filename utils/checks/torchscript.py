"""Checks of `04_torchscript_exercises`."""

import random
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

from utils.checks import fresh
from utils.checks.core import Exercises
from utils.checks.errors import Wrong, a_kind, expect
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
summary = exercises.summary
fresh.warm_up()


def check(number, name):
    """As in other lessons, but without the FutureWarning of every call to torch.jit."""

    def decorate(function):
        def quietly(*args):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(*args)

        return exercises.check(number, name)(quietly)

    return decorate


def first_line(error):
    """`RuntimeError: forward() expected …`, without torch's pointers into the code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].partition(" Declaration:")[0].removesuffix(":") if lines else ""
    return f"{type(error).__name__}: {text[:300]}"


def trained():
    model = SmallCNN()
    train_for_a_moment(model, batches=3)
    return model


# ---------------------------------------------------------------- 4.1


@check("4.1", "deliver a model")
def delivers(deliver, read_labels):
    for training, labels in ((True, ["nought", "one", "two words"]), (False, ["café", "7"])):
        model = trained().train(training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        images = torch.randn(6, 3, 32, 32)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "delivered.pt"
            deliver(model, list(labels), path)
            expect(path.exists(), "no file was written at the path that was given")
            mode = "train" if training else "eval"
            expect(model.training == training, f"the model was in {mode} mode, and is no longer")
            expect(
                all(m.training == training for m in model.modules()),
                f"the model was in {mode} mode, and parts of it no longer are",
            )
            with torch.no_grad():
                answers = model.eval()(images)
            fresh.call(answers_elsewhere, path, images, answers, labels)
            expect(
                all(torch.equal(before[n], v) for n, v in model.state_dict().items()),
                "the model's weights or running statistics have changed",
            )
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
    warnings.simplefilter("ignore")
    extra = {"labels.txt": "", "labels": "", "labels.json": ""}
    try:
        model = torch.jit.load(path, _extra_files=extra)
    except Exception:
        raise Wrong("torch.jit.load does not accept the file that was written") from None
    for count in (6, 2):
        found = [model(images[:count]) for _ in range(2)]
        expect(
            torch.equal(*found),
            "the archive gives other answers each time: dropout is at work in it",
        )
        expect(
            torch.equal(found[0], answers[:count]),
            "the archive's answers are not those of the model in eval mode",
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
    large = (small + 1) * 127.5
    peak = -torch.ones(1, 3, 32, 32)  # one bright value among dark ones
    peak[0, 2, 5, 7] = 255
    inputs = {
        "4 images from -1 to 1": small,
        "4 images from 0 to 255": large,
        "one image from 0 to 255": large[:1],
        "8 images from 0 to 255": torch.cat([large, large]),
        "both kinds in one batch": torch.cat([small[:1], large[:2], small[2:]]),
        "an image with a single value above 1": torch.cat([peak, small[:1]]),
    }
    for example, images in (("from -1 to 1", small[:3]), ("from 0 to 255", large[:3])):
        try:
            traced = torch.jit.trace(model, images, check_trace=False)
        except Exception as error:
            raise Wrong(f"it cannot be traced: {first_line(error)}") from None
        for given, images in inputs.items():
            answers_right(traced, net, images, f"traced with 3 images {example}, given {given}: ")


def answers_right(traced, net, images, where):
    is_large = torch.tensor([bool(image.max() > 1) for image in images])
    wanted = net(torch.where(is_large[:, None, None, None], images / 127.5 - 1, images))
    try:
        found = traced(images)
    except RuntimeError:
        raise Wrong(f"{where}an error is raised") from None
    expect(torch.is_tensor(found), f"{where}the model returns {a_kind(found)}")
    expect(found.shape == wanted.shape, f"{where}the answers have the shape {tuple(found.shape)}")
    expect(torch.allclose(found, wanted, atol=1e-4), f"{where}the answers are wrong")


# ---------------------------------------------------------------- 4.3

BODIES = {
    "a": lambda images: images - images.mean(),
    "b": lambda images: images - float(images.mean()),
    "c": lambda images: -images if images.mean() > 0 else images,
    "d": lambda images: images.flatten(1),
    "e": lambda images: torch.cat([images[i : i + 1] for i in range(images.shape[0])]),
    "f": lambda images: torch.where(images > 0, images, -images),
}
CLUES = {
    "a": "is there anything but operations on tensors?",
    "b": "what does `float` take out of the tensor, and when?",
    "c": "which of the two sides did the example take?",
    "d": "does it depend on how many images there are?",
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
    expect(
        all(isinstance(word, str) and word in words for word in results.values()),
        f"each result is one of the words {', '.join(words)}",
    )
    wrong = [n for n, body in BODIES.items() if results[n] != traced_result(body)]
    expect(not wrong, "; ".join(f"line {n} returns something else: {CLUES[n]}" for n in wrong))


# ---------------------------------------------------------------- 4.4


@check("4.4", "make it scriptable")
def can_be_scripted(committee):
    expect(isinstance(committee, type), f"the class is wanted, and this is {a_kind(committee)}")
    for count in (2, 3):
        nets = [trained().eval() for _ in range(count)]
        weights = [random.uniform(0.5, 2) for _ in range(count)]
        images = torch.randn(4, 3, 32, 32)
        plain = sum(weight * net(images) for weight, net in zip(weights, nets))
        module = committee(nets)
        expect(
            len(module.state_dict()) == count * len(nets[0].state_dict()),
            "the state_dict no longer has the weights of every net",
        )
        try:
            scripted = torch.jit.script(module)
        except Exception as error:
            raise Wrong(f"it cannot be scripted: {first_line(error)}") from None
        calls = (
            ("without the option", {}, plain),
            ("with softmax=False", {"softmax": False}, plain),
            ("with softmax=True", {"softmax": True}, plain.softmax(dim=1)),
        )
        for kind, called in (("scripted", scripted), ("as plain Python", module)):
            for how, options, wanted in calls:
                where = f"{kind}, called {how}, it "
                try:
                    found = called(images, list(weights), **options)
                except Exception as error:
                    raise Wrong(f"{where}raises {first_line(error)}") from None
                expect(torch.is_tensor(found), f"{where}returns {a_kind(found)}")
                expect(
                    found.shape == wanted.shape,
                    f"{where}returns the shape {tuple(found.shape)}, not {tuple(wanted.shape)}",
                )
                expect(
                    torch.allclose(found, wanted, atol=1e-4),
                    f"{where}gives other answers than before",
                )


# ---------------------------------------------------------------- 4.5


class Pickled(nn.Linear):
    """A class whose loading is noticed."""

    loaded = False

    def __setstate__(self, state):
        Pickled.loaded = True
        super().__setstate__(state)


@check("4.5", "the weights, whatever the file")
def finds_weights(weights_of):
    model = trained().eval()
    weights = dict(model.state_dict())
    scripted = torch.jit.script(model)
    with tempfile.TemporaryDirectory() as name:
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
                found = ValueError
            except NotImplementedError:
                raise
            except Exception as error:
                raise Wrong(
                    f"for {what}, {type(error).__name__} was raised, and no ValueError"
                ) from None
            expect(not Pickled.loaded, f"{what} was unpickled")
            expect(found is ValueError, f"for {what}, {a_kind(found)} came back, and no ValueError")


def refused_files(folder, scripted):
    bad = {
        "a frozen archive": folder / "five.pt",
        "a pickled model": folder / "six.pt",
        "a checkpoint whose state_dict is one of several entries": folder / "seven.pt",
        "a list of tensors": folder / "eight.pt",
        "a text file": folder / "nine.pt",
        "an empty file": folder / "ten.pt",
        "a state_dict that was cut off": folder / "eleven.pt",
    }
    torch.jit.freeze(scripted).save(bad["a frozen archive"])
    torch.save(Pickled(2, 2), bad["a pickled model"])
    checkpoint = {"epoch": 3, "weights": nn.Linear(2, 2).state_dict()}
    torch.save(checkpoint, bad["a checkpoint whose state_dict is one of several entries"])
    torch.save([torch.ones(2)], bad["a list of tensors"])
    bad["a text file"].write_text("version https://git-lfs.github.com/spec/v1\n")
    bad["an empty file"].write_bytes(b"")
    content = (folder / "one.jit").read_bytes()
    bad["a state_dict that was cut off"].write_bytes(content[: len(content) // 2])
    return bad
