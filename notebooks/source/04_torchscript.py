# %% [markdown]
# # Export to TorchScript, and read the files of others
#
# **You will** turn a trained model into a file that needs none of your classes; see what tracing and scripting each
# lose; load such a file where torchvision cannot be imported, and in a C++ program; and read one that strangers wrote.
#
# **You need** [lesson 1](01_state_dict.ipynb), and the beginning of [lesson 2](02_whole_model.ipynb), about pickled models.
# **About {{read}} minutes.**

# %%
import os, shutil, subprocess, warnings, zipfile
from pathlib import Path
import torch
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

# %%
from utils import show
from utils.checking import fresh
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/04_torchscript")
folder.mkdir(parents=True, exist_ok=True)
fresh.warm_up()  # for a new process, later

# %% [markdown]
# ## If you have only 10 seconds
#
# TorchScript is deprecated: for a new project use `torch.export`, at the end of this lesson. Its files are everywhere,
# and torch 2.15 still reads and writes them:


# %%
def script_and_load(model, path):
    torch.jit.script(model).eval().save(path)  # the model's code and its weights
    return torch.jit.load(path, map_location="cpu")  # not torch.load


model = shufflenet_v2_x0_5(num_classes=10)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    loaded = script_and_load(model, folder / "quick.pt")

# %% [markdown]
# Both calls warn. These are the two texts:

# %%
for text in dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught):
    if "script" in text or "load" in text:
        print(text)

# %% [markdown]
# > **Help: I get ``FutureWarning: `torch.jit.script` is deprecated``.** It works as before. (With torch 2.10 to
# > 2.13 it is a `DeprecationWarning`, which Python does not show unless asked.) The warning can come many times
# > from one call, which scripts the parts of the model too. Keep what runs, plan the move, and silence the warning on purpose, as the next cell does. (On Python 3.14
# > and newer, torch says "not supported" in its place: read in its source, not run here.)

# %%
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")

# %% [markdown]
# ## A file that brings its code
#
# A trained model, and twelve scans that it has not seen.

# %%
train, _, test = digits()
seed_everything(0)
model = shufflenet_v2_x0_5(num_classes=10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=120)
for epoch in range(4):
    train_epoch(model, loader(train, shuffle=True, seed=epoch), optimizer, scheduler)
print("more than 85 % right:", accuracy(model.eval(), loader(test)) > 0.85)

# %%
images, labels = test[:12]
with torch.no_grad():
    logits = model(images)

# %% [markdown]
# `torch.jit.script` reads the Python code of the model and translates it into a small language of its own, TorchScript.
# The file holds the translation.

# %%
scripted = torch.jit.script(model)
scripted.save(folder / "scripted.pt")

# %% [markdown]
# For comparison: the same model pickled (lesson 2). Then a process in which torchvision cannot be imported, as if it were
# not installed. *Predict* what each of the two files does there.

# %%
torch.save(model, folder / "pickled.pt")
torch.save({"images": images, "logits": logits}, folder / "expected.pt")

# %%
NO_TORCHVISION = """
import sys, torch
torch.set_num_threads(1)
sys.modules["torchvision"] = None  # every import of it fails now
expected = torch.load("expected.pt")
"""
fresh.run(NO_TORCHVISION + 'torch.load("pickled.pt", weights_only=False)', folder)

# %%
fresh.run(
    NO_TORCHVISION
    + """
model = torch.jit.load("scripted.pt")
with torch.no_grad():
    print("same logits:", torch.equal(model(expected["images"]), expected["logits"]))
""",
    folder,
)

# %% [markdown]
# The pickle names classes of torchvision; the archive does not need them. (Where torchvision is really missing, the message is
# `No module named 'torchvision'`.) The archive is a zip file like any other `.pt`, with
# one folder more:

# %%
with zipfile.ZipFile(folder / "scripted.pt") as archive:
    names = [name.removeprefix("scripted/") for name in archive.namelist()]
print([name for name in names if name.startswith("code/") and name.endswith(".py")][:3])
print("constants.pkl" in names, "data.pkl" in names)

# %% [markdown]
# The code is text, and looks like Python. This is the part that a small model's `forward` becomes:

# %%
print(torch.jit.script(SmallCNN()).code)

# %% [markdown]
# ## A program without Python
#
# If a file brings its code, who needs Python? The torch that you import is a layer over a C++ library, libtorch, which `pip`
# has installed too. This C++ program does what our Python did: it loads an archive, reads images from a file, and prints the
# digit with the largest logit for each. (Read over the details if C++ is new to you.)

# %%
INFER = r"""
#include <fstream>
#include <iostream>
#include <iterator>
#include <ATen/Parallel.h>
#include <torch/script.h>

// infer ARCHIVE IMAGES LOGITS: images are float32 numbers, N times 3 x 32 x 32
int main(int argc, char** argv) {
  torch::NoGradGuard no_grad;
  at::set_num_threads(1);
  torch::jit::Module model;
  try {
    model = torch::jit::load(argv[1]);
  } catch (const c10::Error& error) {
    std::cout << error.what_without_backtrace() << std::endl;
    return 1;
  }
  std::ifstream input(argv[2], std::ios::binary);
  std::vector<char> bytes(std::istreambuf_iterator<char>(input), {});
  auto images = torch::from_blob(bytes.data(), {long(bytes.size() / 4)});

  auto logits = model.forward({images.view({-1, 3, 32, 32})}).toTensor();
  auto answers = logits.argmax(1);
  for (long i = 0; i < answers.size(0); i++)
    std::cout << answers[i].item<long>() << " ";
  std::cout << std::endl;

  std::ofstream output(argv[3], std::ios::binary);
  output.write((char*)logits.data_ptr(), logits.nbytes());
}
"""
(folder / "infer.cpp").write_text(INFER, "utf-8")
images.numpy().tofile(folder / "images.bin")

# %% [markdown]
# The compiler needs C++20, and the headers and libraries in torch's folder. It takes about a quarter of a minute, so it
# starts here, in the background, and we come back to it further below. (The command is for `g++` on Linux and macOS.)

# %%
home = Path(torch.__file__).parent
command = ["g++", "-std=c++20", "infer.cpp", "-o", "infer"]
command += [f"-I{home}/include", f"-I{home}/include/torch/csrc/api/include"]
command += [f"-L{home}/lib", f"-Wl,-rpath,{home}/lib", "-ltorch_cpu", "-lc10"]

# %%
if shutil.which("g++") and os.name != "nt":
    compiling = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
else:
    compiling = None
    print("not on this system: compiling with g++, which one section needs")

# %% [markdown]
# ## Two ways to make it
#
# `torch.jit.trace` does not read code. It runs the model once, on an example, and records the operations on tensors.

# %%
traced = torch.jit.trace(model, images)
print("scripted:", torch.equal(scripted(images), logits))
print("traced:  ", torch.equal(traced(images), logits))

# %% [markdown]
# No difference, for a model that does the same whatever comes in. Here is one that does not. Some scanners deliver dark
# paper with bright ink: it turns such images over first. (Ink is 1 and paper -1, so an image has a negative mean.)


# %%
class Reader(nn.Module):
    """A model of digits, for images with dark paper too."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        if images.mean() > 0:
            images = -images
        return self.net(images)


reader = Reader(model).eval()

# %% [markdown]
# We trace it with the twelve images, and look at what torch says.

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", torch.jit.TracerWarning)
    traced_reader = torch.jit.trace(reader, images)

told = [w for w in caught if w.category is torch.jit.TracerWarning]
print("TracerWarning:", str(told[0].message).split(".")[0])

# %% [markdown]
# *Predict:* the traced model gets the twelve scans on dark paper. How many does it read?

# %%
dark = -images
answers = traced_reader(dark).argmax(dim=1)
show.digit_images(dark, labels, answers)

# %% [markdown]
# On the whole test set, with the plain model and a
# scripted one beside it:


# %%
def reads_dark_paper(model):
    dark_test = [(-images, labels) for images, labels in loader(test)]
    return accuracy(model, dark_test) > 0.85


scripted_reader = torch.jit.script(reader)
for each in (reader, traced_reader, scripted_reader):
    print(f"{reads_dark_paper(each)}: more than 85 % right ({type(each).__name__})")

# %% [markdown]
# **Tracing keeps the path that the example took.** The `if` was not taken, so it is not in the file; compare:

# %%
print(traced_reader.code)
print(scripted_reader.code)

# %% [markdown]
# > **Help: I get `TracerWarning: Converting a tensor to a Python boolean`.** Your `forward` decides something by the
# > values of a tensor. The decision of the example is now in the file, for every input. Script the model, or compute both
# > sides and choose with `torch.where`.
#
# `torch.where` decides for each image on its own, which the `if` did not: a batch can be mixed.


# %%
class WhereReader(Reader):
    def forward(self, images):
        is_dark = images.mean(dim=(1, 2, 3), keepdim=True) > 0
        return self.net(torch.where(is_dark, -images, images))


traced_reader = torch.jit.trace(WhereReader(model).eval(), images)
print("more than 85 % of dark paper right:", reads_dark_paper(traced_reader))
mixed = torch.cat([images[:6], -images[6:]])
with torch.no_grad():
    print("mixed:", torch.allclose(traced_reader(mixed), logits, atol=1e-4))

# %% [markdown]
# ### A number that leaves the tensor
#
# An operation on tensors is recorded. What `float(…)`, `.item()` or `len(…)` takes out of a tensor is a plain number, and
# the trace keeps the number of the example. *Predict* which of these four are right, when they are traced with twelve
# images and then get six others.

# %%
lines = {
    "x - x.mean()": lambda x: x - x.mean(),
    "x - float(x.mean())": lambda x: x - float(x.mean()),
    "x.reshape(x.shape[0], -1)": lambda x: x.reshape(x.shape[0], -1),
    "x.reshape(len(x), -1)": lambda x: x.reshape(len(x), -1),
}

# %%
for text, line in lines.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", torch.jit.TracerWarning)
        traced_line = torch.jit.trace(line, images)
    found, wanted = traced_line(dark[:6]), line(dark[:6])
    right = found.shape == wanted.shape and torch.equal(found, wanted)
    warned = any(w.category is torch.jit.TracerWarning for w in caught)
    print(f"right: {right}, warned: {warned}: {text}")

# %% [markdown]
# `x.shape[0]` stays a size of the tensor while it is handed to tensor operations. `len(…)` makes a plain number of it.

# %% [markdown]
# ### Without a warning
#
# A loop over the batch: `range` needs a plain number too, and here torch does not warn. *Predict* the shape that the traced
# model returns for 12 images, after an example of 5.


# %%
class OneByOne(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        rows = (images[i : i + 1] for i in range(images.shape[0]))
        return torch.cat([self.net(row) for row in rows])


one_by_one = OneByOne(SmallCNN()).eval()

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", torch.jit.TracerWarning)
    traced_loop = torch.jit.trace(one_by_one, images[:5])
print("TracerWarnings:", sum(w.category is torch.jit.TracerWarning for w in caught))
print("in:", tuple(images.shape), " out:", tuple(traced_loop(images).shape))

# %% [markdown]
# Seven images get no answer, and nobody says so. Give `trace` other inputs to compare with, of another size and from
# the other side of each branch:

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", torch.jit.TracerWarning)
    try:
        torch.jit.trace(one_by_one, images[:5], check_inputs=[(images,)])
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).splitlines()[0]}")
print(str(caught[-1].message).splitlines()[1])  # from the warning beside it

# %% [markdown]
# ### Traced in train mode
#
# Dropout and batch norm ask `self.training`, which is one more `if`. *Predict:* the model was traced in train mode. Does
# `eval()` still help?

# %%
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
small = SmallCNN().train()
traced_small = torch.jit.trace(small, images)
scripted_small = torch.jit.script(small)

# %%
for name, module in (("traced", traced_small), ("scripted", scripted_small)):
    module.eval()
    first, second = module(images), module(images)
    print(f"{name}: twice the same answer:", torch.equal(first, second))

# %% [markdown]
# No: the traced model drops activations for good, and each call goes on to change its running statistics. **Call `eval()`
# before you trace.**

# %%
before = traced_small.state_dict()["features.1.running_mean"].clone()
traced_small(images)
after = traced_small.state_dict()["features.1.running_mean"]
print("statistics unchanged:", torch.equal(before, after))

# %% [markdown]
# Scripting keeps the `if`. A scripted model has a mode of its own, which does not touch the model it came from, and which
# travels in the file:

# %%
scripted_small.save(folder / "small.pt")
from_file = torch.jit.load(folder / "small.pt")
print("training:", small.training, "| scripted:", scripted_small.training)
print("from the file:", from_file.training)

# %% [markdown]
# ### What script cannot read
#
# Scripting refuses Python that the small language does not have. Two that are common, and one that fails only when it is
# called: an argument without a type counts as a tensor.


# %%
class WithKeywords(nn.Module):
    def forward(self, images, **options):
        return images


class WithTry(nn.Module):
    def forward(self, images):
        try:
            return self.net(images)
        except ValueError:
            return images


class WithList(nn.Module):
    def forward(self, images, scales):
        return [images * scale for scale in scales]


# %%
def why_not(module, *inputs):
    """What scripting or calling the module says, without its pointers into the code."""
    try:
        torch.jit.script(module)(*inputs)
        return "works"
    except Exception as error:
        lines = str(error).splitlines()
        return f"{type(error).__name__}: {lines[0]}"


print(why_not(WithKeywords()))
print(why_not(WithTry()))
print(why_not(WithList(), images, [1.0, 0.5]))

# %% [markdown]
# Types, plain defaults and plain loops it can read; a loop over a `nn.ModuleList` too, also with `enumerate`:


# %%
class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.ReLU(), nn.Tanh()])

    def forward(self, images, scales: list[float], flip: bool = False):
        for i, step in enumerate(self.steps):
            images = step(images * scales[i])
        return -images if flip else images


print(why_not(Steps(), images, [1.0, 0.5]))

# %% [markdown]
# ## Labels in the same file
#
# An archive takes small texts along. They are written by name, and read by filling a dictionary: it must have the names
# before.

# %%
labels_text = "0 1 2 3 4 5 6 7 8 9"
scripted.save(folder / "labelled.pt", _extra_files={"labels.txt": labels_text})
extra = {"labels.txt": "", "author.txt": ""}
torch.jit.load(folder / "labelled.pt", _extra_files=extra)
print(extra)

# %% [markdown]
# The text comes back as bytes (`.decode()` makes a text of them). A name that is not in the file stays empty, without an
# error.

# %% [markdown]
# ## Frozen
#
# `torch.jit.freeze` makes constants of the weights, and merges each batch norm into the convolution before it. *Predict:*
# are the answers still exactly equal?

# %%
frozen = torch.jit.freeze(scripted)
difference = (frozen(images) - logits).abs().max().item()
print("equal:", difference == 0, "| smaller than 0.001:", difference < 0.001)

# %%
for name, module in (("scripted", scripted), ("frozen", frozen)):
    norms = str(module.inlined_graph).count("aten::batch_norm")
    print(f"{name}: {norms} calls of batch norm,", end=" ")
    print(f"{len(module.state_dict())} entries in the state_dict")

# %% [markdown]
# Nearly: merged numbers round differently. And the state_dict is empty, so there is nothing to train or to load elsewhere.
# Freeze a copy for delivery, and keep the other.
#
# > **Help: I get `Freezing is currently only implemented for modules in eval mode`.**

# %%
try:
    torch.jit.freeze(scripted_small.train())
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# ## Archive or checkpoint?
#
# Both are zip files, both are called `.pt`, and each loader refuses what belongs to the other. Here is what they say:

# %%
torch.save(model.state_dict(), folder / "weights.pt")


def first_sentence(load, path):
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load(path)
        return "loaded"
    except Exception as error:
        told = [str(w.message) for w in caught if w.category is UserWarning]
        lines = told + [f"{type(error).__name__}: {error}"]
        return "\n  ".join(line.split(". ")[0] for line in lines)


print("torch.load, given an archive:")
print(" ", first_sentence(torch.load, folder / "scripted.pt"))
print("torch.jit.load, given weights:")
print(" ", first_sentence(torch.jit.load, folder / "weights.pt"))

# %% [markdown]
# > **Help: I get `PytorchStreamReader failed locating file constants.pkl: file not found`.** The message goes on about a
# > corrupted file. The file is healthy, and it is no TorchScript archive: use `torch.load`.
#
# > **Help: I get ``Cannot use ``weights_only=True`` with TorchScript archives``.** Use `torch.jit.load`.
#
# Look before you load. The name `constants.pkl` tells:


# %%
def kind(path):
    if not zipfile.is_zipfile(path):
        return "no zip file: cut off, from before torch 1.6, or not from torch"
    with zipfile.ZipFile(path) as archive:
        names = {name.split("/", 1)[-1] for name in archive.namelist()}
    if "constants.pkl" in names:
        return "a TorchScript archive, for torch.jit.load"
    return "for torch.load" if "data.pkl" in names else "a zip file of another kind"


for name in ("scripted.pt", "weights.pt", "pickled.pt"):
    print(name, "is", kind(folder / name))

# %% [markdown]
# If you still have the class, take the weights out of the archive, and leave TorchScript behind:

# %%
weights = torch.jit.load(folder / "scripted.pt", map_location="cpu").state_dict()
revived = shufflenet_v2_x0_5(num_classes=10).eval()
print(revived.load_state_dict(weights))
with torch.no_grad():
    print("same logits:", torch.equal(revived(images), logits))

# %% [markdown]
# Parts of an archive are reached by their names, as in any model. So the net inside our reader:

# %%
print(torch.equal(scripted_reader.net.state_dict()["fc.weight"], model.fc.weight))

# %% [markdown]
# ## An archive is a program
#
# `torch.load` has `weights_only`. `torch.jit.load` has nothing like it. The small language cannot import modules or open
# files. But it knows `torch.save`, which overwrites any file that you may write.
#
# A module may say how it is stored and put back, with `__getstate__` and `__setstate__`; `torch.jit.export` translates them
# into the archive. *Predict:* when does this one write, on loading, or when the model is called?


# %%
class Trap(nn.Module):
    def forward(self, images):
        return images

    @torch.jit.export
    def __getstate__(self):
        return self.training

    @torch.jit.export
    def __setstate__(self, training: bool):
        self.training = training
        torch.save([torch.zeros(1)], "thesis.txt")


torch.jit.script(Trap()).save(folder / "trap.pt")

# %%
fresh.run(
    """
import torch
from pathlib import Path
thesis = Path("thesis.txt")
thesis.write_text("three years of work")
torch.jit.load("trap.pt")
print("still there:", thesis.read_bytes() == b"three years of work")
""",
    folder,
)

# %% [markdown]
# On loading, before you have called anything. So treat the archive of a stranger as you would treat a pickle. One thing is
# better: its code is text, and can be read before.


# %%
def lines_with(path, word):
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        code = [archive.read(name).decode() for name in names]
    return [line.strip() for text in code for line in text.splitlines() if word in line]


print(lines_with(folder / "trap.pt", "save("))
print(lines_with(folder / "scripted.pt", "save("))

# %% [markdown]
# This finds our trap. Whether it finds every trap, nobody has proved.

# %% [markdown]
# ## A file of strangers
#
# The package `silero-vad` is in this course's environment. It detects speech, and ships its model as a TorchScript
# archive. We never import the package: the file is enough. First look, then load.

# %%
from importlib.util import find_spec

package = Path(find_spec("silero_vad").submodule_search_locations[0])
stranger = package / "data" / "silero_vad.jit"
print(kind(stranger))
print("lines that save:", lines_with(stranger, "save("))

# %%
detector = torch.jit.load(stranger, map_location="cpu")
print(detector.original_name, "with", [name for name, _ in detector.named_children()])
print(detector.forward.schema)

# %% [markdown]
# `forward` wants a tensor `x` and a whole number `sr`. What are they? Somebody who reads `detector.code` from its beginning
# comes to this line:

# %%
print(lines_with(stranger, "Provided number")[0])

# %% [markdown]
# So `sr` is the sample rate, and `x` a piece of 512 samples at 16,000 per second. The same sentence comes as an error if
# one does otherwise:

# %%
try:
    detector(torch.zeros(1, 600), 16000)
except Exception as error:
    print(str(error).strip().splitlines()[-1])

# %% [markdown]
# Three sounds of a second each: silence, noise, and a voice that we compute, because the course has no recording. An *ee* is
# a tone with many overtones, the loudest near 300, 2300 and 3000 Hertz, here with a melody and four syllables. (Only the
# result matters here: `sounds`.)

# %%
rate, pi = 16000, torch.pi
time = torch.arange(rate) / rate
tone = 150 * (1 + 0.1 * torch.sin(2 * pi * 0.7 * time))
phase = 2 * pi * torch.cumsum(tone, 0) / rate
overtones = torch.arange(1, 30)[:, None]
peaks = 300, 2300, 3000
loudness = sum(1 / (1 + ((150 * overtones - peak) / 100) ** 2) for peak in peaks)
voice = (loudness * torch.sin(overtones * phase)).sum(0) * torch.sin(4 * pi * time) ** 2
seed_everything(0)
sounds = {
    "silence": torch.zeros(rate),
    "noise": 0.1 * torch.randn(rate),
    "ee": 0.5 * voice / voice.abs().max(),
}


# %%
def speech(sound):
    """The highest probability of speech among the pieces of a sound."""
    detector.reset_states()  # it remembers the pieces before
    pieces = sound[: 512 * 31].reshape(31, 1, 512)
    return max(detector(piece, 16000).item() for piece in pieces)


for name, sound in sounds.items():
    probability = speech(sound)
    print(f"{name}: speech: {probability > 0.5}, probability ≈ {probability:.2f}")

# %% [markdown]
# A model of somebody else, without a line of their Python.

# %% [markdown]
# ## The same answers without Python
#
# Back to our C++ program. *Predict:* are its logits exactly those of Python, or nearly?


# %%
def run_infer(archive):
    program = folder.absolute() / "infer"
    arguments = [program, archive, "images.bin", "logits.bin"]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True).stdout


if compiling:
    print(compiling.communicate()[1] or "compiled without a message")
compiled = compiling and compiling.returncode == 0

# %%
if compiled:
    print("C++:   ", run_infer("scripted.pt").strip())
    print("Python:", *logits.argmax(dim=1).tolist())
    from_cpp = torch.from_file(str(folder / "logits.bin"), size=logits.numel())
    print("same logits:", torch.equal(from_cpp.view_as(logits), logits))

# %% [markdown]
# Exactly: it is the same library, and uses one thread in both (`utils.training` sets that for our notebooks, and the program
# for itself). Is there really no Python in it? A program file names the libraries that it asks for:

# %%
if compiled:
    content = (folder / "infer").read_bytes()
    print("asks for libtorch:", b"libtorch" in content)
    print("asks for libpython:", b"libpython" in content)

# %% [markdown]
# And what does the program say when it is given a file of weights?

# %%
if compiled:
    print(run_infer("weights.pt").split(". ")[0])

# %% [markdown]
# ## The way out
#
# `torch.export` is what torch recommends in place of TorchScript. The same model, with any number of images:

# %%
batch = torch.export.Dim("batch")
shapes = {"images": {0: batch}}
reader = WhereReader(model).eval()
program = torch.export.export(reader, (images,), dynamic_shapes=shapes)
torch.export.save(program, folder / "reader.pt2")
exported = torch.export.load(folder / "reader.pt2").module()

# %%
print("more than 85 % of dark paper right:", reads_dark_paper(exported))
print("more than 85 % of bright paper right:", accuracy(exported, loader(test)) > 0.85)

# %% [markdown]
# It traces too, but it does not drop a branch: it refuses.

# %%
import contextlib, io, logging

logging.disable(logging.WARNING)  # it prints pages of advice, to two places
with contextlib.redirect_stderr(io.StringIO()):
    try:
        torch.export.export(Reader(model).eval(), (images,))
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).split('(')[0]}…")
logging.disable(logging.NOTSET)

# %% [markdown]
# What people used TorchScript for, and where to go:
#
# | TorchScript was for | now |
# |:--|:--|
# | a model without its class, in Python | `torch.export.save`, `torch.export.load` |
# | a model in a C++ program | a package compiled from what `torch.export` gives |
# | a model in another runtime | ONNX |
# | a faster model, in Python | `torch.compile` |

# %% [markdown]
# ## Recap
#
# A TorchScript archive holds the translated code of a model and its weights, and `torch.jit.load` runs it without the
# class, even without Python. Scripting keeps branches, loops and the mode; tracing keeps what one example did. It is
# deprecated: read old archives, take the weights out, and export new models with `torch.export`.
#
# <details>
# <summary>A model traced with 5 images gets 12. Which answers may it give?</summary>
#
# Twelve, if nothing in its Python depended on the number 5. If a loop did, five, without a warning.
# </details>
#
# <details>
# <summary>You call <code>eval()</code> on a traced model, and its answers still change from call to call. Why?</summary>
#
# It was traced in train mode. Dropout is in the trace for good, and there is no <code>if</code> left that
# <code>eval()</code> could change.
# </details>
#
# <details>
# <summary><code>torch.jit.load</code> says that your file may be corrupted. What else can it be?</summary>
#
# A healthy checkpoint. Look whether the zip has a `constants.pkl`.
# </details>
#
# Now you: [the exercises](04_torchscript_exercises.ipynb).
