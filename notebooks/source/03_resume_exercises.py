# %% [markdown]
# # Exercises: stop, and continue as if nothing had happened
#
# {{Count}} exercises on [lesson 3](03_resume.ipynb), about {{minutes}} minutes. Write your answer where it says `TODO`, or
# repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import random
import numpy as np
import torch
from utils.checks import todo, resume as check
from utils.data import loader

# %% [markdown]
# ## 3.1 Save and resume a run (5 minutes)
#
# - `save_run(path, model, optimizer, scheduler, epoch)` writes everything that the run needs. `epoch` is the number of
#   the last epoch that is finished.
# - `load_run(path, model, optimizer, scheduler)` gets new objects, built alike, and brings them to where the old ones
#   were. It returns the number of the next epoch.
#
# The model has dropout. The check goes on in a new process, and compares the weights at the end with those of a run that
# was never stopped. The default `torch.load` must read the file.
#
# <details>
# <summary>Hint</summary>
#
# There are five things to save. The table of the lesson's section *Leave out one thing at a time* lists them.
# </details>


# %%
def save_run(path, model, optimizer, scheduler, epoch):
    # BEGIN SOLUTION
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
        "epoch": epoch,
    }
    torch.save(checkpoint, path)
    # END SOLUTION


def load_run(path, model, optimizer, scheduler):
    # BEGIN SOLUTION
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    torch.set_rng_state(checkpoint["rng"])
    return checkpoint["epoch"] + 1
    # END SOLUTION


# %%
check.saves_and_resumes(save_run, load_run)

# %% [markdown] tags=["solution"]
# Whether the file holds the last finished epoch or the next one is a convention: what counts is that both functions share
# it. The order in which the four states are loaded does not matter here, since everything was built before.

# %% [markdown]
# ## 3.2 Build, then load (4 minutes)
#
# This function builds a run around a new model and loads a checkpoint into it. The first epoch after it runs with a wrong
# learning rate. Repair it: the model that was passed in, the optimizer and the scheduler go on as if nothing had
# happened.
#
# `make_optimizer(parameters)` and `make_scheduler(optimizer)` build the two. The checkpoint has the keys `model`,
# `optimizer` and `scheduler`.
#
# <details>
# <summary>Hint</summary>
#
# What does a scheduler do to the optimizer when it is built? See *Which learning rate comes next?* in the lesson.
# </details>


# %%
def resume(checkpoint, model, make_optimizer, make_scheduler):
    model.load_state_dict(checkpoint["model"])
    optimizer = make_optimizer(model.parameters())
    # BEGIN BROKEN
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler = make_scheduler(optimizer)
    # END BROKEN
    # BEGIN SOLUTION
    scheduler = make_scheduler(optimizer)
    optimizer.load_state_dict(checkpoint["optimizer"])
    # END SOLUTION
    scheduler.load_state_dict(checkpoint["scheduler"])
    return model, optimizer, scheduler


# %%
check.builds_then_loads(resume)

# %% [markdown] tags=["solution"]
# The constructor of a scheduler sets the learning rate of its first step. Loading the optimizer afterwards brings back
# the rate that was saved.

# %% [markdown]
# ## 3.3 All random numbers (4 minutes)
#
# Write `get_rng()`, which returns the states of the three generators, of torch, Python's `random` and NumPy's
# `np.random`, and `set_rng(states)`, which gets what `torch.load` has read back in a new process, and restores all
# three. The default `torch.load` must accept them, and `get_rng` must leave the generators as they are.
#
# <details>
# <summary>Hint</summary>
#
# Two of the three states are accepted as they are. The lesson's section *Random numbers, from every generator* shows
# which one is not.
# </details>


# %%
def get_rng():
    # BEGIN SOLUTION
    kind, numbers, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [kind, numbers.tolist(), *rest],
    }
    # END SOLUTION


def set_rng(states):
    # BEGIN SOLUTION
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    # END SOLUTION


# %%
check.keeps_random_numbers(get_rng, set_rng)

# %% [markdown] tags=["solution"]
# NumPy's state contains an array of 624 numbers. As a list it is plain, and `set_state` takes a list as well. A tensor,
# `torch.from_numpy(numbers)`, would do too, with `.numpy()` on the way back.

# %% [markdown]
# ## 3.4 The rest of an epoch (4 minutes)
#
# A run shuffles each epoch by its number: `loader(dataset, 25, shuffle=True, seed=epoch)`. It was stopped in the middle
# of an epoch. Write `remaining_batches(dataset, epoch, done)`: it returns a list of the batches that are still to be
# trained, in their order, when the first `done` batches of this epoch are finished.
#
# <details>
# <summary>Hint</summary>
#
# The lesson does it with 12 batches, under *In the middle of an epoch*.
# </details>


# %%
def remaining_batches(dataset, epoch, done):
    # BEGIN SOLUTION
    return list(loader(dataset, 25, shuffle=True, seed=epoch))[done:]
    # END SOLUTION


# %%
check.knows_the_rest(remaining_batches)

# %% [markdown] tags=["solution"]
# The list reads the finished batches once more, only to drop them. For large data one would skip their indices in a
# sampler, which reads nothing.

# %% [markdown]
# ## 3.5 Another learning rate (3 minutes)
#
# `resume_with_rate(optimizer, state, rate)` loads `state`, the state_dict of an old optimizer, into `optimizer`, and
# then all its groups go on with the learning rate `rate`. Everything else is as it was saved, and `state` stays as it is.
#
# <details>
# <summary>Hint</summary>
#
# The lesson's section *A new learning rate for the rest* says when to set it.
# </details>


# %%
def resume_with_rate(optimizer, state, rate):
    # BEGIN SOLUTION
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group["lr"] = rate
    # END SOLUTION


# %%
check.changes_the_rate(resume_with_rate)

# %% [markdown] tags=["solution"]
# Loading brings back the settings of every group, so whatever was set before is overwritten. With a scheduler, its next
# step would overwrite the new rate again.

# %% [markdown]
# ## 3.6 Diagnose from the curves (6 minutes)
#
# A run of 50 batches was stopped after 20. Five colleagues continued it, and each left out one thing. The columns A to E
# show their losses (above) and their learning rates (below) in red, with a dot at the first batch after the stop. Behind
# them, black in grey, is the run that was never stopped; its learning rate drops after 30 batches. The model has a lot
# of dropout.

# %%
check.show_resumed_runs()

# %% [markdown]
# Who left out what? The words are `"model"`, `"optimizer"`, `"scheduler"`, `"random numbers"` and `"epoch"` (its number was
# one too low). Write a dictionary such as `{"A": "epoch", "B": "model", …}` with all five.
#
# <details>
# <summary>Hint</summary>
#
# Begin with those that show at once: a learning rate that is wrong, a run that is longer, a loss that jumps.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# Two are left. In one of them the first loss after the stop lies exactly on the black line, in the other it does not. The
# list below the lesson's table says which of the two computes its first loss differently.
# </details>

# %%
# BEGIN SOLUTION
left_out = {
    "A": "random numbers",
    "B": "scheduler",
    "C": "model",
    "D": "epoch",
    "E": "optimizer",
}
# END SOLUTION

# %%
check.diagnoses_the_curves(left_out)

# %% [markdown] tags=["solution"]
# The **scheduler** began anew, so the drop never came. With the **epoch** too low, ten batches were trained twice. Without the
# **model** the loss jumps to that of guessing. **Random numbers** act in the first batch, through dropout. The
# **optimizer** acts for the first time after the first loss, and its momentum is rebuilt in a few steps: of all five it
# is the hardest to see.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
