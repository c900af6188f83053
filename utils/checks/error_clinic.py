"""Checks of `12_error_clinic_exercises`."""

import argparse
import pickle
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path
from unittest import mock

import numpy as np
import safetensors.torch
import torch

from utils.checking.errors import Wrong, a_function, a_kind, expect, same
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary


def weights_of_a_net(seed=0):
    """The state_dict of a `SmallCNN` with other running statistics than a new one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallCNN()
        train_for_a_moment(model)
        return deepcopy(model.state_dict())


def save_from(device, state, path):
    """The file that `torch.save` would have written on a machine with this device."""
    with mock.patch("torch.serialization.location_tag", lambda storage: device):
        torch.save(state, path)


def flip(path, record):
    """Flip bits of one record of an archive, and leave the rest, its checksum too."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(record))
        content = archive.read(name)
    whole = path.read_bytes()
    changed = bytes([content[0] ^ 255]) + content[1:]
    path.write_bytes(whole.replace(content, changed, 1))
    return name


# ---------------------------------------------------------------- 12.1

PAGE = "<html><title>403 Forbidden</title><body>You need to log in.</body></html>\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:9f1c\nsize 44814721\n"
FILE_CLUES = {
    "pointer": "its first bytes are text",
    "page": "its first bytes are text",
    "cut short": "it begins like an archive; where does an archive end?",
    "flipped": "it loads; who compares its checksums?",
    "class": "what does torch.load name in its message?",
    "CUDA": "what does torch.load say of its device?",
    "pickle": "what is its first byte, and which library's beginning is missing?",
    "safetensors": "what stands after its first eight bytes?",
}


def write_files(folder):
    """The eight files; returns `{letter: (word, evidence)}`."""
    state = weights_of_a_net()
    path = {letter: folder / f"{letter}.pt" for letter in "abcdefgh"}
    save_from("cuda:3", state, path["a"])
    path["b"].write_text(POINTER, newline="\n", encoding="utf-8")
    torch.save(state, path["c"])
    path["d"].write_bytes(pickle.dumps({"accuracy": [0.5, 0.75]}, protocol=4))
    path["e"].write_text(PAGE, newline="\n", encoding="utf-8")
    safetensors.torch.save_file({"scale": torch.ones(3)}, path["f"])
    torch.save({"weights": state, "arguments": argparse.Namespace(epochs=3)}, path["g"])
    torch.save(state, path["h"])
    path["h"].write_bytes(path["h"].read_bytes()[:1234])
    return {
        "a": ("CUDA", "cuda:3"),
        "b": ("pointer", 44814721),
        "c": ("flipped", flip(path["c"], "/data/3")),
        "d": ("pickle", "accuracy"),
        "e": ("page", 403),
        "f": ("safetensors", "scale"),
        "g": ("class", "argparse.Namespace"),
        "h": ("cut short", 1234),
    }


def make_files(folder):
    """Write the eight files of 12.1 into `folder`, and say where."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    print(f"{folder}:", *(f"{letter}.pt" for letter in write_files(Path(folder))))


@check("12.1", "eight files")
def says_what_files_are(files):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        diagnoses_all(files, write_files(Path(folder)), FILE_CLUES)


def diagnoses_all(answer, truth, clues):
    """Compare `{letter: (word, evidence)}` with the truth; the words are the keys of `clues`."""
    expect(isinstance(answer, dict), f"a dictionary is wanted, and not {a_kind(answer)}")
    others = [letter for letter in answer if letter not in truth]
    expect(not others, f"the letters are {', '.join(truth)}, and {others[:1]} is none of them")
    for letter, pair in answer.items():
        expect(
            isinstance(pair, (tuple, list)) and len(pair) == 2,
            f"{letter}: a pair of a word and its evidence is wanted, and not {pair!r}",
        )
        word = pair[0]
        expect(isinstance(word, str) and word in clues, f"{letter}: {word!r} is none of the words")
    wrong = [letter for letter in answer if answer[letter][0] != truth[letter][0]]
    expect(
        not wrong,
        "; ".join(f"{n} is something else: {clues[truth[n][0]]}" for n in wrong),
    )
    for letter in sorted(answer):
        word, evidence = truth[letter]
        found = answer[letter][1]
        wanted = "a number" if isinstance(evidence, int) else "a text"
        kinds = (int, np.integer) if isinstance(evidence, int) else str
        expect(
            isinstance(found, kinds),
            f"{letter}: the evidence for `{word}` is {wanted}, and not {a_kind(found)}",
        )
        expect(
            found == evidence,
            f"{letter}: the evidence for `{word}` is something else than {found!r}: see the table",
        )
    missing = [letter for letter in truth if letter not in answer]
    expect(not missing, f"right so far; these are not in it yet: {', '.join(missing)}")


# ---------------------------------------------------------------- 12.2

CHECKPOINT_CLUES = {
    "prefix": "compare its names with the model's",
    "nested": "what are its keys?",
    "shape": "does load_state_dict accept it?",
    "missing": "does load_state_dict accept it?",
    "not finite": "it loads; what do its numbers look like?",
}


def write_checkpoints(folder):
    """The five checkpoints; returns `{letter: (word, evidence)}`."""
    state = weights_of_a_net()
    missing, broken, grey = dict(state), deepcopy(state), dict(state)
    del missing["features.4.running_var"]
    broken["features.3.weight"][5, 3, 0, 0] = float("nan")
    grey["features.0.weight"] = state["features.0.weight"].sum(dim=1, keepdim=True)
    contents = {
        "v": missing,
        "w": broken,
        "x": {"epoch": 3, "net": state, "loss": 0.25},
        "y": grey,
        "z": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
    }
    for letter, content in contents.items():
        torch.save(content, folder / f"{letter}.pt")
    return {
        "v": ("missing", "features.4.running_var"),
        "w": ("not finite", "features.3.weight"),
        "x": ("nested", "net"),
        "y": ("shape", "features.0.weight"),
        "z": ("prefix", "_orig_mod.module."),
    }


def make_checkpoints(folder):
    """Write the five checkpoints of 12.2 into `folder`, and say where."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    print(f"{folder}:", *(f"{letter}.pt" for letter in write_checkpoints(Path(folder))))


@check("12.2", "five checkpoints")
def says_what_is_wrong(checkpoints):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        diagnoses_all(checkpoints, write_checkpoints(Path(folder)), CHECKPOINT_CLUES)


# ---------------------------------------------------------------- 12.3


class Submodule(torch.nn.Module):
    """Has `module.` inside of a name, and names that begin with letters of it."""

    def __init__(self):
        super().__init__()
        self.submodule = SmallCNN()
        self.encoder = torch.nn.Linear(10, 10)

    def forward(self, images):
        return self.encoder(self.submodule(images))


class Program:
    """Unpickled, it touches a file: what a stranger's checkpoint could do with yours."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@check("12.3", "a program that loads")
def loads_for_use(load_for_use):
    a_function(load_for_use, "load_for_use")
    state = weights_of_a_net()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    inner = {f"submodule.{name}": tensor for name, tensor in state.items()}
    inner |= {f"encoder.{n}": t for n, t in torch.nn.Linear(10, 10).state_dict().items()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        path = Path(name) / "run.pt"
        for what, device, saved, model in (
            ("a plain checkpoint", "cpu", state, SmallCNN()),
            ("a checkpoint that a GPU wrote", "cuda:9", state, SmallCNN()),
            ("a checkpoint from inside DataParallel", "cpu", wrapped, SmallCNN()),
            ("a net with a layer named `submodule`", "cpu", inner, Submodule()),
        ):
            save_from(device, {"epoch": 3, "model": saved}, path)
            found = attempt_to_load(load_for_use, path, model, what)
            is_loaded(found, model, state if saved is wrapped else saved, what)
        without = {n: t for n, t in state.items() if n != "head.bias"}
        torch.save({"model": without}, path)
        refuses(
            load_for_use, path, "a checkpoint without `head.bias` was accepted without an error"
        )
        touched = Path(name) / "touched"
        torch.save({"model": state, "note": Program(touched)}, path)
        try:
            refuses(load_for_use, path, "a file with a program in it was accepted without an error")
        finally:
            ran = touched.exists()
        expect(not ran, "a program that was hidden in the file has run")


def attempt_to_load(load_for_use, path, model, what):
    try:
        return load_for_use(path, model)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        if "CUDA device" in str(error):
            raise Wrong(f"{what} does not load on a machine without a GPU") from None
        if "Missing key" in str(error):
            raise Wrong(f"{what} does not load: the names do not match") from None
        raise


def is_loaded(found, model, state, what):
    expect(found is not None, "load_for_use returned None, and not the model")
    expect(
        isinstance(found, torch.nn.Module), f"load_for_use returned {a_kind(found)}, not the model"
    )
    expect(
        same(dict(found.state_dict()), dict(state)),
        f"{what} was loaded without an error, and the model does not have its weights",
    )
    expect(not found.training, "the model is still in train mode")
    expect(found is model, "load_for_use returned another model than the one it was given")


def refuses(load_for_use, path, message):
    try:
        load_for_use(path, SmallCNN())
    except Exception:
        return
    raise Wrong(message)


# ---------------------------------------------------------------- 12.4


def shrink(epoch):
    return 1 / (1 + epoch)


def a_run(seed=0):
    """A linear model with optimizer and scheduler, all new."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)


def train_epochs(model, optimizer, scheduler, epochs):
    for epoch in epochs:
        optimizer.zero_grad()
        (model(torch.ones(1, 4)) * (1 + epoch)).square().sum().backward()
        optimizer.step()
        scheduler.step()


@check("12.4", "a program that continues")
def continues_the_run(resume):
    a_function(resume, "resume")
    run = a_run()
    train_epochs(*run, range(3))
    states = dict(zip(("model", "optimizer", "scheduler"), (part.state_dict() for part in run)))
    model, _, _ = a_run(seed=1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "run.pt"
        torch.save({**states, "epoch": 2}, path)
        found = resume(path, model)
    expect(found is not None, "resume returned None, and not three things")
    expect(
        isinstance(found, (tuple, list)) and len(found) == 3,
        f"resume returned {a_kind(found)}, and not a tuple of three things",
    )
    optimizer, scheduler, epoch = found
    is_the_run(model, optimizer, scheduler, run)
    expect(
        epoch == 3,
        f"epochs 0 to 2 were finished, and {epoch!r} was returned as the one to train next",
    )
    train_epochs(model, optimizer, scheduler, (3, 4))
    train_epochs(*run, (3, 4))
    expect(
        same(dict(model.state_dict()), dict(run[0].state_dict())),
        "two epochs later the weights are not those of the run that was not stopped",
    )


def is_the_run(model, optimizer, scheduler, run):
    expect(
        isinstance(optimizer, torch.optim.Optimizer),
        f"the first thing returned is {a_kind(optimizer)}, not the optimizer",
    )
    expect(
        isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler),
        f"the second thing returned is {a_kind(scheduler)}, not the scheduler",
    )
    expect(
        same(dict(model.state_dict()), dict(run[0].state_dict())),
        "the model does not have the weights of the checkpoint",
    )
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expect(
        len(held) == 2 and all(a is b for a, b in zip(held, model.parameters())),
        "the optimizer holds other parameters than the model: its steps change nothing",
    )
    expect(scheduler.optimizer is optimizer, "the scheduler is that of another optimizer")
    expect(
        scheduler.last_epoch == run[2].last_epoch,
        f"the scheduler is at epoch {scheduler.last_epoch}, and was at {run[2].last_epoch}",
    )
    momentum = optimizer.state[held[0]].get("momentum_buffer")
    expect(momentum is not None, "the optimizer has no momentum: its state was not loaded")
    rate, wanted = (o.param_groups[0]["lr"] for o in (optimizer, run[1]))
    expect(
        rate == wanted, f"the next epoch would run with the learning rate {rate}, and not {wanted}"
    )


# ---------------------------------------------------------------- 12.5


class Rehearsal:
    """Plays the training: each epoch adds 1 to the weights, and has its score from a list."""

    def __init__(self, scores):
        self.scores = scores
        self.epoch = -1
        self.modes = []

    def train(self, model):
        self.epoch += 1
        self.modes.append(("train", model.training))
        with torch.no_grad():
            model.head.bias.fill_(self.epoch)
            model.features[1].running_mean.fill_(self.epoch)

    def score(self, model):
        self.modes.append(("score", model.training))
        return np.float64(self.scores[self.epoch])


@check("12.5", "a program that keeps the best")
def keeps_the_best(keep_best):
    a_function(keep_best, "keep_best")
    for scores in ([0.25, 0.75, 0.5], [-3.0, -2.0, -4.0, -5.0], [0.5, 0.25], [0.25, 0.5]):
        play, model = Rehearsal(scores), SmallCNN()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "best.pt"
            keep_best(model, play.train, play.score, len(scores), path)
            expect(path.exists(), "no file was written")
            found = default_load(path)
        expect(play.epoch == len(scores) - 1, "another number of epochs was trained")
        is_the_best(found, scores)
        modes = set(play.modes)
        expect(("score", True) not in modes, "`score` got the model in train mode")
        expect(("train", False) not in modes, "`train` got the model in eval mode")


def default_load(path):
    try:
        return torch.load(path)
    except pickle.UnpicklingError as error:
        cause = "an object of NumPy" if "numpy" in str(error) else "an object of a class"
        raise Wrong(f"the default torch.load refuses the file: it holds {cause}") from None


def is_the_best(found, scores):
    expect(isinstance(found, dict), f"the file holds {a_kind(found)}, not a dictionary")
    expect(
        set(found) == {"weights", "score"},
        f"the keys of the file are {sorted(map(str, found))}; `weights` and `score` are wanted",
    )
    weights, best = found["weights"], int(np.argmax(scores))
    listed = ", ".join(map(str, scores))
    expect(weights is not None, f"the scores were {listed}, and none of them was ever the best")
    expect(
        isinstance(weights, dict) and set(weights) == set(SmallCNN().state_dict()),
        f"the scores were {listed}, and `weights` is no state_dict of the model",
    )
    epochs = [int(weights[n][0]) for n in ("head.bias", "features.1.running_mean")]
    expect(
        epochs[0] == best,
        f"the scores were {listed}, and the weights are those of epoch {epochs[0]}, not {best}",
    )
    expect(
        epochs[1] == best,
        f"the weights are those of epoch {best}, and the running statistics of {epochs[1]}",
    )
    expect(
        found["score"] == scores[best],
        f"the scores were {listed}, and the file says {found['score']!r}",
    )
