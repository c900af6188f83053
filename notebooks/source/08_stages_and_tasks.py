# %% [markdown]
# # Train in stages, and keep several models in one file
#
# **You will** freeze a part of a net, thaw it later, and resume each stage to the last bit; keep several models and their
# optimizers in one file; save averaged weights, and take them out of a checkpoint for use.
#
# **You need** [lesson 3](03_resume.ipynb), [lesson 5](05_checkpoint_policy.ipynb) and [lesson 6](06_partial_loading.ipynb).
# **About {{read}} minutes.**

# %%
import os
from copy import deepcopy
from pathlib import Path
import torch
from torch import nn
from torch.nn.functional import cross_entropy

# %%
from utils import show
from utils.checkpoint import capture, restore
from utils.checking import fresh
from utils.checking.errors import same
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/08_stages_and_tasks")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## If you have only 10 seconds
#
# A file of a run in stages says, beside what lesson 3 saves, which stage it is and what is frozen. To resume, freeze first,
# build the optimizer of *that* stage, then load. `same(a, b)`, in the cells below, is true if two state_dicts are equal to
# the last bit. The net has these layers:

# %%
print(SmallCNN(num_classes=5).features)

# %%
STAGES = [  # what trains, with which learning rate
    {"head": 0.1},
    {"head": 0.05, "features.3": 0.01, "features.4": 0.01},  # and 3 with its norm
]


# %%
def start_stage(model, stage):
    """Freeze and thaw; returns a new optimizer, one group for each part that trains."""
    model.requires_grad_(False)
    groups = []
    for name, rate in STAGES[stage].items():
        part = model.get_submodule(name).requires_grad_(True)
        groups.append({"params": list(part.parameters()), "lr": rate})
    return torch.optim.SGD(groups, momentum=0.9)


# %%
def frozen(model):
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def save(path, model, optimizer, stage, epoch):
    file = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    file |= {"stage": stage, "epoch": epoch, "frozen": frozen(model)}
    torch.save(file | {"rng": torch.get_rng_state()}, f"{path}.partial")
    os.replace(f"{path}.partial", path)


# %%
def load(path, model):
    """Bring `model` to where it was; returns its optimizer, the stage and the epoch."""
    file = torch.load(path)
    optimizer = start_stage(model, file["stage"])  # the groups of that stage
    if frozen(model) != file["frozen"]:
        raise ValueError(f"other layers were frozen: {file['frozen']}")
    model.load_state_dict(file["model"])
    optimizer.load_state_dict(file["optimizer"])
    torch.set_rng_state(file["rng"])
    return optimizer, file["stage"], file["epoch"]


# %% [markdown]
# The rest of this lesson shows what each of these lines is for. At its end, a run is killed in its second stage.

# %% [markdown]
# ## Two tasks
#
# The first task is to tell the digits 0 to 4 apart. The second, 5 to 9, comes later, and is to use what the first one
# learned.

# %%
from torch.utils.data import TensorDataset


def only(dataset, first):
    """The five digits from `first` on, with labels 0 to 4."""
    images, labels = dataset.tensors
    chosen = (labels >= first) & (labels < first + 5)
    return TensorDataset(images[chosen], labels[chosen] - first)


# %%
train, validation, test = digits()
old_task, old_test = only(train, 0), only(test, 0)
new_task, new_test = only(train, 5), only(test, 5)

# %%
seed_everything(0)
backbone = SmallCNN(num_classes=5)
optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):
    train_epoch(backbone, loader(old_task, shuffle=True, seed=epoch), optimizer)
print("more than 90 % right:", accuracy(backbone.eval(), loader(old_test)) > 0.9)
torch.save(backbone.state_dict(), folder / "task_one.pt")

# %% [markdown]
# ## What a state_dict does not say
#
# To freeze is to set `requires_grad = False`. *Predict:* the frozen net is saved, and loaded into a new one. How many of
# its parameters are frozen then?

# %%
net = SmallCNN(num_classes=5)
net.features.requires_grad_(False)
torch.save(net.state_dict(), folder / "frozen.pt")
print("frozen:", len(frozen(net)))

# %%
net = SmallCNN(num_classes=5)
print(net.load_state_dict(torch.load(folder / "frozen.pt")))
print("frozen:", len(frozen(net)))

# %% [markdown]
# None. `requires_grad` belongs to the parameter object, and a state_dict holds numbers. A resumed run would train what was
# to stay, and no message comes.

# %% [markdown]
# ## What moves although it is frozen
#
# The head is exchanged for the new task, the rest is frozen, and one epoch of the new task follows.


# %%
def new_head():
    seed_everything(1)
    model = SmallCNN(num_classes=5)
    state = torch.load(folder / "task_one.pt")
    del state["head.weight"], state["head.bias"]
    left = model.load_state_dict(state, strict=False)
    assert left.missing_keys == ["head.weight", "head.bias"]
    assert not left.unexpected_keys
    return model


# %%
model = new_head()
optimizer = start_stage(model, 0)
before = deepcopy(model.state_dict())
loss = train_epoch(model, loader(new_task, shuffle=True), optimizer)

# %% [markdown]
# *Predict:* which entries of the state_dict have changed?


# %%
def moved(before, model):
    after = model.state_dict()
    return [name for name in before if not torch.equal(before[name], after[name])]


print(*moved(before, model), sep="\n")

# %% [markdown]
# The head, and the running statistics of both batch norms. No gradient is needed for those: in train mode each batch moves
# them. So the frozen part is no longer what the first task left. We put the old head back on it:

# %%
both = deepcopy(model)
both.head.load_state_dict(backbone.head.state_dict())
images = old_test.tensors[0]
with torch.no_grad():
    answers, as_before = both.eval()(images), backbone.eval()(images)
print("answers as before:", torch.equal(answers, as_before))

# %% [markdown]
# So put a frozen batch norm in eval mode. `model.train()` puts all of them back in training mode, and every epoch calls it,
# so this has to come after. (A batch norm with `affine=False` has no weight, so nothing says whether it is frozen; here it
# stays in training mode.)


# %%
def to_train_mode(model):
    """Training mode, but a batch norm whose weight is frozen goes to eval mode."""
    model.train()
    for module in model.modules():
        norm = isinstance(module, nn.BatchNorm2d) and module.weight is not None
        if norm and not module.weight.requires_grad:
            module.eval()


# %%
def train_part(model, optimizer, batches):
    to_train_mode(model)
    for images, labels in batches:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()


# %%
model = new_head()
optimizer = start_stage(model, 0)
before = deepcopy(model.state_dict())
train_part(model, optimizer, loader(new_task, shuffle=True))
print(moved(before, model))

# %% [markdown]
# ## Groups that change between stages
#
# The second stage thaws the last convolution and its batch norm, with a smaller learning rate than the head's.

# %%
save(folder / "stage_1.pt", model, optimizer, stage=0, epoch=0)
optimizer = start_stage(model, 1)
before = deepcopy(model.state_dict())
train_part(model, optimizer, loader(new_task, shuffle=True, seed=1))
save(folder / "stage_2.pt", model, optimizer, stage=1, epoch=0)

# %%
print("not moved:", [name for name in before if name not in moved(before, model)])
groups = optimizer.state_dict()["param_groups"]
show.Table(["rate", "parameters"], [(str(g["lr"]), str(g["params"])) for g in groups])

# %% [markdown]
# Stages are code, and code is edited. That is why the file has the names of what was frozen, and `load` compares. Somebody
# takes the convolution out of the second stage, and resumes the old file:

# %%
second = STAGES[1]
STAGES[1] = {"head": 0.05}
try:
    load(folder / "stage_2.pt", SmallCNN(num_classes=5))
except ValueError as error:
    print("ValueError:", error)
STAGES[1] = second

# %% [markdown]
# The optimizer alone would not always object. Its parameters in the table are numbers, as in lesson 3, counted over the
# groups: 0 is `head.weight` here, and would be `features.0.weight` in an optimizer of the whole model. *Predict:* a program
# is started again, builds the optimizer of its first stage, as always, and loads. Does it get an error?

# %%
file = torch.load(folder / "stage_2.pt")
try:
    start_stage(SmallCNN(num_classes=5), 0).load_state_dict(file["optimizer"])
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# > **Help: I get `loaded state dict has a different number of parameter groups`.** The file is of another stage. Read its
# > stage first, build the groups of that stage, then load. With one group in each stage it is `… contains a parameter
# > group that doesn't match the size of optimizer's group`:

# %%
model = new_head()
whole = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
head_only = torch.optim.SGD(model.head.parameters(), lr=0.1, momentum=0.9)
try:
    head_only.load_state_dict(whole.state_dict())
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# These are the lucky cases. A group has a size and no names, so two stages of equal sizes are the same to it. One stage
# trains the first batch norm, the next trains the head: two parameters each.

# %%
norm = torch.optim.SGD(model.features[1].parameters(), lr=0.1, momentum=0.9)
train_epoch(model, loader(new_task), norm)
head = torch.optim.SGD(model.head.parameters(), lr=0.1, momentum=0.9)
print("raised by loading:", head.load_state_dict(norm.state_dict()))

# %%
try:
    train_epoch(model, loader(new_task), head)
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# > **Help: I get `The size of tensor a (…) must match the size of tensor b (…)` in `optimizer.step()`.** The momentum in the
# > file belongs to other parameters. With equal shapes there is no message at all: the first and the second batch norm of a
# > net of equal widths would exchange their momentum.
#
# An optimizer can write down the names. It does not *use* them in loading: comparing them is up to your program.

# %%
named = torch.optim.SGD(model.head.named_parameters("head"), lr=0.1)
print(named.state_dict()["param_groups"][0]["param_names"])

# %% [markdown]
# Here each stage starts with a new optimizer, so the head begins the second stage without momentum. To keep it, add a group
# to the old optimizer. On resuming the same is done again, in the same order, before loading:


# %%
def two_groups(model):
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.05, momentum=0.9)
    thawed = [*model.features[3].parameters(), *model.features[4].parameters()]
    optimizer.add_param_group({"params": thawed, "lr": 0.01})
    return optimizer


# %%
grown = two_groups(model)
train_epoch(model, loader(new_task), grown)
again = two_groups(new_head())
again.load_state_dict(grown.state_dict())
print("equal:", same(again.state_dict(), grown.state_dict()))

# %% [markdown]
# ## Several models in one file
#
# Two nets that train each other: a generator paints digits of 8×8 pixels from noise, a critic tells them from real ones.
# Each has its optimizer.


# %%
def build_pair():
    painter = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    return {
        "painter": painter,
        "critic": critic,
        "painter_optimizer": torch.optim.Adam(painter.parameters(), lr=0.002),
        "critic_optimizer": torch.optim.Adam(critic.parameters(), lr=0.002),
    }


# %%
def step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# %%
def train_pair(pair, epochs):
    for epoch in epochs:
        for images, _ in loader(train, shuffle=True, seed=epoch):
            real = nn.functional.avg_pool2d(images[:, :1], 4).flatten(1)
            fake = pair["painter"](torch.randn(len(real), 8))
            judged = pair["critic"](torch.cat([real, fake.detach()])).flatten()
            truth = (torch.arange(len(judged)) < len(real)).float()
            loss = nn.functional.binary_cross_entropy_with_logits(judged, truth)
            step(pair["critic_optimizer"], loss)
            step(pair["painter_optimizer"], -pair["critic"](fake).mean())


# %%
seed_everything(0)
pair = build_pair()
train_pair(pair, range(2))

# %% [markdown]
# *Predict:* the two state_dicts are merged into one dictionary. How many entries does it have?

# %%
painter, critic = pair["painter"].state_dict(), pair["critic"].state_dict()
print(list(painter), list(critic), sep="\n")
print("merged:", len({**painter, **critic}), "entries")

# %% [markdown]
# Four: both nets call their layers `0` and `2`, and the later one has overwritten the earlier. One dictionary *of
# dictionaries* keeps them apart. `capture` of lesson 5 makes one, with the random numbers, and `restore` gives each part its
# own by its name:

# %%
torch.save(capture(**pair), folder / "pair.pt")
train_pair(pair, range(2, 4))  # the run without a stop

# %%
resumed = build_pair()
restore(torch.load(folder / "pair.pt"), **resumed)
train_pair(resumed, range(2, 4))
for name in pair:
    print(name, "equal:", same(resumed[name].state_dict(), pair[name].state_dict()))

# %% [markdown]
# ### Exchanged by mistake
#
# *Predict:* the two optimizers are exchanged in loading. When is that noticed?

# %%
file = torch.load(folder / "pair.pt")
wrong = build_pair()
wrong["painter_optimizer"].load_state_dict(file["critic_optimizer"])
print("loaded")
try:
    train_pair(wrong, range(1))
except RuntimeError as error:
    print("RuntimeError:", error)

# %% [markdown]
# At the first step. And if the two nets have the same shapes, as a teacher and its student may have? Take the net of
# the old task as the teacher, and a net for the new task as the student:

# %%
teacher, student = backbone, new_head()
file = {"teacher": teacher.state_dict(), "student": student.state_dict()}
other = SmallCNN(num_classes=5)
print(other.load_state_dict(file["student"]))  # meant to be the teacher

# %%
for name, net in {"teacher": teacher, "other": other}.items():
    print(name, "over 90 % right:", accuracy(net.eval(), loader(old_test)) > 0.9)

# %% [markdown]
# Nothing in the file can object. So write each name once: a dictionary of parts that both saving and loading go through, as
# with `capture(**pair)` and `restore(state, **pair)`, leaves no place for such a mistake.

# %% [markdown]
# ## Averaged weights
#
# An average over the last steps is often better, or less noisy, than the last weights. *EMA*, the exponential moving average,
# is one: after each step, the average moves a little towards the model. `AveragedModel` keeps it.

# %%
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn


def average_of(model, decay=0.9, **options):
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), **options)


# %%
ema = average_of(SmallCNN())
names = list(ema.state_dict())
print(*names[:3], "…")
print(len(names), "entries; the model itself has", len(SmallCNN().state_dict()))

# %% [markdown]
# The keys have the prefix `module.`, and there is one more, `n_averaged`: how many steps have been averaged. It is state as
# well. At 0, the next update *copies* the model, which we show with a bias that is set to 0, 1 and 1:

# %%
model = SmallCNN()
ema = average_of(model)
for value, seen in ((0.0, 0), (1.0, 1), (1.0, 0)):
    nn.init.constant_(model.head.bias, value)
    ema.n_averaged.fill_(seen)
    ema.update_parameters(model)
    print(f"n_averaged was {seen}: the average is {ema.module.head.bias[0]:.1f}")

# %% [markdown]
# ### Save it, or lose it
#
# The average depends on all steps before. We stop a run after two of four epochs, and resume it once with the EMA of the
# file, once with a new one.


# %%
def build_averaged():
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return {"model": model, "optimizer": optimizer, "ema": average_of(model, 0.99)}


def run(parts, epochs):
    for epoch in epochs:
        for batch in loader(train, shuffle=True, seed=epoch):
            train_epoch(parts["model"], [batch], parts["optimizer"])
            parts["ema"].update_parameters(parts["model"])


# %%
seed_everything(0)
straight = build_averaged()
run(straight, range(2))
torch.save(capture(**straight), folder / "averaged.pt")
run(straight, range(2, 4))

# %% [markdown]
# *Predict:* a new EMA of the model that was loaded starts from good weights. Does it arrive at the same ones?


# %%
def resume_run(*loaded):
    parts = build_averaged()
    chosen = {name: parts[name] for name in loaded}
    restore(torch.load(folder / "averaged.pt"), **chosen)
    run(parts, range(2, 4))
    both = [(parts[n].state_dict(), straight[n].state_dict()) for n in ("model", "ema")]
    return [same(resumed, wanted) for resumed, wanted in both]


# %%
rows = [
    ("with its EMA", *resume_run("model", "optimizer", "ema")),
    ("with a new EMA", *resume_run("model", "optimizer")),
]
show.Table(["resumed", "model equal", "EMA equal"], rows)

# %% [markdown]
# ### Which running statistics?
#
# Batch norm's statistics are not parameters, and an average of weights needs statistics that fit *it*. We train the net of
# the lessons before, and keep five averages: two decays, each with and without `use_buffers`, and one as people write it by
# hand, over the parameters.

# %%
from torchvision.models import shufflenet_v2_x0_5

seed_everything(0)
net = shufflenet_v2_x0_5(num_classes=10)
by_hand = deepcopy(net)
cases = [(decay, buffers) for decay in (0.9, 0.98) for buffers in (False, True)]
averages = {(d, b): average_of(net, d, use_buffers=b) for d, b in cases}

# %%
optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=120)
for epoch in range(4):
    for batch in loader(train, shuffle=True, seed=epoch):
        train_epoch(net, [batch], optimizer, scheduler)
        for average in averages.values():
            average.update_parameters(net)
        with torch.no_grad():
            for mine, its in zip(by_hand.parameters(), net.parameters()):
                mine.lerp_(its, 0.1)

# %% [markdown]
# *Predict:* the net itself is over 85 % right. How many of the five averages are? (The last row will be one of the five, with
# its statistics measured again.)


# %%
def row(what, decay, model):
    right = accuracy(model.eval(), loader(test))
    return what, str(decay), right > 0.85, f"≈ {right:.2f}"


rows = [row("the net itself", "", net), row("by hand: never touched", 0.9, by_hand)]
for (decay, buffers), average in averages.items():
    what = "use_buffers=True: averaged too" if buffers else "default: the net's latest"
    rows.append(row(what, decay, average))

# %%
slow = averages[0.98, False]
update_bn(loader(train), slow)
rows.append(row("update_bn: measured again", 0.98, slow))
show.Table(["running statistics", "decay", "more than 85 %", "accuracy"], rows)

# %% [markdown]
# - **By hand**, with parameters only, the statistics are those of the untrained net, and the average guesses.
# - **By default** `AveragedModel` copies the latest statistics of the net. A quick average (0.9) is near the net, and they
#   fit. A slow one (0.98) is another net, and they do not.
# - **`use_buffers=True`** averages them too. In a slow average, some of the untrained net's statistics remain.
# - **`update_bn`** resets them and measures them, with one pass over the training images. The slow average was good all
#   along: only its statistics were wrong.
#
# Two of the five are. So before you use an average, measure its accuracy on the validation images, run `update_bn`, and measure
# again: if the accuracy rises, it was the statistics.

# %% [markdown]
# ### Take it out of a checkpoint
#
# A checkpoint holds both. *Predict:* what does a plain net say to the EMA's entries?

# %%
torch.save(capture(model=net, optimizer=optimizer, ema=slow), folder / "both.pt")
file = torch.load(folder / "both.pt")
plain = shufflenet_v2_x0_5(num_classes=10)
try:
    plain.load_state_dict(file["ema"])
except RuntimeError as error:
    print(str(error).splitlines()[2].strip()[:76], "…")

# %% [markdown]
# > **Help: I get `Unexpected key(s) in state_dict: "n_averaged", "module.…"`.** These are the entries of an `AveragedModel`.
# > Take the counter out and the prefix off, or save `ema.module.state_dict()` in the first place.

# %%
weights = {n.removeprefix("module."): t for n, t in file["ema"].items()}
del weights["n_averaged"]
print(plain.load_state_dict(weights))
print("more than 85 % right:", accuracy(plain.eval(), loader(validation)) > 0.85)

# %% [markdown]
# How to publish such weights, so that others can fetch and use them: [lesson 9](09_pretrained.ipynb).

# %% [markdown]
# ## The proof
#
# Two stages of three epochs each on the new task. Two numbers say where a run is.

# %%
POSITIONS = [(stage, epoch) for stage in range(2) for epoch in range(3)]


def go_on(path, model):
    """Train from where the file is, if there is one, to the end."""
    start, optimizer = 0, None
    if os.path.exists(path):
        optimizer, *position = load(path, model)
        start = POSITIONS.index(tuple(position)) + 1
    for stage, epoch in POSITIONS[start:]:
        if epoch == 0:
            optimizer = start_stage(model, stage)
        train_part(model, optimizer, epoch_of(stage, epoch))
        save(path, model, optimizer, stage, epoch)


# %%
def epoch_of(stage, epoch):
    return loader(new_task, shuffle=True, seed=10 * stage + epoch)


for run_name in ("straight", "killed"):
    (folder / f"{run_name}.pt").unlink(missing_ok=True)

straight = new_head()
go_on(folder / "straight.pt", straight)
print("more than 90 % right:", accuracy(straight.eval(), loader(new_test)) > 0.9)

# %% [markdown]
# The same as a program for a new process, which kills itself in the middle of the second stage if it is told to:

# %%
PROGRAM = """
import os, torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset
from utils.checking.kill import this_process as kill_this_process
from utils.data import loader
from utils.models import SmallCNN

torch.set_num_threads(1)
new_task = TensorDataset(*torch.load("new_task.pt"))


def epoch_of(stage, epoch):
    batches = loader(new_task, shuffle=True, seed=10 * stage + epoch)
    for number, batch in enumerate(batches):
        if kill and (stage, epoch, number) == (1, 1, 7):
            kill_this_process()
        yield batch


"""

# %%
import inspect

functions = (start_stage, frozen, save, load, to_train_mode, train_part, go_on)
PROGRAM += "\n".join(inspect.getsource(function) for function in functions)
PROGRAM += f"""
STAGES, POSITIONS = {STAGES}, {POSITIONS}
start, model = torch.load("start.pt"), SmallCNN(num_classes=5)
model.load_state_dict(start["model"])
torch.set_rng_state(start["rng"])
go_on("killed.pt", model)
"""

# %%
start = {"model": new_head().state_dict(), "rng": torch.get_rng_state()}
torch.save(start, folder / "start.pt")
torch.save(new_task.tensors, folder / "new_task.pt")

# %%
try:
    fresh.run("kill = True" + PROGRAM, folder)
except fresh.RaisedInFreshProcess as error:
    print("the process was killed:", error.ended)
file = torch.load(folder / "killed.pt")
print("last finished: stage", file["stage"], "epoch", file["epoch"], "; frozen:")
print(file["frozen"])

# %% [markdown]
# Seven batches are lost. It is started again, in a new process, and told nothing:

# %%
fresh.run("kill = False" + PROGRAM, folder)
ends = [torch.load(folder / f"{name}.pt") for name in ("straight", "killed")]
for part in ends[0]:
    print(part, "equal:", same(ends[0][part], ends[1][part]))

# %% [markdown]
# Weights, statistics, momentum of all three groups, what is frozen, the random numbers: all of it.

# %% [markdown]
# ## Recap
#
# A run in stages saves the number of the stage and what is frozen, and resumes by freezing, building that stage's groups,
# and loading; frozen batch norms stay in eval mode. Several models are a dictionary of dictionaries, each name written once,
# and averaged weights need `n_averaged` to go on and running statistics of their own to be used.
#
# <details>
# <summary>The backbone is frozen, and after fine-tuning its state_dict is not what it was. How can that be?</summary>
#
# Batch norms in train mode move their running statistics with each batch, without any gradient. Put the frozen ones into
# eval mode after each `model.train()`.
# </details>
#
# <details>
# <summary>A resume stops with <code>loaded state dict has a different number of parameter groups</code>. What happened?</summary>
#
# The optimizer was built for another stage than the one in the file. Read the stage first, freeze and thaw, build the groups
# of that stage in the same order, then load.
# </details>
#
# <details>
# <summary>The averaged weights guess, though the model is good. What do you try?</summary>
#
# `update_bn`: their running statistics are those of another net. If it helps, save them with it.
# </details>
#
# Now you: [the exercises](08_stages_and_tasks_exercises.ipynb).
