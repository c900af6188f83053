# %% [markdown]
# # Start here
#
# **You will** save a model and load it back, see the four ways in which a check answers, and find
# the lesson you need.
#
# **You need** to have met PyTorch: what a model and a tensor are. **About {{read}} minutes.**
#
# This is a notebook: click on a grey cell and press <kbd>Shift</kbd>+<kbd>Enter</kbd> to run it. Run the
# cells in order, from the top. The first one takes a few seconds.

# %% [markdown]
# ## A model, saved and loaded
#
# These lines save a model's weights to a file, and load them into another model.

# %%
from pathlib import Path
import torch
from utils.models import SmallCNN

# %%
folder = Path("files/00_start_here")
folder.mkdir(parents=True, exist_ok=True)

model = SmallCNN()
torch.save(model.state_dict(), folder / "first.pt")

# %%
restored = SmallCNN()
restored.load_state_dict(torch.load(folder / "first.pt"))

# %% [markdown]
# Was anything lost on the way? Both models get the same image. Predict, then run.

# %%
image = torch.rand(1, 3, 32, 32)
torch.equal(model.eval()(image), restored.eval()(image))

# %% [markdown]
# `True`: not *nearly* the same answer, the same to the last bit. Why there is an `eval()` in that line,
# what is in the file, and what goes wrong without a message is what the lessons are about.

# %% [markdown]
# ## How an exercise answers
#
# After each lesson comes a notebook of exercises. You write a function or a value, and the cell below it
# checks what you wrote. As an example, take this task: *`entry_names(model)` returns a list with the name
# of every entry in the model's `state_dict()`.*
#
# Before you have written anything, an exercise looks like this, and its check waits:

# %%
from utils.checks import start_here as check


def entry_names(model):
    # TODO: your code here
    raise NotImplementedError


check.names_the_entries(entry_names)

# %% [markdown]
# An answer that is not right yet is told what is wrong with it. (What buffers are, lesson 1 shows.)


# %%
def entry_names(model):
    return [name for name, _ in model.named_parameters()]


check.names_the_entries(entry_names)

# %% [markdown]
# If your code stops with an error, the check shows the error and the line:


# %%
def entry_names(model):
    return list(model.state_dict)


check.names_the_entries(entry_names)

# %% [markdown]
# And when it does what it should:


# %%
def entry_names(model):
    return list(model.state_dict())


check.names_the_entries(entry_names)

# %% [markdown]
# The check does not compare your text with a solution: it runs your code and looks at what it does. Any
# way of doing it counts.

# %% [markdown]
# ## The map
#
# {{map}}
#
# {{to come}}
#
# - **A task, and no time for a lesson:** [Look it up](reference.ipynb) has a table of what to save and how, and short
#   programs to copy.
# - **Your copy is yours.** `python3 -m utils open` put the notebooks you are working on into the folder
#   `work`. Updates of the course never change them.
# - **How far am I?** In a terminal (menu *File*, *New*, *Terminal*), `python3 -m utils progress` lists what you have
#   solved in the notebooks you saved.
# - **Start one again:** `python3 -m utils reset 01_state_dict_exercises` makes that notebook as new, and
#   keeps what you had in `work/backup`.
# - **A cell does not answer, or the answers look strange:** menu *Kernel*, *Restart Kernel and Run All Cells*.
#   If it stops at a cell of yours with an error, repair that cell first.
# - **`name 'check' is not defined`:** after opening a notebook, run its first cells before the others.
#
# Next: [Save weights and load them back](01_state_dict.ipynb).
