# %% [markdown]
# # Look it up
#
# First what to save and how, on one screen; then snippets by task. **Each snippet is a whole program:** paste it into an
# empty file and it runs, and its last lines show that it worked. In a terminal, `python3 -m utils snippet resume` prints
# those that are about resuming.
#
# | I want to … | save | with | what can go wrong | lesson |
# |:--|:--|:--|:--|:--|
# | [use a model later](#Save-the-weights-of-a-model-and-load-them-back) | `model.state_dict()` | `torch.save`, `load_state_dict` | [`eval()` forgotten](#Predict-with-a-loaded-model): other answers, no error | [1](01_state_dict.ipynb) |
# | [continue a training](#Save-a-checkpoint-and-resume-training) | model, optimizer, scheduler, epoch, random numbers | one `torch.save` of a dict | a scheduler built after loading: a wrong learning rate, no error | [3](03_resume.ipynb) |
# | [survive a crash](#Save-so-that-a-crash-cannot-destroy-the-old-checkpoint) | the same | another file, then `os.replace` | saved over the old file: both are lost | [5](05_checkpoint_policy.ipynb) |
# | [reuse a part of it](#Load-pretrained-weights-into-a-model-with-another-number-of-classes) | its `state_dict()` | `load_state_dict(…, strict=False)` | [nothing fits](#Load-weights-into-a-model-that-has-a-new-layer), nothing loaded, no error | [6](06_partial_loading.ipynb) |
# | [move to another device](#Load-a-checkpoint-that-was-saved-on-a-GPU-on-a-machine-without-one) | its `state_dict()` | `torch.load(…, map_location="cpu")` | the file names the GPU it was saved on | |
# | [load more than fits twice](#Load-a-large-model-without-needing-the-memory-twice) | its `state_dict()` | `mmap=True`, `assign=True` | an optimizer that was built before: it trains the old weights | |
# | [load a file of strangers](#Load-a-file-from-somebody-you-do-not-trust) | | `torch.load(…, weights_only=True)` | `weights_only=False` runs what is in the file | [2](02_whole_model.ipynb) |
# | [give weights to others](#Save-and-load-weights-with-safetensors) | weights, and [how to build the model](#Store-the-arguments-of-a-model-beside-its-weights) | `safetensors`, or `torch.save` | the preprocessing is missing: wrong answers, no error | [9](09_pretrained.ipynb) |
# | [run it without its class](#Export-a-model-that-runs-without-its-class) | the program | `torch.export` | it accepts [only the shapes](#Export-a-model-for-any-batch-size) it was exported for | [4](04_torchscript.ipynb) |
# | *keep the whole object* | `model` | `torch.save(model)` | it needs the same code forever: [turn it into weights](#Turn-a-pickled-model-into-weights) | [2](02_whole_model.ipynb) |
#
# **Snippets:** [weights](#Weights) · [whole runs](#Whole-runs) · [parts](#Parts) · [devices](#Devices) · [safety](#Safety) ·
# [formats](#Formats) · [export](#Export) · [housekeeping](#Housekeeping)
#
# All were run with torch 2.15, and on Python 3.11 with the first release of every version since 2.0. Where a snippet does
# not run with all of them, it says from which torch on it does. Some of the old ones add a warning. The small models stand for
# yours.

# %% [markdown]
# To run the snippets here, start with this cell: what they write goes into a folder that disappears with the kernel.

# %%
import os, tempfile

scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.chdir(scratch.name)

# %% [markdown]
# ## Weights
#
# Why it works so: [lesson 1](01_state_dict.ipynb).

# %% [markdown]
# ### Save the weights of a model and load them back
#
# For nearly everything: the file holds numbers and their names, and loads on any machine that has the model's code.
#
# **Trap:** the file does not hold the class, its arguments, or whether the model was in `eval()` mode.

# %%
import torch
from torchvision.models import resnet18

model = resnet18(num_classes=10)
torch.save(model.state_dict(), "weights.pt")

state = torch.load("weights.pt", map_location="cpu", weights_only=True)
restored = resnet18(num_classes=10)  # the same class, the same arguments
restored.load_state_dict(state)
restored.eval()
print(all(torch.equal(state[k], v) for k, v in restored.state_dict().items()))

# %% [markdown]
# ### Save and load in two lines
#
# For your own file, on your own machine.
#
# **Trap:** before torch 2.6 this runs whatever program is in the file, and a file from a GPU needs a GPU; `weights_only=True`
# and `map_location="cpu"` avoid both.

# %%
import torch

model, restored = torch.nn.Linear(4, 2), torch.nn.Linear(4, 2)
torch.save(model.state_dict(), "weights.pt")
restored.load_state_dict(torch.load("weights.pt"))
print(torch.equal(model.weight, restored.weight))

# %% [markdown]
# ### Predict with a loaded model
#
# When answers change from call to call, or are worse than they were.
#
# **Trap:** without `eval()` dropout stays active and batch norm uses the batch it is given; there is no error.

# %%
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))


torch.save(build().state_dict(), "weights.pt")
model = build()
model.load_state_dict(torch.load("weights.pt", weights_only=True))
inputs = torch.randn(16, 4)
with torch.no_grad():
    print("train mode, twice the same:", torch.equal(model(inputs), model(inputs)))
    model.eval()
    print("eval mode, twice the same:", torch.equal(model(inputs), model(inputs)))

# %% [markdown]
# ### Keep the best weights during training
#
# To use the weights of the best epoch, not those of the last; for early stopping, for example.
#
# **Trap:** `best = model.state_dict()` without a copy goes on changing with the training, and so does `dict(…)` of it.

# %%
import copy
import torch

model = torch.nn.Linear(4, 1)
best_loss, best = float("inf"), None
for loss in (0.5, 0.3, 0.4):  # in place of training an epoch and validating it
    torch.nn.init.normal_(model.weight)
    if loss < best_loss:
        best_loss, best = loss, copy.deepcopy(model.state_dict())

torch.save(best, "best.pt")
print("the last are other weights:", not torch.equal(best["weight"], model.weight))
model.load_state_dict(best)
print("now the best, with a loss of", best_loss)

# %% [markdown]
# ### Copy the weights of one model to another without a file
#
# For a target network, a teacher, or a second model that starts from the first.
#
# **Trap:** `other = model` is the same model under two names.

# %%
import torch

model, other = torch.nn.Linear(4, 2), torch.nn.Linear(4, 2)
other.load_state_dict(model.state_dict())
print("equal:", torch.equal(model.weight, other.weight))
print("the same memory:", model.weight.data_ptr() == other.weight.data_ptr())

# %% [markdown]
# ### Save weights in half the space
#
# For a file that is only there to predict with, in half precision (fp16).
#
# **Trap:** the digits that float16 drops do not come back; do not resume a training from it.

# %%
import os
import torch

model = torch.nn.Linear(1000, 1000)
torch.save(model.state_dict(), "full.pt")
weights = model.state_dict().items()
half = {k: v.half() if v.is_floating_point() else v for k, v in weights}
torch.save(half, "half.pt")

print("about half:", os.path.getsize("half.pt") < 0.51 * os.path.getsize("full.pt"))
model.load_state_dict(torch.load("half.pt", weights_only=True))
print("the model keeps its own type:", model.weight.dtype)

# %% [markdown]
# ### Save a slice of a tensor without the rest
#
# When a file is much larger than what you put into it.
#
# **Trap:** a slice, a row or a view takes its whole storage along, unless it is cloned.

# %%
import os
import torch

table = torch.zeros(1000, 1000)
torch.save(table[0], "view.pt")
torch.save(table[0].clone(), "clone.pt")
print("a row with its table, over 4 MB:", os.path.getsize("view.pt") > 4_000_000)
print("the row alone, under 10 kB:", os.path.getsize("clone.pt") < 10_000)

# %% [markdown]
# ## Whole runs
#
# Why it works so: [lesson 3](03_resume.ipynb) and [lesson 5](05_checkpoint_policy.ipynb).

# %% [markdown]
# ### Save a checkpoint and resume training
#
# For a training that must go on as if it had never stopped.
#
# **Trap:** build model, optimizer and scheduler first, then load all three; a scheduler that is built after loading
# changes the learning rate, without an error.

# %%
import torch


def build():
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


parts = build()
parts["optimizer"].step(), parts["scheduler"].step()  # in place of an epoch
torch.save({"epoch": 1} | {k: part.state_dict() for k, part in parts.items()}, "run.pt")
parts = build()  # the program is started again
checkpoint = torch.load("run.pt", map_location="cpu", weights_only=True)
for name, part in parts.items():
    part.load_state_dict(checkpoint[name])
print("epoch", checkpoint["epoch"] + 1, "begins at", parts["scheduler"].get_last_lr())

# %% [markdown]
# ### Resume automatically if there is a checkpoint
#
# For a program that is started again after each interruption, with the same command.
#
# **Trap:** save the number of the epoch that is finished, and start with the next one, or one epoch is trained twice.

# %%
import os
import torch


def train(last_epoch, path="auto.pt"):
    model, first = torch.nn.Linear(4, 1), 1
    if os.path.exists(path):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["model"])
        first = checkpoint["epoch"] + 1
    for epoch in range(first, last_epoch + 1):
        print("training epoch", epoch)
        torch.save({"model": model.state_dict(), "epoch": epoch}, path)


train(2)
train(3)  # the same program, started again
print("in the file: epoch", torch.load("auto.pt", weights_only=True)["epoch"])

# %% [markdown]
# ### Save and restore the random number generators
#
# When dropout, augmentation and shuffling must go on as they would have.
#
# **Trap:** load it with `map_location="cpu"`: on a GPU, `set_rng_state` refuses it with `RNG state must be a
# torch.ByteTensor`.

# %%
import random
import numpy as np
import torch

state = {"python": random.getstate(), "torch": torch.get_rng_state()}
state["cuda"] = torch.cuda.get_rng_state_all()  # empty without a GPU
kind, keys, *rest = np.random.get_state()
state["numpy"] = [kind, keys.tolist(), *rest]  # as weights_only accepts it
torch.save(state, "random.pt")
first = random.random(), np.random.rand(), torch.rand(1).item()
state = torch.load("random.pt", map_location="cpu", weights_only=True)
random.setstate(state["python"]), torch.set_rng_state(state["torch"])
torch.cuda.set_rng_state_all(state["cuda"]), np.random.set_state(tuple(state["numpy"]))
print(first == (random.random(), np.random.rand(), torch.rand(1).item()))

# %% [markdown]
# ### Get the same shuffled batches after a resume
#
# When a resumed run must see the data in the order of a run that was never stopped.
#
# **Trap:** with one fixed seed for every start, each resume repeats the order of the first epoch.

# %%
import torch
from torch.utils.data import DataLoader


def batches(epoch):  # the order depends on the epoch and on nothing else
    order = torch.Generator().manual_seed(1000 + epoch)
    loader = DataLoader(range(8), batch_size=4, shuffle=True, generator=order)
    return [batch.tolist() for batch in loader]


never_stopped = batches(1) + batches(2)
resumed = batches(2)
print("epoch 2 as before:", resumed == never_stopped[2:])
print("another order than epoch 1:", resumed != never_stopped[:2])

# %% [markdown]
# ### Resume in the middle of an epoch
#
# When an epoch takes too long to lose.
#
# **Trap:** the batches to skip are the right ones only if the order is the same again, so seed it by epoch.

# %%
import itertools
import torch
from torch.utils.data import DataLoader


def batches(epoch, done=0):
    order = torch.Generator().manual_seed(1000 + epoch)
    loader = DataLoader(range(10), batch_size=2, shuffle=True, generator=order)
    return [batch.tolist() for batch in itertools.islice(loader, done, None)]


torch.save({"epoch": 1, "done": 3}, "position.pt")  # beside model, optimizer, scheduler
position = torch.load("position.pt", weights_only=True)
rest = batches(position["epoch"], position["done"])
print(len(rest), "batches left, the right ones:", rest == batches(1)[3:])

# %% [markdown]
# ### Save so that a crash cannot destroy the old checkpoint
#
# An atomic save: always, when you overwrite the only file there is.
#
# **Trap:** the partial file must be in the folder of the final one, because a rename is one step on one disk only.

# %%
import os
import torch


def save(state, path):
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # on the disk, not only on its way
    os.replace(partial, path)  # all of the new file, or all of the old one


save({"epoch": 1}, "run.pt")
save({"epoch": 2}, "run.pt")
print(torch.load("run.pt", weights_only=True), os.path.exists("run.pt.partial"))

# %% [markdown]
# ### Save a checkpoint when the job is about to be stopped
#
# For clusters and rented machines, which send SIGTERM some time before they stop a job.
#
# **Trap:** do not save inside the handler, which may run in the middle of a step: set a flag and save between two steps.

# %%
import signal
import torch

stop = False


def please_stop(number, frame):
    global stop
    stop = True


before = signal.signal(signal.SIGTERM, please_stop)
for step in range(1, 1000):
    if step == 3:
        signal.raise_signal(signal.SIGTERM)  # in place of the cluster
    if stop:
        torch.save({"step": step}, "run.pt")
        break
signal.signal(signal.SIGTERM, before)
print("saved and stopped after step", torch.load("run.pt", weights_only=True)["step"])

# %% [markdown]
# ### Change the learning rate after a resume
#
# When the rest of a run needs another rate than the one in the file.
#
# **Trap:** the rate in the file wins over the one in your program, and a new scheduler may start from `initial_lr`, which
# is in the file too: set both after loading, then build the scheduler for the rest.

# %%
import torch
from torch.optim.lr_scheduler import LambdaLR

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = LambdaLR(optimizer, lambda epoch: 0.9**epoch)
torch.save(optimizer.state_dict(), "optimizer.pt")

optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
optimizer.load_state_dict(torch.load("optimizer.pt", weights_only=True))
print("from the file:", optimizer.param_groups[0]["lr"])
for group in optimizer.param_groups:
    group["lr"] = group["initial_lr"] = 0.001
scheduler = LambdaLR(optimizer, lambda epoch: 0.9**epoch)
print("changed:", scheduler.get_last_lr())

# %% [markdown]
# ### Save and resume mixed precision training with a GradScaler
#
# For training in float16 with `torch.autocast` (AMP); torch ≥ 2.3.
#
# **Trap:** a scaler that starts anew begins with a scale of 65,536, and skips steps until it is right again.

# %%
import torch

scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # "cuda" on a GPU
torch.save({"scaler": scaler.state_dict()}, "run.pt")  # beside model and optimizer

resumed = torch.amp.GradScaler("cpu")
print("before:", resumed.get_scale())
resumed.load_state_dict(torch.load("run.pt", weights_only=True)["scaler"])
print("after:", resumed.get_scale())

# %% [markdown]
# ### Save and load an exponential moving average of the weights
#
# When you validate or publish averaged weights (EMA); torch ≥ 2.1.
#
# **Trap:** without `use_buffers=True` the running statistics of batch norm are not averaged, and stay as they began.

# %%
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(model):
    average = get_ema_multi_avg_fn(0.999)
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


model = torch.nn.Linear(4, 1)
ema = averaged(model)
ema.update_parameters(model)  # after each step
torch.save({"model": model.state_dict(), "ema": ema.state_dict()}, "run.pt")

resumed = averaged(torch.nn.Linear(4, 1))  # resumed.module is the averaged model
resumed.load_state_dict(torch.load("run.pt", weights_only=True)["ema"])
print(torch.equal(ema.module.weight, resumed.module.weight), resumed.n_averaged.item())

# %% [markdown]
# ### Save several models in one file
#
# For a GAN, an encoder with its decoder, or a teacher with its student.
#
# **Trap:** two models of the same shape can be exchanged without an error, so load each by its name.

# %%
import torch
from torch import nn

models = {"generator": nn.Linear(2, 4), "discriminator": nn.Linear(4, 1)}
torch.save({name: model.state_dict() for name, model in models.items()}, "gan.pt")

restored = {"generator": nn.Linear(2, 4), "discriminator": nn.Linear(4, 1)}
state = torch.load("gan.pt", map_location="cpu", weights_only=True)
for name, model in restored.items():
    model.load_state_dict(state[name])
    print(name, torch.equal(model.weight, models[name].weight))

# %% [markdown]
# ## Parts
#
# Why it works so: [lesson 6](06_partial_loading.ipynb) and [lesson 8](08_stages_and_tasks.ipynb).

# %% [markdown]
# ### Load pretrained weights into a model with another number of classes
#
# For transfer learning and fine-tuning, and against `size mismatch for fc.weight`.
#
# **Trap:** `strict=False` forgives missing and unexpected keys but no shape, so take out first what does not fit, and look
# at what was left out.

# %%
import torch
from torchvision.models import resnet18

torch.save(resnet18(num_classes=1000).state_dict(), "pretrained.pt")

model = resnet18(num_classes=10)
mine = model.state_dict()
state = torch.load("pretrained.pt", map_location="cpu", weights_only=True)
fits = {k: v for k, v in state.items() if k in mine and v.shape == mine[k].shape}
left = model.load_state_dict(fits, strict=False)
print("still random:", left.missing_keys)
print("not used:", sorted(set(state) - set(fits)))

# %% [markdown]
# ### Load weights into a model that has a new layer
#
# When the model has grown since the file was saved.
#
# **Trap:** `strict=False` is content with a file of which nothing fits; only the two lists that it returns say so.

# %%
import torch
from torch import nn

torch.save(nn.Sequential(nn.Linear(4, 4)).state_dict(), "old.pt")

model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
state = torch.load("old.pt", map_location="cpu", weights_only=True)
left = model.load_state_dict(state, strict=False)
assert not left.unexpected_keys, left.unexpected_keys
assert all(key.startswith("1.") for key in left.missing_keys), left.missing_keys
print("new, and not in the file:", left.missing_keys)

# %% [markdown]
# ### Load a checkpoint saved from DataParallel or DistributedDataParallel
#
# Against `Missing key(s)` and `Unexpected key(s) in state_dict: "module.…"`, the names that a DDP wrapper gives.
#
# **Trap:** `key.replace("module.", "")` also damages names such as `submodule.weight`; take off a prefix, not every
# occurrence, or save `wrapped.module.state_dict()` to begin with.

# %%
import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

model = nn.Sequential(nn.Linear(4, 2))
torch.save(nn.DataParallel(model).state_dict(), "parallel.pt")

state = torch.load("parallel.pt", map_location="cpu", weights_only=True)
print(list(state))
consume_prefix_in_state_dict_if_present(state, "module.")
print(nn.Sequential(nn.Linear(4, 2)).load_state_dict(state))

# %% [markdown]
# ### Load weights saved from a model under torch.compile
#
# Against `Unexpected key(s) in state_dict: "_orig_mod.…"`; torch ≥ 2.1.
#
# **Trap:** `torch.compile(model)` makes a wrapper whose keys have a prefix; `model.compile()` compiles in place, and the
# keys stay as they are.

# %%
import torch
from torch import nn

compiled = torch.compile(nn.Linear(4, 2))
torch.save(compiled.state_dict(), "compiled.pt")

state = torch.load("compiled.pt", map_location="cpu", weights_only=True)
print(list(state))
state = {key.removeprefix("_orig_mod."): value for key, value in state.items()}
model = nn.Linear(4, 2)
print(model.load_state_dict(state))
model.compile()
print(list(model.state_dict()))

# %% [markdown]
# ### Load only the backbone of a checkpoint
#
# To put a trained encoder under a new head.
#
# **Trap:** load into `model.backbone` and strictly, so that a wrong prefix is an error and not an encoder that stayed random.

# %%
import torch
from torch import nn

parts = {"backbone": nn.Linear(8, 4), "head": nn.Linear(4, 10)}
torch.save(nn.ModuleDict(parts).state_dict(), "old.pt")

model = nn.ModuleDict({"backbone": nn.Linear(8, 4), "head": nn.Linear(4, 2)})
state = torch.load("old.pt", map_location="cpu", weights_only=True)
prefix = "backbone."
part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
print(list(part), model["backbone"].load_state_dict(part))

# %% [markdown]
# ### Load old weights after layers were renamed
#
# When the model's code has better names now than when the file was saved.
#
# **Trap:** keys that are not in the table must pass unchanged, and loading stays strict, or a forgotten name is a random layer.

# %%
import re
import torch
from torch import nn

old = nn.ModuleDict({"fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 2)})
torch.save(old.state_dict(), "old.pt")

RENAMED = {r"^fc1\.": "encoder.", r"^fc2\.": "head."}
state = torch.load("old.pt", map_location="cpu", weights_only=True)
for old, new in RENAMED.items():
    state = {re.sub(old, new, key): value for key, value in state.items()}
model = nn.ModuleDict({"encoder": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
print(list(state), model.load_state_dict(state))

# %% [markdown]
# ### Freeze the loaded layers and train the rest
#
# For a first stage of fine-tuning, in which only the new head learns.
#
# **Trap:** which layers are frozen is in no file, so set it again after each load; and batch norm goes on changing its
# running statistics unless it is in `eval()` mode.

# %%
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
frozen, head = model[:2], model[2]
frozen.requires_grad_(False)
optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
before = {key: value.clone() for key, value in model.state_dict().items()}
model.train()
frozen.eval()  # after every model.train()
model(torch.randn(8, 4)).square().sum().backward()
optimizer.step()
print([k for k, v in model.state_dict().items() if not torch.equal(v, before[k])])

# %% [markdown]
# ## Devices
#
# What a file remembers of the machine it was written on, and how to load what is larger than you would like.

# %% [markdown]
# ### Load a checkpoint that was saved on a GPU on a machine without one
#
# Against `Attempting to deserialize object on a CUDA device`.
#
# **Trap:** `map_location` belongs into `torch.load`; `load_state_dict` does not know it.

# %%
from unittest import mock
import torch

model = torch.nn.Linear(4, 2)
with mock.patch("torch.serialization.location_tag", lambda storage: "cuda:0"):
    torch.save(model.state_dict(), "from_gpu.pt")  # as a GPU would have written it

state = torch.load("from_gpu.pt", map_location="cpu", weights_only=True)
print(state["weight"].device)
print(model.load_state_dict(state))

# %% [markdown]
# ### Load a checkpoint onto the GPU if there is one
#
# For a program that runs on both kinds of machines.
#
# **Trap:** move the model before you build the optimizer, and load into the CPU: `load_state_dict` brings weights and
# optimizer state to where the model is.

# %%
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(4, 2).to(device)
optimizer = torch.optim.Adam(model.parameters())
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "run.pt")

checkpoint = torch.load("run.pt", map_location="cpu", weights_only=True)
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
model(torch.randn(8, 4, device=device)).sum().backward()
optimizer.step()
print("on the chosen device:", model.weight.device.type == device)

# %% [markdown]
# ### Save on a GPU a file that loads anywhere
#
# For weights that you give to people with other machines.
#
# **Trap:** `model.cpu().state_dict()` moves the model itself, and the training after it goes on without the GPU, or stops.

# %%
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(4, 2).to(device)
torch.save({k: v.cpu() for k, v in model.state_dict().items()}, "weights.pt")

print(torch.load("weights.pt", weights_only=True)["weight"].device)
print("the model stayed where it was:", model.weight.device.type == device)

# %% [markdown]
# ### Take one tensor out of a large checkpoint
#
# When a file is larger than the memory, or only a part of it is needed; torch ≥ 2.1.
#
# **Trap:** the tensors read from the file whenever they are used, so keep it, and clone what you want to keep without it.

# %%
import torch

torch.save({"large": torch.zeros(1000, 1000), "small": torch.arange(3.0)}, "large.pt")

state = torch.load("large.pt", map_location="cpu", mmap=True, weights_only=True)
small = state["small"].clone()  # the megabytes of "large" are not read
print(small)

# %% [markdown]
# ### Load a large model without needing the memory twice
#
# When the model fits into the memory, but not beside its own file; torch ≥ 2.1.
#
# **Trap:** `assign=True` puts new parameters in place of the old ones, so build the optimizer after it.

# %%
import torch
from torch import nn

torch.save(nn.Linear(1000, 1000).state_dict(), "large.pt")

with torch.device("meta"):
    model = nn.Linear(1000, 1000)  # shapes, and no memory
state = torch.load("large.pt", map_location="cpu", mmap=True, weights_only=True)
model.load_state_dict(state, assign=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model(torch.randn(2, 1000)).sum().backward()
optimizer.step()
old = torch.load("large.pt", map_location="cpu", weights_only=True)["weight"]
print(model.weight.device, "and trained:", not torch.equal(model.weight, old))

# %% [markdown]
# ### Load half precision weights and keep them so
#
# When `load_state_dict` has turned a small file into a large model; torch ≥ 2.1.
#
# **Trap:** without `assign=True` the numbers are copied into the model's own type, and nothing says so.

# %%
import torch

torch.save(torch.nn.Linear(4, 2).bfloat16().state_dict(), "half.pt")
state = torch.load("half.pt", map_location="cpu", weights_only=True)

model = torch.nn.Linear(4, 2)
model.load_state_dict(state)
print("copied:", model.weight.dtype)
model.load_state_dict(state, assign=True)
print("assigned:", model.weight.dtype)

# %% [markdown]
# ## Safety
#
# Why it works so: [lesson 2](02_whole_model.ipynb) and, for damage, [lesson 5](05_checkpoint_policy.ipynb).

# %% [markdown]
# ### Load a file from somebody you do not trust
#
# For every download: write `weights_only=True` out, because it is the default only since torch 2.6.
#
# **Trap:** with `weights_only=False` the file runs as a program before you see anything of it, and a scanner that finds
# nothing is no proof.

# %%
import pickle
import torch


class Surprise:
    def __reduce__(self):
        return print, ("this could have been any program",)


torch.save({"weights": Surprise()}, "stranger.pt")
try:
    torch.load("stranger.pt", map_location="cpu", weights_only=True)
except pickle.UnpicklingError as error:
    print("refused:", str(error).split(".")[0])

# %% [markdown]
# ### See which classes a file asks for before loading it
#
# Against `Weights only load failed`, to decide whether you want what the file needs; torch ≥ 2.6.
#
# **Trap:** the list names what `weights_only=True` refuses; a name that you do not know is a reason not to load, not one
# to allow it.

# %%
import fractions
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

torch.save({"weights": torch.zeros(2), "share": fractions.Fraction(1, 3)}, "file.pt")
print(get_unsafe_globals_in_checkpoint("file.pt"))

# %% [markdown]
# ### Load a checkpoint that holds a class of your own
#
# When the file is yours and the class harmless: allow this one class, not everything; torch ≥ 2.5.
#
# **Trap:** the file stores the name of the class, not its code, so a class that has moved or changed its name is not found.

# %%
import dataclasses
import torch


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


torch.save({"settings": Settings(lr=0.3)}, "mine.pt")
with torch.serialization.safe_globals([Settings]):
    checkpoint = torch.load("mine.pt", map_location="cpu", weights_only=True)
print(checkpoint["settings"])

# %% [markdown]
# ### Turn a pickled model into weights
#
# For a file made with `torch.save(model)`, as long as its code is still there and you trust who made it.
#
# **Trap:** `weights_only=False` runs what is in the file, and `Can't get attribute` means that the class is not where it
# was when the file was made.

# %%
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)


torch.save(Net(), "whole.pt")

whole = torch.load("whole.pt", map_location="cpu", weights_only=False)
torch.save(whole.state_dict(), "weights.pt")
print(Net().load_state_dict(torch.load("weights.pt", weights_only=True)))

# %% [markdown]
# ### Make a checkpoint that weights_only accepts
#
# When your own file is refused because of a NumPy number, a path or a setting.
#
# **Trap:** `np.mean(…)` and `np.float64` look like a number when printed, and are a class in the file.

# %%
import argparse
from pathlib import Path
import numpy as np
import torch

args = argparse.Namespace(lr=0.1, data=Path("images"))
best, curve = np.mean([0.5, 0.7]), np.array([0.9, 0.8])
torch.save(
    {
        "args": {**vars(args), "data": str(args.data)},  # not: args
        "best": best.item(),  # not: best
        "curve": torch.from_numpy(curve),  # not: curve
    },
    "run.pt",
)
print(torch.load("run.pt", map_location="cpu", weights_only=True)["args"])

# %% [markdown]
# ### Check that a checkpoint is not damaged
#
# Against a corrupted file: after a download or a copy, and before you rely on it.
#
# **Trap:** `torch.load` does not look at the checksums in the file, so a changed byte becomes a wrong weight without an
# error; a file that is cut short has no list of entries, and `ZipFile` raises `BadZipFile`.

# %%
import zipfile
from pathlib import Path
import torch

torch.save({"weight": torch.zeros(1000)}, "weights.pt")
print("sound:", zipfile.ZipFile("weights.pt").testzip() is None)

content = bytearray(Path("weights.pt").read_bytes())
content[2000] ^= 1
Path("damaged.pt").write_bytes(content)
print("damaged:", zipfile.ZipFile("damaged.pt").testzip())
print("and yet it loads:", list(torch.load("damaged.pt", weights_only=True)))

# %% [markdown]
# ### Write a checksum beside a file and compare it
#
# For any format, and for files that travel; Python ≥ 3.11.
#
# **Trap:** a checksum finds damage, not malice: who can exchange the file can exchange the checksum beside it.

# %%
import hashlib
from pathlib import Path
import torch


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


torch.save({"weight": torch.zeros(4)}, "weights.pt")
Path("weights.pt.sha256").write_text(sha256("weights.pt"), "utf-8")
print(
    "as it was:", sha256("weights.pt") == Path("weights.pt.sha256").read_text("utf-8")
)

# %% [markdown]
# ## Formats
#
# What a file of `torch.save` looks like inside: [lesson 1](01_state_dict.ipynb); safetensors:
# [lesson 2](02_whole_model.ipynb).

# %% [markdown]
# ### Save and load weights with safetensors
#
# For weights that you give to others: the file can hold tensors, and no program.
#
# **Trap:** it holds tensors only; epoch, optimizer and settings need another file.

# %%
import torch
from safetensors.torch import load_file, save_file

model, restored = torch.nn.Linear(4, 2), torch.nn.Linear(4, 2)
save_file(model.state_dict(), "weights.safetensors")
print(restored.load_state_dict(load_file("weights.safetensors", device="cpu")))
print(torch.equal(model.weight, restored.weight))

# %% [markdown]
# ### Read names and metadata of a safetensors file without loading it
#
# To see what is in a large file, or to fetch one tensor of it.
#
# **Trap:** metadata are text only, so turn everything else into JSON.

# %%
import json
import torch
from safetensors import safe_open
from safetensors.torch import save_file

about = {"arguments": json.dumps({"num_classes": 10}), "format": "pt"}
save_file(torch.nn.Linear(4, 2).state_dict(), "weights.safetensors", metadata=about)

with safe_open("weights.safetensors", framework="pt") as file:
    print({name: file.get_slice(name).get_shape() for name in sorted(file.keys())})
    print(json.loads(file.metadata()["arguments"]))

# %% [markdown]
# ### Save tied weights with safetensors
#
# Against `Some tensors share memory`, for models that use one weight twice.
#
# **Trap:** such a file has one name where the model has two: `load_model` knows about it, `load_file` does not.

# %%
import torch
from safetensors.torch import load_model, save_model
from torch import nn


def build():
    embed, out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    out.weight = embed.weight
    return nn.ModuleDict({"embed": embed, "out": out})


model, restored = build(), build()
save_model(model, "tied.safetensors")
load_model(restored, "tied.safetensors")
print(torch.equal(model["out"].weight, restored["out"].weight))
print("still tied:", restored["out"].weight is restored["embed"].weight)

# %% [markdown]
# ### Convert a pt file to safetensors
#
# To publish weights that you have as `.pt`, `.pth` or `.bin`.
#
# **Trap:** safetensors refuses tensors that share memory or are not contiguous, and copies untie what was tied.

# %%
import torch
from safetensors.torch import load_file, save_file

torch.save({"a": torch.rand(2, 3).T, "epoch": 3}, "old.pt")

state = torch.load("old.pt", map_location="cpu", weights_only=True)
tensors = {k: v.clone().contiguous() for k, v in state.items() if torch.is_tensor(v)}
save_file(tensors, "new.safetensors")
new = load_file("new.safetensors")
print("equal:", all(torch.equal(state[k], new[k]) for k in tensors))
print("left out:", sorted(set(state) - set(tensors)))

# %% [markdown]
# ### Give the weights to NumPy
#
# For programs that do not know torch: NumPy, JAX, or your own.
#
# **Trap:** NumPy has no bfloat16, so such tensors need `.float()` first.

# %%
import numpy as np
import torch

model = torch.nn.Linear(4, 2)
np.savez("weights.npz", **{k: v.cpu().numpy() for k, v in model.state_dict().items()})

arrays = np.load("weights.npz")
back = {key: torch.from_numpy(arrays[key]) for key in arrays}
print(sorted(back), torch.equal(back["weight"], model.weight))

# %% [markdown]
# ### Save a checkpoint to memory in place of a file
#
# For a database, a network connection or a cloud bucket.
#
# **Trap:** rewind a buffer before you read what was written to it, or `torch.load` raises an `EOFError` without a word.

# %%
import io
import torch

buffer = io.BytesIO()
torch.save({"weight": torch.arange(3)}, buffer)
content = buffer.getvalue()  # bytes, to be sent or stored

state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
print(type(content).__name__, state["weight"])

# %% [markdown]
# ### Find out what kind of file it is
#
# Against `Unsupported operand`, `invalid load key` and `Weights only load failed`, when the name of a file promises more
# than it holds.
#
# **Trap:** the ending means nothing: a `.tar` of `torch.save` is a zip file, and a `.pt` may be a web page.

# %%
from pathlib import Path

KNOWN = {
    b"PK": "a zip file: torch.save, TorchScript or torch.export",
    b"\x80": "a pickle, or torch.save before torch 1.6",
    b"<": "a web page: the download went wrong",
    b"version https://git-lfs": "a Git LFS pointer: git lfs pull fetches the file",
}


def kind(path):
    start = Path(path).read_bytes()[:60]
    if start[8:10] == b'{"':
        return "safetensors"
    return next((KNOWN[k] for k in KNOWN if start.startswith(k)), "none of these")


Path("model.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid")
print(kind("model.pt"))

# %% [markdown]
# ### Turn a distributed checkpoint into one file
#
# For a folder of `torch.distributed.checkpoint`, as FSDP runs have it, that you want to load with `torch.load`; torch ≥ 2.3.
#
# **Trap:** all of it goes through the memory of one process.

# %%
import warnings
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

model = torch.nn.Linear(4, 2)
with warnings.catch_warnings(action="ignore"):  # it says that there is one process only
    dcp.save({"model": model.state_dict()}, checkpoint_id="sharded")

dcp_to_torch_save("sharded", "one.pt")
state = torch.load("one.pt", map_location="cpu", weights_only=True)
print(torch.equal(state["model"]["weight"], model.weight))

# %% [markdown]
# ## Export
#
# A file that brings its program. Why TorchScript is on its way out: [lesson 4](04_torchscript.ipynb).

# %% [markdown]
# ### Export a model that runs without its class
#
# For a program that has torch and not your code; torch ≥ 2.4.
#
# **Trap:** call `eval()` before exporting, because an exported program has no `eval()` of its own; and load only files that
# you trust.

# %%
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
example = torch.randn(3, 4)
torch.export.save(torch.export.export(model, (example,)), "model.pt2")

loaded = torch.export.load("model.pt2").module()
print(type(loaded).__name__, torch.allclose(loaded(example), model(example)))

# %% [markdown]
# ### Export a model for any batch size
#
# Against `Guard failed` when an exported program gets another number of inputs; torch ≥ 2.4.
#
# **Trap:** give it an example with two inputs or more: a size of 1 is taken for a constant.

# %%
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 2), nn.ReLU()).eval()
shapes = ({0: torch.export.Dim("batch")},)  # for each argument, what may change
program = torch.export.export(model, (torch.randn(2, 4),), dynamic_shapes=shapes)
torch.export.save(program, "model.pt2")

loaded = torch.export.load("model.pt2").module()
print([tuple(loaded(torch.randn(n, 4)).shape) for n in (1, 2, 50)])

# %% [markdown]
# ### Load an old TorchScript file and keep its weights
#
# For files made with `torch.jit.save`, which torch 2.15 still reads, with a warning that it is deprecated.
#
# **Trap:** `torch.jit.load` cannot read a state dict, and `torch.load` refuses a TorchScript file; loading one runs its
# program when it is called, so trust it first.

# %%
import warnings
import torch

warnings.filterwarnings("ignore", category=FutureWarning)
torch.jit.save(torch.jit.script(torch.nn.Linear(4, 2)), "old.ts")

program = torch.jit.load("old.ts", map_location="cpu").eval()
print(tuple(program(torch.zeros(1, 4)).shape))
torch.save(program.state_dict(), "weights.pt")
state = torch.load("weights.pt", weights_only=True)
print(torch.nn.Linear(4, 2).load_state_dict(state))

# %% [markdown]
# ## Housekeeping
#
# Why it works so: [lesson 5](05_checkpoint_policy.ipynb); [utils/checkpoint.py](../utils/checkpoint.py) does most of it in
# one file to copy.

# %% [markdown]
# ### List the names and shapes in a checkpoint without loading the numbers
#
# To find out what a file holds, however large it is.
#
# **Trap:** tensors on the device `meta` have a shape and no numbers, and cannot be used for anything else.

# %%
import torch

torch.save({"epoch": 3, "model": torch.nn.Linear(4, 2).state_dict()}, "run.pt")

checkpoint = torch.load("run.pt", map_location="meta", weights_only=True)
print(list(checkpoint))
for name, tensor in checkpoint["model"].items():
    print(name, tuple(tensor.shape), tensor.dtype)
print("numbers:", sum(t.numel() for t in checkpoint["model"].values()))

# %% [markdown]
# ### Store the arguments of a model beside its weights
#
# So that whoever has the file can build the model that it belongs to: its hyperparameters, its config.
#
# **Trap:** labels and preprocessing belong into it too: with the right weights and other inputs a model is wrong without an
# error.

# %%
import torch

arguments = {"in_features": 4, "out_features": 2}
model = torch.nn.Linear(**arguments)
torch.save(
    {
        "arguments": arguments,
        "weights": model.state_dict(),
        "labels": ["cat", "dog"],
        "preprocessing": {"mean": [0.5], "std": [0.25]},
    },
    "model.pt",
)

file = torch.load("model.pt", map_location="cpu", weights_only=True)
restored = torch.nn.Linear(**file["arguments"])
print(restored.load_state_dict(file["weights"]), file["labels"])

# %% [markdown]
# ### Find the newest checkpoint in a folder
#
# To resume from the latest file of a run.
#
# **Trap:** as text, `epoch10.pt` comes before `epoch9.pt`, and the time of a file changes when it is copied: sort by the
# number.

# %%
import re
from pathlib import Path
import torch

folder = Path("run")
folder.mkdir(exist_ok=True)
for epoch in (8, 9, 10):
    torch.save({"epoch": epoch}, folder / f"epoch{epoch}.pt")


def number(path):
    return int(re.search(r"\d+", path.stem)[0])


print("as text:", max(folder.glob("epoch*.pt")).name)
print("by number:", max(folder.glob("epoch*.pt"), key=number).name)

# %% [markdown]
# ### Delete old checkpoints and keep the last three
#
# When a long run fills the disk.
#
# **Trap:** delete after the new file is complete, never before; and keep the best one under another name.

# %%
import re
from pathlib import Path
import torch


def number(path):
    return int(re.search(r"\d+", path.stem)[0])


folder = Path("last_three")
folder.mkdir(exist_ok=True)
for epoch in range(1, 11):
    torch.save({"epoch": epoch}, folder / f"epoch{epoch}.pt")
    for old in sorted(folder.glob("epoch*.pt"), key=number)[:-3]:
        old.unlink()
print([path.name for path in sorted(folder.glob("epoch*.pt"), key=number)])

# %% [markdown]
# ### Compare two checkpoints
#
# To find out whether two files hold the same weights, and where not.
#
# **Trap:** two files with equal weights need not be equal byte for byte, because the name of the file is written into it.

# %%
import torch

first = {"a": torch.ones(2), "b": torch.ones(2), "c": torch.ones(2)}
torch.save(first, "first.pt")
torch.save({**first, "b": torch.zeros(2), "c": torch.ones(3)}, "second.pt")

x = torch.load("first.pt", map_location="cpu", weights_only=True)
y = torch.load("second.pt", map_location="cpu", weights_only=True)
print("only in one:", sorted(set(x) ^ set(y)))
for name in sorted(set(x) & set(y)):
    if x[name].shape != y[name].shape:
        print(name, "has another shape")
    elif not torch.equal(x[name], y[name]):
        print(name, "differs by", (x[name] - y[name]).abs().max().item())

# %% [markdown]
# ### Make a checkpoint smaller before you share it
#
# To give away the weights of a run, without optimizer, scheduler and random numbers.
#
# **Trap:** nobody can continue the training with it, so keep the whole checkpoint for yourself.

# %%
import os
import torch

model = torch.nn.Linear(1000, 100)
optimizer = torch.optim.Adam(model.parameters())
model(torch.randn(2, 1000)).sum().backward()
optimizer.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "run.pt")

checkpoint = torch.load("run.pt", map_location="cpu", weights_only=True)
torch.save(checkpoint["model"], "release.pt")
ratio = os.path.getsize("run.pt") / os.path.getsize("release.pt")
print(f"three times as large before: {2.8 < ratio < 3.2}, ≈ {ratio:.1f}")

# %% [markdown]
# ### Write down which versions made a file
#
# For the question, a year later, of what this file was made with.
#
# **Trap:** `torch.__version__` is of a class that `weights_only=True` refuses: store it as text.

# %%
import datetime
import platform
import torch

record = {
    "torch": str(torch.__version__),
    "python": platform.python_version(),
    "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
}
torch.save({"weights": torch.zeros(2), "record": record}, "model.pt")
print(list(torch.load("model.pt", weights_only=True)["record"]))
