# %% [markdown]
# # Stop, and continue as if nothing had happened
#
# **You will** save a training run so that a killed process can be continued to the same weights, bit for bit; leave out
# one part at a time and see what each is for; and learn the order in which to build and load.
#
# **You need** [lesson 1](01_state_dict.ipynb), and from [lesson 2](02_whole_model.ipynb) what the default `torch.load` accepts.
# **About {{read}} minutes.**

# %%
import os
from copy import deepcopy
from pathlib import Path
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR

# %%
from utils import show
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import seed_everything, train_epoch

folder = Path("files/03_resume")
folder.mkdir(parents=True, exist_ok=True)

# %%
train, _, _ = digits()
steps = len(loader(train))  # batches per epoch

# %% [markdown]
# ## If you have only 10 seconds
#
# Build everything first: model, optimizer, scheduler. Then load everything. Then go on with the next epoch.


# %%
def build():
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=4 * steps)
    return model, optimizer, scheduler


# %%
def save(path, model, optimizer, scheduler, epoch, **more):
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
        "epoch": epoch,  # the last epoch that is finished
        **more,
    }
    torch.save(checkpoint, f"{path}.partial")
    os.replace(f"{path}.partial", path)  # a kill while writing: the old file is whole


# %%
def load(path, model, optimizer, scheduler):
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    torch.set_rng_state(checkpoint["rng"])
    return checkpoint["epoch"] + 1  # the next epoch to run


# %% [markdown]
# The rest of this lesson proves that this is enough, and shows what happens when a line of it is missing.

# %% [markdown]
# ## A run to compare with
#
# Four epochs without a stop. Epoch *n* is shuffled with seed *n*, and the model has dropout, which draws random numbers
# too.


# %%
def run(model, optimizer, scheduler, epochs):
    """Train; returns the loss of each batch."""
    losses = []
    for epoch in epochs:
        for batch in loader(train, shuffle=True, seed=epoch):
            losses.append(train_epoch(model, [batch], optimizer, scheduler))
    return losses


# %%
seed_everything(0)
straight = build()
straight_losses = run(*straight, range(4))
print(len(straight_losses), "losses: the first ≈", f"{straight_losses[0]:.2f},")
print("the last ≈", f"{straight_losses[-1]:.2f}")

# %% [markdown]
# ## Stopped after two epochs, and continued
#
# The same beginning, then a checkpoint.

# %%
seed_everything(0)
first_half = build()
losses = run(*first_half, range(2))
save(folder / "run.pt", *first_half, epoch=1)

# %% [markdown]
# Now everything is new, and the generator of random numbers is in another state, as it is in a new process.

# %%
seed_everything(12345)
resumed = build()
start = load(folder / "run.pt", *resumed)
losses += run(*resumed, range(start, 4))

# %% [markdown]
# *Predict:* are the 120 losses equal, nearly equal, or only similar? And the weights?


# %%
def largest_difference(a, b):
    """Between two models' weights, over all entries."""
    first, second = a.state_dict(), b.state_dict()
    return max((first[k] - second[k]).abs().max().item() for k in first)


# %%
print("losses equal:", losses == straight_losses)
print("largest difference of a weight:", largest_difference(straight[0], resumed[0]))

# %% [markdown]
# Equal, to the last bit. (On the same computer, with the same number of threads: another one computes other last bits.)

# %% [markdown]
# ## A process that is really killed
#
# The same in processes of their own. This program saves after each epoch. When it is told to, it stops in the middle of
# epoch 2, says so, and waits to be killed.

# %%
PROGRAM = """
import os, sys, time, torch
from pathlib import Path
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import TensorDataset
from utils.data import loader
from utils.models import SmallCNN
from utils.training import seed_everything, train_epoch

path, steps = Path("killed.pt"), 30
train = TensorDataset(*torch.load("train.pt"))
"""

# %%
import inspect

PROGRAM += "\n".join(inspect.getsource(function) for function in (build, save, load))
PROGRAM += """
seed_everything(0)  # for the first start; later ones load the state of the generator
state = build()
start = load(path, *state) if path.exists() else 0
for epoch in range(start, 4):
    batches = list(loader(train, shuffle=True, seed=epoch))
    if epoch == 2 and "kill" in sys.argv:
        train_epoch(state[0], batches[:10], *state[1:])
        print("in the middle of epoch 2", flush=True)
        time.sleep(120)
    train_epoch(state[0], batches, *state[1:])
    save(path, *state, epoch=epoch)
"""

# %%
import subprocess, sys

torch.save(train.tensors, folder / "train.pt")
(folder / "killed.pt").unlink(missing_ok=True)
command = [sys.executable, "-c", PROGRAM]

# %%
pipe = subprocess.PIPE
process = subprocess.Popen([*command, "kill"], cwd=folder, stdout=pipe, text=True)
print(process.stdout.readline().strip())  # waits until the program has said it
process.kill()
print("finished by itself:", process.wait() == 0)
print("last finished epoch:", torch.load(folder / "killed.pt")["epoch"])

# %% [markdown]
# Ten batches of epoch 2 are lost; they were never saved. The program is started again, without being told anything.

# %%
again = subprocess.run(command, cwd=folder)
print("exit code", again.returncode)

# %%
after_kill = SmallCNN()
after_kill.load_state_dict(torch.load(folder / "killed.pt")["model"])
print("largest difference:", largest_difference(straight[0], after_kill))

# %% [markdown]
# ## What is in the optimizer
#
# The weights are where one is; the optimizer knows how one was moving. Its state_dict has two parts.

# %%
state = straight[1].state_dict()
print(list(state))
print(len(state["state"]), "entries in state; the first has", list(state["state"][0]))
print("params of the first group:", state["param_groups"][0]["params"])

# %% [markdown]
# `param_groups` holds the settings, `state` one momentum buffer for each parameter. Note the names: there are none.
# Parameters are numbered in the order in which the optimizer got them.
#
# Before its first step an optimizer has no state. So a checkpoint test on a model that has not trained proves
# nothing:

# %%
print(len(build()[1].state_dict()["state"]), "entries before the first step")

# %% [markdown]
# ## Leave out one thing at a time
#
# What is each line of the checkpoint for? We resume with one of them missing.


# %%
def resume_without(part):
    """Resume from the file, but leave this part as a new run has it."""
    seed_everything(12345)
    objects = build()
    fresh = [deepcopy(each.state_dict()) for each in objects]
    rng = torch.get_rng_state()
    start = load(folder / "run.pt", *objects)
    for name, thing, old in zip(("model", "optimizer", "scheduler"), objects, fresh):
        if name == part:
            thing.load_state_dict(old)
    if part == "rng":
        torch.set_rng_state(rng)
    if part == "epoch":
        start -= 1
    return objects[0], run(*objects, range(start, start + 2))


# %% [markdown]
# *Predict:* which of them shows in the very first loss after the stop?

# %%
rows, curves = [], {"never stopped": straight_losses}
half = 2 * steps
for part in ("nothing", "model", "optimizer", "scheduler", "rng", "epoch"):
    weights, tail = resume_without(part)
    name = "complete" if part == "nothing" else f"without {part}"
    curves[name] = straight_losses[:half] + tail
    equal = largest_difference(straight[0], weights) == 0
    expected = straight_losses[half:]
    rows.append((part, tail[0] == expected[0], tail == expected, equal))

show.Table(["left out", "first loss equal", "all losses equal", "weights equal"], rows)

# %%
show.loss_curves(curves, average=10)

# %% [markdown]
# (Each point is the mean of ten batches, so the curves part a little before the stop, at batch 60.) Only the run with the
# complete checkpoint is on the broad line of the one that never stopped all the way. Look at the table again:
#
# - Without the **model** the loss jumps: nobody overlooks that.
# - Without the **optimizer** or the **scheduler** the first loss is equal: it is computed before they do anything. A test
#   that compares one loss after resuming does not find them.
# - Without the **random numbers**, dropout drops different activations immediately.
# - With the **epoch** one too low, an epoch is trained twice. That is what comes of saving the number of the epoch that
#   *runs* and of starting with it again. Save what is finished, and start with the next.
#
# None of them raises an error here. A lost optimizer or scheduler shows neither in the first loss nor, to the eye, in the
# curve: only a bit-for-bit comparison shows it.
#
# We ran two epochs each time. With the epoch one too low, a run to the planned end takes more steps than `OneCycleLR` was
# told, and this scheduler, unlike most, says so:

# %%
repeated = build()
start = load(folder / "run.pt", *repeated)
try:
    run(*repeated, range(start - 1, 4))
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## Which learning rate comes next?
#
# Some schedulers hide that they were not saved, and for some the order matters in which things are built and loaded. A run of four epochs without a model, only its learning rates. `order` says what is built and loaded after the
# stop, in which order:

# %%
right = ("scheduler", "load optimizer", "load scheduler")


def rates(make_scheduler, stop=None, order=right):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler, seen = make_scheduler(optimizer), []
    for epoch in range(4):
        if epoch == stop:
            saved = deepcopy(optimizer.state_dict()), deepcopy(scheduler.state_dict())
            optimizer = torch.optim.SGD([weight], lr=1.0)
            for action in order:
                if action == "scheduler":
                    scheduler = make_scheduler(optimizer)
                elif action == "load optimizer":
                    optimizer.load_state_dict(saved[0])
                else:
                    scheduler.load_state_dict(saved[1])
        seen.append(f"{optimizer.param_groups[0]['lr']:.3f}")
        optimizer.step()
        scheduler.step()
    return "  ".join(seen)


# %%
schedulers = {
    "StepLR, step size 1": lambda optimizer: StepLR(optimizer, 1, gamma=0.5),
    "StepLR, step size 3": lambda optimizer: StepLR(optimizer, 3, gamma=0.5),
    "LambdaLR": lambda optimizer: LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, 1.0, total_steps=5),
}

# %%
not_saved = ("scheduler", "load optimizer")
late = ("load optimizer", "scheduler", "load scheduler")

# %% [markdown]
# After every so many steps, `StepLR` multiplies the current rate; the others compute the rate from the number of steps.
# *Predict:* the run is stopped after two epochs. For which of the four does it not matter that the scheduler was not saved?

# %%
show.Table(
    ["", "never stopped", "scheduler not saved", "built after loading"],
    [
        (name, rates(make), rates(make, 2, not_saved), rates(make, 2, late))
        for name, make in schedulers.items()
    ],
)

# %% [markdown]
# With a step size of 1, `StepLR` multiplies at every step, and the optimizer's state has the rate: a lost scheduler stays
# invisible. With a larger one its count begins anew, and the drop does not come in time. The others begin anew as well.
#
# In the last column everything was saved and loaded, but the scheduler was *built* after the optimizer was loaded. `StepLR`
# takes the rate as it finds it. The constructors of the other two set a rate, and the first epoch after the stop runs with
# it. Hence the rule, which is right for all: **build everything, then load everything.**

# %%
print(all(rates(s) == rates(s, stop=2) for s in schedulers.values()))

# %% [markdown]
# ## Random numbers, from every generator
#
# torch, Python and NumPy have a generator each. The usual snippet saves `np.random.get_state()`, and the default
# `torch.load` refuses the file.

# %%
import random
import numpy as np

# %%
torch.save({"numpy": np.random.get_state()}, folder / "rng.pt")
try:
    torch.load(folder / "rng.pt")
except Exception as error:
    print(f"{type(error).__name__}: {str(error).split('.')[0]}")

# %% [markdown]
# A list in place of the array makes it plain:


# %%
def get_rng():
    kind, numbers, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [kind, numbers.tolist(), *rest],
    }


def set_rng(states):
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))


# %%
torch.save(get_rng(), folder / "rng.pt")
drawn = torch.rand(1).item(), random.random(), np.random.rand()

# %%
set_rng(torch.load(folder / "rng.pt"))
again = torch.rand(1).item(), random.random(), np.random.rand()
print("the same again:", drawn == again)

# %% [markdown]
# On a GPU there is one more, `torch.cuda.get_rng_state_all()`; not run here, because this course runs without one.
#
# > **Help: I get `RNG state must be a torch.ByteTensor`.** The state was converted or moved, for example by
# > `map_location="cuda"`. Load with `map_location="cpu"`.

# %%
try:
    torch.set_rng_state(torch.get_rng_state().float())
except TypeError as error:
    print("TypeError:", error)

# %% [markdown]
# ## In the middle of an epoch
#
# Long epochs should not be lost. If the order of an epoch depends on its number alone, the number of finished batches says
# where to go on. We stop in epoch 2 after 12 batches:

# %%
seed_everything(0)
objects = build()
losses = run(*objects, range(2))

# %%
batches = list(loader(train, shuffle=True, seed=2))
train_epoch(objects[0], batches[:12], *objects[1:])
save(folder / "middle.pt", *objects, epoch=1, batches_done=12)

# %%
seed_everything(12345)
objects = build()
epoch = load(folder / "middle.pt", *objects)

# %%
done = torch.load(folder / "middle.pt")["batches_done"]
batches = list(loader(train, shuffle=True, seed=epoch))
train_epoch(objects[0], batches[done:], *objects[1:])
run(*objects, range(epoch + 1, 4))
print("largest difference:", largest_difference(straight[0], objects[0]))

# %% [markdown]
# With a loader that draws its order from the global random numbers, the number of batches alone would not do. Give the
# loader a seed per epoch.

# %% [markdown]
# ## The scaler of mixed precision
#
# `GradScaler` multiplies the loss so that small gradients survive in half precision, and halves its factor whenever one
# overflows. The factor is state: a new scaler starts again with one that is too high.

# %%
weight = torch.nn.Parameter(torch.ones(1))
sgd = torch.optim.SGD([weight], lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

# %%
scaler.scale(weight * float("inf")).backward()
scaler.step(sgd)  # skipped: the gradient is infinite
scaler.update()
torch.save(scaler.state_dict(), folder / "scaler.pt")

# %%
new_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
print("saved:", scaler.get_scale(), "| new:", new_scaler.get_scale())
new_scaler.load_state_dict(torch.load(folder / "scaler.pt"))
print("loaded:", new_scaler.get_scale())

# %% [markdown]
# ## A new learning rate for the rest
#
# *Predict:* the checkpoint was written with a learning rate of 0.1. Which one does this optimizer have at the end?

# %%
plain = SmallCNN()
torch.save(torch.optim.SGD(plain.parameters(), lr=0.1).state_dict(), folder / "sgd.pt")
optimizer = torch.optim.SGD(plain.parameters(), lr=0.001)
optimizer.load_state_dict(torch.load(folder / "sgd.pt"))
print(optimizer.param_groups[0]["lr"])

# %% [markdown]
# The file's: loading brings back all settings, also those you have just written into your program. Set it after loading:

# %%
for group in optimizer.param_groups:
    group["lr"] = 0.001
print(optimizer.param_groups[0]["lr"])

# %% [markdown]
# With a scheduler that computes the rate from the number of steps, this lasts until its next step. Then build a new scheduler
# for the rest, after setting `group["initial_lr"]` too: it came with the file, and is what such a scheduler starts from.

# %%
optimizer.param_groups[0]["initial_lr"] = 0.1  # as an old scheduler has left it
LambdaLR(optimizer, lambda step: 1.0)
print("initial_lr of the file:", optimizer.param_groups[0]["lr"])
optimizer.param_groups[0].update(lr=0.001, initial_lr=0.001)
LambdaLR(optimizer, lambda step: 1.0)
print("set as well:", optimizer.param_groups[0]["lr"])

# %% [markdown]
# ## Sharp bits: the optimizer knows parameters by their number
#
# > **Help: I get `loaded state dict contains a parameter group that doesn't match the size of optimizer's group`.** The
# > optimizer was saved for a model with another number of parameters.

# %%
two = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
saved = torch.optim.SGD(two.parameters(), lr=0.1).state_dict()

# %%
try:
    torch.optim.SGD(two[0].parameters(), lr=0.1).load_state_dict(saved)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# > **Help: I get `loaded state dict has a different number of parameter groups`.** Build the same groups as when it was
# > saved.

# %%
groups = [{"params": two[0].parameters()}, {"params": two[1].parameters(), "lr": 0.01}]
try:
    torch.optim.SGD(groups, lr=0.1).load_state_dict(saved)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# And where the shapes happen to agree there is no message. Here only the second layer has ever moved. *Predict:* which
# layer has the momentum after loading, if the parameters are given in another order?

# %%
first, second = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
optimizer = torch.optim.SGD([first.weight, second.weight], lr=0.1, momentum=0.9)
(first(torch.ones(2)).sum() * 0 + second(torch.ones(2)).sum()).backward()
optimizer.step()

# %%
other_order = torch.optim.SGD([second.weight, first.weight], lr=0.1, momentum=0.9)
other_order.load_state_dict(optimizer.state_dict())

# %%
for name, layer in {"first": first, "second": second}.items():
    moving = other_order.state[layer.weight]["momentum_buffer"].abs().sum() > 0
    print(name, "has momentum:", moving.item())

# %% [markdown]
# The first layer has the momentum of the second, by its place in the list. Keep the order of your parameters, or start
# the optimizer anew and say so.

# %% [markdown]
# ## Recap
#
# A run is its model, optimizer, scheduler, random numbers and the number of the last finished epoch. Build everything, then load
# everything. Whether nothing is missing, only a comparison with an uninterrupted run tells, to the last bit.
#
# <details>
# <summary>Why does the first loss after resuming not show that the optimizer was lost?</summary>
#
# It is computed from the weights, before the optimizer takes its first step.
# </details>
#
# <details>
# <summary>You build the scheduler after loading the optimizer, then load the scheduler. What goes wrong?</summary>
#
# The constructor of `LambdaLR` or `OneCycleLR` sets the optimizer's learning rate, and the first epoch runs with it.
# </details>
#
# <details>
# <summary>Which epoch number belongs in the file?</summary>
#
# The last that is finished; then the next one is that number plus one. Any convention works that both ends share.
# </details>
#
# Now you: [the exercises](03_resume_exercises.ipynb).
