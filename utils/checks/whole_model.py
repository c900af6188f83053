"""Checks of `02_whole_model_exercises`."""

import argparse
import collections
import datetime
import io
import random
import sys
import tempfile
import types
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from utils.checks import fresh
from utils.checks.core import Exercises
from utils.checks.errors import Wrong, a_kind, expect
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up()


def through_a_file(value, **options):
    """What `torch.load` makes of what `torch.save` wrote."""
    memory = io.BytesIO()
    torch.save(value, memory)
    memory.seek(0)
    return torch.load(memory, **options)


def is_refused(value):
    try:
        through_a_file(value)
    except Exception:
        return True
    return False


# ---------------------------------------------------------------- 2.1


@check("2.1", "clean a checkpoint")
def cleans(clean):
    checkpoint = {
        "weights": nn.Linear(2, 2).state_dict(),
        "accuracy": np.mean([0.5, 0.75]),
        "losses": list(np.array([2.5, 1.5, 0.25])),
        "confusion": np.arange(4).reshape(2, 2),
        "data": Path("scans") / "digits.csv",
        "options": argparse.Namespace(lr=0.25, width=16),
        "seen": collections.defaultdict(int, three=3, eight=5),
    }
    plain = {
        "accuracy": 0.625,
        "losses": [2.5, 1.5, 0.25],
        "confusion": [[0, 1], [2, 3]],
        "data": str(checkpoint["data"]),
        "options": {"lr": 0.25, "width": 16},
        "seen": {"three": 3, "eight": 5},
    }
    before = {name: type(value) for name, value in checkpoint.items()}
    cleaned = clean(checkpoint)
    expect(isinstance(cleaned, dict), f"a dictionary is wanted, and this is {a_kind(cleaned)}")
    expect(
        {name: type(value) for name, value in checkpoint.items()} == before,
        "the checkpoint that was passed in has been changed: a new one is wanted",
    )
    expect(set(cleaned) == set(checkpoint), "the keys are not those of the checkpoint")
    refused = [name for name, value in cleaned.items() if is_refused(value)]
    expect(not refused, f"torch.load still refuses the values of {', '.join(refused)}")
    loaded = through_a_file(cleaned)
    weights = loaded.pop("weights")
    expect(
        isinstance(weights, dict)
        and all(torch.is_tensor(weights.get(k)) for k in checkpoint["weights"])
        and all(torch.equal(weights[k], t) for k, t in checkpoint["weights"].items()),
        "the weights are no longer the same tensors under the same names",
    )
    for name, wanted in plain.items():
        found = loaded[name].tolist() if torch.is_tensor(loaded[name]) else loaded[name]
        expect(found == wanted, f"`{name}` comes back as {found!r}, and should say {wanted!r}")


# ---------------------------------------------------------------- 2.2

LINES = {
    2: lambda: nn.Linear(2, 2).state_dict(),
    3: lambda: 4,
    4: lambda: np.mean([0.9, 0.8]),
    5: lambda: tuple(range(10)),
    6: lambda: torch.device("cpu"),
    7: lambda: datetime.datetime.now(),
    8: lambda: torch.__version__,
    9: lambda: random.getstate(),
    10: lambda: nn.Linear(2, 2).state_dict,
}


@check("2.2", "find the lines")
def finds_lines(lines):
    expect(
        isinstance(lines, (set, list, tuple)) and all(type(n) is int for n in lines),
        "a set of line numbers is wanted, each an int",
    )
    lines = set(lines)
    expect(lines <= set(LINES), "the lines with a value have the numbers 2 to 10")
    refused = {number for number, value in LINES.items() if is_refused(value())}
    harmless, missing = lines - refused, refused - lines
    expect(not harmless, f"of your lines, {len(harmless)} hold values that torch.load accepts")
    expect(10 not in missing, "one is missing: a line that looks right, but read it to its end")
    expect(not missing, f"{len(missing)} of the lines that make torch.load refuse are missing")


# ---------------------------------------------------------------- 2.3

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))
"""
CHANGES = {
    "a": ("class Net", "class Network"),
    "b": ("def __init__(self)", "def __init__(self, width)"),
    "c": ("self.body", "self.backbone"),
    "d": ("torch.relu", "torch.tanh"),
    "e": ("self.head = nn.Linear(4, 2)", "self.head = nn.Linear(4, 7)"),
}
EFFECTS = {
    "load": "an error when it is loaded",
    "use": "an error when it is used",
    "wrong": "other answers, without an error",
    "same": "the same answers as before",
}
CHANGE_CLUES = {
    "a": "what does the file say about the class?",
    "b": "is __init__ called when a pickle is loaded?",
    "c": "which names do the attributes in the file have, and who asks for them?",
    "d": "where is the code of forward?",
    "e": "is __init__ called when a pickle is loaded?",
}


def effect(old, new):
    """What really happens to a pickled `Net` when its code changes so: a key of EFFECTS."""
    module = sys.modules["shop_of_a_check"] = types.ModuleType("shop_of_a_check")
    try:
        exec(NET, vars(module))
        net, inputs, memory = module.Net(), torch.randn(3, 4), io.BytesIO()
        answers = net(inputs)
        torch.save(net, memory)
        memory.seek(0)
        vars(module).pop("Net")
        exec(NET.replace(old, new), vars(module))
        try:
            loaded = torch.load(memory, weights_only=False)
        except AttributeError:
            return "load"
        try:
            return "same" if torch.equal(loaded(inputs), answers) else "wrong"
        except AttributeError:
            return "use"
    finally:
        del sys.modules["shop_of_a_check"]


@check("2.3", "predict the breakage")
def predicts_breakage(effects):
    expect(isinstance(effects, dict), "a dictionary is wanted: from the letters to the effects")
    expect(set(effects) == set(CHANGES), "the changes have the letters a to e, all of them")
    expect(
        all(isinstance(word, str) and word in EFFECTS for word in effects.values()),
        f"each effect is one of the words {', '.join(EFFECTS)}",
    )
    wrong = [letter for letter in CHANGES if effects[letter] != effect(*CHANGES[letter])]
    expect(
        not wrong, "; ".join(f"change {n} does something else: {CHANGE_CLUES[n]}" for n in wrong)
    )


# ---------------------------------------------------------------- 2.4


class WritesAFile:
    """Pickled, a program that leaves a trace when it runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "it ran")


@check("2.4", "trust one class, not all")
def trusts_one_class(load_run):
    with tempfile.TemporaryDirectory() as folder:
        ours, strangers, trace = (Path(folder) / name for name in ("run.pt", "other.pt", "trace"))
        options = argparse.Namespace(lr=0.25, epochs=4)
        torch.save({"options": options, "weights": nn.Linear(2, 2).state_dict()}, ours)
        torch.save({"options": WritesAFile(trace), "weights": {}}, strangers)
        refused_before = is_refused(options)
        try:
            load_run(strangers)
        except NotImplementedError:
            raise
        except Exception:
            pass
        else:
            expect(
                trace.exists(), "a file that names another function was loaded without a complaint"
            )
        expect(not trace.exists(), "a stranger's file ran its program while it was loaded")
        found = load_run(ours)
        expect(found is not None, "it returned None, and not what is in the file")
        expect(
            isinstance(found, dict) and found.get("options") == options,
            "what was loaded is not what is in the file",
        )
        expect(
            is_refused(options) or not refused_before,
            "since your function was called, the whole program accepts this class",
        )


# ---------------------------------------------------------------- 2.5


@check("2.5", "migrate a pickled model")
def migrates(migrate, rebuild):
    for arguments in ({"num_classes": 7, "width": 8}, {"num_classes": 10, "width": 16}):
        model = SmallCNN(**arguments)
        train_for_a_moment(model)
        wanted = deepcopy(model.state_dict())
        images = torch.randn(4, 3, 32, 32)
        with tempfile.TemporaryDirectory() as folder:
            old, new = Path(folder) / "old.pt", Path(folder) / "new.pt"
            torch.save(model, old)
            migrate(old, new)
            expect(new.exists(), "migrate wrote no file at the new path")
            try:
                content = torch.load(new)
            except Exception:
                raise Wrong("the default torch.load refuses the new file") from None
            expect(
                not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())),
                "the new file holds weights, but nothing that says how to build the model",
            )
            fresh.call(
                rebuilt_elsewhere, rebuild, new, wanted, images, model.eval()(images).detach()
            )


def rebuilt_elsewhere(rebuild, path, wanted, images, answers):
    """In a new process: does the new file alone make the model?"""
    model = rebuild(path)
    expect(model is not None, "rebuild returned None, and not a model")
    expect(isinstance(model, nn.Module), f"rebuild returned {a_kind(model)}, not a model")
    state = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    expect(
        shapes == {name: tensor.shape for name, tensor in wanted.items()},
        "the model was rebuilt with other arguments than it had",
    )
    expect(
        all(torch.equal(state[name], wanted[name]) for name in wanted),
        "the model has the right shape, but not the weights of the old file",
    )
    expect(not model.training, "the model came back, but it is in training mode")
    expect(torch.allclose(model(images), answers), "the rebuilt model gives other answers")
