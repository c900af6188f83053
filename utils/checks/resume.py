"""Checks of `03_resume_exercises`."""

import random
import tempfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR
from torch.utils.data import Subset, TensorDataset

from utils import show
from utils.checking import fresh
from utils.checking.errors import a_kind, expect, must_load, same
from utils.checking.outcomes import Exercises
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import seed_everything, train_epoch

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up("torch._dynamo")  # the first optimizer of a process would import it


def noise(size=100):
    """A data set of random images that are the same in every process, whatever is seeded."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(size, 3, 32, 32, generator=generator)
    return TensorDataset(images, torch.randint(10, (size,), generator=generator))


def epoch_of(state, number):
    batches = loader(noise(), shuffle=True, seed=number)
    return train_epoch(state[0], batches, *state[1:])


# ---------------------------------------------------------------- 3.1


def build():
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, OneCycleLR(optimizer, 0.1, total_steps=8)


@check("3.1", "save and resume a run")
def saves_and_resumes(save_run, load_run):
    straight, stopped = build(), build()
    stopped[0].load_state_dict(straight[0].state_dict())
    rng = torch.get_rng_state()
    for state in (straight, stopped):
        torch.set_rng_state(rng)
        for number in range(2):
            epoch_of(state, number)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "run.pt"
        rng = torch.get_rng_state()
        later = path.with_name("later.pt")
        save_run(path, *stopped, 1)
        must_load(path)
        save_run(later, *stopped, 6)
        wanted = [deepcopy(part.state_dict()) for part in stopped] + [rng]
        torch.set_rng_state(rng)
        for number in (2, 3):
            epoch_of(straight, number)
        end = straight[0].state_dict()
        fresh.call(resumed_elsewhere, load_run, path, later, wanted, end, timeout=30)


def resumed_elsewhere(load_run, path, later, wanted, end):
    """In a new process: continue, and arrive where the run without a stop arrived."""
    torch.set_num_threads(1)
    following = load_run(later, *build())
    state = build()
    start = load_run(path, *state)
    names = ("the model's weights", "the optimizer's state", "the scheduler's state")
    for name, part, saved in zip(names, state, wanted):
        expect(same(part.state_dict(), saved), f"{name} did not come back")
    expect(
        torch.equal(torch.get_rng_state(), wanted[3]),
        "torch's random numbers do not go on where they were: dropout will drop others",
    )
    expect(
        type(start) is int, f"load_run returned {a_kind(start)}, not the number of the next epoch"
    )
    expect(start != 1, "epoch 1 was finished when the run was saved, and would be trained again")
    expect(start == 2, f"epoch 1 was finished when the run was saved: the next one is not {start}")
    expect(following == 7, f"a run that was saved after epoch 6 would go on with epoch {following}")
    expect(state[0].training, "load_run switched the model to eval mode")
    for number in range(start, 4):
        epoch_of(state, number)
    expect(same(state[0].state_dict(), end), "the resumed run ends with other weights")


# ---------------------------------------------------------------- 3.2


@check("3.2", "build, then load")
def builds_then_loads(resume):
    def make_optimizer(parameters):
        first, *others = parameters
        groups = [{"params": [first]}, {"params": others, "lr": 0.25}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9)

    def make_scheduler(optimizer):
        return LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))

    for epochs in (3, 5):
        old = SmallCNN()
        optimizer = make_optimizer(old.parameters())
        scheduler = make_scheduler(optimizer)
        for _ in range(epochs):
            train_epoch(old, loader(noise(50)), optimizer)
            scheduler.step()
        parts = {"model": old, "optimizer": optimizer, "scheduler": scheduler}
        checkpoint = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
        model = SmallCNN()
        found = resume(checkpoint, model, make_optimizer, make_scheduler)
        expect(
            isinstance(found, (tuple, list)) and len(found) == 3,
            "the model, the optimizer and the scheduler are wanted, in this order",
        )
        for (name, part), result in zip(parts.items(), found):
            expect(type(result) is type(part), f"in place of the {name} there is {a_kind(result)}")
        expect(found[0] is model, "another model came back than the one that was passed in")
        goes_on_alike(found, parts, checkpoint)


def goes_on_alike(found, parts, checkpoint):
    model, new, scheduler = found
    old = parts["optimizer"]
    expect(same(model.state_dict(), checkpoint["model"]), "the model's weights did not come back")
    expect(
        new.param_groups[0]["params"][0] is next(model.parameters()),
        "the optimizer does not hold the parameters of this model",
    )
    expect(scheduler.optimizer is new, "the scheduler drives another optimizer")
    expect(
        same(new.state_dict()["state"], checkpoint["optimizer"]["state"]),
        "the optimizer's momentum did not come back",
    )
    expect(
        rates(new) == rates(old),
        f"the next epoch would run with the rates {rates(new)}, and was to run with {rates(old)}",
    )
    expect(
        scheduler.last_epoch == parts["scheduler"].last_epoch,
        f"the scheduler stands at step {scheduler.last_epoch}, not {parts['scheduler'].last_epoch}",
    )
    for each in (parts["scheduler"], scheduler):
        each.optimizer.step()
        each.step()
    expect(
        rates(new) == rates(old), "the next learning rates are right, but not the ones after them"
    )


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


# ---------------------------------------------------------------- 3.3


DRAWS = {
    "torch": lambda: torch.rand(3).tolist(),
    "Python": lambda: [random.random(), random.gauss(0, 1)],
    "NumPy": lambda: [*np.random.randn(1), *np.random.rand(2)],
}


def generators():
    return [torch.get_rng_state(), random.getstate(), [str(part) for part in np.random.get_state()]]


@check("3.3", "all random numbers")
def keeps_random_numbers(get_rng, set_rng):
    if not np.random.get_state()[3]:
        np.random.randn()  # NumPy draws these in pairs, and keeps the second one in its state
    before = generators()
    states = get_rng()
    expect(same(generators(), before), "get_rng changed the random numbers, which it was to read")
    expect(states is not None, "get_rng returned None")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "rng.pt"
        torch.save(states, path)
        must_load(path)
        drawn = {name: draw() for name, draw in DRAWS.items()}
        fresh.call(draws_again, set_rng, path, drawn)


def draws_again(set_rng, path, drawn):
    """In a new process: do all three generators go on as they did in the old one?"""
    set_rng(torch.load(path))
    for name, draw in DRAWS.items():
        expect(draw() == drawn[name], f"{name} draws other numbers than it did after get_rng")


# ---------------------------------------------------------------- 3.4


@check("3.4", "the rest of an epoch")
def knows_the_rest(remaining_batches):
    data = noise()
    for epoch, done in ((3, 0), (0, 1), (5, 3), (2, 4)):
        torch.manual_seed(epoch + done)
        whole = list(loader(data, 25, shuffle=True, seed=epoch))
        torch.manual_seed(99)
        found = remaining_batches(data, epoch, done)
        expect(isinstance(found, list), f"a list of batches is wanted, and this is {a_kind(found)}")
        expect(
            all(isinstance(batch, (list, tuple)) and len(batch) == 2 for batch in found),
            "each batch is wanted as the loader gives it: images and labels",
        )
        where = f"epoch {epoch} with {done} of {len(whole)} batches done: "
        sizes = [len(labels) for _, labels in found]
        expect(sizes == [25] * len(sizes), f"{where}a batch has {max([0, *sizes])} images, not 25")
        expect(
            len(found) == len(whole) - done,
            f"{where}{len(found)} batches were returned, and {len(whole) - done} are left",
        )
        expect(same(found, whole[done:]), f"{where}these are not the images that come next")


# ---------------------------------------------------------------- 3.5


@check("3.5", "another learning rate")
def changes_the_rate(resume_with_rate):
    model = SmallCNN()
    groups = [
        {"params": model.features.parameters()},
        {"params": model.head.parameters(), "lr": 0.5},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.75)
    train_epoch(model, loader(noise(50)), optimizer)
    saved = deepcopy(optimizer.state_dict())
    new = torch.optim.SGD(
        [{"params": model.features.parameters()}, {"params": model.head.parameters()}], lr=1.0
    )
    passed = deepcopy(saved)
    resume_with_rate(new, passed, 0.25)
    expect(same(passed, saved), "the state that was passed in has been changed")
    expect(new.state_dict()["state"], "nothing was loaded: the optimizer has no momentum")
    expect(
        same(new.state_dict()["state"], saved["state"]),
        "the momentum is not the one that was saved",
    )
    expect(rates(new) != rates(optimizer), f"the learning rates are still the file's: {rates(new)}")
    expect(
        rates(new) == [0.25, 0.25], f"the groups have the rates {rates(new)}, and 0.25 was wanted"
    )
    for group, old in zip(new.state_dict()["param_groups"], saved["param_groups"]):
        other = sorted(k for k in {**group, **old} if k != "lr" and group.get(k) != old.get(k))
        expect(not other, f"other settings are not those of the file: {', '.join(other)}")


# ---------------------------------------------------------------- 3.6

LEFT_OUT = {
    "A": "random numbers",
    "B": "scheduler",
    "C": "model",
    "D": "epoch",
    "E": "optimizer",
}
CURVE_CLUES = {  # by what was really left out
    "model": "how high is a loss of somebody who guesses?",
    "optimizer": "is its first loss after the stop on the line of the run that was never stopped?",
    "scheduler": "where is the drop of its learning rate?",
    "random numbers": "is its first loss after the stop on the line of the run that was never stopped?",
    "epoch": "how many batches were trained?",
}
EPOCH = 10  # batches


def new_run():
    model = SmallCNN()
    model.dropout.p = 0.7
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return model, optimizer, LambdaLR(optimizer, lambda step: 1 if step < 3 * EPOCH else 0.1)


def train_and_watch(state, data, epochs):
    """The loss and the learning rate of every batch."""
    losses, used = [], []
    for epoch in epochs:
        for batch in loader(data, shuffle=True, seed=epoch):
            used.append(rates(state[1])[0])
            losses.append(train_epoch(state[0], [batch], *state[1:]))
    return losses, used


def resumed_runs():
    """`(losses, rates)` of the run without a stop, and of those in which one thing was left out."""
    train, _, _ = digits()
    data = Subset(train, range(50 * EPOCH))
    random_numbers = torch.get_rng_state()
    seed_everything(0)
    straight = new_run()
    before = train_and_watch(straight, data, range(2))
    saved = deepcopy([part.state_dict() for part in straight]), torch.get_rng_state()
    after = train_and_watch(straight, data, range(2, 5))
    reference = [first + second for first, second in zip(before, after)]
    runs = {}
    for letter, missing in LEFT_OUT.items():
        seed_everything(3)
        state = new_run()
        for name, part, value in zip(("model", "optimizer", "scheduler"), state, saved[0]):
            if name != missing:
                part.load_state_dict(deepcopy(value))
        if missing != "random numbers":
            torch.set_rng_state(saved[1])
        runs[letter] = train_and_watch(state, data, range(1 if missing == "epoch" else 2, 5))
    torch.set_rng_state(random_numbers)
    return reference, runs


def show_resumed_runs():
    """The figure of the exercise."""
    return show.resumed_runs(*resumed_runs(), stop=2 * EPOCH)


@check("3.6", "diagnose from the curves")
def diagnoses_the_curves(left_out):
    expect(isinstance(left_out, dict), "a dictionary is wanted: from the letters to the words")
    expect(set(left_out) == set(LEFT_OUT), "the runs have the letters A to E, all of them")
    words = list(CURVE_CLUES)
    expect(
        all(isinstance(word, str) and word in words for word in left_out.values()),
        f"each thing that was left out is one of the words {', '.join(words)}",
    )
    expect(
        len(set(left_out.values())) == len(words), "each of the five words belongs to one letter"
    )
    wrong = [letter for letter in LEFT_OUT if left_out[letter] != LEFT_OUT[letter]]
    expect(
        not wrong,
        "; ".join(
            f"{n} did not leave out the {left_out[n]}: {CURVE_CLUES[LEFT_OUT[n]]}" for n in wrong
        ),
    )
