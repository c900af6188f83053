from tests.support.answer import Answer
from utils.checks import error_clinic as CHECKS  # noqa: F401

PREAMBLE = """\
from copy import deepcopy
import numpy as np
import torch
"""
ARGUMENTS = {
    "says_what_files_are": ["files"],
    "says_what_is_wrong": ["checkpoints"],
    "loads_for_use": ["load_for_use"],
    "continues_the_run": ["resume"],
    "keeps_the_best": ["keep_best"],
}
FILES = {
    "a": ("CUDA", "cuda:3"),
    "b": ("pointer", 44814721),
    "c": ("flipped", "c/data/3"),
    "d": ("pickle", "accuracy"),
    "e": ("page", 403),
    "f": ("safetensors", "scale"),
    "g": ("class", "argparse.Namespace"),
    "h": ("cut short", 1234),
}
CHECKPOINTS = {
    "v": ("missing", "features.4.running_var"),
    "w": ("not finite", "features.3.weight"),
    "x": ("nested", "net"),
    "y": ("shape", "features.0.weight"),
    "z": ("prefix", "_orig_mod.module."),
}
LOAD = """
def load_for_use(path, model):
    checkpoint = torch.load(path, map_location="cpu")
    weights = {n.removeprefix("module."): t for n, t in checkpoint["model"].items()}
    model.load_state_dict(weights)
    return model.eval()
"""
RESUME = """
def shrink(epoch):
    return 1 / (1 + epoch)

def resume(path, model):
    run = torch.load(path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)
    model.load_state_dict(run["model"])
    optimizer.load_state_dict(run["optimizer"])
    scheduler.load_state_dict(run["scheduler"])
    return optimizer, scheduler, run["epoch"] + 1
"""
BEST = """
def keep_best(model, train, score, epochs, path):
    best = {"weights": None, "score": float("-inf")}
    for epoch in range(epochs):
        model.train()
        train(model)
        model.eval()
        result = float(score(model))
        if result > best["score"]:
            best = {"weights": deepcopy(model.state_dict()), "score": result}
    torch.save(best, path)
"""


def files(words="", **changes):
    return Answer("says_what_files_are", f"files = {FILES | changes}", words)


def checkpoints(words="", **changes):
    return Answer("says_what_is_wrong", f"checkpoints = {CHECKPOINTS | changes}", words)


def changed(check, code, pairs, words):
    for old, new in pairs:
        assert old in code, old
        code = code.replace(old, new)
    return Answer(check, code, words)


def load(words, *pairs):
    return changed("loads_for_use", LOAD, pairs, words)


def resume(words, *pairs):
    return changed("continues_the_run", RESUME, pairs, words)


def best(words, *pairs):
    return changed("keeps_the_best", BEST, pairs, words)


ANSWERS = [
    # 12.1
    files(),
    files(a=["CUDA", "cuda:3"]),
    Answer("says_what_files_are", f"files = {FILES}\nfiles['e'] = 'page', np.int64(403)"),
    files("a is something else: what does torch.load say of its device", a=("class", "cuda:3")),
    files("a: the evidence for `CUDA` is something else than 'cuda'", a=("CUDA", "cuda")),
    files("a: the evidence for `CUDA` is a text, and not an int", a=("CUDA", 3)),
    files("b is something else: its first bytes are text", b=("page", 44814721)),
    files("b: the evidence for `pointer` is something else than 75", b=("pointer", 75)),
    files("b: the evidence for `pointer` is a number, and not a str", b=("pointer", "44814721")),
    files("c is something else: it loads", c=("cut short", 100)),
    files("c: the evidence for `flipped` is something else than 'data/3'", c=("flipped", "data/3")),
    files("d is something else: what is its first byte", d=("class", "dict")),
    files("e is something else", e=("pointer", 403)),
    files("f is something else: what stands after", f=("pickle", "scale")),
    files("g is something else: what does torch.load name", g=("pickle", "argparse.Namespace")),
    files("g: the evidence for `class` is something else", g=("class", "Namespace")),
    files("h is something else: it begins like an archive", h=("flipped", "h/data/0")),
    files("h: the evidence for `cut short` is something else than 80", h=("cut short", 80)),
    files("h: 'broken' is none of the words", h=("broken", 1234)),
    files("h: a pair of a word and its evidence", h="cut short"),
    files("h: None is none of the words", h=(None, 1234)),
    Answer(
        "says_what_files_are",
        "files = {'a': ('CUDA', 'cuda:3')}",
        "right so far; these are not in it yet: b, c",
    ),
    Answer("says_what_files_are", "files = ['CUDA'] * 8", "a dictionary is wanted"),
    # 12.2
    checkpoints(),
    checkpoints(z=["prefix", "_orig_mod.module."]),
    checkpoints("z: the evidence for `prefix` is something else", z=("prefix", "module.")),
    checkpoints(
        "z: the evidence for `prefix` is something else than '_orig_mod.module'",
        z=("prefix", "_orig_mod.module"),
    ),
    checkpoints("w is something else: it loads", w=("missing", "features.3.weight")),
    checkpoints("w: the evidence", w=("not finite", "head.weight")),
    checkpoints("x is something else: what are its keys", x=("missing", "net")),
    checkpoints("y is something else: does load_state_dict", y=("missing", "features.0.weight")),
    checkpoints(
        "v: the evidence for `missing` is a text, and not a list",
        v=("missing", ["features.4.running_var"]),
    ),
    Answer("says_what_is_wrong", "checkpoints = 5", "a dictionary is wanted, and not an int"),
    # 12.3
    load(""),
    load(
        "",
        ("torch.load(path, ", "torch.load(path, weights_only=True, "),
        (
            "    weights = {",
            '    prefix = "module."\n    names = list(checkpoint["model"])\n'
            "    n = len(prefix) if all(x.startswith(prefix) for x in names) else 0\n"
            '    weights = {x[n:]: t for x, t in checkpoint["model"].items()}\n'
            "    unused = {",
        ),
        ("    return model.eval()", "    model.eval()\n    return model"),
    ),
    load("does not load on a machine without a GPU", (', map_location="cpu"', "")),
    load(
        "a file with a program in it was accepted",
        ('map_location="cpu"', 'map_location="cpu", weights_only=False'),
    ),
    load(
        "a net with a layer named `submodule` does not load: the names do not match",
        ('n.removeprefix("module.")', 'n.replace("module.", "")'),
    ),
    load(
        "a net with a layer named `submodule` does not load: the names do not match",
        ('n.removeprefix("module.")', 'n.lstrip("module.")'),
    ),
    load("without `head.bias` was accepted", ("(weights)", "(weights, strict=False)")),
    load("in train mode", ("model.eval()", "model")),
    load(
        "a _IncompatibleKeys, not the model",
        ("    model.load", "    model = model.load"),
        ("model.eval()", "model"),
    ),
    load("object has no attribute 'eval'", ("    model.load", "    model = model.load")),
    load("returned None", ("    return model.eval()", "    model.eval()")),
    load("DataParallel does not load", ('n.removeprefix("module.")', "n")),
    load(
        "the model does not have its weights",
        ('n.removeprefix("module.")', "n"),
        ("(weights)", "(weights, strict=False)"),
    ),
    load("unexpected keyword argument 'map_location'", ("(weights)", "(weights, map_location=0)")),
    load("another model", ("    model.load", "    model = deepcopy(model)\n    model.load")),
    # 12.4
    resume(""),
    resume(
        "",
        ('    model.load_state_dict(run["model"])\n', ""),
        (
            "    optimizer = ",
            '    model.load_state_dict(run["model"], assign=True)\n    optimizer = ',
        ),
    ),
    resume(
        "",
        ("(optimizer, shrink)\n", '(optimizer, shrink, last_epoch=run["epoch"])\n'),
        ('    optimizer.load_state_dict(run["optimizer"])\n', ""),
        ("    scheduler = ", '    optimizer.load_state_dict(run["optimizer"])\n    scheduler = '),
    ),
    resume(
        "its steps change nothing",
        ('load_state_dict(run["model"])', 'load_state_dict(run["model"], assign=True)'),
    ),
    resume(
        "with the learning rate 0.1, and not 0.025",
        ("    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)\n", ""),
        (
            "    scheduler.load",
            "    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shrink)\n    scheduler.load",
        ),
    ),
    resume("and 2 was returned as the one to train next", ('run["epoch"] + 1', 'run["epoch"]')),
    resume("its state was not loaded", ('    optimizer.load_state_dict(run["optimizer"])\n', "")),
    resume(
        "the scheduler is at epoch 0", ('    scheduler.load_state_dict(run["scheduler"])\n', "")
    ),
    resume(
        "does not have the weights of the checkpoint",
        ('    model.load_state_dict(run["model"])\n', ""),
    ),
    resume("returned None", ("    return optimizer", "    optimizer")),
    resume("a dict, and not a tuple of three", ("return optimizer, scheduler, ", "return run or ")),
    resume(
        "the weights are not those of the run that was not stopped",
        (
            "    return optimizer",
            '    optimizer.param_groups[0]["momentum"] = 0.5\n    return optimizer',
        ),
    ),
    resume("not the optimizer", ("return optimizer, scheduler", "return scheduler, optimizer")),
    # 12.5
    best(""),
    Answer(
        "keeps_the_best",
        "def keep_best(model, train, score, epochs, path):\n    top = None\n"
        "    for _ in range(epochs):\n        train(model.train())\n"
        "        now = score(model.eval()).item()\n        if top is None or now > top:\n"
        "            top = now\n"
        "            torch.save({'weights': model.state_dict(), 'score': now}, path)\n",
    ),
    best(
        "the weights are those of epoch 2, not 1",
        ("deepcopy(model.state_dict())", "model.state_dict()"),
    ),
    best("those of epoch 2, not 1", ("deepcopy(model.state_dict())", "model.state_dict().copy()")),
    best("it holds an object of NumPy", ("float(score(model))", "score(model)")),
    best("none of them was ever the best", ('float("-inf")', "0")),
    best(
        "`weights` is no state_dict", ("deepcopy(model.state_dict())", "list(model.parameters())")
    ),
    Answer("keeps_the_best", "keep_best = None", "a NoneType, and a function is wanted"),
    Answer("loads_for_use", "load_for_use = 3", "`load_for_use` is an int"),
    best("`score` got the model in train mode", ("        model.eval()\n", "")),
    best("`train` got the model in eval mode", ("        model.train()\n", "")),
    best("no file was written", ("    torch.save(best, path)\n", "")),
    best("the keys of the file are ['score', 'state']", ('"weights"', '"state"')),
    best(
        "the running statistics of 2",
        (
            "deepcopy(model.state_dict())",
            "{**model.state_dict(), **{n: p.detach().clone() for n, p in model.named_parameters()}}",
        ),
    ),
    best("those of epoch 2, not 1", ("if result > best", "if True or result > best")),
    best("another number of epochs", ("range(epochs)", "range(epochs - 1)")),
    best("the file says 1.0", ("    torch.save(", '    best["score"] = 1.0\n    torch.save(')),
]
