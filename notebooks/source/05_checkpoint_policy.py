# %% [markdown]
# # Keep checkpoints that survive
#
# **You will** watch a killed save destroy the last good file, and write the six lines that prevent it; find a damaged file
# that loads without a word; choose when to save, under which names, and what to throw away; and pack the file that
# others need to use your model.
#
# **You need** [lesson 1](01_state_dict.ipynb) and [lesson 3](03_resume.ipynb). **About {{read}} minutes.**

# %%
import os, warnings, zipfile
from pathlib import Path
import torch

# %%
from utils import show
from utils.checkpoint import Checkpoints, capture, restore
from utils.checking import fresh
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch

folder = Path("files/05_checkpoint_policy").absolute()
folder.mkdir(parents=True, exist_ok=True)
fresh.warm_up("torch._dynamo")  # for the processes below, which train

# %% [markdown]
# ## If you have only 10 seconds
#
# Copy the file `utils/checkpoint.py` of this course into your project, and import it as `checkpoint`. It needs torch and
# nothing else.

# %%
model = SmallCNN()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
checkpoints = Checkpoints(folder / "quick", metric="acc", keep_last=3, keep_best=1)

# %%
state = capture(model=model, optimizer=optimizer, position={"epoch": 0})
checkpoints.save(state, epoch=0, step=30, metrics={"acc": 0.5}).name

# %%
if (state := checkpoints.load("latest")) is not None:  # None at the first start
    restore(state, model=model, optimizer=optimizer)
    print("go on after epoch", state["position"]["epoch"])

# %% [markdown]
# The rest of this lesson builds up, from one line, what is in it, and shows what each part is for.

# %% [markdown]
# ## A save that destroys
#
# The usual line writes over the file from the epoch before. We let a process do that and have it killed when half of the
# new file is written. (`kill`, a helper of this course, watches what the process writes. At the write that goes too far it
# writes only what still fits, and then the operating system ends the process, as if the power had gone.)

# %%
DIES_HALFWAY = """
import os, torch
from pathlib import Path
from utils.checking import kill
kill.when_a_file_exceeds(Path("run.pt").stat().st_size // 2)
state = {"epoch": 2, "model": torch.ones(100_000)}
"""

# %%
torch.save({"epoch": 1, "model": torch.ones(100_000)}, folder / "run.pt")
whole = (folder / "run.pt").stat().st_size
try:
    fresh.run(DIES_HALFWAY + 'torch.save(state, "run.pt")', folder)
except fresh.RaisedInFreshProcess as error:
    print("the process was killed:", error.ended)
print("half is written:", (folder / "run.pt").stat().st_size == whole // 2)

# %% [markdown]
# *Predict:* what is in `run.pt` now, epoch 1, epoch 2, or something else?


# %%
def try_to_load(path):
    try:
        print("epoch", torch.load(path)["epoch"])
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).split('. ')[0]}")


try_to_load(folder / "run.pt")

# %% [markdown]
# > **Help: I get `PytorchStreamReader failed reading zip archive: failed finding central directory`.** The end of the file
# > is missing: a save or a download was cut off. Nothing brings it back; load an older file, and save as below.
#
# Epoch 2 was not finished, and epoch 1 is gone: `torch.save` emptied the file before it wrote. The cure writes another
# file, and gives it the name when it is complete.


# %%
def save(state, path):
    with open(f"{path}.partial", "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.partial", path)


# %%
import inspect

torch.save({"epoch": 1, "model": torch.ones(100_000)}, folder / "run.pt")
try:
    fresh.run(DIES_HALFWAY + inspect.getsource(save) + 'save(state, "run.pt")', folder)
except fresh.RaisedInFreshProcess as error:
    print("the process was killed:", error.ended)
try_to_load(folder / "run.pt")

# %% [markdown]
# `os.replace` is one step for the operating system: under the name there is the old file or the new one, never half of
# one. The partial file must be in the same folder, because only within one disk is it one step. `os.fsync` waits until
# the bytes are on the disk: without it, a power cut soon after could leave the new name with nothing behind it. (That
# we cannot show here: killing a process loses nothing that the operating system has taken over.)
#
# What the killed process leaves behind must be removed at the next start:

# %%
print([path.name for path in folder.glob("run.pt*")])
(folder / "run.pt.partial").unlink()

# %% [markdown]
# ## A file that lies
#
# A bad disk or a bad copy changes a byte somewhere. *Predict:* one bit of one weight is flipped. What does `torch.load`
# say?

# %%
weights = {"w": torch.ones(1000)}
torch.save(weights, folder / "flipped.pt")
content = bytearray((folder / "flipped.pt").read_bytes())
place = content.find(torch.ones(1000).numpy().tobytes()) + 3  # in the first number
content[place] ^= 0b0100_0000
written = (folder / "flipped.pt").write_bytes(content)

# %%
loaded = torch.load(folder / "flipped.pt")["w"]
print("first numbers:", loaded[:3].tolist())

# %% [markdown]
# Nothing. The file has a checksum for each of its entries, a CRC-32, and `torch.load` does not look at it. `zipfile`, which
# comes with Python, does: `testzip()` names the first entry that is damaged, or returns `None`.

# %%
print(zipfile.ZipFile(folder / "flipped.pt").testzip())
torch.save(weights, folder / "intact.pt")
print(zipfile.ZipFile(folder / "intact.pt").testzip())

# %% [markdown]
# torch can leave these checksums out, which makes saving faster. Then every file looks damaged:

# %%
torch.serialization.set_crc32_options(False)
torch.save(weights, folder / "intact.pt")
torch.serialization.set_crc32_options(True)
print(zipfile.ZipFile(folder / "intact.pt").testzip())

# %% [markdown]
# `checkpoint.py` keeps one checksum over all bytes of the file, at its end, and looks at it on loading. What it says about a
# flipped bit:

# %%
from utils import checkpoint

path = checkpoint.save(folder / "checked.pt", {"w": torch.ones(1000)})
content = bytearray(path.read_bytes())
content[len(content) // 2] ^= 1
path.write_bytes(content)
try:
    checkpoint.load(path)
except Exception as error:
    print(f"{type(error).__name__}: {error}".replace(str(folder), "…"))

# %% [markdown]
# The file is a file of `torch.save` all the same, and loads without `checkpoint.py`. (Only `testzip` is of no use for it:
# torch's own checksums are left out.)

# %%
path = checkpoint.save(folder / "checked.pt", {"w": torch.ones(1000)})
print(list(torch.load(path)))

# %% [markdown]
# ## Names
#
# *Predict:* in which order does `sorted` put these names?

# %%
print(sorted(["epoch_9.pt", "epoch_10.pt", "epoch_100.pt"]))

# %% [markdown]
# Names are sorted as text. With leading zeros, the order of the text is the order of time; with the metric in the name one
# sees what there is without loading anything. The same code that writes a name should be able to read it:

# %%
name = checkpoint.format_name("resnet18", 20, 1240, metric="acc", value=0.971)
print(name)
print(checkpoint.parse_name(name))

# %% [markdown]
# ## When to save
#
# Three rules cover nearly everything: after each epoch (the *last*, to continue), when the validation improves (the
# *best*, to use), and every so often one to keep (to go back). One more before something risky: another learning rate, a
# part thawed, a new data set.
#
# A run of ten epochs, in which something risky is done after the sixth: somebody tries a learning rate of 3.

# %%
train, validation, test = digits()
rules = {"metric": "acc", "keep_last": 2, "keep_best": 1, "keep_every": 4}
checkpoints = Checkpoints(folder / "digits", name="small", **rules)
for path in checkpoints.list():  # of an earlier run of this notebook
    path.unlink()


# %%
def build():
    seed_everything(0)
    model = SmallCNN()
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def run_epoch(model, optimizer, epoch):
    train_epoch(model, loader(train, shuffle=True, seed=epoch), optimizer)
    return accuracy(model.eval(), loader(validation))


# %%
model, optimizer = build()
scores, on_disk = [], []
for epoch in range(1, 11):
    if epoch == 7:
        checkpoint.save(folder / "before_experiment.pt", state)  # no rule removes it
        optimizer.param_groups[0]["lr"] = 3.0
    scores.append(run_epoch(model, optimizer, epoch))
    state = capture(model=model, optimizer=optimizer, position={"epoch": epoch})
    checkpoints.save(state, epoch=epoch, step=30 * epoch, metrics={"acc": scores[-1]})
    on_disk.append([checkpoint.parse_name(p.name).epoch for p in checkpoints.list()])

# %% [markdown]
# *Predict:* we keep the last 2, the best 1, and every fourth. Which files are there in the end?

# %%
show.retention(on_disk, keep_last=2, keep_every=4)

# %%
best = checkpoint.parse_name(checkpoints.best().name)
print("the last two, 4 and 8 are there:", {4, 8, 9, 10} <= set(on_disk[-1]))
print("the best is from before the experiment:", best.epoch <= 6)
print("it is the one with the highest score:", abs(best.value - max(scores)) < 1e-5)

# %% [markdown]
# Had we kept only the last two, the good model would be lost. The best was chosen by the validation images, so its score on
# them is a lucky one. The test images tell how good it is on others.

# %%
for which in ("latest", "best"):
    restore(checkpoints.load(which), model=model, optimizer=optimizer)
    score = accuracy(model.eval(), loader(test))
    print(f"{which}: test accuracy above 90 %: {score > 0.9}")

# %% [markdown]
# ## When the newest is damaged
#
# The newest file loses its second half. A run that is started again should fall back on the one before, and say so:

# %%
import re

newest = checkpoints.list()[-1]
newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    state = checkpoints.load("latest")
for warning in caught:
    message = str(warning.message).replace(str(folder), "…")
    print("UserWarning:", re.sub("_acc.*?pt", "….pt", message))
print("go on after epoch", state["position"]["epoch"])

# %% [markdown]
# ## How often
#
# Saving too often wastes time on saving; too rarely, the work since the last checkpoint is lost at each failure. In
# between is a best interval. J. W. Young (1974) found it: the square root of 2 × (time of a save) × (time between
# failures).

# %%
save_time, between_failures = 30, 8 * 3600  # seconds
young = (2 * save_time * between_failures) ** 0.5
print(f"save every {young / 60:.0f} minutes")

# %% [markdown]
# Is that so? We simulate 200 hours of training, with failures at random moments, and count which share of the time was
# lost: to saving, and to work that had to be done again. (The restart itself takes no time here.)

# %%
import random


def share_lost(interval, dice):
    done = clock = 0.0
    failure = dice.expovariate(1 / between_failures)
    while done < 200 * 3600:
        clock += interval + save_time
        if clock > failure:  # back to the last checkpoint
            clock = failure
            failure += dice.expovariate(1 / between_failures)
        else:
            done += interval
    return 1 - done / clock


# %%
minutes = [2, 5, 10, 22, 45, 90, 180]
dice = random.Random(0)
lost = {m: sum(share_lost(60 * m, dice) for _ in range(20)) / 20 for m in minutes}
show.intervals(lost, young / 60)

# %%
print("the best of these intervals:", min(lost, key=lost.get), "minutes")
print("twice as often or half as often loses under 2 % more:", end=" ")
print(max(lost[10], lost[45]) - lost[22] < 0.02)

# %% [markdown]
# The valley is broad: a factor of two to either side costs little. So an estimate of the two times will do.
#
# An interval in minutes need not wait for the end of an epoch. Count steps, or look at the clock; here a clock that we
# compute, with two seconds for each step:


# %%
def steps_with_a_save(is_due, steps=1000, seconds_per_step=2):
    saved, last = [], 0
    for step in range(1, steps + 1):
        now = step * seconds_per_step  # in a real program, time.monotonic()
        if is_due(step, now - last):
            saved.append(step)
            last = now
    return saved


# %%
print("every 400 steps:  ", steps_with_a_save(lambda step, since: step % 400 == 0))
print("every ten minutes:", steps_with_a_save(lambda step, since: since >= 600))

# %% [markdown]
# To continue in the middle of an epoch, the file must say where it was ([lesson 3](03_resume.ipynb)).
#
# A save that does not keep the training waiting is cheaper, and may come more often. With `background=True` the state is
# copied in memory, and a thread writes the copy while training goes on. *Predict:* the weights change right after the call.
# Which ones are in the file?

# %%
background = Checkpoints(folder / "background", metric="loss", mode="min")
state = capture(model=model)
before = model.head.bias.detach().clone()
path = background.save(state, epoch=1, step=30, metrics={"loss": 0.5}, background=True)
with torch.no_grad():
    model.head.bias += 1
background.wait()  # or at the next save, or at the end of the program
saved = checkpoint.load(path)["model"]["head.bias"]
print("as they were when save was called:", torch.equal(saved, before))

# %% [markdown]
# ## What a checkpoint weighs
#
# *Predict:* the weights of a model take 1.5 MB. How large is the checkpoint of a training with Adam, which keeps two averages
# for each weight?

# %%
from torchvision.models import shufflenet_v2_x0_5

net = shufflenet_v2_x0_5(num_classes=10)


def after_a_step(kind, **options):
    """The state of an optimizer that has done one step, of length 0."""
    optimizer = kind(net.parameters(), lr=0.0, **options)
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


# %%
weights = net.state_dict()
sgd, adam = torch.optim.SGD, torch.optim.Adam
contents = {
    "weights": weights,
    "weights, half precision": {k: v.half() for k, v in weights.items()},
    "weights, SGD without momentum": [weights, after_a_step(sgd)],
    "weights, SGD with momentum": [weights, after_a_step(sgd, momentum=0.9)],
    "weights, Adam": [weights, after_a_step(adam)],
}

# %%
sizes = {}
for what, content in contents.items():
    torch.save(content, folder / "size.pt")
    sizes[what] = (folder / "size.pt").stat().st_size
one = sizes["weights"]
rows = [(what, f"{n / 1e6:.1f} MB", f"{n / one:.1f}") for what, n in sizes.items()]
show.Table(["file", "size", "times the weights"], rows)

# %% [markdown]
# Three times the weights with Adam, twice with momentum; a little less, because running statistics are not trained. To *use*
# the model, one needs none of it.

# %% [markdown]
# ## Two files for two purposes
#
# A checkpoint is for you: it continues the run. A release is for others: it is smaller, and holds what they need to get
# the same answers. What do they need beside the weights? *Predict* what happens to somebody who has the right weights and
# scans with values from 0 to 16, as scikit-learn has them:

# %%
images, labels = test.tensors
scans = (images + 1) * 8  # back to what the scanner delivers
with torch.no_grad():
    right = (model.eval()(scans).argmax(dim=1) == labels).float().mean().item()
print("more than 90 % right:", right > 0.9)

# %% [markdown]
# No error, and wrong answers: training had scaled the images to -1 … 1, and the weights do not say so. It belongs in the
# file, with the labels and the arguments that build the model.

# %%
release = {
    "weights": model.state_dict(),
    "arguments": {"num_classes": 10, "width": 16},
    "labels": [str(digit) for digit in range(10)],
    "preprocessing": {"divide_by": 8.0, "subtract": 1.0},
}
about = {"test": "digits, 150 scans"}
path = checkpoint.save(folder / "small-1.0.pt", release, metadata=about)

# %%
state = torch.load(path)
other = SmallCNN(**state["arguments"])
other.load_state_dict(state["weights"])
steps = state["preprocessing"]
with torch.no_grad():
    answers = other.eval()(scans / steps["divide_by"] - steps["subtract"]).argmax(dim=1)
print("more than 90 % right:", (answers == labels).float().mean().item() > 0.9)
print("the first is a", state["labels"][answers[0]], "and the truth", labels[0].item())

# %% [markdown]
# In a year somebody will ask which code, which torch and which settings it was. `checkpoint.save` adds a record, with the
# commit of the program if it is under git.

# %%
record = state["record"]
print(list(record))
print("torch", record["torch"].split("+")[0], "| schema", record["schema"])

# %% [markdown]
# `schema` is the number of the format of *your* file. When the format changes, raise it, and add to `MIGRATIONS` in
# `checkpoint.py` how to make the new one of the old. A file from the future is refused, with a sentence in place of a
# `KeyError` somewhere. (`verify=False`, because this one is written by a plain `torch.save`, which adds no checksum.)

# %%
state["record"]["schema"] = 99
torch.save(state, folder / "future.pt")
try:
    checkpoint.load(folder / "future.pt", verify=False)
except Exception as error:
    message = str(error).replace(str(folder), "…").split(" (")[0]
    print(f"{type(error).__name__}: {message}")

# %% [markdown]
# ## Where is it?
#
# A relative path starts at the working directory, and programs change that. *Predict:* what becomes of the second file?

# %%
here = os.getcwd()
elsewhere = folder / "elsewhere"
elsewhere.mkdir(exist_ok=True)

# %%
torch.save(1, "files/05_checkpoint_policy/relative.pt")
os.chdir(elsewhere)
try:
    torch.save(2, "files/05_checkpoint_policy/relative.pt")
except RuntimeError as error:
    print("RuntimeError:", error)
finally:
    os.chdir(here)

# %% [markdown]
# > **Help: I get `Parent directory … does not exist`.** The path is relative, and the program is not where you think: print
# > `os.getcwd()`. Or the folder has not been made: `path.parent.mkdir(parents=True, exist_ok=True)`.
#
# Had there been a folder `files`, the second file would have gone there without a word. Make paths absolute where the program
# starts, as the cell at the top of this lesson does with `.absolute()`. `Checkpoints` does it too:

# %%
relative = Checkpoints("files/05_checkpoint_policy/run")
os.chdir(elsewhere)
print(relative.folder == folder / "run")
os.chdir(here)

# %% [markdown]
# ## Versions side by side
#
# Never save a new version over the old one: give it another name. Then both can be compared, and the old one be put back.

# %%
wide = SmallCNN(width=24)
wide_optimizer = torch.optim.SGD(wide.parameters(), lr=0.05, momentum=0.9)
for epoch in range(4):
    run_epoch(wide, wide_optimizer, epoch)

# %%
arguments = {"num_classes": 10, "width": 24}
newer = {**release, "weights": wide.state_dict(), "arguments": arguments}
path = checkpoint.save(folder / "small-2.0.pt", newer)


# %%
def released(path):
    state = checkpoint.load(path)
    model = SmallCNN(**state["arguments"])
    model.load_state_dict(state["weights"])
    return model.eval()


for path in sorted(folder.glob("small-*.pt")):
    score = accuracy(released(path), loader(validation))
    print(f"{path.name}: above 85 %: {score > 0.85}, accuracy ≈ {score:.2f}")

# %% [markdown]
# ## The proof
#
# A run of four epochs that nothing disturbs, and one to which everything happens: killed in the middle of writing its
# third checkpoint, then the second is damaged as well. It is started again, and told nothing.

# %%
RUN = """
import os, torch, warnings
from pathlib import Path
from torch.utils.data import TensorDataset
from utils.checking import kill
from utils.checkpoint import Checkpoints, capture, restore
from utils.data import loader
from utils.models import SmallCNN
from utils.training import seed_everything, train_epoch

def in_short(message, *_):
    text = str(message).replace(str(Path.cwd()), "…").replace(os.sep, "/")
    print("UserWarning:", text)

warnings.showwarning = in_short
train = TensorDataset(*torch.load("train.pt"))
seed_everything(0)
model = SmallCNN()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
checkpoints = Checkpoints(folder, keep_last=4, keep_best=0)
start = 1
if state := checkpoints.load("latest"):
    restore(state, model=model, optimizer=optimizer)
    start = state["position"]["epoch"] + 1
    print("goes on with epoch", start)
for epoch in range(start, 5):
    train_epoch(model, loader(train, shuffle=True, seed=epoch), optimizer)
    if epoch == kill_at:
        kill.when_a_file_exceeds(50_000)
    state = capture(model=model, optimizer=optimizer, position={"epoch": epoch})
    checkpoints.save(state, epoch=epoch, step=30 * epoch)
print("finished")
"""

# %%
import shutil

torch.save(train.tensors, folder / "train.pt")
for name in ("undisturbed", "disturbed"):
    shutil.rmtree(folder / name, ignore_errors=True)
fresh.run("folder, kill_at = 'undisturbed', None" + RUN, folder)

# %%
try:
    fresh.run("folder, kill_at = 'disturbed', 3" + RUN, folder)
except fresh.RaisedInFreshProcess as error:
    print("the process was killed:", error.ended)
files = sorted((folder / "disturbed").iterdir())
print([path.name for path in files if path.suffix == ".pt"])
print("and a partial file:", any(path.suffix == ".partial" for path in files))

# %%
second = folder / "disturbed/model_epoch002_step000060.pt"
content = bytearray(second.read_bytes())
content[20_000] ^= 1
written = second.write_bytes(content)
fresh.run("folder, kill_at = 'disturbed', None" + RUN, folder)

# %%
last = "model_epoch004_step000120.pt"
first = checkpoint.load(folder / "undisturbed" / last)["model"]
second = checkpoint.load(folder / "disturbed" / last)["model"]
print("equal weights:", all(torch.equal(first[name], second[name]) for name in first))
print("left behind:", list((folder / "disturbed").glob("*.partial")))

# %% [markdown]
# ## Recap
#
# Write another file, force it to the disk, then rename it: a kill leaves the old one whole. Check what you load, because
# `torch.load` does not, and fall back on the file before. Keep the last to continue, the best to use, and give others a
# release with everything that the answers depend on.
#
# <details>
# <summary>Why must the partial file be in the folder of the final one?</summary>
#
# Because `os.replace` is one step only within one disk. From another disk it fails, and a copy in its place would be a
# save that can be interrupted.
# </details>
#
# <details>
# <summary>A checkpoint loads without an error. Are its numbers those that were saved?</summary>
#
# `torch.load` does not say. Compare a checksum: `testzip()` for the files of `torch.save`, or one of your own.
# </details>
#
# <details>
# <summary>You save every 20 minutes, and failures become four times as rare. How often should you save now?</summary>
#
# Half as often, every 40 minutes: the interval grows with the square root.
# </details>
#
# Now you: [the exercises](05_checkpoint_policy_exercises.ipynb).
