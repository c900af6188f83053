# %% [markdown]
# # Exercises: train in stages, and keep several models in one file
#
# {{Count}} exercises on [lesson 8](08_stages_and_tasks.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, or repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from utils.checks import todo, stages_and_tasks as check

# %% [markdown]
# ## 8.1 Two nets, two optimizers (5 minutes)
#
# Two nets of the same class, `left` and `right`, learn from each other. Each has its own optimizer, and the training draws
# random numbers of torch.
#
# - `save_two(path, left, right, left_optimizer, right_optimizer)` writes one file with all that the run needs.
# - `load_two(path, left, right, left_optimizer, right_optimizer)` gets new objects, built alike, and brings them to where
#   the old ones were.
#
# The check goes on in a new process. The default `torch.load` must read the file.
#
# <details>
# <summary>Hint</summary>
#
# The names inside the two nets are the same, so each state_dict needs a place of its own. There is a fifth thing to save.
# </details>


# %%
def save_two(path, left, right, left_optimizer, right_optimizer):
    # BEGIN SOLUTION
    file = {
        "left": left.state_dict(),
        "right": right.state_dict(),
        "left_optimizer": left_optimizer.state_dict(),
        "right_optimizer": right_optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    torch.save(file, path)
    # END SOLUTION


def load_two(path, left, right, left_optimizer, right_optimizer):
    # BEGIN SOLUTION
    file = torch.load(path)
    left.load_state_dict(file["left"])
    right.load_state_dict(file["right"])
    left_optimizer.load_state_dict(file["left_optimizer"])
    right_optimizer.load_state_dict(file["right_optimizer"])
    torch.set_rng_state(file["rng"])
    # END SOLUTION


# %%
check.saves_two(save_two, load_two)

# %% [markdown] tags=["solution"]
# With nets of the same class every exchange fits, of models and of optimizers. Written with one dictionary of parts, and
# `capture(**parts)` and `restore(file, **parts)` of `utils/checkpoint.py`, each name stands in one place, and there is
# nothing to exchange.

# %% [markdown]
# ## 8.2 A resume that forgets what was frozen (5 minutes)
#
# The file at `path` has the keys `model`, `optimizer` and `frozen`, a list of the names of the parameters that were frozen.
# The optimizer was `SGD(…, lr=0.1, momentum=0.9)`, and held all others, in the order of `model.parameters()`.
#
# `resume(path, model)` is to bring `model` to where it was, frozen parameters too, and to return the optimizer, ready to go
# on. The model that it gets may be new, or come from another stage. As it is, it trains what was to stay, and goes on
# without the momentum. Repair it.
#
# <details>
# <summary>Hint</summary>
#
# `load_state_dict` of the optimizer raises an error, and this function hides it. When must it be decided what trains, before
# or after the optimizer is built? In some stages only a part of a layer is frozen.
# </details>


# %%
def resume(path, model):
    file = torch.load(path)
    model.load_state_dict(file["model"])
    # BEGIN BROKEN
    training = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(training, lr=0.1, momentum=0.9)
    try:
        optimizer.load_state_dict(file["optimizer"])
    except ValueError as error:
        print("going on without momentum:", error)
    # END BROKEN
    # BEGIN SOLUTION
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in file["frozen"]
    training = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(training, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(file["optimizer"])
    # END SOLUTION
    return optimizer


# %%
check.resumes_a_stage(resume)

# %% [markdown] tags=["solution"]
# A model that comes from another stage may have parameters frozen which are to train now, so the loop sets both values. The
# `try` made a loud mistake a silent one: the momentum was lost, and the frozen layers trained.

# %% [markdown]
# ## 8.3 Train mode, but not for everything (5 minutes)
#
# `to_train_mode(model)` is to put the model in train mode, except batch norms (`nn.BatchNorm1d` and `nn.BatchNorm2d`) whose
# weight is frozen: those in eval mode. Everything else trains, dropout too, wherever it is. This version puts too much in
# eval mode. Repair it.
#
# <details>
# <summary>Hint</summary>
#
# What does `all(…)` say for a module without any parameters? And what does `module.eval()` do to the modules inside?
# </details>


# %%
def to_train_mode(model):
    model.train()
    for module in model.modules():
        # BEGIN BROKEN
        if all(not p.requires_grad for p in module.parameters()):
            module.eval()
        # END BROKEN
        # BEGIN SOLUTION
        norm = isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
        if norm and not module.weight.requires_grad:
            module.eval()
        # END SOLUTION


# %%
check.trains_the_rest(to_train_mode)

# %% [markdown] tags=["solution"]
# `all` of nothing is true, so every module without parameters was put into eval mode: dropout, and with it a part of the
# regularization that the training counts on. And a frozen block took its dropout along.

# %% [markdown]
# ## 8.4 Averaged weights for use (5 minutes)
#
# The file at `path` has the keys `model` and `ema`: the state_dict of a net, and that of an `AveragedModel` of it, whose
# average is so slow that its running statistics do not fit.
#
# `for_inference(path, model, batches)` gets a new net and some batches of training images. It returns this net, ready for
# use: with the averaged weights, and with running statistics measured on the batches.
#
# <details>
# <summary>Hint</summary>
#
# Three things to do, in this order: names, statistics, mode. The net of the check has a layer that is itself called
# `module`.
# </details>


# %%
def for_inference(path, model, batches):
    # BEGIN SOLUTION
    ema = torch.load(path)["ema"]
    del ema["n_averaged"]
    model.load_state_dict({n.removeprefix("module."): t for n, t in ema.items()})
    update_bn(batches, model)
    return model.eval()
    # END SOLUTION


# %%
check.chooses_the_average(for_inference)

# %% [markdown] tags=["solution"]
# `update_bn` leaves the mode as it found it, so `eval()` comes in any case. Another way: build an `AveragedModel` around the
# net, load `ema` into it as it is, and return its `.module`.

# %% [markdown]
# ## 8.5 Predict what changes (3 minutes)
#
# A `SmallCNN`, trained before, begins its second stage: `features` frozen, the head training, with `SGD(model.parameters(),
# lr=0.1, momentum=0.9)`, of which every parameter has momentum from the first stage. One epoch of `train_epoch` follows,
# which calls `model.train()`. Which of these change?
#
# - **a** `features.0.weight`
# - **b** `features.1.running_mean`
# - **c** `features.1.running_mean`, if its batch norm is put in eval mode after `model.train()`
# - **d** the momentum of `features.0.weight` in the optimizer
# - **e** `head.weight`
# - **f** `features.1.num_batches_tracked`
#
# And one more: **g** a new `SmallCNN` loads the state_dict of the frozen one. Does `requires_grad` of its
# `features.0.weight` change?
#
# Write a dictionary from the letters to `"changes"` or `"stays"`.
#
# <details>
# <summary>Hint</summary>
#
# A frozen parameter gets no new gradient, the old one is removed by `zero_grad` at the start of each step, and an optimizer
# passes over parameters without one. See *What moves although it is frozen* in the lesson for the others.
# </details>

# %%
# BEGIN SOLUTION
changed = {
    "a": "stays",
    "b": "changes",
    "c": "stays",
    "d": "stays",
    "e": "changes",
    "f": "changes",
    "g": "stays",
}
# END SOLUTION

# %%
check.predicts_what_changes(changed)

# %% [markdown] tags=["solution"]
# An optimizer skips a parameter whose gradient is `None`, momentum and all; the old momentum waits, and comes back to life
# when the layer thaws. (`zero_grad(set_to_none=False)` would leave a gradient of zeros, and then the momentum would go on
# moving the frozen weight.)

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
