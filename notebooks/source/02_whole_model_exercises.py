# %% [markdown]
# # Exercises: pickle a whole model, and see why not to
#
# {{Count}} exercises on [lesson 2](02_whole_model.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, or repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import argparse
from pathlib import Path
import torch
from utils.checks import todo, whole_model as check
from utils.models import SmallCNN

# %% [markdown]
# ## 2.1 Clean a checkpoint (7 minutes)
#
# A training program makes a checkpoint like this, and `torch.load` refuses the file:
#
# | key | value |
# |:--|:--|
# | `weights` | a state_dict |
# | `accuracy` | a NumPy number, from `np.mean` |
# | `losses` | a list of NumPy numbers |
# | `confusion` | a NumPy array with two dimensions |
# | `data` | a `pathlib.Path` |
# | `options` | an `argparse.Namespace` |
# | `seen` | a `collections.defaultdict` |
#
# Write `clean(checkpoint)`: it returns a new dictionary with the same keys, which says the same in plain values, so
# that the default `torch.load` reads it back. Arrays become nested lists, and the path a string. Inside `options` and
# `seen` all values are plain. The checkpoint that it is given stays as it was.
#
# <details>
# <summary>Hint</summary>
#
# The cure for each kind of value is in the lesson's section *What weights_only accepts*.
# </details>


# %%
def clean(checkpoint):
    # BEGIN SOLUTION
    return {
        "weights": checkpoint["weights"],
        "accuracy": float(checkpoint["accuracy"]),
        "losses": [float(loss) for loss in checkpoint["losses"]],
        "confusion": checkpoint["confusion"].tolist(),
        "data": str(checkpoint["data"]),
        "options": vars(checkpoint["options"]),
        "seen": dict(checkpoint["seen"]),
    }
    # END SOLUTION


# %%
check.cleans(clean)

# %% [markdown] tags=["solution"]
# Better still is to make the values plain where they arise: `accuracy = float(np.mean(correct))`. A list of NumPy
# numbers is as bad as one of them: the list is plain, its elements are not.

# %% [markdown]
# ## 2.2 Find the lines (3 minutes)
#
# The default `torch.load` refuses the file that holds this checkpoint. Which lines are to blame? Each is to be judged
# as if it were alone.
#
# ```python
#  1  checkpoint = {
#  2      "weights": model.state_dict(),
#  3      "epoch": 4,
#  4      "accuracy": np.mean([0.9, 0.8]),
#  5      "classes": tuple(range(10)),
#  6      "device": torch.device("cpu"),
#  7      "started": datetime.datetime.now(),
#  8      "version": torch.__version__,
#  9      "generator": random.getstate(),
# 10      "best": model.state_dict,
# 11  }
# ```
#
# Write a set of line numbers, such as `{1, 11}`, which is wrong.
#
# <details>
# <summary>Hint</summary>
#
# The lesson's table has all of them but one. That one is a slip of the keyboard.
# </details>

# %%
# BEGIN SOLUTION
lines = {4, 7, 8, 10}
# END SOLUTION

# %%
check.finds_lines(lines)

# %% [markdown] tags=["solution"]
# `model.state_dict` without parentheses is a method, and with it the whole model. `torch.__version__` looks like a string
# and is an object of a class `TorchVersion`: store `str(torch.__version__)`.

# %% [markdown]
# ## 2.3 Predict the breakage (4 minutes)
#
# A `Net` was saved whole, and `weights_only=False` loads it. What does each of these changes to the code do, made
# alone?
#
# ```python
# class Net(nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.body = nn.Linear(4, 4)
#         self.head = nn.Linear(4, 2)
#
#     def forward(self, x):
#         return self.head(torch.relu(self.body(x)))
# ```
#
# - **a** the class is renamed to `Network`
# - **b** `__init__` gets a new argument: `def __init__(self, width):`
# - **c** `self.body` becomes `self.backbone`, in both places
# - **d** `torch.relu` becomes `torch.tanh`
# - **e** the head becomes `nn.Linear(4, 7)`
#
# The effects: `"load"`, an error when it is loaded; `"use"`, an error when it is used; `"wrong"`, other answers
# without an error; `"same"`, the same answers as before. Write a dictionary such as `{"a": "same", "b": "load", …}` with all
# five.
#
# <details>
# <summary>Hint</summary>
#
# What does unpickling not call? The lesson says so under *An attribute gets a better name*.
# </details>

# %%
# BEGIN SOLUTION
effects = {"a": "load", "b": "same", "c": "use", "d": "wrong", "e": "same"}
# END SOLUTION

# %%
check.predicts_breakage(effects)

# %% [markdown] tags=["solution"]
# Two changes do nothing, because unpickling does not call `__init__`: the old head, with two outputs, comes back as it
# was. The check really makes each change, loads the file, and looks.

# %% [markdown]
# ## 2.4 Trust one class, not all (4 minutes)
#
# Your runs are saved with their options, an `argparse.Namespace`, and this function loads them. It also runs whatever a
# stranger puts into such a file. Repair it: `Namespace` is accepted, everything else beyond the default is refused
# with an error, and after each call, also one that ends in an error, the rest of the program is as strict as before.
#
# <details>
# <summary>Hint</summary>
#
# The lesson does it with other classes, under *Somebody else's file*.
# </details>


# %%
def load_run(path):
    # BEGIN BROKEN
    return torch.load(path, weights_only=False)
    # END BROKEN
    # BEGIN SOLUTION
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path)
    # END SOLUTION


# %%
check.trusts_one_class(load_run)

# %% [markdown] tags=["solution"]
# `safe_globals` is undone at the end of the `with`. `add_safe_globals` would allow the class for every later
# `torch.load` of the program. Comparing `get_unsafe_globals_in_checkpoint(path)` with the one name you trust, and then
# loading with `weights_only=False`, works as well, but reads the file twice.

# %% [markdown]
# ## 2.5 Migrate a pickled model (8 minutes)
#
# Old files hold whole `SmallCNN` models, built with various arguments: `SmallCNN(num_classes=…, width=…)`. You wrote
# them, so you trust them.
#
# - `migrate(old, new)` reads the old file, which stays as it is, and writes a new one that the default `torch.load`
#   accepts. It holds the weights and the arguments.
# - `rebuild(new)` returns the model, ready to predict. It is called in a new process, which has your functions and
#   imports, and no other variables.
#
# The old file does not say which arguments were used; the model's layers do. `model.head` is an `nn.Linear`, whose
# `out_features` is the number of classes. `model.features[0]` is an `nn.Conv2d`, whose `out_channels` is the width.
#
# <details>
# <summary>Hint</summary>
#
# The lesson's section *From a whole model to a file that lasts* is the way; there the model took no arguments.
# </details>


# %%
def migrate(old, new):
    # BEGIN SOLUTION
    model = torch.load(old, weights_only=False)
    arguments = {
        "num_classes": model.head.out_features,
        "width": model.features[0].out_channels,
    }
    torch.save({"arguments": arguments, "weights": model.state_dict()}, new)
    # END SOLUTION


def rebuild(new):
    # BEGIN SOLUTION
    file = torch.load(new)
    model = SmallCNN(**file["arguments"])
    model.load_state_dict(file["weights"])
    return model.eval()
    # END SOLUTION


# %%
check.migrates(migrate, rebuild)

# %% [markdown] tags=["solution"]
# The names in the dictionary are yours, as long as both functions agree. Had the arguments been saved with the model
# from the start, nobody would have to read them off its layers.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
