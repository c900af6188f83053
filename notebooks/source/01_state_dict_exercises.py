# %% [markdown]
# # Exercises: save weights and load them back
#
# {{Count}} exercises on [lesson 1](01_state_dict.ipynb), about {{minutes}} minutes. Write your answer where it
# says `TODO`, or repair what is there, run the cell, then run the check below it. A check says what is wrong as often as you like to
# ask.
#
# Each time you open this notebook, run the next cell first.

# %%
from copy import deepcopy
from pathlib import Path
import zipfile
import torch
from torch import nn
from utils.checks import todo, state_dict as check

# %% [markdown]
# ## 1.1 Save and restore (4 minutes)
#
# Write two functions. `save(model, path)` writes the model's weights to the file `path`, with `torch.save`.
# `restore(model, path)` gets a *new* model of the same class, and returns that model: with the saved weights in it,
# and ready to predict.
#
# The check saves a trained model with your `save`, and calls your `restore` in a new process.
#
# <details>
# <summary>Hint</summary>
#
# The two lines of the lesson's first section are most of it. What does a new model need besides its weights?
# </details>


# %%
def save(model, path):
    # BEGIN SOLUTION
    torch.save(model.state_dict(), path)
    # END SOLUTION


def restore(model, path):
    # BEGIN SOLUTION
    model.load_state_dict(torch.load(path))
    model.eval()
    return model
    # END SOLUTION


# %%
check.saves_and_restores(save, restore)

# %% [markdown] tags=["solution"]
# `load_state_dict` changes the model in place and returns a report, so the model is returned on a line of its own.
# `return model.eval()` is as good: `eval()` returns the model. Saving `model` itself instead of its
# `state_dict()` would put the name of the class into the file, and `torch.load` refuses such a file unless told
# to trust it.

# %% [markdown]
# ## 1.2 Predict the names (4 minutes)
#
# Without running it: which names does `Puzzle().state_dict()` have? Write them as a list of strings. (Once the
# check agrees, run it and compare.)


# %%
class Puzzle(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.act = nn.ReLU()
        self.heads = [nn.Linear(4, 2), nn.Linear(4, 2)]
        self.gain = nn.Parameter(torch.ones(1))
        self.shift = torch.zeros(1)
        self.register_buffer("table", torch.zeros(3))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)


# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Go line by line. `affine=False` means: no weight and no bias. What does a batch norm keep besides? The table of
# the lesson's section *What a state_dict is* shows it.
# </details>

# %%
# BEGIN SOLUTION
predicted = [
    "gain",
    "table",
    "embed.weight",
    "norm.running_mean",
    "norm.running_var",
    "norm.num_batches_tracked",
]
# END SOLUTION

# %%
check.predicts_names(predicted)

# %% [markdown] tags=["solution"]
# `heads` is a plain list, so its modules are invisible. `shift` is a plain tensor. `scratch` asks not to be
# saved. `act` has no tensors. The running statistics of the batch norm are buffers, and there are three of
# them: people forget `num_batches_tracked`.

# %% [markdown]
# ## 1.3 Keep the best weights (5 minutes)
#
# This function trains for some epochs and should return the weights of the epoch with the highest score. It
# returns something else. Repair it.
#
# It gets the model, a number of epochs, a function `train_one_epoch(model)` that changes the weights, and
# a function `score(model)` whose result is better when it is higher. If two epochs have the same score, the first one
# counts. What is returned must stay as it is when the model trains on.
#
# <details>
# <summary>Hint</summary>
#
# Run the check, and read which weights come back. Why those?
# </details>


# %%
def train_and_keep_best(model, epochs, train_one_epoch, score):
    best_score, best = float("-inf"), None
    for _ in range(epochs):
        train_one_epoch(model)
        this_score = score(model)
        if this_score > best_score:
            # BEGIN BROKEN
            best_score, best = this_score, model.state_dict()
            # END BROKEN
            # BEGIN SOLUTION
            best_score, best = this_score, deepcopy(model.state_dict())
            # END SOLUTION
    return best


# %%
check.keeps_the_best(train_and_keep_best)

# %% [markdown] tags=["solution"]
# `model.state_dict()` holds the model's own tensors, which the next epoch changes. `deepcopy` makes tensors of
# their own. `{name: tensor.clone() for name, tensor in model.state_dict().items()}` does so too; and writing the weights to
# a file survives a crash as well.

# %% [markdown]
# ## 1.4 Nothing gets lost (6 minutes)
#
# `Stacked` runs, but it trains nothing and loses everything when you save it. Repair `__init__` so that
#
# - all its layers, and `center` under this name, are in the state_dict, for every `depth`;
# - `center`, which is computed and not trained, is no parameter;
# - `seen`, which counts images while the program runs, is not saved.
#
# Leave `forward` as it is.
#
# <details>
# <summary>Hint</summary>
#
# The lesson shows the cure for the layers in *Two ways to hold layers*, and the one for `center` right before it.
# </details>


# %%
class Stacked(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.seen = 0
        # BEGIN BROKEN
        self.layers = [nn.Linear(8, 8) for _ in range(depth)]
        self.center = torch.zeros(8)
        # END BROKEN
        # BEGIN SOLUTION
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])
        self.register_buffer("center", torch.zeros(8))
        # END SOLUTION

    def forward(self, inputs):
        if self.training:
            self.seen += len(inputs)
            self.center = inputs.mean(dim=0)
        outputs = inputs - self.center
        for layer in self.layers:
            outputs = torch.relu(layer(outputs))
        return outputs


# %%
check.loses_nothing(Stacked)

# %% [markdown] tags=["solution"]
# `nn.ModuleList` registers the layers, `register_buffer` registers a tensor that is saved and not trained.
# `nn.Sequential` for the layers is accepted as well: it can be iterated. A Python number such as `seen` is never in the
# state_dict.

# %% [markdown]
# ## 1.5 Read the messages (3 minutes)
#
# Four messages from four programs that load a model:
#
# 1. `RuntimeError: Error(s) in loading state_dict for Net:` `Missing key(s) in state_dict: "head.weight",
#    "head.bias".` `Unexpected key(s) in state_dict: "fc.weight", "fc.bias".`
# 2. `AttributeError: '_IncompatibleKeys' object has no attribute 'to'`
# 3. `EOFError`, and nothing else
# 4. `ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 64, 1, 1])`
#
# Which cause does each of them have? Two of these causes are left over.
#
# - **a** `load_state_dict` got a path
# - **b** `torch.load` got a file that holds weights, and its result was used as a model
# - **c** the result of `load_state_dict` was used as a model
# - **d** the model that was built names its tensors differently from the one that was saved
# - **e** a single image met a model in training mode
# - **f** the file was read from its end
#
# Write a dictionary such as `{1: "a", 2: "b", 3: "c", 4: "d"}`, which is wrong.
#
# <details>
# <summary>Hint</summary>
#
# All four are made to happen in the lesson's *Sharp bits* and *Not only models*.
# </details>

# %%
# BEGIN SOLUTION
diagnosis = {1: "d", 2: "c", 3: "f", 4: "e"}
# END SOLUTION

# %%
check.reads_messages(diagnosis)

# %% [markdown] tags=["solution"]
# The names that are missing are the model's, the unexpected ones are the file's. `_IncompatibleKeys` is the class of the
# report that `load_state_dict` returns. `EOFError` is what `torch.load` says when nothing is left to read: a
# `BytesIO` without `seek(0)`, or an empty file. One value per channel is no basis for a mean and a variance.

# %% [markdown]
# ## 1.6 Count the bytes (7 minutes)
#
# Write `bytes_of_numbers(path)`: how many bytes of a file of `torch.save` are storages? It returns their sum, an int.
# Use `zipfile` and not `torch.load`. The check tries files of several names, and one in which two names share one
# tensor.
#
# <details>
# <summary>Hint 1</summary>
#
# The lesson's section *One storage, two names* goes through the entries of a file, and prints their names and sizes.
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Compare the entries `tiny/data/0` and `tiny/data.pkl` of the lesson. And what would they be called in a file named
# `data.pt`?
# </details>


# %%
def bytes_of_numbers(path):
    # BEGIN SOLUTION
    with zipfile.ZipFile(path) as archive:
        return sum(
            entry.file_size
            for entry in archive.infolist()
            if entry.filename.split("/")[1:2] == ["data"]
        )
    # END SOLUTION


# %%
check.counts_bytes(bytes_of_numbers)

# %% [markdown] tags=["solution"]
# Every entry's name begins with the stem of the file's name, so `"data/" in entry.filename` counts everything in a
# file named `data.pt`. Its second part, or a test for `"/data/"`, tells the storages. A tensor with two names is stored once:
# the pickle refers to the same storage twice.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
