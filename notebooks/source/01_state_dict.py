# %% [markdown]
# # Save weights and load them back
#
# **You will** save a trained model's weights and prove that they come back bit for bit, take the file apart
# that holds them, and meet five mistakes that raise no error.
#
# **You need** to have trained a PyTorch model once. **About {{read}} minutes.**

# %%
from copy import deepcopy
from pathlib import Path
import torch
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

# %%
from utils import show
from utils.data import digits, loader
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/01_state_dict")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## If you have only 10 seconds
#
# Save the weights, not the model. To load them, build the model first.

# %%
model = shufflenet_v2_x0_5(num_classes=10)
torch.save(model.state_dict(), folder / "weights.pt")

# %%
model.load_state_dict(torch.load(folder / "weights.pt"))

# %% [markdown]
# After loading, call `model.eval()` if you want to predict. The rest of this lesson is why, and what can
# go wrong.

# %% [markdown]
# ## Train a model worth saving
#
# The data are 1,797 scans of handwritten digits, enlarged to 3×32×32 and split once and for all into three parts.

# %%
train, validation, test = digits()
[len(train), len(validation), len(test)]

# %% [markdown]
# ShuffleNet is one of torchvision's small networks. Four passes over the training images take between three
# and thirty seconds. (Numbers after `≈` differ a little from computer to computer; all else is the same on yours.)
#
# The course brings `train_epoch`, which puts the model into training mode and passes over all batches once, and
# `accuracy`, which leaves the mode as it is.

# %%
seed_everything(0)
model = shufflenet_v2_x0_5(num_classes=10)
batches = loader(train, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, 4 * len(batches))

for epoch in range(1, 5):
    loss = train_epoch(model, batches, optimizer, scheduler)
    print(f"epoch {epoch}: loss ≈ {loss:.2f}")

# %%
model.eval()
trained_accuracy = accuracy(model, loader(test))
print(f"accuracy on images it has never seen ≈ {trained_accuracy:.2f}")
print("more than 85 % right:", trained_accuracy > 0.85)

# %% [markdown]
# ## Save and load, and prove it
#
# What you would not want to train again goes into a file.

# %%
torch.save(model.state_dict(), folder / "digits.pt")

# %% [markdown]
# A new model has random weights. It guesses.

# %%
new = shufflenet_v2_x0_5(num_classes=10).eval()
print(f"accuracy ≈ {accuracy(new, loader(test)):.2f}")

# %% [markdown]
# Now it gets the weights from the file.

# %%
new.load_state_dict(torch.load(folder / "digits.pt"))

# %% [markdown]
# *Predict:* how far apart are the answers of the two models, for all test images together?

# %%
images, labels = test.tensors
with torch.no_grad():
    difference = (new(images) - model(images)).abs().max().item()
print("largest difference:", difference)

# %% [markdown]
# Zero, because not one bit of the weights differs:

# %%
saved, loaded = model.state_dict(), new.state_dict()
print("all equal:", all(torch.equal(saved[name], loaded[name]) for name in saved))

# %% [markdown]
# These are ten of the images, and what the new model reads:

# %%
show.digit_images(images[:10], labels[:10], new(images[:10]).argmax(dim=1))

# %% [markdown]
# ## What a state_dict is
#
# A dictionary: from names to tensors.

# %%
state = model.state_dict()
print(type(state).__name__, "with", len(state), "entries")

# %%
show.Table(
    ["name", "shape", "dtype"],
    [(name, tuple(t.shape), t.dtype) for name, t in list(state.items())[:7]],
)

# %% [markdown]
# A name is the way to the tensor, attribute by attribute. `conv1.1.weight` is the weight of the second
# module in `model.conv1`:

# %%
torch.equal(state["conv1.1.weight"], model.conv1[1].weight)

# %% [markdown]
# Two kinds of tensors are in there. **Parameters** are what the optimizer changes. **Buffers** are what the
# model keeps besides, such as the running mean and variance of batch norm.

# %%
parameters = dict(model.named_parameters())
buffers = dict(model.named_buffers())
print(len(parameters), "parameters +", len(buffers), "buffers =", len(state))

# %% [markdown]
# Many pages say that a state_dict holds "the learnable parameters". That leaves out the buffers, half of the
# entries here. What would this model be without them? Let us load only the parameters into a new one.

# %%
without = shufflenet_v2_x0_5(num_classes=10).eval()
without.load_state_dict(parameters, strict=False)  # strict=False: do not complain
print("more than 40 % right:", accuracy(without, loader(test)) > 0.4)

# %% [markdown]
# ### Your own tensors
#
# In a module of your own, `nn.Parameter` makes a parameter, and `register_buffer(name, tensor)` makes a buffer.
# A buffer can be told not to be saved. *Predict:* which of these four are in the `state_dict()`?


# %%
class Four(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.offset = torch.zeros(2)


# %%
list(Four().state_dict())

# %% [markdown]
# `cache` is left out because it says so: `persistent=False`. `offset` is left out because a tensor that is
# merely an attribute is neither parameter nor buffer. That is the **first mistake without a message**: save such a
# model, load it, and `offset` is whatever `__init__` makes it. The cure is to replace the assignment:


# %%
class Cured(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.zeros(2))  # not: self.offset = …

    def forward(self, inputs):
        self.offset = inputs.mean(dim=0)  # assigning later is fine: it stays a buffer
        return inputs - self.offset


print(list(Cured().state_dict()))

# %% [markdown]
# ### Two ways to hold layers
#
# *Predict:* how many entries does each of these two state_dicts have? Each `nn.Linear` has a weight and a bias.


# %%
class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]


class Registered(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])


# %%
print(list(Listed().state_dict()))
print(list(Registered().state_dict()))

# %% [markdown]
# The **second mistake without a message**: a Python list hides its modules. They are not saved, and not trained
# either. Only the optimizer complains, and only if the model has no other parameters:

# %%
try:
    torch.optim.SGD(Listed().parameters(), lr=0.1)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# Use `nn.ModuleList` or `nn.ModuleDict` for modules, and `nn.ParameterList` or `nn.ParameterDict` for parameters.

# %% [markdown]
# ## What it does not hold
#
# A state_dict is tensors and their names. Let us change four other things about a small model, and see which of
# them come along: its mode, a frozen weight, the probability of its dropout, and a hook, which is a function that
# runs after each `forward`.

# %%
old = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2))
old.eval()
old[0].weight.requires_grad = False
old[1].p = 0.9
old.register_forward_hook(lambda module, inputs, output: output)

fresh = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2))
fresh.load_state_dict(old.state_dict())


# %%
def facts(m):
    return [m.training, m[0].weight.requires_grad, m[1].p, len(m._forward_hooks)]


names = ["training mode", "weight is trainable", "dropout", "forward hooks"]
rows = list(zip(names, facts(old), facts(fresh)))
show.Table(["", "saved from", "loaded into"], rows)

# %% [markdown]
# None of them did. The class and its arguments are not in the file either: your program builds the model,
# and the file fills it. (How to keep the arguments beside the weights is part of lesson 2.)

# %% [markdown]
# ## Inside the file
#
# A file of `torch.save` is a zip archive. Python's own `zipfile` opens it.

# %%
import zipfile

print(zipfile.is_zipfile(folder / "digits.pt"))

# %%
show.anatomy(folder / "digits.pt")

# %% [markdown]
# A **storage** is the memory behind a tensor: its numbers, one after the other. The file holds one entry for every
# storage, a small *pickle* that says what they mean, and a few bytes about the format. Where do the bytes go?

# %%
show.file_map(folder / "digits.pt")

# %% [markdown]
# 93 % of the file are the numbers, 3 % are names and shapes in the pickle, and 4 % are the zip around them.
#
# How much of this can you read yourself? A file with one tensor in it:

# %%
torch.save({"w": torch.arange(4.0)}, folder / "tiny.pt")
archive = zipfile.ZipFile(folder / "tiny.pt")
archive.namelist()

# %% [markdown]
# Each name begins with the file's own, `tiny`. And `tiny/data/0` is the storage: nothing but the numbers, four bytes
# each.

# %%
torch.frombuffer(bytearray(archive.read("tiny/data/0")), dtype=torch.float32)

# %% [markdown]
# The pickle is a small program that rebuilds the dictionary. These are the functions and classes that it
# asks for by name:

# %%
show.pickle_names(folder / "tiny.pt")

# %% [markdown]
# These are harmless. That a pickle *can* name any function of your computer is why lesson 2 is about trust.
#
# ### One storage, two names
#
# *Predict:* how many storages are in a file with two names for one tensor? And how long is the storage of a slice, two
# numbers out of a thousand?

# %%
thousand = torch.zeros(1000)
torch.save({"first": thousand, "second": thousand}, folder / "names.pt")
torch.save(thousand[:2], folder / "slice.pt")

for name in ("names", "slice"):
    for entry in zipfile.ZipFile(folder / f"{name}.pt").infolist():
        if entry.filename.startswith(f"{name}/data/"):
            print(entry.filename, entry.file_size)

# %% [markdown]
# What shares memory is stored once, and comes back sharing. But a slice takes its whole storage along, here 4,000
# bytes for two numbers: the **third mistake without a message**. Save `thousand[:2].clone()`, which has a storage of
# its own.
#
# ### A look without loading
#
# To see what is in a file without loading its numbers, load it to the device `meta`: names, shapes, types, no
# memory.

# %%
peek = torch.load(folder / "digits.pt", map_location="meta")
print(peek["fc.weight"].shape, peek["fc.weight"].device)

# %% [markdown]
# ### The name of the file does not matter, nearly
#
# `.pt` and `.pth` are habits; some projects write `.bin` or `.tar`. The content is the same zip.

# %%
torch.save(model.state_dict(), folder / "digits.tar")
print("a zip:", zipfile.is_zipfile(folder / "digits.tar"))
print("loads:", len(torch.load(folder / "digits.tar")), "entries")

# %% [markdown]
# One name does matter: since torch 2.13, a path that ends in `.safetensors` is read as that other format, whatever
# is inside.

# %%
torch.save(model.state_dict(), folder / "digits.safetensors")
try:
    torch.load(folder / "digits.safetensors")
    print("no error: this needs torch 2.13, and here is", torch.__version__)
except Exception as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# ## Sharp bits
#
# ### The best weights that were not kept
#
# During training one keeps the weights of the best epoch. Here are two ways to do it, and then a pass with a
# learning rate of 1, far too high. *Predict:* does `state_dict()` copy the weights?

# %%
best = model.state_dict()
best_copy = deepcopy(model.state_dict())

too_fast = torch.optim.SGD(model.parameters(), lr=1.0)
train_epoch(model, batches, too_fast)
print("still more than 85 % right:", accuracy(model.eval(), loader(test)) > 0.85)

# %% [markdown]
# The model is ruined. Which of the two brings it back?

# %%
model.load_state_dict(best)
print("best:     ", "more than 85 % right:", accuracy(model, loader(test)) > 0.85)
model.load_state_dict(best_copy)
print("best_copy:", "more than 85 % right:", accuracy(model, loader(test)) > 0.85)

# %% [markdown]
# The **fourth mistake without a message**. `state_dict()` copies nothing: its tensors *are* the model's, so `best`
# followed every later step. `.copy()` does not help either: a new dictionary, but the same memory.

# %%
same_memory = model.fc.weight.data_ptr()
print(model.state_dict()["fc.weight"].data_ptr() == same_memory)
print(model.state_dict().copy()["fc.weight"].data_ptr() == same_memory)
print(deepcopy(model.state_dict())["fc.weight"].data_ptr() == same_memory)

# %% [markdown]
# Keep `deepcopy(model.state_dict())`, or write it to a file at once.

# %% [markdown]
# ### eval() forgotten
#
# The **fifth mistake without a message**. A new model is in training mode, and loading does not change that.
# *Predict:* what does it cost to forget `eval()`, for batches of 2, 5 and 10 images?

# %%
results = {}
for size in (2, 5, 10):
    new.load_state_dict(torch.load(folder / "digits.pt"))  # why each time: see below
    in_eval = accuracy(new.eval(), loader(test, size))
    results[size] = (in_eval, accuracy(new.train(), loader(test, size)))

# %%
show.accuracy_bars(results)

# %% [markdown]
# In eval mode the accuracy is the same for every batch size. In training mode it is always worse, and the
# smaller the batch, the worse: batch norm takes mean and variance from the images that happen to be in the batch.
#
# There is more. Looking is enough to change the model: each batch moves the running mean and variance, even
# under `torch.no_grad()`.

# %%
new.load_state_dict(torch.load(folder / "digits.pt"))
before = deepcopy(new.state_dict())
with torch.no_grad():
    new.train()(images[:50])
after = new.state_dict()
changed = [name for name in before if not torch.equal(before[name], after[name])]
print(len(changed), "of", len(before), "entries changed, for example", changed[0])

# %% [markdown]
# > **Help: I get `Expected more than 1 value per channel when training`.** You are predicting a single image with a
# > model that is still in training mode.

# %%
try:
    new.train()(images[:1])
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ### Messages you may meet
#
# > **Help: I get `Expected state_dict to be dict-like, got <class 'str'>`.** `load_state_dict` wants the dictionary;
# > `torch.load` is what reads the file.

# %%
try:
    new.load_state_dict("files/01_state_dict/digits.pt")
except TypeError as error:
    print("TypeError:", error)

# %% [markdown]
# > **Help: I get `'collections.OrderedDict' object has no attribute 'eval'`.** The file holds weights, so
# > `torch.load` gives you weights, not a model.

# %%
try:
    torch.load(folder / "digits.pt").eval()
except AttributeError as error:
    print("AttributeError:", error)

# %% [markdown]
# > **Help: I get `'_IncompatibleKeys' object has no attribute 'eval'`.** `load_state_dict` changes the model and
# > returns a report. Do not assign it to `model`.

# %%
report = new.load_state_dict(torch.load(folder / "digits.pt"))
try:
    report.eval()
except AttributeError as error:
    print("AttributeError:", error)

# %% [markdown]
# > **Help: I get `Missing key(s) in state_dict`.** The model that you built and the one that was saved name
# > their tensors differently. The message lists the names that only the model has, then those that only the
# > dictionary has.

# %%
try:
    nn.Linear(4, 2).load_state_dict(nn.Sequential(nn.Linear(4, 2)).state_dict())
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# ## Not only models
#
# `torch.save` takes tensors, numbers, strings, lists and dictionaries, one inside the other.

# %%
kept = {"accuracy": 0.96, "classes": list("0123456789"), "example": images[0].clone()}
torch.save(kept, folder / "kept.pt")

back = torch.load(folder / "kept.pt")
print(back["accuracy"], back["classes"], back["example"].shape)

# %% [markdown]
# `torch.save` writes to anything that behaves like a file, for example to memory: to send weights over a network, or into
# a database. After writing, the position is at the end. *Predict:* what does loading say now?

# %%
import io

memory = io.BytesIO()
torch.save(model.state_dict(), memory)
try:
    torch.load(memory)
except EOFError as error:
    print(f"EOFError: {error}")

# %% [markdown]
# An error without a word. Go back to the beginning first:

# %%
memory.seek(0)
print(len(torch.load(memory)), "entries from", len(memory.getvalue()), "bytes")

# %% [markdown]
# ## The proof
#
# The real test of a saved model is a process that knows nothing of this one. We write down what the model
# answers here …

# %%
model.eval()
with torch.no_grad():
    torch.save({"images": images, "answers": model(images)}, folder / "expected.pt")

# %% [markdown]
# … and let a new Python load the weights, answer the same images, and compare. (One thread, as in this notebook:
# with another number of them the last bits may differ. Starting Python and torch takes up to ten seconds.)

# %%
program = """
import torch
from torchvision.models import shufflenet_v2_x0_5

torch.set_num_threads(1)
model = shufflenet_v2_x0_5(num_classes=10)
model.load_state_dict(torch.load("files/01_state_dict/digits.pt"))
model.eval()

expected = torch.load("files/01_state_dict/expected.pt")
with torch.no_grad():
    print("equal:", torch.equal(model(expected["images"]), expected["answers"]))
"""

# %%
import subprocess, sys

result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
print(result.stdout, result.stderr)

# %% [markdown]
# ## Recap
#
# A `state_dict` maps names to tensors: parameters and buffers, nothing else. `torch.save` puts it into a zip
# file, `torch.load` reads it, and `load_state_dict` copies it into a model that you have built. Take a
# `deepcopy` of what you want to keep, and call `eval()` before you predict.
#
# <details>
# <summary>Where does a batch norm layer keep its running mean, and is it saved?</summary>
#
# In a buffer, and yes: persistent buffers are in the state_dict.
# </details>
#
# <details>
# <summary>Why does <code>best = model.state_dict()</code> not keep the best weights?</summary>
#
# Its tensors are the model's own: they change with every step.
# </details>
#
# <details>
# <summary>You load weights into a new model and predict. What else does the model need first?</summary>
#
# `model.eval()`: a new model is in training mode, and a state_dict does not hold the mode.
# </details>
#
# Now you: [the exercises](01_state_dict_exercises.ipynb).
