# %% [markdown]
# # Exercises: use somebody's weights, and ship your own
#
# {{Count}} exercises on [lesson 9](09_pretrained.ipynb), about {{minutes}} minutes. Write your answer where it says `TODO`, or
# repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import hashlib
import shutil
from pathlib import Path
import torch
from torch import nn
from torch.hub import load_state_dict_from_url
from utils.checks import todo, pretrained as check
from utils.models import SmallCNN

# %% [markdown]
# ## 9.1 Load it, or refuse it (4 minutes)
#
# A page offers a file, and its whole SHA-256: 64 digits, in small letters or in capitals. `load_verified(path, digest)`
# returns what is in the file, if `digest` is its SHA-256. If not, it raises a `ValueError`, and does not load the file at all.
# A digest that is empty, or only the first digits, is refused as well. The file stays as it is.
#
# <details>
# <summary>Hint</summary>
#
# Which of `==`, `in` and `startswith` is right for an empty digest? And which letters does `hexdigest` use?
# </details>


# %%
def load_verified(path, digest):
    # BEGIN SOLUTION
    found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if found != digest.lower():
        raise ValueError(f"not the file that was named: its SHA-256 is {found}")
    return torch.load(path)
    # END SOLUTION


# %%
check.verifies(load_verified)

# %% [markdown] tags=["solution"]
# With `found.startswith(digest)` an empty digest fits every file, and eight digits are enough for an accident, but not
# against somebody who tries. The order matters too: what is loaded before it is compared has been read already.

# %% [markdown]
# ## 9.2 Publish and fetch (6 minutes)
#
# - `publish(folder, name, release)` saves the dictionary `release` in `folder`, as `name-HASH.pth`, where `HASH` is the
#   first eight digits of the file's own SHA-256. It returns the path.
# - `fetch(url, cache)` returns what is in such a file on a server, and keeps a copy in the folder `cache`. A file with a
#   wrong hash is an error, and so is one that brings code. If the copy is there and fits its name, it is used, without the
#   server; if it is there and damaged, the file is downloaded again.
#
# The check starts a server.
#
# <details>
# <summary>Hint</summary>
#
# For `publish`: save first, then hash, then rename. `Path.replace(new_path)` does the last, even if there is such a
# file.
# </details>
#
# <details>
# <summary>Second hint</summary>
#
# `load_state_dict_from_url` does nearly all of `fetch`, with two options that are off unless you set them. What does it do
# with a copy that is there?
# </details>


# %%
def publish(folder, name, release):
    # BEGIN SOLUTION
    path = Path(folder) / "new.pth"
    torch.save(release, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.replace(path.with_name(f"{name}-{digest[:8]}.pth"))
    # END SOLUTION


def fetch(url, cache):
    # BEGIN SOLUTION
    copy = Path(cache) / url.split("/")[-1]
    if copy.exists():
        digest = hashlib.sha256(copy.read_bytes()).hexdigest()
        if not copy.stem.endswith("-" + digest[:8]):
            copy.unlink()
    return load_state_dict_from_url(url, cache, check_hash=True, weights_only=True)
    # END SOLUTION


# %%
check.publishes_and_fetches(publish, fetch)

# %% [markdown] tags=["solution"]
# The hash can only be known when the bytes are written, hence the rename. `check_hash=True` looks at what it downloads and
# at nothing else, so the copy is compared before. The hash says that the file is the right one, and `weights_only=True`
# that it brings no code: two different questions.

# %% [markdown]
# ## 9.3 Fill an offline cache (5 minutes)
#
# A computer without a network has its models under `home`, which is its `TORCH_HOME`. Somebody brings files, whose names got
# lost on the way: `files` is a dictionary from the address of each file to the path where it lies now. Each address ends in
# `…-HASH.pth`, where `HASH` is the beginning of the file's SHA-256, eight digits or more.
#
# `fill(home, files)` copies each file to where `load_state_dict_from_url(address)` will look for it, on that computer. A file
# whose hash does not fit is not copied. It returns the list of the addresses that it left out, in their order. The folders
# may be there or not, the files that were brought stay where they are, and nothing else is written.
#
# <details>
# <summary>Hint</summary>
#
# The lesson printed the folder below `home`. The name of the copy comes from the address, not from the file that was brought.
# </details>


# %%
def fill(home, files):
    # BEGIN SOLUTION
    folder = Path(home) / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    left_out = []
    for address, path in files.items():
        name = address.split("/")[-1]
        wanted = name.removesuffix(".pth").split("-")[-1]
        found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if found.startswith(wanted):
            shutil.copy(path, folder / name)
        else:
            left_out.append(address)
    return left_out
    # END SOLUTION


# %%
check.fills_a_cache(fill)

# %% [markdown] tags=["solution"]
# Nobody compares the hash later: what lies in the folder is used as it is. So this is the last moment to look.

# %% [markdown]
# ## 9.4 Say what the weights do not (6 minutes)
#
# A `SmallCNN(**arguments)` was trained on images of whole numbers from 0 to 255 (`uint8`, of shape N, 3, 32, 32), prepared
# as `(images / 255 - mean) / std`, with a number for each of the three channels.
#
# - `ship(path, model, arguments, mean, std, labels)` writes one file. `mean` and `std` are lists of three numbers, `labels` is
#   the list of the names of the classes, in their order. The default `torch.load` must read the file. The model stays as it
#   is.
# - `answer(path, images)` gets the path of such a file and images from 0 to 255, and nothing else. It returns a list with the
#   label of each image.
#
# The check calls `answer` in a new process, for models that are still in training mode when they are shipped.
#
# <details>
# <summary>Hint</summary>
#
# Everything that `ship` gets is needed. A tensor of shape (3, 1, 1) has a number for each channel. In which mode does a net
# answer?
# </details>


# %%
def ship(path, model, arguments, mean, std, labels):
    # BEGIN SOLUTION
    file = {"weights": model.state_dict(), "arguments": arguments}
    torch.save(file | {"mean": mean, "std": std, "labels": labels}, path)
    # END SOLUTION


def answer(path, images):
    # BEGIN SOLUTION
    file = torch.load(path)
    model = SmallCNN(**file["arguments"])
    model.load_state_dict(file["weights"])
    mean, std = (torch.tensor(file[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        logits = model.eval()((images / 255 - mean) / std)
    return [file["labels"][i] for i in logits.argmax(dim=1)]
    # END SOLUTION


# %%
check.ships_everything(ship, answer)

# %% [markdown] tags=["solution"]
# A mistake in the preparation raises no error, so the user should not have to repeat it from a description: `answer` reads it
# from the file.

# %% [markdown]
# ## 9.5 Another head, the same preparation (6 minutes)
#
# The file at `path` is a dictionary with the keys `weights` (the state_dict of a `SmallCNN`), `arguments` (its arguments),
# `labels`, and others, such as `preprocessing` or `licence`.
#
# `adapt(path, labels)` returns such a dictionary for other labels: all layers as they are in the file, except `head`, which
# is new, as torch makes it, with one output for each of the new labels; `arguments` and `labels` that fit; and the other keys
# as they were. The head is new also if the number of labels happens to be the same.
#
# <details>
# <summary>Hint</summary>
#
# Build the new net first; its own state_dict has a new head already. Which entries of the file are to replace its entries?
# </details>


# %%
def adapt(path, labels):
    # BEGIN SOLUTION
    file = torch.load(path)
    arguments = file["arguments"] | {"num_classes": len(labels)}
    weights = SmallCNN(**arguments).state_dict()
    weights |= {n: t for n, t in file["weights"].items() if not n.startswith("head.")}
    return file | {"weights": weights, "arguments": arguments, "labels": labels}
    # END SOLUTION


# %%
check.adapts(adapt)

# %% [markdown] tags=["solution"]
# The backbone learned from images that were prepared in one way, so its preprocessing goes wherever it goes. With the same
# number of labels, the old head would fit without an error, and would give the old classes under new names.

# %% [markdown]
# ## 9.6 Is it in the file? (3 minutes)
#
# You get the state_dict of a `SmallCNN`, and know its class. Which of these can you read from the file?
#
# - **a** how many classes it tells apart
# - **b** the order of the classes: which output is which
# - **c** the range of values that the images had
# - **d** how many channels the images had
# - **e** the probability of its dropout
# - **f** the dtype of the weights
#
# Write a dictionary from the letters to `"in the file"` or `"not in the file"`.
#
# <details>
# <summary>Hint</summary>
#
# A state_dict has names, shapes, dtypes and numbers. `print` those of a `SmallCNN()`.
# </details>

# %%
# BEGIN SOLUTION
found = {
    "a": "in the file",
    "b": "not in the file",
    "c": "not in the file",
    "d": "in the file",
    "e": "not in the file",
    "f": "in the file",
}
# END SOLUTION

# %%
check.knows_what_is_missing(found)

# %% [markdown] tags=["solution"]
# `head.weight` has a row for each class, and `features.0.weight` a slice for each channel. Which row is which class, and what
# a value of 1 meant in the images, has left no trace that a program could read.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
