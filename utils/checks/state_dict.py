"""Checks of `01_state_dict_exercises`."""

import operator
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from utils.checking import fresh
from utils.checking.errors import Wrong, a_kind, expect, same
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up()


# ---------------------------------------------------------------- 1.1


@check("1.1", "save and restore")
def saves_and_restores(save, restore):
    model = SmallCNN()
    train_for_a_moment(model, batches=3)
    wanted = deepcopy(model.state_dict())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.pt"
        save(model, path)
        expect(path.exists(), "save wrote no file at the path that it was given")
        expect(same(model.state_dict(), wanted), "save changed the model's weights")
        expect(
            model.training, "save switched the model to eval mode, and its training would go on so"
        )
        holds_weights_alone(path)
        fresh.call(restored_elsewhere, restore, path, wanted)


def holds_weights_alone(path):
    try:
        torch.load(path)
    except Exception:
        try:
            needed = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception:
            raise Wrong("torch.load cannot read the file that save wrote") from None
        method = any("getattr" in name for name in needed)
        expect(not method, "a method was saved, and not what it returns when it is called")
        raise Wrong("a whole object was saved, and not its weights alone") from None


def restored_elsewhere(restore, path, wanted):
    """In a new process: does the file alone bring the model back?"""
    new = SmallCNN()
    random = deepcopy(new.state_dict())
    found = restore(new, path)
    expect(found is not None, "restore returned None, and not the model")
    expect(isinstance(found, nn.Module), f"restore returned {a_kind(found)}, not the model")
    expect(found is new, "restore returned another model than the one it was given")
    state = found.state_dict()
    expect(not same(state, random), "the model still has its random weights")
    parameters = {name for name, _ in found.named_parameters()}
    lost = {name for name in wanted if not torch.equal(state[name], wanted[name])}
    expect(not lost or lost & parameters, "the parameters came back, but not all of the buffers")
    expect(not lost, "some weights are not those that were saved")
    expect(not found.training, "the weights came back, but the model is in training mode")
    expect(
        not any(module.training for module in found.modules()),
        "the model is in eval mode, but some of its layers are still in training mode",
    )


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
    modules = {name.split(".")[0] for name in real if "." in name}
    expect(not any("," in n for n in extra), "each name is wanted as a string of its own")
    expect(
        not any(n.startswith(("self.", "model.", "Puzzle", "puzzle.")) for n in extra),
        "a name begins inside the module: nothing stands before it",
    )
    expect(
        not predicted & modules,
        "a name leads to a tensor: the name of a module alone is not an entry",
    )
    clues = {
        "heads": "you expect entries of `heads`: look at what kind of object it is",
        "shift": "you expect `shift`: look at how it is assigned",
        "scratch": "you expect `scratch`: read its line to the end",
        "act": "you expect entries of `act`, which has no tensors",
        "embed": "you expect more of `embed` than there is: look at its arguments",
        "norm": "what you expect of `norm` is not there: look at its arguments, and at its names",
    }
    for start, clue in clues.items():
        expect(not any(name.startswith(start) for name in extra), clue)
    expect(not extra, f"not in the state_dict: {len(extra)} of your names")
    buffers = {name for name, _ in Puzzle().named_buffers()}
    expect(not missing & buffers, "at least one buffer is missing from your list")
    expect(not missing, "at least one parameter is missing from your list")


# ---------------------------------------------------------------- 1.3

SCORES = (
    [0.2, 0.9, 0.5],
    [0.4, 0.6, 0.8],
    [0.91, 0.93, 0.92],
    [-0.5, 0.0, -0.2],
    [-3.0, -2.0, -2.5],
    [0.7, 0.1, 0.7, 0.3],
)


@check("1.3", "keep the best weights")
def keeps_the_best(train_and_keep_best):
    for scores in SCORES:
        model = SmallCNN()
        best, history = follow(train_and_keep_best, model, scores)
        note = f" (the scores were {scores})"
        expect(best is not None, "it returned None, and not the best weights" + note)
        expect(not isinstance(best, nn.Module), "it returned a model: the weights are wanted")
        expect(isinstance(best, dict), f"it returned {a_kind(best)}, not a state_dict")
        names = dict(model.named_parameters()).keys()
        expect(best.keys() != names, "the parameters are all there, but the buffers are missing")
        expect(
            best.keys() == history[0].keys(), "the names are not those of the model's state_dict"
        )
        expect(all(map(torch.is_tensor, best.values())), "the values are not tensors")
        kept = [tensor.dtype for tensor in best.values()]
        expect(kept == [t.dtype for t in history[0].values()], "the tensors changed their dtype")
        wanted = scores.index(max(scores))
        own = any(best[k].data_ptr() == t.data_ptr() for k, t in model.state_dict().items())
        expect(
            wanted == len(scores) - 1 or not same(best, history[-1]),
            "the weights returned are those of the last epoch"
            + (": their tensors are still the model's own" if own else note),
        )
        right = [torch.equal(best[name], history[wanted][name]) for name in best]
        expect(
            all(right) or not any(right),
            "some of the tensors are those of the best epoch, and others are not",
        )
        expect(
            all(right) or scores.count(max(scores)) == 1,
            "of two epochs with the same score, the weights of the later one were returned",
        )
        expect(all(right), "the weights are not those of the epoch with the best score" + note)
        expect(not own, "the tensors are still the model's own: they change when it trains on")


def follow(train_and_keep_best, model, scores):
    """Let the learner's function train through `scores`; returns its answer and each epoch's weights."""
    history = []

    def train_one_epoch(trained):
        expect(trained is model, "train_one_epoch got another model than the one to train")
        expect(len(history) < len(scores), f"more than {len(scores)} epochs were trained")
        expect(
            not history or same(model.state_dict(), history[-1]),
            "between two epochs the model's weights were changed",
        )
        train_for_a_moment(model)
        history.append(deepcopy(model.state_dict()))

    def score(scored):
        expect(scored is model, "score got another model than the one to train")
        expect(history, "the model was scored before its first epoch")
        return scores[len(history) - 1]

    best = train_and_keep_best(model, len(scores), train_one_epoch, score)
    expect(len(history) == len(scores), f"not all of the {len(scores)} epochs were trained")
    return best, history


# ---------------------------------------------------------------- 1.4


@check("1.4", "nothing gets lost")
def loses_nothing(Stacked):
    expect(
        isinstance(Stacked, type) and issubclass(Stacked, nn.Module),
        f"the class is wanted, a subclass of nn.Module, and this is {a_kind(Stacked)}",
    )
    for depth in (3, 1, 5):
        model = Stacked(depth)
        registers_its_tensors(model, depth)
        model.train()
        images = torch.randn(6, 8) + 5
        model(images)
        model.eval()
        state = model.state_dict()
        expect(
            torch.is_tensor(model.center) and torch.allclose(model.center, images.mean(dim=0)),
            "after a batch in training mode, `center` is not the mean of that batch",
        )
        expect(
            torch.equal(state["center"], model.center),
            "the `center` in the state_dict is not the one that `forward` computes",
        )
        expect(getattr(model, "seen", None) == 6, "after six images, the attribute `seen` is not 6")
        new = Stacked(depth)
        try:
            new.load_state_dict(deepcopy(state))
        except RuntimeError as error:
            raise Wrong(
                f"a new model cannot load this state_dict: {' '.join(str(error).split())}"
            ) from None
        new.eval()
        expect(
            torch.equal(new(images), model(images)),
            "a new model, loaded with this state_dict, gives other answers",
        )


def registers_its_tensors(model, depth):
    parameters, state = dict(model.named_parameters()), model.state_dict()
    expect(parameters, "the layers are still not in the state_dict")
    expect(
        "center" not in parameters, "`center` is a parameter now, but it is computed, not trained"
    )
    weights = [weight for name, weight in state.items() if weight.shape == (8, 8)]
    expect(
        len(weights) == depth,
        f"with depth={depth}, the weights of {len(weights)} layers are in the state_dict",
    )
    expect(
        len({weight.data_ptr() for weight in weights}) == depth,
        "all the layers share one weight: they are one layer under several names",
    )
    expect(
        len(parameters) == 2 * depth,
        "each layer has a weight and a bias, and nothing else is trained",
    )
    expect(
        all(weight.requires_grad for weight in parameters.values()),
        "the layers are there, but they are frozen: nothing would be trained",
    )
    expect(
        "center" not in model._buffers or model.center is not None,
        "`center` is None: register_buffer returns nothing that could be assigned",
    )
    expect("center" in state, "the layers are saved, but `center` is not in the state_dict")
    expect(
        not any("seen" in name for name in state),
        "`seen` is in the state_dict: it is only of use while the program runs",
    )


# ---------------------------------------------------------------- 1.5

CAUSES = {1: "d", 2: "c", 3: "f", 4: "e"}
CLUES = {
    1: "what does it list, and whose are they?",
    2: "which class is it that has no attribute?",
    3: "what does it say, and when would one have nothing to read?",
    4: "one value, of what?",
}


@check("1.5", "read the messages")
def reads_messages(diagnosis):
    expect(isinstance(diagnosis, dict), "a dictionary is wanted: from numbers to letters")
    expect(all(type(n) is int for n in diagnosis), "its keys are numbers, not texts")
    expect(set(diagnosis) == set(CAUSES), "the messages have the numbers 1 to 4, all of them")
    expect(
        all(isinstance(cause, str) and cause in set("abcdef") for cause in diagnosis.values()),
        "each cause is one of the letters a to f, in lower case and with nothing else",
    )
    wrong = sorted(n for n in CAUSES if diagnosis[n] != CAUSES[n])
    expect(not wrong, "; ".join(f"message {n} has another cause: {CLUES[n]}" for n in wrong))


# ---------------------------------------------------------------- 1.6

FILES = {
    "weights.pt": lambda: SmallCNN().state_dict(),
    "data.pt": lambda: {
        "half": torch.ones(7, dtype=torch.float16),
        "two": torch.ones(2),
        "epoch": 3,
    },
    "digits.v2.pth": lambda: [torch.ones(5), torch.ones(6)],
    "tied.pt": lambda: dict.fromkeys(["first", "second"], torch.ones(1000)),
}


@check("1.6", "count the bytes")
def counts_bytes(bytes_of_numbers):
    for name, content in FILES.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / name
            torch.save(content(), path)
            whole = path.stat().st_size
            with zipfile.ZipFile(path) as archive:
                sizes = {e.filename.partition("/")[2]: e.file_size for e in archive.infolist()}
            with mock.patch("torch.load", side_effect=Wrong("torch.load was called: use zipfile")):
                found = bytes_of_numbers(path)
        judge_count(found, sizes, whole, f"{name}: ")


def judge_count(found, sizes, whole, where):
    storages = [size for entry, size in sizes.items() if entry.startswith("data/")]
    wanted, pickle = sum(storages), sizes["data.pkl"]
    fingerprint = sizes[".data/serialization_id"]
    expect(found is not None, f"{where}nothing was returned")
    try:
        found = operator.index(found)
    except TypeError:
        raise Wrong(f"{where}an int is wanted, and this is {a_kind(found)}") from None
    expect(found != whole, f"{where}this is the size of the whole file")
    expect(
        found != sum(sizes.values()), f"{where}all entries are counted, and not all are storages"
    )
    expect(
        found not in (wanted + pickle, wanted + pickle + fingerprint),
        f"{where}the storages are counted, and the pickle too",
    )
    expect(
        found != wanted + fingerprint,
        f"{where}one entry too many: a folder with nearly the right name is counted as well",
    )
    expect(found == wanted or found not in storages, f"{where}only one of the storages is counted")
    expect(
        found == wanted or where != "data.pt: ",
        f"{where}{found} bytes were counted, and its storages have {wanted}: "
        "in this file the name of every entry begins with `data/`",
    )
    expect(found == wanted, f"{where}{found} bytes were counted, and its storages have {wanted}")
