# %% [markdown]
# # Exercises: export to TorchScript, and read the files of others
#
# {{Count}} exercises on [lesson 4](04_torchscript.ipynb), about {{minutes}} minutes. Write your answer where it says
# `TODO`, or repair what is there, run the cell, then run the check below it.
#
# Each time you open this notebook, run the next cell first.

# %%
import warnings
import torch
from torch import nn
from utils.checks import todo, torchscript as check

warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")

# %% [markdown]
# ## 4.1 Deliver a model (6 minutes)
#
# Write `deliver(model, labels, path)`: it writes a TorchScript archive that gives the answers of `model` in eval mode, to any
# number of images. The `model` may decide something by the values of its images. It may be in any mode, and each of its
# parts is afterwards in the mode in which it was. The archive brings the list of strings `labels` along, in an extra
# file named `labels.txt`, one label on each line.
#
# Write `read_labels(path)`: it returns the list of strings.
#
# <details>
# <summary>Hint</summary>
#
# Whose mode does `eval()` change, when it is called on a scripted model? See *Traced in train mode* in the lesson.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# `"\n".join(labels)` and `text.splitlines()` belong together. The lesson's *Labels in the same file* shows in which form the
# text comes back.
# </details>


# %%
def deliver(model, labels, path):
    # BEGIN SOLUTION
    scripted = torch.jit.script(model).eval()
    scripted.save(path, _extra_files={"labels.txt": "\n".join(labels)})
    # END SOLUTION


def read_labels(path):
    # BEGIN SOLUTION
    extra = {"labels.txt": ""}
    torch.jit.load(path, map_location="cpu", _extra_files=extra)
    return extra["labels.txt"].decode().splitlines()
    # END SOLUTION


# %%
check.delivers(deliver, read_labels)

# %% [markdown] tags=["solution"]
# `eval()` on the scripted model leaves `model` alone. `model.eval()` and `model.train()` around it would not do: parts that
# were in eval mode on purpose, such as a frozen batch norm, would be switched to train mode. A frozen archive is accepted
# as well; its answers differ in the last digits.

# %% [markdown]
# ## 4.2 Keep the branch (6 minutes)
#
# `Scaled` accepts images with values from 0 to 255 too: it scales them. Somebody traced it with an ordinary batch, and
# since then images from 0 to 255 get wrong answers.
#
# Repair `forward`, so that the *traced* model decides for each image of a batch on its own: an image with any value
# above 1 is scaled, every other is left as it is. Whatever the example was, for any number of images, and without changing
# the images that it is given.
#
# <details>
# <summary>Hint</summary>
#
# The lesson's `WhereReader` decides by the mean of each image. `images.amax(dim=…, keepdim=True)` is the largest value.
# </details>


# %%
class Scaled(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        # BEGIN BROKEN
        if images.max() > 1:
            images = images / 127.5 - 1
        # END BROKEN
        # BEGIN SOLUTION
        is_large = images.amax(dim=(1, 2, 3), keepdim=True) > 1
        images = torch.where(is_large, images / 127.5 - 1, images)
        # END SOLUTION
        return self.net(images)


# %%
check.keeps_the_branch(Scaled)

# %% [markdown] tags=["solution"]
# Both sides are computed for every image, and one is chosen. A function that `torch.jit.script` has translated, with a
# loop over the images and an `if` in it, works too: the trace records the call.

# %% [markdown]
# ## 4.3 Predict the trace (4 minutes)
#
# Each of these lines is the body of a `forward(self, images)`. It is traced with four images, all their values above 0,
# and the traced module is then called with six images, all their values below 0.
#
# - **a** `return images / images.abs().max()`
# - **b** `return images * len(images)`
# - **c** `return -images if images.mean() > 0 else images`
# - **d** `return images[: images.shape[0] // 2]`
# - **e** `return torch.cat([images[i : i + 1] for i in range(images.shape[0])])`
# - **f** `return torch.where(images > 0, images, -images)`
#
# What does it return? `"same"`, what the Python code returns for the six images; `"other"`, as many images with other
# numbers; `"fewer"`, fewer images than the Python code returns. Write a dictionary such as `{"a": "fewer", "b": "same", …}`
# with all six.
#
# <details>
# <summary>Hint</summary>
#
# Ask of each: does Python see a plain number or a decision, or are there operations on tensors only? The lesson shows
# which of `len(images)`, `images.shape[0]` and `range(…)` is which.
# </details>

# %%
# BEGIN SOLUTION
results = dict(a="same", b="other", c="other", d="same", e="fewer", f="same")
# END SOLUTION

# %%
check.predicts_the_trace(results)

# %% [markdown] tags=["solution"]
# In **b** Python gets a plain number out of the tensor, in **c** a truth value, and in **e** the number of rounds: these are
# constants in the trace. The others are operations on tensors, **d** too: a size that is divided and used to cut a tensor
# is recorded.

# %% [markdown]
# ## 4.4 Make it scriptable (7 minutes)
#
# `Committee` takes images, a list with one weight (a float) per net, and the option `softmax`. It returns the weighted sum
# of what the nets answer, as probabilities if `softmax` is true. As plain Python it works. `torch.jit.script`
# refuses it, for more than one reason.
#
# Repair it, so that it can be scripted, and gives the same answers when it is called as before:
# `committee(images, [0.75, 0.25])` and `committee(images, [0.75, 0.25], softmax=True)`. Without the option there is no
# softmax. Any number of nets, images and classes.
#
# <details>
# <summary>Hint</summary>
#
# Read what `torch.jit.script(Committee([nn.Flatten()]))` says first, mend that, and try again.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# The lesson's `Steps` has an argument of each kind, and a loop over nets and numbers side by side. `zip` of a `ModuleList`
# and a list cannot be scripted.
# </details>


# %%
class Committee(nn.Module):
    def __init__(self, nets):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    # BEGIN BROKEN
    def forward(self, images, weights, **options):
        total = torch.zeros(1)
        for net, weight in zip(self.nets, weights):
            total = total + weight * net(images)
        try:
            softmax = options["softmax"]
        except KeyError:
            softmax = False
        return total.softmax(dim=1) if softmax else total

    # END BROKEN
    # BEGIN SOLUTION
    def forward(self, images, weights: list[float], softmax: bool = False):
        total = torch.zeros(1)
        for i, net in enumerate(self.nets):
            total = total + weights[i] * net(images)
        return total.softmax(dim=1) if softmax else total

    # END SOLUTION


# %%
check.can_be_scripted(Committee)

# %% [markdown] tags=["solution"]
# Types on arguments that are not tensors, no `**`, no `try`, and a loop whose length scripting can see. The repaired class
# is better Python too: `forward` now says what it accepts.

# %% [markdown]
# ## 4.5 The weights, whatever the file (7 minutes)
#
# A folder holds files of unknown kinds; the endings of their names say nothing. Write `weights_of(path)`. It returns the
# state_dict, on the CPU,
#
# - from a TorchScript archive,
# - from a file in which `torch.save` has stored a state_dict, in today's format or in the one from before torch 1.6.
#
# For every other file it raises a `ValueError`: for an archive whose state_dict is empty, as of a frozen one; for a file that
# holds anything else than a state_dict, or more; for files of other kinds and damaged ones. No pickled class is ever loaded.
#
# <details>
# <summary>Hint</summary>
#
# `kind` in the lesson's *Archive or checkpoint?* tells the two zip files apart. A file that is no zip file goes to
# `torch.load`, which reads the old format and refuses the rest with an error of its own.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# A state_dict is a dictionary, not an empty one, in which every value is a tensor.
# </details>

# %%
import zipfile
from pathlib import Path


def weights_of(path):
    # BEGIN SOLUTION
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            is_script = any(name.endswith("/constants.pkl") for name in names)
        else:
            is_script = False
        if is_script:
            content = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            content = torch.load(path, map_location="cpu")
    except Exception as error:
        raise ValueError(f"{path} holds no weights that can be read") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds no state_dict")
    if not all(map(torch.is_tensor, content.values())):
        raise ValueError(f"{path} holds no state_dict")
    return content
    # END SOLUTION


# %%
check.finds_weights(weights_of)

# %% [markdown] tags=["solution"]
# Each of the two loaders given the wrong kind of file raises an error about something else. `ValueError … from error` keeps
# the first message for who wants to know. For files of strangers one would leave the archives out: loading one runs its
# code.

# %% [markdown]
# ## How far you are
#
# Save this notebook, and `python3 -m utils progress` counts it too.

# %%
check.summary()
