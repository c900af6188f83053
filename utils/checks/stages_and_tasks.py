"""Checks of `08_stages_and_tasks_exercises`."""

import contextlib
import io
import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from utils.checking import fresh
from utils.checking.errors import (
    Wrong,
    a_kind,
    describe,
    expect,
    listed,
    must_load,
    same,
)
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN
from utils.training import train_epoch, train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up("torch._dynamo")  # the first optimizer of a process would import it


# ---------------------------------------------------------------- 8.1

PARTS = ("left", "right", "left_optimizer", "right_optimizer")


def build_two():
    nets = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(2)]
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.01) for net in nets]
    return [*nets, *optimizers]


def train_two(left, right, left_optimizer, right_optimizer):
    """A few steps in which each net learns from the other's answers to random inputs."""
    for _ in range(4):
        inputs = torch.randn(16, 6)
        answers = [net(inputs).log_softmax(dim=1) for net in (left, right)]
        for mine, other, optimizer in (
            (answers[0], answers[1], left_optimizer),
            (answers[1], answers[0], right_optimizer),
        ):
            optimizer.zero_grad()
            kl_div(mine, other.detach(), log_target=True, reduction="batchmean").backward()
            optimizer.step()


@check("8.1", "two nets, two optimizers")
def saves_two(save_two, load_two):
    parts = build_two()
    train_two(*parts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two.pt"
        before = [deepcopy(part.state_dict()) for part in parts]
        rng = torch.get_rng_state()
        save_two(path, *parts)
        expect(
            torch.equal(torch.get_rng_state(), rng),
            "save_two drew random numbers, which it was to save",
        )
        saved = [part.state_dict() for part in parts]
        expect(same(before, saved), "save_two changed the nets or the optimizers")
        must_load(path)
        train_two(*parts)
        ends = [part.state_dict() for part in parts]
        fresh.call(two_go_on, load_two, path, before, rng, ends)


def two_go_on(load_two, path, before, rng, ends):
    """In a new process: the four parts are back, and arrive where the others arrived."""
    torch.set_num_threads(1)
    torch.manual_seed(99)
    parts = build_two()
    load_two(path, *parts)
    wanted = dict(zip(PARTS, before))
    for name, part in zip(PARTS, parts):
        explain_part(name, part.state_dict(), wanted)
    expect(
        torch.equal(torch.get_rng_state(), rng),
        "torch's random numbers do not go on where they were",
    )
    train_two(*parts)
    found = [part.state_dict() for part in parts]
    expect(same(found, ends), "all was loaded, and the run goes on otherwise than without a stop")


def explain_part(name, found, wanted):
    other = PARTS[PARTS.index(name) ^ 1]
    expect(not same(found, wanted[other]), f"`{name}` came back with what was saved of `{other}`")
    expect(same(found, wanted[name]), f"`{name}` did not come back as it was saved")


# ---------------------------------------------------------------- 8.2

FROZEN = (
    ["features.0.weight", "features.1.weight", "features.1.bias"],
    ["features.0.weight", "features.1.weight", "features.1.bias", "features.3.weight"],
    ["head.bias"],
    ["features.1.weight"],
    [],
)


def freeze(model, names):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in names


def sgd(model):
    training = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(training, lr=0.1, momentum=0.9)


def a_step(model, optimizer):
    optimizer.zero_grad()
    logits = model(torch.randn(10, 3, 32, 32))
    cross_entropy(logits, torch.randint(logits.shape[1], (10,))).backward()
    optimizer.step()


@check("8.2", "a resume that forgets what was frozen")
def resumes_a_stage(resume):
    for stage, names in enumerate(FROZEN):
        old = SmallCNN()
        freeze(old, names)
        optimizer = sgd(old)
        a_step(old, optimizer)
        file = {"model": old.state_dict(), "optimizer": optimizer.state_dict(), "frozen": names}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stage.pt"
            torch.save(file, path)
            for come_from in ([], FROZEN[stage - 1]):
                model = SmallCNN()
                freeze(model, come_from)
                found = resumed(resume, path, model, come_from)
                is_back(model, found, file, come_from)


def resumed(resume, path, model, come_from):
    with contextlib.redirect_stdout(io.StringIO()):
        if not come_from:
            return resume(path, model)
        try:
            return resume(path, model)
        except NotImplementedError:
            raise
        except Exception as error:
            raise Wrong(f"with a model that comes from another stage, {describe(error)}") from None


def is_back(model, optimizer, file, come_from):
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    where = "in a model of another stage, " if come_from else ""
    trains = [name for name in file["frozen"] if name not in frozen]
    expect(not trains, f"{where}these were frozen, and would train now: {listed(trains)}")
    stays = [name for name in frozen if name not in file["frozen"]]
    expect(not stays, f"{where}these were not frozen, and would not train now: {listed(stays)}")
    expect(same(model.state_dict(), file["model"]), "the model's weights did not come back")
    expect(
        isinstance(optimizer, torch.optim.Optimizer),
        f"resume returned {a_kind(optimizer)}, not the optimizer",
    )
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    names = {id(p): name for name, p in model.named_parameters()}
    expect(
        all(each in names for each in held),
        "the optimizer holds parameters that are not this model's",
    )
    wrong = [names[each] for each in held if names[each] in file["frozen"]]
    expect(not wrong, f"the optimizer holds what is frozen: {listed(wrong)}")
    expect(
        held == [id(p) for p in model.parameters() if p.requires_grad],
        "the optimizer does not hold all that trains, in the order of model.parameters()",
    )
    expect(
        same(optimizer.state_dict(), file["optimizer"]),
        "the optimizer's momentum and settings are not those of the file",
    )
    expect(model.training, "the model is no longer in train mode")


# ---------------------------------------------------------------- 8.3


class Block(nn.Module):
    """Two batch norms, and dropout beside and between them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


# which parameters are frozen, and so which batch norms are to be in eval mode
CASES = (
    (["conv"], {"conv.1"}),
    (["conv", "head"], {"conv.1", "head.1"}),
    (["head.0", "head.2", "conv.0"], set()),
    (["head.1"], {"head.1"}),
    (["conv.1.weight", "head.1.bias"], {"conv.1"}),
    ([], set()),
)


@check("8.3", "train mode, but not for everything")
def trains_the_rest(to_train_mode):
    model = Block()
    for frozen, in_eval in CASES:
        model.requires_grad_(True)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(tuple(frozen)))
        model.eval()
        before = [p.requires_grad for p in model.parameters()]
        to_train_mode(model)
        what = f"with {listed(frozen) or 'nothing'} frozen, "
        expect(
            before == [p.requires_grad for p in model.parameters()],
            "to_train_mode changed which parameters are frozen",
        )
        expect(model.training, f"{what}the model itself is in eval mode")
        wrong = {n: m for n, m in model.named_modules() if m.training is (n in in_eval)}
        explain_modes(what, wrong)


def explain_modes(what, wrong):
    """`wrong`: the modules, by name, that are in the wrong mode."""
    for name, module in wrong.items():
        if isinstance(module, nn.Dropout):
            raise Wrong(f"{what}the dropout `{name}` is in eval mode, and drops nothing")
    for name, module in wrong.items():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            raise Wrong(
                f"{what}the batch norm `{name}` is in train mode, and would move"
                if module.training
                else f"{what}the batch norm `{name}` is in eval mode, though its weight trains"
            )
    expect(not wrong, f"{what}these are in eval mode: {listed(wrong)}")


# ---------------------------------------------------------------- 8.4


class Wrapped(nn.Module):
    """A net with a layer that is called `module`."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.module = nn.Conv2d(4, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.norm(self.module(self.stem(images))).mean(dim=(2, 3)))


@check("8.4", "averaged weights for use")
def chooses_the_average(for_inference):
    model = Wrapped()
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(3):
        train_for_a_moment(model)
        ema.update_parameters(model)
    batches = [(torch.randn(8, 3, 32, 32), torch.zeros(8)) for _ in range(3)]
    wanted = deepcopy(ema.module)
    update_bn(batches, wanted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pt"
        torch.save({"model": model.state_dict(), "ema": ema.state_dict()}, path)
        fresh_model = Wrapped()
        found = for_inference(path, fresh_model, list(batches))
    expect(found is not None, "for_inference returned None, and not the net")
    expect(
        not isinstance(found, AveragedModel),
        "for_inference returned an AveragedModel, and the plain net was wanted",
    )
    expect(isinstance(found, Wrapped), f"for_inference returned {a_kind(found)}, not the net")
    explain_average(found.state_dict(), wanted.state_dict(), model.state_dict(), ema.module)
    expect(
        not any(module.training for module in found.modules()),
        "the net is in train mode: it is not ready for use",
    )


def explain_average(found, wanted, plain, average):
    weights = [name for name, _ in average.named_parameters()]
    loaded = [name for name in weights if torch.equal(found[name], wanted[name])]
    expect(
        not all(torch.equal(found[n], plain[n]) for n in weights),
        "the net has the weights of `model`, not the averaged ones",
    )
    lost = [name for name in weights if name not in loaded]
    expect(len(lost) < len(weights), "no weight of the average has arrived in the net")
    expect(not lost, f"these weights of the average have not arrived: {listed(lost)}")
    statistics = [n for n in found if n.endswith(("running_mean", "running_var"))]
    old = average.state_dict()
    expect(
        not all(torch.allclose(found[n], old[n]) for n in statistics),
        "the running statistics are those of the file, which do not fit the average",
    )
    off = [n for n in statistics if not torch.allclose(found[n], wanted[n], atol=1e-5)]
    expect(
        not off,
        "the running statistics are not those of the averaged weights on these batches:"
        f" {listed(off)}",
    )


# ---------------------------------------------------------------- 8.5

CHANGE_CLUES = {
    "a": "does it get a gradient?",
    "b": "what moves running statistics, a gradient or a batch?",
    "c": "which statistics does a batch norm use in eval mode, and does it touch them?",
    "d": "what does an optimizer do with a parameter that has no gradient?",
    "e": "does it train?",
    "f": "what does it count, and in which mode?",
    "g": "is that one of the entries of a state_dict?",
}


def really_changed():
    """{letter: "changes" or "stays"}, by doing what the exercise describes."""
    batches = [(torch.randn(10, 3, 32, 32), torch.randint(10, (10,))) for _ in range(3)]
    words = {}
    for in_eval in (False, True):
        model = SmallCNN()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        train_epoch(model, batches, optimizer)
        model.features.requires_grad_(False)
        first = model.features[0].weight
        before = deepcopy(model.state_dict())
        momentum = optimizer.state[first]["momentum_buffer"].clone()
        if in_eval:
            model.features[1].train = lambda mode=True: None  # model.train() leaves it alone
            model.features[1].training = False
        train_epoch(model, batches, optimizer)
        after = model.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        if in_eval:
            words["c"] = "features.1.running_mean" in moved
            continue
        words["a"] = "features.0.weight" in moved
        words["b"] = "features.1.running_mean" in moved
        words["d"] = not torch.equal(momentum, optimizer.state[first]["momentum_buffer"])
        words["e"] = "head.weight" in moved
        words["f"] = "features.1.num_batches_tracked" in moved
        new = SmallCNN()
        new.load_state_dict(after)
        words["g"] = not new.features[0].weight.requires_grad
    return {letter: "changes" if words[letter] else "stays" for letter in sorted(words)}


@check("8.5", "predict what changes")
def predicts_what_changes(changed):
    expect(isinstance(changed, dict), "a dictionary is wanted: from the letters to the words")
    expect(set(changed) == set(CHANGE_CLUES), "the letters are a to g, all of them")
    expect(
        all(isinstance(word, str) and word in ("changes", "stays") for word in changed.values()),
        "each letter's word is `changes` or `stays`",
    )
    truth = really_changed()
    wrong = [letter for letter in truth if changed[letter] != truth[letter]]
    expect(
        not wrong,
        "; ".join(f"{letter} is not right: {CHANGE_CLUES[letter]}" for letter in wrong),
    )
