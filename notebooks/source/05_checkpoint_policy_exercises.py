# %% [markdown]
# # Exercises: keep checkpoints that survive
#
# {{Count}} exercises on [lesson 5](05_checkpoint_policy.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, or repair what is there, run the cell, then run the check below it. They are about how it works, so write them
# without `utils/checkpoint.py`.
#
# Each time you open this notebook, run the next cell first.

# %%
import os, zipfile
from pathlib import Path
import torch
from utils.checks import todo, checkpoint_policy as check
from utils.models import SmallCNN

# %% [markdown]
# ## 5.1 Never lose the old file (7 minutes)
#
# Write `save(state, path)`. When it returns, the file at `path` (a `pathlib.Path`) holds `state`, and its bytes have been forced to
# the disk. If the process is killed anywhere in between, or if the state cannot be saved, the file that was at `path`
# before is as it was. An error is not hidden. After an error, as after a success, `save` leaves nothing of its own behind
# in the folder; only a kill may. The check kills it at several places.
#
# <details>
# <summary>Hint</summary>
#
# The lesson's six lines, under *A save that destroys*. What is still there after an error that is not a kill? A bare `raise`
# in an `except` lets the error go on.
# </details>


# %%
def save(state, path):
    # BEGIN SOLUTION
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # END SOLUTION


# %%
check.never_loses(save)

# %% [markdown] tags=["solution"]
# `fsync` is for the moment when the power goes, which no check can bring about: the check only looks whether it was called
# before the rename. After a kill the partial file remains; the next save writes over it.

# %% [markdown]
# ## 5.2 The newest that is intact (6 minutes)
#
# A folder holds checkpoints of `torch.save` with the names `epoch_0001.pt`, `epoch_0002.pt` and so on, and other files.
# Some checkpoints are damaged: cut off, empty, or with a byte changed somewhere in their tensors. Write
# `newest_intact(folder)`, where `folder` is a `pathlib.Path`: it returns the path of the newest checkpoint that is not
# damaged, or `None` if there is none. The newest is the one with the highest number, whatever the clock of the file says.
# Nothing is unpickled, not even by the default `torch.load`, and nothing in the folder changes.
#
# <details>
# <summary>Hint</summary>
#
# `zipfile.is_zipfile` finds what is empty or cut off. What finds a changed byte, in the lesson's *A file that lies*?
# </details>


# %%
def newest_intact(folder):
    # BEGIN SOLUTION
    for path in sorted(folder.glob("epoch_*.pt"), reverse=True):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is None:
                    return path
    return None
    # END SOLUTION


# %%
check.finds_the_newest(newest_intact)

# %% [markdown] tags=["solution"]
# The names have leading zeros, so that sorting the text sorts the numbers, up to epoch 9999. A program that falls back
# should also say so: somebody should look at that disk.

# %% [markdown]
# ## 5.3 What may go? (5 minutes)
#
# Write `to_remove(scores, keep_last, keep_every)`. `scores` is a dictionary from the number of each epoch that has a file to its validation
# accuracy, in any order. Kept are
#
# - the `keep_last` newest,
# - the best; of equals the newest; a score that is `nan` (not a number) is never best, so there may be no best,
# - each epoch that is a multiple of `keep_every`.
#
# It returns the set of all other epochs. `scores` may be empty, and stays as it was.
#
# <details>
# <summary>Hint</summary>
#
# Collect in a set what is kept, rule by rule, and take it from all. `nan != nan` is `True`, and `max` gives nonsense when
# there is a `nan` among its values.
# </details>


# %%
def to_remove(scores, keep_last, keep_every):
    # BEGIN SOLUTION
    newest = sorted(scores, reverse=True)
    keep = set(newest[:keep_last])
    keep |= {epoch for epoch in scores if epoch % keep_every == 0}
    ranked = [epoch for epoch in newest if scores[epoch] == scores[epoch]]
    if ranked:
        keep.add(max(ranked, key=scores.get))
    return set(scores) - keep
    # END SOLUTION


# %%
check.says_what_may_go(to_remove)

# %% [markdown] tags=["solution"]
# `max` returns the first of equals, so the newest must come first. One `nan` makes all comparisons with it false: a
# training that has diverged would then keep the wrong file, at the moment when the best is needed.

# %% [markdown]
# ## 5.4 Names that sort (4 minutes)
#
# These two functions name a file, and read the name. Up to epoch 9 they work. Repair them, so that
#
# - the names of one model sort in the order of their epochs, up to epoch 99,999,
# - `read_name(name_of(model, epoch, score))` gives back all three, the score (from 0 to 1) to three decimals, for any name of
#   a model that one may give to a file, such as `resnet18_v2` or `net.pt`,
# - the name ends in `.pt`.
#
# <details>
# <summary>Hint</summary>
#
# `f"{7:05d}"` is `"00007"`. `rsplit("_", 2)` splits from the end, at most twice.
# </details>


# %%
def name_of(model, epoch, score):
    # BEGIN BROKEN
    return f"{model}_{epoch}_{score:.3f}.pt"
    # END BROKEN
    # BEGIN SOLUTION
    return f"{model}_{epoch:05d}_{score:.3f}.pt"
    # END SOLUTION


def read_name(name):
    # BEGIN BROKEN
    model, epoch, rest = name.split("_")
    return model, int(epoch), float(rest.rstrip(".pt"))
    # END BROKEN
    # BEGIN SOLUTION
    model, epoch, score = name.removesuffix(".pt").rsplit("_", 2)
    return model, int(epoch), float(score)
    # END SOLUTION


# %%
check.names_sort(name_of, read_name)

# %% [markdown] tags=["solution"]
# `rstrip(".pt")` takes away dots, p's and t's from the end, in any order; `removesuffix` takes away this suffix, once.

# %% [markdown]
# ## 5.5 A file for others (7 minutes)
#
# A run has left the checkpoint `{"model": …, "optimizer": …, "epoch": …, "width": …, "mean": …, "std": …, "labels": […]}` of a
# `SmallCNN(num_classes=len(labels), width=width)`. It was trained on images from which `mean` had been subtracted, and which were
# then divided by `std`.
#
# Write `release(checkpoint_path, path)`, which writes a file with what one needs to use the model, and without the state of
# the optimizer. The default `torch.load` reads it. Write `answer(path, images)`, which uses this file alone, in a new process: it gets raw images of shape
# `(N, 3, 32, 32)`, to which nothing has been done, and returns a list with the label of each.
#
# <details>
# <summary>Hint</summary>
#
# What does `answer` need to build the model, to prepare the images, and to name the classes?
# </details>
#
# <details>
# <summary>Hint</summary>
#
# Is the model in the right mode? See lesson 1.
# </details>


# %%
def release(checkpoint_path, path):
    # BEGIN SOLUTION
    checkpoint = torch.load(checkpoint_path)
    needed = ("model", "width", "mean", "std", "labels")
    torch.save({name: checkpoint[name] for name in needed}, path)
    # END SOLUTION


def answer(path, images):
    # BEGIN SOLUTION
    file = torch.load(path)
    model = SmallCNN(num_classes=len(file["labels"]), width=file["width"])
    model.load_state_dict(file["model"])
    with torch.no_grad():
        logits = model.eval()((images - file["mean"]) / file["std"])
    return [file["labels"][i] for i in logits.argmax(dim=1)]
    # END SOLUTION


# %%
check.is_released(release, answer)

# %% [markdown] tags=["solution"]
# Mean, deviation and labels belong into the file, because they change as the weights do. The epoch may stay or go: it
# costs nothing, and says where the file is from. The optimizer's state would have doubled the size.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
