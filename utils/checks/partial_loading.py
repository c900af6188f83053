"""Checks of `06_partial_loading_exercises`."""

import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torchvision.models import MobileNetV3, mobilenet_v3_small

from utils.checking.errors import Wrong, a_kind, expect, listed, same
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN
from utils.training import train_for_a_moment

exercises = Exercises()
check, summary = exercises.check, exercises.summary


def trained(model):
    """`model` with other weights and running statistics than a new one, and its copied state_dict."""
    train_for_a_moment(model)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():  # a fresh batch norm is the same everywhere
                tensor += 0.01 * (1 + torch.rand_like(tensor))
    return model, deepcopy(model.state_dict())


def state_dict_or_wrong(found, what):
    expect(found is not None, f"{what} returned None")
    expect(isinstance(found, dict), f"{what} returned {a_kind(found)}, not a dictionary")
    for name, tensor in found.items():
        expect(isinstance(name, str), f"the names are to be strings, and one is {a_kind(name)}")
        expect(torch.is_tensor(tensor), f"`{name}` is {a_kind(tensor)}, not a tensor")
    return found


# ---------------------------------------------------------------- 6.1

NAMES = [
    ["submodule.fc.weight", "module.weight", "scale"],
    ["module.weight", "module.bias", "head._orig_mod.weight"],
    ["encoder.submodule.module.weight", "encoder.my_orig_mod.weight"],
    ["model.weight", "model.module.weight"],
    ["module.weight", "_orig_mod.weight"],  # each of two, neither of all
    [],
]
WRAPPERS = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]


@check("6.1", "take the wrappers off")
def takes_wrappers_off(unwrap):
    for inner in NAMES:
        for wrapper in WRAPPERS:
            state = {wrapper + name: torch.rand(2) for name in inner}
            passed = dict(state)
            found = state_dict_or_wrong(unwrap(passed), "unwrap")
            expect(list(passed) == list(state), "the dictionary that was passed in was changed")
            expect(
                len(found) == len(state),
                f"{len(state)} entries went in, and {len(found)} came out",
            )
            by_tensor = {id(tensor): name for name, tensor in found.items()}
            for name, tensor in zip(inner, state.values()):
                became = by_tensor.get(id(tensor)) or of_equal(found, tensor)
                expect(became is not None, f"the tensor of `{wrapper}{name}` did not come out")
                explain_name(wrapper, name, became, state)


def of_equal(found, tensor):
    return next((name for name, other in found.items() if torch.equal(other, tensor)), None)


def explain_name(wrapper, name, became, state):
    before = wrapper + name
    if became == name:
        return
    if became == before:
        raise Wrong(f"`{before}` still has a wrapper's prefix: every name begins with it")
    if before.endswith(became) and len(became) > len(name):
        raise Wrong(f"`{before}` became `{became}`: a wrapper's prefix is still there")
    taken = before.removesuffix(became)
    without = [n for n in state if not n.startswith(taken)]
    if name.endswith(became) and without:
        raise Wrong(
            f"`{before}` became `{became}`: what was taken away is not on every name,"
            f" `{without[0]}` is without it"
        )
    raise Wrong(f"`{before}` became `{became}`: the inside of a name was changed")


# ---------------------------------------------------------------- 6.2


class Longer(SmallCNN):
    """Has a layer more than a `SmallCNN`, and another name for its head."""

    def __init__(self, width=16):
        super().__init__(width=width)
        self.classifier = self.head
        del self.head
        self.scale = nn.Linear(10, 10)

    def forward(self, images):
        return self.scale(self.classifier(self.features(images).flatten(1)))


@check("6.2", "load what fits, and report the rest")
def loads_what_fits(load_what_fits):
    pairs = [(Longer(), SmallCNN()), (SmallCNN(7), SmallCNN(10)), (SmallCNN(), Longer(8))]
    for model, other in [*pairs, (SmallCNN(), SmallCNN())]:
        before, state = trained(model)[1], trained(other)[1]
        passed = dict(state)
        report = load_what_fits(model, passed)
        expect(same(passed, state), "the dictionary that was passed in was changed")
        fits = {n for n in before if n in state and before[n].shape == state[n].shape}
        explain_report(report, before, state, fits)
        after = model.state_dict()
        lost = [n for n in fits if not torch.equal(after[n], state[n])]
        expect(not lost, f"these fit, and were not loaded: {listed(sorted(lost))}")
        moved = [n for n in before if n not in fits and not torch.equal(after[n], before[n])]
        expect(not moved, f"these do not fit, and were changed: {listed(moved)}")
    refuses_what_does_not_fit(load_what_fits)


def explain_report(report, before, state, fits):
    expect(report is not None, "load_what_fits returned None, and not the report")
    expect(isinstance(report, dict), f"the report is {a_kind(report)}, not a dictionary")
    keys = {"missing", "unexpected", "shapes"}
    expect(set(report) == keys, f"the report's keys are {sorted(map(str, report))}")
    shapes = {
        name: (tuple(state[name].shape), tuple(before[name].shape))
        for name in before
        if name in state and name not in fits
    }
    wanted = {"missing": before.keys() - state.keys(), "unexpected": state.keys() - before.keys()}
    for kind, names in wanted.items():
        found = report[kind]
        expect(
            isinstance(found, (list, tuple, set)) and all(isinstance(n, str) for n in found),
            f"`{kind}` is {a_kind(found)}, not a list of names",
        )
        both = [name for name in found if name in shapes]
        expect(
            not both,
            f"`{kind}` names {listed(both)}: that is in the file and in the model,"
            " and only its shape does not fit",
        )
        extra, lacking = set(found) - names, names - set(found)
        expect(not extra, f"`{kind}` names {listed(sorted(extra))}, and that is not {kind}")
        expect(not lacking, f"`{kind}` does not name {listed(sorted(lacking))}")
    explain_shapes(report["shapes"], shapes)


def explain_shapes(found, shapes):
    expect(isinstance(found, dict), f"`shapes` is {a_kind(found)}, not a dictionary")
    expect(
        found.keys() == shapes.keys(),
        f"`shapes` names {listed(found) or 'nothing'}, and should name"
        f" {listed(shapes) or 'nothing'}",
    )
    for name, pair in shapes.items():
        given = found[name]
        expect(
            isinstance(given, (list, tuple))
            and len(given) == 2
            and all(isinstance(shape, (list, tuple)) for shape in given),
            f"`shapes` has {given!r} for `{name}`, and that is not a pair of shapes",
        )
        given = tuple(map(tuple, given))
        expect(given != pair[::-1], f"the two shapes of `{name}` are in the wrong order")
        expect(given == pair, f"`shapes` has {given} for `{name}`, and should have {pair}")


def refuses_what_does_not_fit(load_what_fits):
    model, before = trained(SmallCNN())
    for state in (
        {f"module.{name}": tensor + 1 for name, tensor in before.items()},
        {name: torch.ones(5, 5, 5) for name in before},
        {name: tensor[None] for name, tensor in before.items()},  # as many numbers
    ):
        try:
            load_what_fits(model, state)
        except ValueError:
            refused = True
        except RuntimeError as error:
            raise Wrong(
                f"where nothing fits it raised {type(error).__name__}, not ValueError"
            ) from None
        else:
            refused = False
        expect(refused, "not one entry of the file fitted, and it returned without a ValueError")
        expect(same(model.state_dict(), before), "nothing fitted, and the model was changed")


# ---------------------------------------------------------------- 6.3


@check("6.3", "all or nothing")
def loads_all_or_nothing(try_to_load):
    good = trained(SmallCNN())[1]
    short = {name: tensor for name, tensor in good.items() if name != "features.0.weight"}
    bad = {
        "has another number of classes": trained(SmallCNN(7))[1],
        "lacks an entry": short,
        "has an entry too many": {**good, "scale": torch.ones(1)},
        "has other names": {f"module.{name}": tensor for name, tensor in good.items()},
    }
    for what, state in bad.items():
        model, before = trained(SmallCNN())
        found = attempt(try_to_load, model, state, what)
        parameters = {name for name, _ in model.named_parameters()}
        changed = [
            n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])
        ]
        expect(
            not parameters.intersection(changed),
            f"the file {what}, and after the attempt the model is not as it was:"
            f" {len(changed)} of its entries were overwritten",
        )
        expect(
            not changed,
            f"the file {what}, and the weights are back, but not the running statistics",
        )
        expect(found is False, f"the file {what}, and {found!r} was returned, not False")
    model, _ = trained(SmallCNN())
    found = attempt(try_to_load, model, dict(good), "fits")
    expect(same(model.state_dict(), good), "a file that fits was not loaded")
    expect(found is True, f"a file that fits was loaded, and {found!r} was returned, not True")


def attempt(try_to_load, model, state, what):
    parameters = list(model.parameters())
    passed = dict(state)
    try:
        found = try_to_load(model, passed)
    except RuntimeError:
        raise Wrong(
            f"the file {what}, and your function raised an error in place of False"
        ) from None
    expect(list(passed) == list(state), "the dictionary that was passed in was changed")
    expect(
        all(a is b for a, b in zip(parameters, model.parameters())),
        "the model has new parameters: an optimizer would go on with the old ones",
    )
    expect(model.training, "the model is no longer in train mode")
    return found


# ---------------------------------------------------------------- 6.4

HEAD = ["classifier.3.weight", "classifier.3.bias"]


@check("6.4", "a new head")
def swaps_the_head(for_new_task):
    _, state = trained(mobilenet_v3_small(num_classes=10))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "net.pt"
        torch.save(state, path)
        for num_classes in (2, 10):
            is_the_old_net_with_a_new_head(for_new_task(path, num_classes), num_classes, state)
        without = {name: t for name, t in state.items() if name != "features.0.1.running_var"}
        refused = {
            "with the prefix `module.`": {f"module.{name}": t for name, t in state.items()},
            "that lacks an entry": without,
            "of a net with one layer more": {**state, "extra.weight": torch.ones(2)},
        }
        for what, content in refused.items():
            torch.save(content, path)
            try:
                for_new_task(path, 2)
            except NotImplementedError:
                raise
            except Exception:
                continue
            raise Wrong(f"a file {what} was accepted without an error")


def is_the_old_net_with_a_new_head(model, num_classes, state):
    expect(model is not None, "for_new_task returned None, and not the model")
    expect(
        isinstance(model, MobileNetV3),
        f"for_new_task returned {a_kind(model)}, not a mobilenet_v3_small",
    )
    own = model.state_dict()
    expect(own.keys() == state.keys(), "the model has other entries than a mobilenet_v3_small")
    shape = tuple(own[HEAD[0]].shape)
    expect(
        shape == (num_classes, 1024),
        f"for {num_classes} classes the last layer's weight has the shape {shape}",
    )
    lost = [n for n in own if n not in HEAD and not torch.equal(own[n], state[n])]
    parameters = {name for name, _ in model.named_parameters()}
    expect(
        set(lost) != {"classifier.0.weight", "classifier.0.bias"},
        f"more than the last layer is new: {listed(lost)}",
    )
    expect(
        not lost or any(name in parameters for name in lost),
        f"the running statistics do not come from the file: {listed(lost)}",
    )
    expect(not lost, f"the backbone does not come from the file: {listed(lost)}")
    expect(
        num_classes != 10 or not torch.equal(own[HEAD[0]], state[HEAD[0]]),
        "the number of classes is the same, and the old head was loaded: a new one was wanted",
    )
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    expect(not frozen, f"these parameters do not train: {listed(frozen)}")


# ---------------------------------------------------------------- 6.5


class Theirs(nn.Module):
    def __init__(self):
        super().__init__()
        self.shortcut = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 1)
        self.out = nn.Linear(8, 10)

    def forward(self, images):
        x = torch.relu(self.norm(self.first(images)))
        x = torch.relu(self.second(x)) + self.shortcut(x)
        return self.out(x.mean(dim=(2, 3)))


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.ModuleDict()
        self.block["main"] = nn.Conv2d(8, 8, 1)
        self.block["skip"] = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        x = self.stem(images)
        x = self.block["main"](x).relu() + self.block["skip"](x)
        return self.head(x.mean(dim=(2, 3)))


@check("6.5", "somebody else's names")
def translates(translate):
    for backwards in (False, True):
        order = " when its entries come in another order" if backwards else ""
        theirs, state = trained(Theirs())
        if backwards:
            state = dict(reversed(state.items()))
        passed = dict(state)
        found = state_dict_or_wrong(translate(passed), "translate")
        expect(same(passed, state), "the state_dict that was passed in was changed")
        mine = Mine()
        wanted = mine.state_dict()
        missing, unexpected = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        expect(
            not missing | unexpected,
            f"`Mine` has no entry {listed(sorted(unexpected))}"
            if unexpected
            else f"`Mine` also needs {listed(sorted(missing))}",
        )
        sizes = [name for name in wanted if wanted[name].shape != found[name].shape]
        expect(
            not sizes,
            f"{listed(sizes)}: the tensor has another shape than in `Mine`{order}",
        )
        mine.load_state_dict(found)
        images = torch.randn(4, 3, 6, 6)
        expect(
            not torch.equal(found["block.main.weight"], state["shortcut.weight"]),
            "all keys match, and two layers of the same shape are exchanged: the answers differ",
        )
        expect(
            torch.equal(mine.eval()(images), theirs.eval()(images)),
            f"all keys match, and the answers differ from those of `Theirs`{order}",
        )


# ---------------------------------------------------------------- 6.6

WORDS = {"error", "all", "part", "nothing"}
CLUES = {
    "a": "which of the names does the model have?",
    "b": "what does strict=False forgive, and what not?",
    "c": "when is the error raised, before or after the copying?",
    "d": "is anything of the model missing in the dictionary?",
    "e": "does the new one know the names of the old one?",
    "f": "which shape does a lazy layer compare with?",
}


def loads():
    """`{letter: (model, state, strict)}` of the puzzle, ready to be tried."""
    _, state = trained(SmallCNN())
    old = nn.utils.weight_norm(nn.Linear(3, 2))
    return {
        "a": (SmallCNN(), {f"module.{n}": t for n, t in state.items()}, False),
        "b": (SmallCNN(num_classes=2), state, False),
        "c": (SmallCNN(num_classes=2), state, False),
        "d": (SmallCNN(), {**state, "epoch": torch.tensor(4)}, False),
        "e": (parametrizations.weight_norm(nn.Linear(3, 2)), old.state_dict(), True),
        "f": (nn.LazyLinear(2), nn.Linear(3, 5).state_dict(), True),
    }


def effect(letter, model, state, strict):
    """What really happens: a word of WORDS."""
    try:
        model.load_state_dict(state, strict=strict)
    except RuntimeError:
        if letter != "c":
            return "error"
    values = list(state.values())
    come = [any(torch.equal(own, v) for v in values) for own in model.state_dict().values()]
    return "all" if all(come) else "part" if any(come) else "nothing"


@check("6.6", "predict what is loaded")
def predicts_what_is_loaded(loaded):
    expect(isinstance(loaded, dict), "a dictionary is wanted: from the letters to the words")
    expect(set(loaded) == set(CLUES), "the letters are a to f, all of them")
    expect(
        all(isinstance(word, str) and word in WORDS for word in loaded.values()),
        "each answer is one of the words error, all, part, nothing",
    )
    wrong = [letter for letter, case in loads().items() if loaded[letter] != effect(letter, *case)]
    expect(not wrong, "; ".join(f"{n} does something else: {CLUES[n]}" for n in wrong))
