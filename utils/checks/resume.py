"""Checks of `03_resume_exercises`."""

import io
import random
import tempfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR
from torch.utils.data import TensorDataset

from utils.checks import fresh
from utils.checks.core import Exercises
from utils.checks.errors import Wrong, a_kind, expect
from utils.data import loader
from utils.models import SmallCNN
from utils.training import train_epoch

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


def same(first, second):
    """Whether two nested states are equal, tensors to the last bit."""
    if torch.is_tensor(first):
        return torch.is_tensor(second) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def must_load(path):
    expect(path.exists(), "no file was written at the path that was given")
    try:
        torch.load(path)
    except Exception:
        raise Wrong("the default torch.load refuses the file that was written") from None


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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pt"
        rng = torch.get_rng_state()
        save_run(path, *stopped, 1)
        must_load(path)
        wanted = [deepcopy(part.state_dict()) for part in stopped] + [rng]
        torch.set_rng_state(rng)
        for number in (2, 3):
            epoch_of(straight, number)
        end = straight[0].state_dict()
        fresh.call(resumed_elsewhere, load_run, path, wanted, end, timeout=30)


def resumed_elsewhere(load_run, path, wanted, end):
    """In a new process: continue, and arrive where the run without a stop arrived."""
    torch.set_num_threads(1)
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
    for number in range(start, 4):
        epoch_of(state, number)
    expect(same(state[0].state_dict(), end), "the resumed run ends with other weights")


# ---------------------------------------------------------------- 3.2


@check("3.2", "build, then load")
def builds_then_loads(resume):
    def rate(epoch):
        return 1 / (1 + epoch)

    def make_optimizer(parameters):
        return torch.optim.SGD(parameters, lr=0.5, momentum=0.9)

    def make_scheduler(optimizer):
        return LambdaLR(optimizer, rate)

    model = SmallCNN()
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer)
    for number in range(3):
        train_epoch(model, loader(noise(50)), optimizer)
        scheduler.step()
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    checkpoint = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    found = resume(checkpoint, SmallCNN(), make_optimizer, make_scheduler)
    expect(
        isinstance(found, tuple) and len(found) == 3,
        "the model, the optimizer and the scheduler are wanted, in this order",
    )
    for (name, part), result in zip(parts.items(), found):
        expect(type(result) is type(part), f"in place of the {name} there is {a_kind(result)}")
    new_model, new_optimizer, new_scheduler = found
    expect(
        same(new_model.state_dict(), checkpoint["model"]), "the model's weights did not come back"
    )
    expect(
        new_optimizer.param_groups[0]["params"][0] is next(new_model.parameters()),
        "the optimizer does not hold the parameters of this model",
    )
    expect(new_scheduler.optimizer is new_optimizer, "the scheduler drives another optimizer")
    saved, found = optimizer.param_groups[0]["lr"], new_optimizer.param_groups[0]["lr"]
    expect(
        found == saved,
        f"the next epoch would run with learning rate {found}, and was to run with {saved}",
    )
    expect(
        same(new_optimizer.state_dict()["state"], checkpoint["optimizer"]["state"]),
        "the optimizer's momentum did not come back",
    )
    expect(
        new_scheduler.last_epoch == scheduler.last_epoch,
        f"the scheduler stands at step {new_scheduler.last_epoch}, not {scheduler.last_epoch}",
    )
    for each in (scheduler, new_scheduler):
        each.optimizer.step()
        each.step()
    expect(
        new_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"],
        "the next learning rate is right, but not the one after it",
    )


# ---------------------------------------------------------------- 3.3


@check("3.3", "all random numbers")
def keeps_random_numbers(get_rng, set_rng):
    draws = {
        "torch": lambda: torch.rand(3).tolist(),
        "Python": lambda: [random.random(), random.gauss(0, 1)],
        "NumPy": lambda: np.random.rand(3).tolist(),
    }
    memory = io.BytesIO()
    states = get_rng()
    expect(states is not None, "get_rng returned None")
    torch.save(states, memory)
    drawn = {name: draw() for name, draw in draws.items()}
    memory.seek(0)
    try:
        loaded = torch.load(memory)
    except Exception:
        raise Wrong("the default torch.load refuses a file with what get_rng returned") from None
    set_rng(loaded)
    again = {name: draw() for name, draw in draws.items()}
    for name in draws:
        expect(again[name] == drawn[name], f"{name} draws other numbers after set_rng than before")


# ---------------------------------------------------------------- 3.4


@check("3.4", "the rest of an epoch")
def knows_the_rest(remaining_batches):
    data = noise()
    for epoch, done in ((3, 0), (0, 1), (5, 3), (2, 4)):
        torch.manual_seed(epoch + done)
        whole = [labels.tolist() for _, labels in loader(data, 25, shuffle=True, seed=epoch)]
        torch.manual_seed(99)
        found = remaining_batches(data, epoch, done)
        expect(found is not None, "it returned None, and not the batches")
        found = [labels.tolist() for _, labels in found]
        where = f"epoch {epoch} with {done} of {len(whole)} batches done: "
        expect(
            not found or len(found[0]) == 25,
            f"{where}a batch has {len(found[0]) if found else 0} images",
        )
        expect(
            len(found) == len(whole) - done,
            f"{where}{len(found)} batches were returned, and {len(whole) - done} are left",
        )
        expect(
            sorted(sum(found, [])) == sorted(sum(whole[done:], [])) or done == 0,
            f"{where}images are repeated that were in the batches before, or others are missing",
        )
        expect(found == whole[done:], f"{where}the images come in another order than in the epoch")


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
    resume_with_rate(new, deepcopy(saved), 0.25)
    rates = [group["lr"] for group in new.param_groups]
    expect(new.state_dict()["state"], "nothing was loaded: the optimizer has no momentum")
    expect(
        same(new.state_dict()["state"], saved["state"]),
        "the momentum is not the one that was saved",
    )
    expect(rates != [0.1, 0.5], f"the learning rates are still those of the file: {rates}")
    expect(
        rates == [0.25, 0.25], f"the groups have the learning rates {rates}, and 0.25 was wanted"
    )
    expect(
        all(group["momentum"] == 0.75 for group in new.param_groups),
        "the other settings are not those of the file: momentum was 0.75",
    )
