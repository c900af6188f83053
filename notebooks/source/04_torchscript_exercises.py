# %% [markdown]
# # Exercises: export to TorchScript, and read the files of others
#
# Five exercises on [lesson 4](04_torchscript.ipynb), about {{minutes}} minutes. Write your answer where it says
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
# ## 4.1 Deliver a model (5 minutes)
#
# Write `deliver(model, labels, path)`: it writes a TorchScript archive that gives the answers of `model` in eval mode to
# any number of images, whatever mode `model` is in. Afterwards `model` is in the mode it was in. The archive brings
# the list of strings `labels` along, in an extra file named `labels.txt`, one label on each line.
#
# Write `read_labels(path)`: it returns the list of strings.
#
# <details>
# <summary>Hint</summary>
#
# `model.training` is `True` or `False`, and `model.train(mode)` takes such a value. `"\n".join(labels)` and
# `text.splitlines()` belong together.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# The lesson's *Labels in the same file* shows in which form the text comes back.
# </details>

# %%
def deliver(model, labels, path):
    # BEGIN SOLUTION
    was_training = model.training
    scripted = torch.jit.script(model.eval())
    scripted.save(path, _extra_files={"labels.txt": "\n".join(labels)})
    model.train(was_training)
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
# A scripted model shares its weights with the model it was made from, and not its mode: `scripted.eval()`, after scripting,
# leaves `model` as it is, and is shorter. Tracing would do as well, since this model decides nothing, with `eval()` before.

# %% [markdown]
# ## 4.2 Keep the branch (6 minutes)
#
# `Scaled` also accepts images with values from 0 to 255: it scales them. Somebody traced it with an ordinary batch, and
# since then images from 0 to 255 get wrong answers.
#
# Repair `forward`, so that the *traced* model decides for each image of a batch on its own: an image with any value
# above 1 is scaled, every other is left as it is. Whatever the example was, and for any number of images.
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
# - **a** `return images - images.mean()`
# - **b** `return images - float(images.mean())`
# - **c** `return -images if images.mean() > 0 else images`
# - **d** `return images.flatten(1)`
# - **e** `return torch.cat([images[i : i + 1] for i in range(images.shape[0])])`
# - **f** `return torch.where(images > 0, images, -images)`
#
# What does it return? `"same"`, what the Python code returns; `"other"`, other numbers for the six images; `"fewer"`,
# less than six images. Write a dictionary such as `{"a": "fewer", "b": "same", …}` with all six.
#
# <details>
# <summary>Hint</summary>
#
# Ask of each: does Python see a plain number or a decision, or are there operations on tensors only?
# </details>

# %%
# BEGIN SOLUTION
results = dict(a="same", b="other", c="other", d="same", e="fewer", f="same")
# END SOLUTION

# %%
check.predicts_the_trace(results)

# %% [markdown] tags=["solution"]
# In **b** and **c** Python gets a number or a truth value out of the tensor, and in **e** the number of rounds: these are
# constants in the trace. The others are operations on tensors.

# %% [markdown]
# ## 4.4 Make it scriptable (5 minutes)
#
# `Committee` takes images, a list with one weight (a float) per net, and the option `softmax`. It returns the weighted sum
# of what the nets answer, as probabilities if `softmax` is true. As plain Python it works. `torch.jit.script`
# refuses it, for more than one reason.
#
# Repair it, so that it can be scripted, and gives the same answers when it is called as before:
# `committee(images, [0.75, 0.25])` and `committee(images, [0.75, 0.25], softmax=True)`. Without the option there is no
# softmax.
#
# <details>
# <summary>Hint</summary>
#
# An argument with a type and a default: `softmax: bool = False`.
# </details>
#
# <details>
# <summary>Hint</summary>
#
# Read what `torch.jit.script` says first, mend that, and try again: `torch.jit.script(Committee([nn.Flatten()]))`. A loop
# `for i, net in enumerate(self.nets)` can be scripted; `zip` with a list cannot.
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
# ## 4.5 The weights, whatever the file (6 minutes)
#
# A folder holds files of unknown kinds; the endings of their names say nothing. Write `weights_of(path)`: it returns the
# state_dict in the file, on the CPU, both from a TorchScript archive and from a file with a state_dict that `torch.save`
# wrote, in today's format or the one from before torch 1.6. In all other cases it raises a `ValueError`: the file holds
# no weights (a frozen archive has none), something else than a state_dict, or is of another kind. No pickled classes are
# to be loaded.
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
# A state_dict is a dictionary in which every value is a tensor.
# </details>

# %%
import zipfile
from pathlib import Path


def weights_of(path):
    # BEGIN SOLUTION
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_script = any(n.endswith("/constants.pkl") for n in archive.namelist())
        else:
            is_script = False
        if is_script:
            content = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            content = torch.load(path, map_location="cpu")
    except Exception as error:
        raise ValueError(f"{path} holds no weights that can be read") from error
    is_state_dict = isinstance(content, dict) and all(map(torch.is_tensor, content.values()))
    if not (is_state_dict and content):
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
