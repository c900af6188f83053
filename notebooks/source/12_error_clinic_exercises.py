# %% [markdown]
# # Exercises: look up a message, and cure its cause
#
# {{Count}} exercises on [lesson 12](12_error_clinic.ipynb), about {{minutes}} minutes: thirteen broken files and three broken
# programs, without an explanation. Write your answer where it says `TODO`, or repair what is there, run the cell, then run the
# check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import pickle, re, zipfile
from copy import deepcopy
from pathlib import Path
import numpy as np
import torch
from utils.checks import todo, error_clinic as check
from utils.models import SmallCNN

# %% [markdown]
# ## 12.1 Eight files (8 minutes)
#
# Each of these files was meant to hold the weights of a net. `torch.load` refuses seven of them, and loads the one that
# is damaged most quietly. (You may trust them all.)

# %%
check.make_files("files/12_error_clinic_exercises")

# %% [markdown]
# What is each of them? Write a dictionary from the letters to pairs of a word and its evidence, such as
# `{"a": ("page", 200), …}`:
#
# | word | what it is | evidence |
# |:--|:--|:--|
# | `"pointer"` | a Git-LFS pointer | the size in bytes that it names, a number |
# | `"page"` | a web page | the number in its title |
# | `"cut short"` | an archive that was cut short | its size in bytes |
# | `"flipped"` | an archive with flipped bits | the name of the damaged record |
# | `"class"` | a checkpoint with an object of a class | the name of the class, with its module |
# | `"CUDA"` | a checkpoint that a GPU wrote | the device's name, with its number |
# | `"pickle"` | a plain pickle | the only key of the dictionary in it |
# | `"safetensors"` | tensors of safetensors | the name of its only tensor |
#
# <details>
# <summary>Hint</summary>
#
# Begin with `path.read_bytes()[:100]` of each. Four of them say at once what they are, and two of these are text.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# The others begin with `PK`. Is it an archive to its end? What does `testzip` say? Then call `torch.load`, or read `data.pkl`.
# </details>

# %%
# BEGIN SOLUTION
files = {
    "a": ("CUDA", "cuda:3"),
    "b": ("pointer", 44814721),
    "c": ("flipped", "c/data/3"),
    "d": ("pickle", "accuracy"),
    "e": ("page", 403),
    "f": ("safetensors", "scale"),
    "g": ("class", "argparse.Namespace"),
    "h": ("cut short", 1234),
}
# END SOLUTION

# %%
check.says_what_files_are(files)

# %% [markdown] tags=["solution"]
# The first bytes tell **b** (`version https://git-lfs`), **e** (`<html>`), **d** (128, then no magic number) and **f** (a brace
# after eight bytes). `zipfile.is_zipfile` is false for **h** alone; `testzip()` names a record of **c**, the one that loads.
# `get_unsafe_globals_in_checkpoint` names the class in **g**, and **a** has its tag in `data.pkl`; the message of
# `torch.load` tells these two apart as well.

# %% [markdown]
# ## 12.2 Five checkpoints (6 minutes)
#
# These five files load. Each was meant to hold the state_dict of a `SmallCNN()`.

# %%
check.make_checkpoints("files/12_error_clinic_exercises")

# %% [markdown]
# What is wrong with each? The same kind of dictionary, with these words:
#
# | word | what is wrong | evidence |
# |:--|:--|:--|
# | `"prefix"` | the names have a prefix | the whole prefix, with its last dot |
# | `"nested"` | the weights are in an entry of their own | its key |
# | `"shape"` | an entry has another shape | its name |
# | `"missing"` | an entry is missing | its name |
# | `"not finite"` | an entry holds `nan` or infinity | its name |
#
# <details>
# <summary>Hint</summary>
#
# `SmallCNN().load_state_dict(torch.load(path))` has something to say about four of them. For the fifth, look at the numbers:
# `tensor.isfinite().all()`.
# </details>

# %%
# BEGIN SOLUTION
checkpoints = {
    "v": ("missing", "features.4.running_var"),
    "w": ("not finite", "features.3.weight"),
    "x": ("nested", "net"),
    "y": ("shape", "features.0.weight"),
    "z": ("prefix", "_orig_mod.module."),
}
# END SOLUTION

# %%
check.says_what_is_wrong(checkpoints)

# %% [markdown] tags=["solution"]
# The dangerous one is **w**: it loads, all keys match, and every answer of the model is `nan`. A look at the numbers before a
# checkpoint replaces the one before it costs one line.

# %% [markdown]
# ## 12.3 A program that loads (5 minutes)
#
# `load_for_use(path, model)` is to put the weights of a checkpoint into `model` and return it, ready to predict, on the CPU.
# The checkpoint is a dictionary with the weights in `"model"`; it may come from a GPU, and from inside `DataParallel`. If an
# entry is missing, or if the file holds anything but tensors and plain values, the program raises an error, of any kind. It
# does none of this. Repair it.
#
# <details>
# <summary>Hint</summary>
#
# Run it in your head on a good file first: which call gets which argument, and what does it return? Then on a bad one: who
# would notice?
# </details>


# %%
def load_for_use(path, model):
    # BEGIN BROKEN
    checkpoint = torch.load(path, weights_only=False)
    weights = {n.replace("module.", ""): t for n, t in checkpoint["model"].items()}
    model = model.load_state_dict(weights, strict=False, map_location="cpu")
    return model
    # END BROKEN
    # BEGIN SOLUTION
    checkpoint = torch.load(path, map_location="cpu")
    weights = {n.removeprefix("module."): t for n, t in checkpoint["model"].items()}
    model.load_state_dict(weights)
    return model.eval()
    # END SOLUTION


# %%
check.loads_for_use(load_for_use)

# %% [markdown] tags=["solution"]
# Six repairs: `map_location` belongs to `torch.load`; the default `weights_only=True` refuses what is no weights; a prefix
# stands at the front; strict loading notices what is missing; the report is not the model; and `eval()`.

# %% [markdown]
# ## 12.4 A program that continues (6 minutes)
#
# `resume(path, model)` is to continue a run whose checkpoint holds `"model"`, `"optimizer"`, `"scheduler"` and `"epoch"`, the
# number of the last epoch that was finished. It returns the optimizer, the scheduler and the number of the epoch to train next.
# No message comes, and the run is not the one that was stopped. Repair it.


# %%
def shrink(epoch):
    return 1 / (1 + epoch)


# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Three things are wrong, and two have their sections under *No message at all*, the third is a number. Print
# `optimizer.param_groups[0]["lr"]`, and whether the optimizer's parameters are the model's.
# </details>


# %%
def resume(path, model):
    # BEGIN BROKEN
    run = torch.load(path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.load_state_dict(run["optimizer"])
    model.load_state_dict(run["model"], assign=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)
    scheduler.load_state_dict(run["scheduler"])
    return optimizer, scheduler, run["epoch"]
    # END BROKEN
    # BEGIN SOLUTION
    run = torch.load(path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)
    model.load_state_dict(run["model"])
    optimizer.load_state_dict(run["optimizer"])
    scheduler.load_state_dict(run["scheduler"])
    return optimizer, scheduler, run["epoch"] + 1
    # END SOLUTION


# %%
check.continues_the_run(resume)

# %% [markdown] tags=["solution"]
# Build everything, then load everything: the scheduler's constructor sets the learning rate, so it comes before the optimizer is
# loaded. `assign=True` made new parameters that the optimizer did not know; without it, or before the optimizer is built, all
# is well. And epoch `"epoch"` was finished.

# %% [markdown]
# ## 12.5 A program that keeps the best (5 minutes)
#
# `keep_best(model, train, score, epochs, path)` is to train, and to keep the weights of the best epoch. `train(model)` trains
# one epoch and wants the model in train mode; `score(model)` wants it in eval mode, and returns a number that NumPy computed,
# perhaps a negative one. The file holds `"weights"` and `"score"`, nothing else, and the default `torch.load` reads it. Repair the program.
#
# <details>
# <summary>Hint</summary>
#
# What does `best` hold two epochs later? What type is the score? And which score would never be the best?
# </details>


# %%
def keep_best(model, train, score, epochs, path):
    # BEGIN BROKEN
    best = {"weights": None, "score": 0}
    for epoch in range(epochs):
        train(model)
        result = score(model)
        if result > best["score"]:
            best = {"weights": model.state_dict(), "score": result}
    torch.save(best, path)
    # END BROKEN
    # BEGIN SOLUTION
    best = {"weights": None, "score": float("-inf")}
    for epoch in range(epochs):
        model.train()
        train(model)
        model.eval()
        result = float(score(model))
        if result > best["score"]:
            best = {"weights": deepcopy(model.state_dict()), "score": result}
    torch.save(best, path)
    # END SOLUTION


# %%
check.keeps_the_best(keep_best)

# %% [markdown] tags=["solution"]
# `state_dict()` returns the model's own tensors, which train on; a copy of the dictionary does not help, a copy of the tensors
# does, or saving at once. A score of NumPy is an object of a class for `torch.load`, and a plain number after `float`.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
