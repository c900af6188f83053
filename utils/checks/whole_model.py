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

from utils.checking import fresh
from utils.checking.errors import Wrong, a_kind, expect, in_short
from utils.checking.outcomes import Exercises
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
    for accuracies, losses, seen in (
        ([0.5, 0.75], [2.5, 1 / 3, 0.25], {3: 3, 8: 5}),
        ([0.25, 0.25], [1 / 7], {}),
    ):
        checkpoint = {
            "weights": nn.Linear(2, 2).state_dict(),
            "accuracy": np.mean(accuracies),
            "losses": list(np.array(losses)),
            "confusion": np.arange(2 * len(losses)).reshape(2, -1),
            "data": Path("scans") / f"{len(losses)}.csv",
            "options": argparse.Namespace(lr=losses[0], width=16),
            "seen": collections.defaultdict(int, seen),
        }
        before = deepcopy(checkpoint)
        cleaned = clean(checkpoint)
        expect(isinstance(cleaned, dict), f"a dictionary is wanted, and this is {a_kind(cleaned)}")
        expect(
            describe_values(checkpoint) == describe_values(before),
            "the checkpoint that was passed in has been changed: a new one is wanted",
        )
        expect(set(cleaned) == set(checkpoint), "the keys are not those of the checkpoint")
        refused = [name for name, value in cleaned.items() if is_refused(value)]
        expect(not refused, f"torch.load still refuses the values of {', '.join(refused)}")
        expect(
            describe_values({"weights": cleaned["weights"]})
            == describe_values({"weights": before["weights"]}),
            "the weights are no longer the same tensors under the same names",
        )
        plain = {
            "accuracy": sum(accuracies) / 2,
            "losses": losses,
            "confusion": before["confusion"].tolist(),
            "data": str(before["data"]),
            "options": {"lr": losses[0], "width": 16},
            "seen": seen,
        }
        for name, wanted in plain.items():  # repr: it tells 1 from 1.0, and a list from a tensor
            found = cleaned[name]
            expect(
                repr(found) == repr(wanted),
                f"`{name}` is now {found!r}, and should be {wanted!r}",
            )


def describe_values(values):
    """A text that is the same for the same values of the same types."""
    return repr(
        {
            name: describe_values(value)
            if isinstance(value, dict)
            else (type(value), value.tolist() if hasattr(value, "tolist") else value)
            for name, value in values.items()
        }
    )


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
    expect(
        not harmless,
        f"torch.load accepts the values of {how_many(harmless)} of the lines that you have named",
    )
    expect(missing != {10}, "one is missing: a line that looks right, but read it to its end")
    expect(not missing, f"{how_many(missing)} of the lines that torch.load refuses are not named")


def how_many(lines):
    return "one" if len(lines) == 1 else f"{len(lines)}"


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


class Calls:
    """Pickled, a call of `function` while the file is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@check("2.4", "trust one class, not all")
def trusts_one_class(load_run):
    options = argparse.Namespace(lr=0.25, epochs=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trace = Path(folder) / "trace"
        files = {
            "beside a Namespace": {
                "options": options,
                "more": Calls(Path.write_text, trace, "it ran"),
            },
            "without a Namespace": {"options": Calls(eval, f"open({str(trace)!r}, 'w').close()")},
            "that scanners wave through": {
                "options": options,
                "more": Calls(io.open, str(trace), "w"),
            },
        }
        for where, content in files.items():
            found = offered(load_run, content, folder)
            expect(not trace.exists(), f"a stranger's file ran its program: a call {where}")
            expect(found is REFUSED, SWALLOWED if found is None else ACCEPTED)
        others = (nn.Linear(2, 2), collections.defaultdict(), datetime.datetime(2026, 1, 1))
        for harmless in (*others, Path("data")):
            found = offered(load_run, {"options": options, "more": harmless}, folder)
            expect(found is REFUSED, SWALLOWED if found is None else ACCEPTED)
        ours = Path(folder) / "ours.pt"
        torch.save({"options": options, "weights": nn.Linear(2, 2).state_dict()}, ours)
        found = strictly(load_run, ours)
        expect(found is not None, "it returned None, and not what is in the file")
        expect(
            isinstance(found, dict) and found.get("options") == options,
            "what was loaded is not what is in the file",
        )


REFUSED = object()
SWALLOWED = "for a stranger's file your function returned None: let the error out"
ACCEPTED = "a file that names something else than Namespace was loaded without an error"


def offered(load_run, content, folder):
    """What the learner's function makes of a file with this content: REFUSED if it raises."""
    path = Path(folder) / "stranger.pt"
    torch.save(content, path)
    try:
        return strictly(load_run, path)
    except (Wrong, NotImplementedError):
        raise
    except (Exception, SystemExit):
        return REFUSED


def strictly(load_run, path):
    """Call the learner's function; whatever happens, torch.load must be as strict as before."""
    allowed = set(torch.serialization.get_safe_globals())
    try:
        return load_run(path)
    finally:
        after = set(torch.serialization.get_safe_globals())
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(list(allowed))
        expect(
            after <= allowed,
            "since your function was called, the whole program accepts more classes",
        )
        expect(after >= allowed, "your function has removed what the program had allowed before")


# ---------------------------------------------------------------- 2.5


@check("2.5", "migrate a pickled model")
def migrates(migrate, rebuild):
    for arguments in ({"num_classes": 7, "width": 8}, {"num_classes": 10, "width": 16}):
        model = SmallCNN(**arguments)
        train_for_a_moment(model)
        wanted = deepcopy(model.state_dict())
        images = torch.randn(4, 3, 32, 32)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            old, new = Path(folder) / "old.pt", Path(folder) / "new.pt"
            torch.save(model, old)
            content = old.read_bytes()
            migrate(old, new)
            expect(old.exists() and old.read_bytes() == content, "the old file is not as it was")
            expect(new.exists(), "migrate wrote no file at the new path")
            holds_model_and_arguments(new, arguments, wanted)
            answers = model.eval()(images).detach()
            fresh.call(rebuilt_elsewhere, rebuild, new, arguments, wanted, images, answers)


def holds_model_and_arguments(path, arguments, wanted):
    try:
        refused = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        content = torch.load(path)
    except Exception as error:
        raise Wrong(f"the default torch.load refuses the new file: {in_short(error)}") from None
    expect(not refused, f"the default torch.load refuses the new file: {', '.join(refused)}")
    values = list(parts_of(content))
    tensors = [value for value in values if torch.is_tensor(value)]
    expect(
        all(any(torch.equal(t, found) for found in tensors) for t in wanted.values()),
        "the new file does not hold the weights of the old one",
    )
    numbers = [value for value in values if type(value) is int]
    lacking = [name for name, value in arguments.items() if value not in numbers]
    expect(
        not lacking,
        f"the model was built with {arguments}, and the new file does not hold the value of"
        f" {' and '.join(lacking)}",
    )


def parts_of(value):
    """Everything in nested dictionaries, lists and tuples that is none of them."""
    if isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from parts_of(part)
    else:
        yield value


def rebuilt_elsewhere(rebuild, path, arguments, wanted, images, answers):
    """In a new process: does the new file alone make the model?"""
    model = rebuild(path)
    expect(model is not None, "rebuild returned None, and not a model")
    expect(isinstance(model, nn.Module), f"rebuild returned {a_kind(model)}, not a model")
    state = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    expect(
        shapes == {name: tensor.shape for name, tensor in wanted.items()},
        f"the model was built with {arguments}, and rebuilt with others",
    )
    expect(
        all(torch.equal(state[name], wanted[name]) for name in wanted),
        "the model has the right shape, but not the weights of the old file",
    )
    expect(not model.training, "the model came back, but it is in training mode")
    expect(torch.allclose(model(images), answers), "the rebuilt model gives other answers")
