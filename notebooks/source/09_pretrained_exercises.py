# %% [markdown]
# # Exercises: weights from others, and for others
#
# {{Count}} exercises on [lesson 9](09_pretrained.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import hashlib
import shutil
from pathlib import Path
from urllib.parse import urlparse
import torch
from torch.hub import load_state_dict_from_url
from utils.checks import pretrained as check
from utils.models import SmallCNN

# %% [markdown]
# ## 9.1 Publish and fetch (8 minutes)
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
# For `publish`: save first, then hash, then rename. `Path.rename(new_path)` does the last.
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
    return path.rename(path.with_name(f"{name}-{digest[:8]}.pth"))
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
# ## 9.2 Refuse a wrong file (6 minutes)
#
# A file came by mail. Its name ends in a hyphen, the first digits of its SHA-256, and `.pth`, as in `digits-3f0a77c1.pth`.
# There are at least eight digits, and sometimes all 64.
#
# `load_checked(path)` returns what is in the file if its bytes fit its name. If they do not, or if the name has no hash, or
# one of fewer than eight digits, it raises a `ValueError`. A file that fits and brings code is an error of any kind, and its
# code does not run.
#
# <details>
# <summary>Hint</summary>
#
# Every text starts with the empty text, so a name that ends in a hyphen would fit every file. What stands behind the
# *last* hyphen?
# </details>


# %%
def load_checked(path):
    # BEGIN SOLUTION
    path = Path(path)
    _, hyphen, digits = path.stem.rpartition("-")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not hyphen or len(digits) < 8 or not digest.startswith(digits):
        raise ValueError(f"{path.name} is not what its name says")
    return torch.load(path, weights_only=True)
    # END SOLUTION


# %%
check.refuses_a_wrong_file(load_checked)

# %% [markdown] tags=["solution"]
# The order is the point: first the bytes are compared, then they are read as a file. Eight digits are enough against an
# accident. Against somebody who makes a file on purpose, compare all 64, with a page that you trust.

# %% [markdown]
# ## 9.3 For a computer without a network (6 minutes)
#
# A program calls `load_state_dict_from_url(url)`, on a computer that has no network. You have brought the file on a stick.
#
# `install(path, url)` puts a copy of the file at `path` where this call looks for it, so that it loads. The file at `path`
# may have any name, and stays where it is. The folder may not exist yet. A URL may end in a query such as `?download=1`,
# which is not a part of the file's name.
#
# <details>
# <summary>Hint</summary>
#
# The lesson names the folder that is used when none is given; `torch.hub.get_dir()` may say something else each time. The
# name in there is the last part of the URL's path, and `urlparse(url).path` is that path.
# </details>


# %%
def install(path, url):
    # BEGIN SOLUTION
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / Path(urlparse(url).path).name)
    # END SOLUTION


# %%
check.installs_without_a_network(install)

# %% [markdown] tags=["solution"]
# The copy in the cache is used as it is, which lesson 9 shows as a danger. Here it is what makes this possible. Look at the
# hash yourself before you install the file: nobody else will.

# %% [markdown]
# ## 9.4 Use what somebody published (5 minutes)
#
# The file at `path` has the keys `weights`, `arguments` (of `SmallCNN`), `labels` (a list of words) and `preprocessing`, a
# dictionary with `divide_by` and `subtract`, to be done in this order.
#
# `read_digits(path, scans)` gets raw scans, a tensor of shape (N, 3, 32, 32). It returns a list of N words: the net's answers,
# as the file's publisher would get them. The tensor `scans` stays as it is.
#
# <details>
# <summary>Hint</summary>
#
# Everything that differs from file to file is in the file. One thing is in none of them: the mode that a net is in when it
# is new.
# </details>


# %%
def read_digits(path, scans):
    # BEGIN SOLUTION
    file = torch.load(path)
    net = SmallCNN(**file["arguments"])
    net.load_state_dict(file["weights"])
    steps = file["preprocessing"]
    with torch.no_grad():
        logits = net.eval()(scans / steps["divide_by"] - steps["subtract"])
    return [file["labels"][i] for i in logits.argmax(dim=1)]
    # END SOLUTION


# %%
check.uses_what_was_published(read_digits)

# %% [markdown] tags=["solution"]
# Without `eval()` dropout is active and batch norm uses the statistics of these scans: the answers would depend on what else
# is in the batch.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
