# %% [markdown]
# # Pickle a whole model, and see why not to
#
# **You will** save a model as one object and load it back, break that file by four harmless-looking changes to your
# code, run a program hidden in a model file, and learn the form of file that avoids nearly all of it.
#
# **You need** [lesson 1](01_state_dict.ipynb). **About {{read}} minutes.**

# %%
import shutil, sys
from pathlib import Path
import torch
from torchvision.models import shufflenet_v2_x0_5

# %%
from utils import show
from utils.checking import fresh
from utils.data import digits, loader
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/02_whole_model")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## If you have only 10 seconds
#
# Put the weights into a dictionary, together with the arguments that build the model, and nothing that is not plain.

# %%
arguments = {"num_classes": 10}
model = shufflenet_v2_x0_5(**arguments)
torch.save({"arguments": arguments, "weights": model.state_dict()}, folder / "model.pt")

# %%
file = torch.load(folder / "model.pt")
model = shufflenet_v2_x0_5(**file["arguments"])
model.load_state_dict(file["weights"])  # then model.eval(), to predict

# %% [markdown]
# The rest of this lesson is about the other way, `torch.save(model, …)`: you will meet its files, so you should know
# how to read them, why they break, and when not to open them.

# %% [markdown]
# ## A whole model in a file
#
# `torch.save` accepts the model itself.

# %%
torch.save(model.eval(), folder / "whole.pt")

# %% [markdown]
# `torch.load` does not give it back. This is the message that people search for:


# %%
def first_and_cause(error):
    """The first sentence of a long message, and the line that names the cause."""
    lines = str(error).split("\n")
    cause = next(line for line in lines if "WeightsUnpickler error" in line)
    return f"{lines[0].split('.')[0]}. …\n{cause.split('. Please')[0].strip()}"


try:
    torch.load(folder / "whole.pt")
except Exception as error:
    print(f"{type(error).__name__}: {first_and_cause(error)}")

# %% [markdown]
# > **Help: I get `Weights only load failed`.** The file holds more than tensors and plain values: it names a class or
# > a function, here `ShuffleNetV2`. Since torch 2.6, `torch.load` refuses that unless you say `weights_only=False`.
# > Say it only for a file that you or somebody you trust has written. Below you will see why.
#
# We wrote this file ourselves a moment ago.

# %%
whole = torch.load(folder / "whole.pt", weights_only=False)
image = torch.rand(1, 3, 32, 32)
print("in eval mode:", not whole.training)
print("same answer:", torch.equal(whole(image), model(image)))

# %% [markdown]
# No model to build, no `load_state_dict`, and even `eval()` is remembered: convenient. *Predict:* how does the file know
# what to compute in `forward`? Is it much larger than a file of the weights alone, or a little?

# %%
torch.save(model.state_dict(), folder / "weights.pt")
sizes = [(folder / name).stat().st_size for name in ("weights.pt", "whole.pt")]
print(f"weights {sizes[0]:,} bytes, whole model {sizes[1]:,} bytes")
content = (folder / "whole.pt").read_bytes()
print("it holds the code of forward:", b"def forward" in content)

# %% [markdown]
# It does not know. The 1 % more is *names*: a pickle stores, for each object, the module and the name of its class,
# and the object's attributes. The code must be on the computer that loads it, under these names:

# %%
[name for name in show.pickle_names(folder / "whole.pt") if "torchvision" in name]

# %% [markdown]
# So "no need to define the model class, the file contains the model", which many pages say, is wrong. The file
# contains the *address* of the class. Next, the class moves.

# %% [markdown]
# ## Four changes that break it
#
# To have a project to change, we write a small one: a package `shop` with a model in `shop/nets.py`.

# %%
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, stride=2)
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, images):
        features = torch.relu(self.conv(images))
        return self.head(nn.functional.adaptive_avg_pool2d(features, 4).flatten(1))
"""


# %%
def write_shop(code, name="nets"):
    """The package `shop`, with this code in `shop/NAME.py` and nothing else."""
    shutil.rmtree(folder / "shop", ignore_errors=True)
    (folder / "shop").mkdir()
    (folder / "shop" / f"{name}.py").write_text(code, "utf-8")


write_shop(NET)

# %% [markdown]
# Somebody trains the model and saves it whole. (The test images go into a file of their own.)

# %%
sys.path.insert(0, str(folder))
from shop.nets import Net

train, _, test = digits()
torch.save(test.tensors, folder / "test.pt")

# %%
seed_everything(0)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(4):
    train_epoch(net, loader(train, shuffle=True, seed=epoch), optimizer)
print("more than 80 % right:", accuracy(net.eval(), loader(test)) > 0.8)

# %%
torch.save(net, folder / "net.pt")
torch.save(net.state_dict(), folder / "net_weights.pt")

# %% [markdown]
# Somebody else loads it later, in a new process, and tests it. (`fresh.run` starts one that has torch imported, and
# nothing of this notebook; it shows what the program prints or how it ends.)

# %%
PROGRAM = """
import torch
net = torch.load("net.pt", weights_only=False)
print("loaded:", type(net).__name__)
images, labels = torch.load("test.pt")
right = (net(images).argmax(dim=1) == labels).float().mean()
print("more than 80 % right:", right.item() > 0.8)
"""

# %%
fresh.run(PROGRAM, folder)

# %% [markdown]
# Now the project goes on. Each time, `net.pt` stays as it is, and the code changes a little.
#
# ### 1. The file is renamed
#
# *Predict* what happens, here and in the next three.

# %%
write_shop(NET, name="models")
fresh.run(PROGRAM, folder)

# %% [markdown]
# > **Help: I get `ModuleNotFoundError: No module named …`** with the name of a module that your program does not import.
# > The model was pickled where its class lived in that module. Make a module of this name that has the class, load, and
# > save the weights:

# %%
MEND = """
import sys, torch, shop.models
sys.modules["shop.nets"] = shop.models
net = torch.load("net.pt", weights_only=False)
torch.save(net.state_dict(), "mended.pt")
print(len(torch.load("mended.pt")), "entries saved")
"""
fresh.run(MEND, folder)

# %% [markdown]
# ### 2. The class gets a better name

# %%
write_shop(NET.replace("class Net", "class DigitNet"))
fresh.run(PROGRAM, folder)

# %% [markdown]
# > **Help: I get `Can't get attribute 'Net' on <module …>`.** The same cause: the module is there, the class is not.
# > With `<module '__main__'>` in the message, the model was saved from a notebook or a script that defined the class
# > itself. Define or import the class under the old name, load, and save the weights.
#
# ### 3. An attribute gets a better name

# %%
write_shop(NET.replace("self.head", "self.classifier"))
fresh.run(PROGRAM, folder)

# %% [markdown]
# It loads. It has the right class. Unpickling does not call `__init__`: it puts the old attributes back, `head` among
# them, and the new `forward` looks for `classifier`. That shows when the model is used, which may be days later.
#
# ### 4. A line of forward changes
#
# Somebody finds that images should be scaled first.

# %%
write_shop(NET.replace("self.conv(images)", "self.conv(images / 255)"))
fresh.run(PROGRAM, folder)

# %% [markdown]
# No error at all, and wrong answers. The weights were trained for the old `forward`, and the file does not hold it.
#
# ### What a state_dict changes about it
#
# The first three changes, with the weights alone. The class in another file and under another name:

# %%
LOAD = """
import torch
from shop.{module} import {name} as Net
net = Net()
print(net.load_state_dict(torch.load("net_weights.pt")))
"""

# %%
write_shop(NET.replace("class Net", "class DigitNet"), name="models")
fresh.run(LOAD.format(module="models", name="DigitNet"), folder)

# %% [markdown]
# Neither matters any more: your program says where the class is. The renamed attribute is reported on loading, and not
# later by `forward`:

# %%
write_shop(NET.replace("self.head", "self.classifier"))
fresh.run(LOAD.format(module="nets", name="Net"), folder)

# %% [markdown]
# Against the changed `forward` a state_dict does not help. A test does: keep a few inputs and the answers to them beside
# the weights, and compare after loading. The end of this lesson does so.

# %% [markdown]
# ## A file that runs a program
#
# A pickle may name any function, and ask for it to be *called*. An object says how it wants to be rebuilt with
# `__reduce__`. This one asks for `eval`, with a text of its choice. (`print` returns nothing, so `or` goes on to the
# dictionary.)


# %%
class Harmless:
    def __reduce__(self):
        return eval, ("print('I could have deleted your files') or {'weight': 1}",)


torch.save(Harmless(), folder / "stranger.pt")

# %% [markdown]
# *Predict:* what does somebody see who loads this file and prints what is in it?

# %%
print(torch.load(folder / "stranger.pt", weights_only=False))

# %% [markdown]
# The program ran while loading, before you could look at anything, and what came back looks like weights. Now the
# default:

# %%
try:
    torch.load(folder / "stranger.pt")
except Exception as error:
    print(f"{type(error).__name__}: {first_and_cause(error)}")

# %% [markdown]
# Nothing ran. `weights_only=True` is another unpickler: it knows a short list of names, and stops at the first that is
# not on it.

# %% [markdown]
# ## What weights_only accepts
#
# Tensors, and plain values. But which values are plain? Each of these is saved and loaded. *Guess:* `torch.load` refuses seven
# of them. Which?

# %%
import argparse, collections, datetime, io, random
import numpy as np

values = {
    "int, float, str, bool, None": [1, 0.5, "a", True, None],
    "list, tuple, dict, set": [[1], (1,), {"a": 1}, {1}],
    "OrderedDict, Counter": [collections.OrderedDict(a=1), collections.Counter("aab")],
    "torch.Size, dtype, device": [torch.Size([1]), torch.float16, torch.device("cpu")],
    "random.getstate()": random.getstate(),
    "torch.get_rng_state()": torch.get_rng_state(),
    "a NumPy number": np.mean([0.9, 0.8]),
    "a NumPy array": np.ones(2),
    "pathlib.Path": Path("data"),
    "datetime": datetime.datetime(2026, 1, 1),
    "argparse.Namespace": argparse.Namespace(lr=0.1),
    "defaultdict": collections.defaultdict(int),
    "torch.__version__": torch.__version__,
}


# %%
def loads(value):
    memory = io.BytesIO()
    torch.save(value, memory)
    memory.seek(0)
    try:
        torch.load(memory)
        return "loads"
    except Exception:
        return "refused"


show.Table(["value", "torch.load"], [(name, loads(v)) for name, v in values.items()])

# %% [markdown]
# The one that catches people is *a NumPy number*: the best accuracy, computed with `np.mean`, makes the whole
# checkpoint unreadable by default. The cures are plain: `float(…)`, `array.tolist()`, `str(path)`,
# `time.isoformat()`, `vars(namespace)`, `dict(…)`, `str(torch.__version__)`.

# %%
mean = np.mean([0.9, 0.8])
torch.save({"accuracy": mean}, folder / "checkpoint.pt")
try:
    torch.load(folder / "checkpoint.pt")
except Exception as error:
    print(first_and_cause(error))
print("with float(mean):", loads({"accuracy": float(mean)}))

# %% [markdown]
# > **Help: I get `Unsupported global: GLOBAL numpy._core.multiarray.scalar`.** There is a NumPy number in the file.

# %% [markdown]
# ### Somebody else's file
#
# What a file asks for, without loading it:

# %%
unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(folder / "whole.pt")
print(*sorted(unsafe), sep="\n")

# %% [markdown]
# If you trust these eight classes, allow them, for this one load. `weights_only` stays on: nothing else gets through.

# %%
from torch import nn
from torchvision.models import shufflenetv2

classes = [shufflenetv2.ShuffleNetV2, shufflenetv2.InvertedResidual, nn.Sequential]
classes += [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Linear]
with torch.serialization.safe_globals(classes):
    print(type(torch.load(folder / "whole.pt")).__name__)

# %% [markdown]
# After the `with`, the file is refused again. (`add_safe_globals` would allow them for the rest of the program.)

# %%
try:
    torch.load(folder / "whole.pt")
except Exception as error:
    print(type(error).__name__)

# %% [markdown]
# ### Two environment variables
#
# For programs that you cannot edit. `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1` turns the default off, with a warning;
# `TORCH_FORCE_WEIGHTS_ONLY_LOAD=1` turns it on even where the program says `weights_only=False`.

# %%
import os, warnings

torch.save(Path("data"), folder / "path.pt")
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print("loaded", torch.load(folder / "path.pt").name)
print(caught[0].category.__name__, "shown:", len(caught))

# %%
del os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"]
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
try:
    torch.load(folder / "path.pt", weights_only=False)
except Exception as error:
    print(type(error).__name__)
del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]

# %% [markdown]
# ## Scanners
#
# A scanner reads the names in a pickle without running it, and knows a list of *bad* ones. `picklescan` is a
# well-known one. It finds our file:

# %%
from picklescan.scanner import scan_file_path

print("infected files:", scan_file_path(str(folder / "stranger.pt")).infected_files)

# %% [markdown]
# This file calls no `eval`. It opens a file for writing, which empties it. *Predict:* what does the scanner say?

# %%
(folder / "thesis.txt").write_text("three years of work", "utf-8")


class EmptiesAFile:
    def __reduce__(self):
        return io.open, (str(folder / "thesis.txt"), "w")


torch.save(EmptiesAFile(), folder / "scanned.pt")
print("infected files:", scan_file_path(str(folder / "scanned.pt")).infected_files)

# %%
torch.load(folder / "scanned.pt", weights_only=False)
print("left of the thesis:", repr((folder / "thesis.txt").read_text("utf-8")))

# %% [markdown]
# A list of bad names has holes; a list of good names has not, because what is not on it is refused. The default `torch.load`
# refuses this file, and `get_unsafe_globals_in_checkpoint` finds a name in it and in the file before:

# %%
(folder / "thesis.txt").write_text("three years of work", "utf-8")
try:
    torch.load(folder / "scanned.pt")
except Exception as error:
    print(type(error).__name__)
print("left of the thesis:", repr((folder / "thesis.txt").read_text("utf-8")))

# %%
for name in ("stranger.pt", "scanned.pt", "weights.pt"):
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(folder / name)
    print(f"{name}: names that are not on the list: {len(unsafe)}")

# %% [markdown]
# ### What weights_only does not protect from
#
# It had bugs: CVE-2025-32434 ran code in spite of it, up to and including torch 2.5.1, and CVE-2026-24747 corrupted
# memory, in versions before 2.10. For files of strangers, use torch 2.10 or newer.
#
# It does not stop a small file from asking for a lot. This one is smaller than 2 kB:

# %%
torch.save(torch.zeros(1).expand(10**12), folder / "bomb.pt")
bomb = torch.load(folder / "bomb.pt")
print("smaller than 2 kB:", (folder / "bomb.pt").stat().st_size < 2000)
print(f"numbers in the tensor: {bomb.numel():,}")

# %% [markdown]
# One number, read a trillion times: copying it would take four terabytes. And nothing tells you whether weights are
# *good*. Load only files whose origin you know.

# %% [markdown]
# ## safetensors: tensors and nothing else
#
# A format without a pickle: a list of names, types and shapes, then the numbers. There is nothing to run.

# %%
from safetensors.torch import load_file, save_file

save_file(model.state_dict(), folder / "model.safetensors")
back = load_file(folder / "model.safetensors")
print(all(torch.equal(back[name], t) for name, t in model.state_dict().items()))

# %% [markdown]
# Since torch 2.13, `torch.load` reads it too, by the ending of the path. (With an older torch, use `load_file`.)

# %%
if torch.__version__ >= "2.13":
    print(len(torch.load(folder / "model.safetensors")), "entries")
else:
    print("this needs torch 2.13, and here is", torch.__version__)

# %% [markdown]
# What it does not take, each with its message:

# %%
shared = torch.ones(2)
refused = {
    "two names, one memory": ({"a": shared, "b": shared}, None),
    "not contiguous": ({"a": torch.ones(2, 3).T}, None),
    "not a tensor": ({"epoch": 3}, None),
    "metadata that is no text": ({"a": shared}, {"epoch": 3}),
}
for what, (tensors, metadata) in refused.items():
    try:
        save_file(tensors, folder / "refused.safetensors", metadata)
    except Exception as error:
        message = " ".join(str(error).split()).split(" which ")[0].split(", this")[0]
        print(f"{what}: {type(error).__name__}: {message}")

# %% [markdown]
# The cures: `save_model` and `load_model` of the same library for shared memory, `.contiguous()`, and text as
# metadata. It is read with `safe_open`; what `load_file` returns has the tensors only.

# %%
from safetensors import safe_open

save_file({"a": shared}, folder / "noted.safetensors", {"epoch": "3"})
with safe_open(folder / "noted.safetensors", "pt") as file:
    print(file.metadata())
print(load_file(folder / "noted.safetensors"))

# %% [markdown]
# ## From a whole model to a file that lasts
#
# You have a pickled model, and you trust it. Load it once, where its code still is. Write down what builds the model,
# and its weights.

# %%
write_shop(NET)
old = torch.load(folder / "net.pt", weights_only=False)
torch.save({"arguments": {}, "weights": old.state_dict()}, folder / "lasting.pt")

# %% [markdown]
# The proof, in a Python that is really new, not one of `fresh.run`: the class has moved and has another name, `torch.load` is the
# default one, and the answers are the same. (`torch.set_num_threads(1)`, as in this notebook: another number of threads
# may change the last bits.)

# %%
with torch.no_grad():
    torch.save(net.eval()(test.tensors[0]), folder / "answers.pt")

write_shop(NET.replace("class Net", "class DigitNet"), name="models")
program = """
import torch
from shop.models import DigitNet
torch.set_num_threads(1)
file = torch.load("lasting.pt")
net = DigitNet(**file["arguments"])
net.load_state_dict(file["weights"])
images, labels = torch.load("test.pt")
with torch.no_grad():
    print("equal:", torch.equal(net.eval()(images), torch.load("answers.pt")))
"""

# %%
import subprocess

command = [sys.executable, "-c", program]
result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
print(result.stdout, result.stderr)

# %% [markdown]
# ## Recap
#
# A pickled model holds addresses of classes, no code: rename or edit the code, and it breaks, loudly or silently. A
# pickle can run any program, so `torch.load` accepts only tensors and plain values unless you allow more. Save weights
# and the arguments that build the model, in one plain dictionary.
#
# <details>
# <summary>A pickled model loads without an error. Is it the model that was saved?</summary>
#
# Its weights are. What it computes is whatever the code on this computer says today.
# </details>
#
# <details>
# <summary>Why is a checkpoint with <code>np.mean(accuracies)</code> in it refused?</summary>
#
# A NumPy number is an object of a class that is not on the list of `weights_only`. A Python `float` is a plain value.
# </details>
#
# <details>
# <summary>A scanner says that a file is clean. May you load it with <code>weights_only=False</code>?</summary>
#
# No. A scanner knows some bad names, not all of them.
# </details>
#
# Now you: [the exercises](02_whole_model_exercises.ipynb).
