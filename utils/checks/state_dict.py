"""Checks of `01_state_dict_exercises`."""

import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from utils.checks import fresh
from utils.checks.core import Exercises, Wrong, expect
from utils.models import SmallCNN
from utils.training import train_epoch

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up()


def trained_model():
    """A model whose weights, running statistics and mode all differ from a new one's."""
    model = SmallCNN()
    train_for_a_moment(model, batches=3)
    return model.eval()


def train_for_a_moment(model, batches=1):
    """Change every weight and every running statistic of `model`."""
    noise = [(torch.randn(20, 3, 32, 32), torch.randint(10, (20,))) for _ in range(batches)]
    train_epoch(model, noise, torch.optim.SGD(model.parameters(), lr=0.1))


def same(first, second):
    """Whether two state_dicts hold the same tensors under the same names."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# ---------------------------------------------------------------- 1.1


@check("1.1", "save and restore")
def saves_and_restores(save, restore):
    model = trained_model()
    wanted = deepcopy(model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        save(model, path)
        expect(path.exists(), "save wrote no file at the path that it was given")
        expect(same(model.state_dict(), wanted), "save changed the model's weights")
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        expect(not unsafe, "the file holds more than weights: it needs a class to be loaded again")
        fresh.call(restored_elsewhere, restore, path, wanted)


def restored_elsewhere(restore, path, wanted):
    """In a new process: does the file alone bring the model back?"""
    new = SmallCNN()
    random = deepcopy(new.state_dict())
    found = restore(new, path)
    expect(found is not None, "restore returned None, and not the model")
    expect(
        isinstance(found, nn.Module), f"restore returned a {type(found).__name__}, not the model"
    )
    expect(found is new, "restore returned another model than the one it was given")
    expect(not same(found.state_dict(), random), "the model still has its random weights")
    expect(same(found.state_dict(), wanted), "some weights are not those that were saved")
    expect(not found.training, "the weights came back, but the model is in training mode")


# ---------------------------------------------------------------- 1.2


class Puzzle(nn.Module):
    """The module of exercise 1.2."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.act = nn.ReLU()
        self.heads = [nn.Linear(4, 2), nn.Linear(4, 2)]
        self.gain = nn.Parameter(torch.ones(1))
        self.shift = torch.zeros(1)
        self.register_buffer("table", torch.zeros(3))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)


@check("1.2", "predict the names")
def predicts_names(predicted):
    expect(
        isinstance(predicted, (list, tuple, set)) and all(isinstance(n, str) for n in predicted),
        "a list of names is wanted, each a string",
    )
    predicted, real = set(predicted), set(Puzzle().state_dict())
    extra, missing = predicted - real, real - predicted
    expect(
        not any(n.startswith("heads") for n in extra),
        "you expect entries of `heads`: look at what kind of object it is",
    )
    expect("shift" not in extra, "you expect `shift`: look at how it is assigned")
    expect("scratch" not in extra, "you expect `scratch`: read its line to the end")
    expect(
        not any(n.startswith("act") for n in extra),
        "you expect entries of `act`, which has no tensors",
    )
    modules = {n.split(".")[0] for n in real if "." in n}
    expect(
        not predicted & modules,
        "a name leads to a tensor: the name of a module alone is not an entry",
    )
    expect(not extra, f"not in the state_dict: {len(extra)} of your names")
    buffers = {n for n, _ in Puzzle().named_buffers()}
    expect(not missing & buffers, "at least one buffer is missing from your list")
    expect(not missing, "at least one parameter is missing from your list")


# ---------------------------------------------------------------- 1.3


@check("1.3", "keep the best weights")
def keeps_the_best(train_and_keep_best):
    for scores in ([0.2, 0.9, 0.5], [0.4, 0.6, 0.8], [0.7, 0.1, 0.7, 0.3]):
        model = SmallCNN()
        best, history = follow(train_and_keep_best, model, scores)
        expect(best is not None, "it returned None, and not the best weights")
        expect(not isinstance(best, nn.Module), "it returned a model: the weights are wanted")
        expect(isinstance(best, dict), f"it returned a {type(best).__name__}, not a state_dict")
        expect(
            best.keys() == history[0].keys(), "the names are not those of the model's state_dict"
        )
        wanted = scores.index(max(scores))
        if wanted < len(scores) - 1:
            expect(
                not same(best, history[-1]),
                "the weights returned are those of the last epoch"
                + (
                    ": their tensors are still the model's own"
                    if shares_memory(best, model)
                    else ""
                ),
            )
        partly = [torch.equal(best[name], history[wanted][name]) for name in best]
        expect(
            all(partly) or not any(partly),
            "some of the tensors are of the best epoch, and others are not: look at the buffers",
        )
        expect(
            all(partly) or scores.count(max(scores)) == 1,
            "of two epochs with the same score, the weights of the later one were returned",
        )
        expect(all(partly), "the weights returned are not those of the epoch with the best score")


def shares_memory(weights, model):
    return any(weights[k].data_ptr() == t.data_ptr() for k, t in model.state_dict().items())


def follow(train_and_keep_best, model, scores):
    """Let the learner's function train through `scores`; returns its answer and every epoch's weights."""
    history = []

    def train_one_epoch(model):
        train_for_a_moment(model)
        history.append(deepcopy(model.state_dict()))

    def score(model):
        expect(history, "the model was scored before its first epoch")
        return scores[len(history) - 1]

    best = train_and_keep_best(model, len(scores), train_one_epoch, score)
    expect(len(history) == len(scores), f"{len(history)} epochs were trained, not {len(scores)}")
    return best, history


# ---------------------------------------------------------------- 1.4


@check("1.4", "nothing gets lost")
def loses_nothing(Stacked):
    model = Stacked(depth=3)
    expect(isinstance(model, nn.Module), "Stacked is no nn.Module any more")
    parameters = dict(model.named_parameters())
    expect(parameters, "the layers are still not in the state_dict")
    expect(
        "center" not in parameters,
        "`center` is a parameter now, but it is computed and not trained",
    )
    images = torch.randn(6, 8) + 5
    model.train()
    model(images)
    model.eval()
    state = model.state_dict()
    weights = [tensor for tensor in state.values() if tensor.shape == (8, 8)]
    expect(len(weights) == 3, f"with depth=3, the state_dict holds {len(weights)} layers' weights")
    expect(
        len({weight.data_ptr() for weight in weights}) == 3,
        "all the layers share one weight: they are one layer under several names",
    )
    expect(
        any("center" in name for name in state),
        "the layers are saved, but `center` is not in the state_dict",
    )
    expect(
        not any("seen" in name for name in state),
        "`seen` is in the state_dict: it is only of use while the program runs",
    )
    expect(hasattr(model, "seen"), "the attribute `seen` has disappeared")
    expect(
        torch.is_tensor(model.center) and torch.allclose(model.center, images.mean(dim=0)),
        "after a batch in training mode, `center` is not the mean of that batch",
    )
    new = Stacked(depth=3)
    new.load_state_dict(deepcopy(state))
    new.eval()
    expect(
        torch.equal(new(images), model(images)),
        "a new model, loaded with this state_dict, gives other answers",
    )


# ---------------------------------------------------------------- 1.5

CAUSES = {
    "a": "load_state_dict got a path",
    "b": "torch.load got a file that holds weights, and its result was used as a model",
    "c": "the result of load_state_dict was used as a model",
    "d": "the model that was built names its tensors differently from the one that was saved",
    "e": "a single image met a model in training mode",
    "f": "the file was read from its end",
}


@check("1.5", "read the messages")
def reads_messages(diagnosis):
    wanted = {1: "d", 2: "c", 3: "f", 4: "e"}
    expect(isinstance(diagnosis, dict), "a dictionary is wanted: from numbers to letters")
    expect(set(diagnosis) == set(wanted), "the messages have the numbers 1 to 4")
    expect(
        all(letter in CAUSES for letter in diagnosis.values()), "the causes have the letters a to f"
    )
    wrong = [n for n, letter in diagnosis.items() if letter != wanted[n]]
    look = {
        1: "what does it list, and whose are they?",
        2: "which class is it that has no attribute?",
        3: "what does it say, and when would one have nothing to read?",
        4: "one value, of what?",
    }
    expect(not wrong, "; ".join(f"message {n} has another cause: {look[n]}" for n in sorted(wrong)))


# ---------------------------------------------------------------- 1.6


@check("1.6", "count the bytes")
def counts_bytes(bytes_of_numbers):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {
            "weights": trained_model().state_dict(),
            "data": {"half": torch.ones(7, dtype=torch.float16), "epoch": 3},
            "tied": {"first": (shared := torch.ones(1000)), "second": shared},
        }.items():
            path = Path(folder) / f"{name}.pt"
            torch.save(content, path)
            with zipfile.ZipFile(path) as archive:
                sizes = {info.filename: info.file_size for info in archive.infolist()}
            wanted = sum(n for entry, n in sizes.items() if entry.startswith(f"{name}/data/"))
            with mock.patch(
                "torch.load", side_effect=Wrong("torch.load was called: zipfile is enough")
            ):
                found = bytes_of_numbers(path)
            expect(isinstance(found, int), f"an int is wanted, not a {type(found).__name__}")
            expect(found != path.stat().st_size, "this is the size of the whole file")
            expect(
                found != sum(sizes.values()),
                "all entries are counted: not every entry of the zip is a storage",
            )
            expect(
                found != wanted + sizes[f"{name}/.data/serialization_id"],
                "one entry too many: a folder whose name is nearly the right one is counted as well",
            )
            expect(
                name != "data" or found == wanted,
                f"for a file named data.pt, {found} bytes were counted, and its numbers take {wanted}: "
                "which part of an entry's name says that it is a storage?",
            )
            expect(
                name != "tied" or found == wanted,
                f"two names for one tensor: {found} bytes were counted, and the file holds {wanted}",
            )
            expect(found == wanted, f"{found} bytes were counted, and the numbers take {wanted}")
