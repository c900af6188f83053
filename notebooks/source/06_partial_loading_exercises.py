# %% [markdown]
# # Exercises: load part of a model, or a model that is not quite yours
#
# {{Count}} exercises on [lesson 6](06_partial_loading.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, or repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
from copy import deepcopy
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small
from utils.checks import todo, partial_loading as check

# %% [markdown]
# ## 6.1 Take the wrappers off (5 minutes)
#
# This function harms names. Repair it: `unwrap(state)` returns a new dictionary in which the names have lost the prefixes of
# wrappers, `module.` and `_orig_mod.`, in whatever order and however often they were nested. A prefix is a wrapper's only
# if *every* name begins with it; all else in a name stays as it is. `state` may be empty.
#
# | names in `state` | names that are returned |
# |:--|:--|
# | `module._orig_mod.submodule.fc.weight`, `module._orig_mod.scale` | `submodule.fc.weight`, `scale` |
# | `module.weight`, `scale` | `module.weight`, `scale` |
#
# <details>
# <summary>Hint</summary>
#
# `all(name.startswith(prefix) for name in state)` says whether a prefix is a wrapper's. After one is off, look again.
# </details>


# %%
def unwrap(state):
    # BEGIN BROKEN
    return {
        name.replace("module.", "").replace("_orig_mod.", ""): tensor
        for name, tensor in state.items()
    }
    # END BROKEN
    # BEGIN SOLUTION
    for prefix in ("module.", "_orig_mod."):
        if state and all(name.startswith(prefix) for name in state):
            return unwrap({name.removeprefix(prefix): t for name, t in state.items()})
    return dict(state)
    # END SOLUTION


# %%
check.takes_wrappers_off(unwrap)

# %% [markdown] tags=["solution"]
# The function calls itself until no prefix is left. The lesson's version looked at each name alone, and would have taken
# `module.` from a net with a layer of that name. Where a net has nothing but such a layer, no rule can tell.

# %% [markdown]
# ## 6.2 Load what fits, and report the rest (6 minutes)
#
# `load_what_fits(model, state)` loads every entry whose name and shape fit, and leaves the others of the model as they are.
# It returns a dictionary with three keys:
#
# | key | value |
# |:--|:--|
# | `"missing"` | a list of the names that only the model has |
# | `"unexpected"` | a list of the names that only the file has |
# | `"shapes"` | a dictionary for the names that both have, with other shapes: `{name: (shape in the file, in the model)}` |
#
# If not a single entry fits, it raises `ValueError` and loads nothing: such a file is never what was wanted.
#
# <details>
# <summary>Hint</summary>
#
# Filter first, as the lesson's function of this name does. Running statistics are entries too, so take the model's names
# from its `state_dict()`.
# </details>


# %%
def load_what_fits(model, state):
    # BEGIN SOLUTION
    own = model.state_dict()
    common = [name for name in state if name in own]
    fitting = {n: state[n] for n in common if state[n].shape == own[n].shape}
    if not fitting:
        raise ValueError("no entry of the file fits this model")
    model.load_state_dict(fitting, strict=False)
    return {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "shapes": {
            n: (tuple(state[n].shape), tuple(own[n].shape))
            for n in common
            if n not in fitting
        },
    }
    # END SOLUTION


# %%
check.loads_what_fits(load_what_fits)

# %% [markdown] tags=["solution"]
# The `missing_keys` that `load_state_dict` returns for the filtered dictionary would not do: they include the entries that
# were filtered out for their shape, which the file does have.

# %% [markdown]
# ## 6.3 All or nothing (5 minutes)
#
# This function is to load `state` and return `True`, or return `False` and leave the model exactly as it was. It looks
# right, and the model is damaged after a `False`. Repair it. The parameters stay the same objects, because an optimizer
# holds them.
#
# <details>
# <summary>Hint</summary>
#
# What does `state_dict()` return, copies or the model's own tensors? [Lesson 1](01_state_dict.ipynb) shows it.
# </details>


# %%
def try_to_load(model, state):
    # BEGIN BROKEN
    before = model.state_dict()
    # END BROKEN
    # BEGIN SOLUTION
    before = deepcopy(model.state_dict())
    # END SOLUTION
    try:
        model.load_state_dict(state)
    except RuntimeError:
        model.load_state_dict(before)
        return False
    return True


# %%
check.loads_all_or_nothing(try_to_load)

# %% [markdown] tags=["solution"]
# `state_dict()` returns the model's own tensors, so the failed load had overwritten `before` too. Loading into
# `deepcopy(model)` first, or comparing names and shapes first, is as good.

# %% [markdown]
# ## 6.4 A new head (6 minutes)
#
# The file at `path` holds the weights of a `mobilenet_v3_small`, trained for some number of classes.
# `for_new_task(path, num_classes)` returns a `mobilenet_v3_small` for the new number of classes:
#
# - Its last layer is new, *also when the number of classes is the same*. Everything else is the file's.
# - If the file does not have, apart from the last layer, exactly the entries of such a net, it raises an error, of any kind.
#   A file with the prefix `module.` on its names, for example, is refused.
#
# <details>
# <summary>Hint</summary>
#
# Which entries are the last layer? `list(mobilenet_v3_small().state_dict())[-6:]` shows the last names.
# </details>
#
# <details>
# <summary>Second hint</summary>
#
# The answer of `load_state_dict` says what was left. Compare it with what you expect.
# </details>


# %%
def for_new_task(path, num_classes):
    # BEGIN SOLUTION
    state = torch.load(path)
    head = ["classifier.3.weight", "classifier.3.bias"]
    for name in head:
        del state[name]
    model = mobilenet_v3_small(num_classes=num_classes)
    left = model.load_state_dict(state, strict=False)
    if left.missing_keys != head or left.unexpected_keys:
        raise ValueError(f"not the file of a mobilenet_v3_small: {left}")
    return model
    # END SOLUTION


# %%
check.swaps_the_head(for_new_task)

# %% [markdown] tags=["solution"]
# Filtering by shape would keep the old head where the number of classes happens to agree, and filtering by `classifier.`
# would lose a trained layer, `classifier.0`. Another way needs no `strict=False` at all: build the net for the number of
# classes of the file, load strictly, then replace the layer, `model.classifier[3] = nn.Linear(1024, num_classes)`.

# %% [markdown]
# ## 6.5 Somebody else's names (5 minutes)
#
# Two classes compute the same. Write `translate(state)`: it returns a state_dict for `Mine` that makes it answer exactly as
# the `Theirs` did whose state_dict it is given, in whatever order that lists its entries.


# %%
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


# %%
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


# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Follow an image through both `forward`s, and write down which layer is which. `list(Mine().state_dict())` shows the names
# that are wanted.
# </details>


# %%
def translate(state):
    # BEGIN SOLUTION
    layers = {
        "first": "stem.0",
        "norm": "stem.1",
        "second": "block.main",
        "shortcut": "block.skip",
        "out": "head",
    }
    translated = {}
    for name, tensor in state.items():
        layer, entry = name.split(".")
        translated[f"{layers[layer]}.{entry}"] = tensor
    return translated
    # END SOLUTION


# %%
check.translates(translate)

# %% [markdown] tags=["solution"]
# `second` and `shortcut` have the same shapes: exchanged, they load without a word, and only the outputs tell. The map has
# five lines, one for each layer, and the entries of a layer (running statistics too) come along.

# %% [markdown]
# ## 6.6 Predict what is loaded (3 minutes)
#
# `state` is the state_dict of a trained `SmallCNN()`. What happens to the model on the left of each `load_state_dict`?
#
# - **a** `SmallCNN().load_state_dict({f"module.{n}": t for n, t in state.items()}, strict=False)`
# - **b** `SmallCNN(num_classes=2).load_state_dict(state, strict=False)`
# - **c** the same as b, but the error, if there is one, is caught, and the model used further
# - **d** `SmallCNN().load_state_dict({**state, "epoch": torch.tensor(4)}, strict=False)`
# - **e** `parametrizations.weight_norm(nn.Linear(3, 2)).load_state_dict(old.state_dict())`, where `old` is
#   `nn.utils.weight_norm(nn.Linear(3, 2))`
# - **f** `nn.LazyLinear(2).load_state_dict(nn.Linear(3, 5).state_dict())`
#
# Write a dictionary from the letters to one of these words: `"error"`, it raises; `"all"`, all of the model's entries come
# from the dictionary; `"part"`, some of them do; `"nothing"`, none does.
#
# <details>
# <summary>Hint</summary>
#
# Each has a section of the lesson. For c, it is *The error comes too late*.
# </details>

# %%
# BEGIN SOLUTION
loaded = {"a": "nothing", "b": "error", "c": "part", "d": "all", "e": "all", "f": "all"}
# END SOLUTION

# %%
check.predicts_what_is_loaded(loaded)

# %% [markdown] tags=["solution"]
# The dangerous ones are a and c: a model that is not what the program believes, and no error that anybody sees. In f, all is
# loaded, and the layer has five outputs where two were asked for.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
