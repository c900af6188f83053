from tests.answers import Answer
from utils.checks import whole_model as CHECKS  # noqa: F401

PREAMBLE = """\
import argparse
import pickle
from pathlib import Path
import torch
from utils.models import SmallCNN
"""
ARGUMENTS = {
    "cleans": ["clean"],
    "finds_lines": ["lines"],
    "predicts_breakage": ["effects"],
    "trusts_one_class": ["load_run"],
    "migrates": ["migrate", "rebuild"],
}

CLEAN = {
    "weights": 'c["weights"]',
    "accuracy": 'float(c["accuracy"])',
    "losses": '[float(x) for x in c["losses"]]',
    "confusion": 'c["confusion"].tolist()',
    "data": 'str(c["data"])',
    "options": 'vars(c["options"])',
    "seen": 'dict(c["seen"])',
}


def cleans(words="", **changes):
    items = ", ".join(f"{key!r}: {value}" for key, value in {**CLEAN, **changes}.items())
    return Answer("cleans", f"def clean(c):\n    return {{{items}}}", words)


def lines(answer, words=""):
    return Answer("finds_lines", f"lines = {answer}", words)


def effects(words="", **changes):
    answer = {"a": "load", "b": "same", "c": "use", "d": "wrong", "e": "same"} | changes
    return Answer("predicts_breakage", f"effects = {answer}", words)


def trusts(body, words=""):
    return Answer("trusts_one_class", f"def load_run(path):\n    {body}", words)


MIGRATE = """
def migrate(old, new):
    model = torch.load(old, weights_only=False)
    arguments = {"num_classes": model.head.out_features, "width": model.features[0].out_channels}
    torch.save({"arguments": arguments, "weights": model.state_dict()}, new)
"""
REBUILD = """
def rebuild(new):
    file = torch.load(new)
    model = SmallCNN(**file["arguments"])
    model.load_state_dict(file["weights"])
    return model.eval()
"""


def migrates(code, words=""):
    return Answer("migrates", code, words)


ANSWERS = [
    # 2.1
    cleans(),
    cleans(
        confusion='torch.tensor(c["confusion"])', seen='{**c["seen"]}', data='c["data"].__str__()'
    ),
    cleans("refuses the values of accuracy", accuracy='c["accuracy"]'),
    cleans("refuses the values of losses", losses='list(c["losses"])'),
    cleans("refuses the values of options", options='c["options"]'),
    cleans("refuses the values of confusion", confusion='list(c["confusion"])'),
    cleans("`options` comes back as", options='str(c["options"])'),
    cleans("`accuracy` comes back as 1,", accuracy='round(float(c["accuracy"]))'),
    cleans("`data` comes back as 'digits.csv'", data='c["data"].name'),
    cleans("`losses` comes back as 2.5", losses='float(c["losses"][0])'),
    cleans("no longer the same tensors", weights='{k: v * 2 for k, v in c["weights"].items()}'),
    Answer("cleans", "def clean(c):\n    c['accuracy'] = 0.5\n    return c", "has been changed"),
    Answer("cleans", "def clean(c):\n    return {'accuracy': 0.5}", "the keys are not those"),
    Answer("cleans", "def clean(c):\n    c.copy()", "a NoneType"),
    # 2.2
    lines("{4, 7, 8, 10}"),
    lines("[10, 8, 7, 4]"),
    lines("{4, 7, 8}", "read it to its end"),
    lines("{4, 10}", "2 of the lines that make torch.load refuse are missing"),
    lines("{4, 7, 8, 9, 10}", "1 hold values that torch.load accepts"),
    lines("{1, 4}", "numbers 2 to 10"),
    lines("{'4'}", "each an int"),
    # 2.3
    effects(),
    effects("change b does something else: is __init__ called", b="load"),
    effects("change c does something else", c="load"),
    effects("change d does something else: where is the code", d="same"),
    effects("change e does something else", e="use"),
    effects("letters a to e", f="same"),
    effects("one of the words load, use", a="error"),
    Answer("predicts_breakage", "effects = ['load'] * 5", "a dictionary is wanted"),
    # 2.4
    trusts(
        "with torch.serialization.safe_globals([argparse.Namespace]):\n"
        "        return torch.load(path, weights_only=True)"
    ),
    trusts(
        "unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)\n"
        "    if unsafe != ['argparse.Namespace']:\n        raise ValueError(unsafe)\n"
        "    return torch.load(path, weights_only=False)"
    ),
    trusts("return torch.load(path, weights_only=False)", "ran its program"),
    trusts("return torch.load(path)", "Unsupported global: GLOBAL argparse.Namespace"),
    trusts(
        "try:\n        return torch.load(path)\n    except Exception:\n"
        "        return torch.load(path, weights_only=False)",
        "ran its program",
    ),
    trusts(
        "try:\n        with torch.serialization.safe_globals([argparse.Namespace]):\n"
        "            return torch.load(path)\n    except Exception:\n        return None",
        "without a complaint",
    ),
    trusts(
        "with torch.serialization.safe_globals([argparse.Namespace]):\n        torch.load(path)",
        "returned None",
    ),
    trusts(
        "with torch.serialization.safe_globals([argparse.Namespace]):\n"
        "        return torch.load(path)['options']",
        "not what is in the file",
    ),
    trusts(
        "torch.serialization.add_safe_globals([argparse.Namespace])\n    return torch.load(path)",
        "the whole program accepts",
    ),
    # 2.5
    migrates(MIGRATE + REBUILD),
    migrates(
        "def migrate(old, new):\n    m = torch.load(old, weights_only=False)\n"
        "    torch.save([m.head.out_features, m.head.in_features // 32, m.state_dict()], new)\n"
        "def rebuild(new):\n    classes, width, weights = torch.load(new)\n"
        "    m = SmallCNN(classes, width)\n    m.load_state_dict(weights)\n    return m.eval()"
    ),
    migrates("def migrate(old, new):\n    torch.load(old)\n" + REBUILD, "Weights only load failed"),
    migrates(
        "def migrate(old, new):\n    torch.save(torch.load(old, weights_only=False), new)\n"
        + REBUILD,
        "refuses the new file",
    ),
    migrates(
        "def migrate(old, new):\n"
        "    torch.save(torch.load(old, weights_only=False).state_dict(), new)\n" + REBUILD,
        "nothing that says how to build",
    ),
    migrates(
        MIGRATE.replace("model.head.out_features", "10") + REBUILD, "size mismatch for head.weight"
    ),
    migrates(MIGRATE + REBUILD.replace("model.eval()", "model"), "training mode"),
    migrates(MIGRATE + REBUILD.replace("return model.eval()", "model.eval()"), "returned None"),
    migrates(MIGRATE + REBUILD.replace("model.load_state_dict", "print"), "not the weights"),
    migrates("def migrate(old, new): pass\n" + REBUILD, "wrote no file"),
    migrates(MIGRATE + REBUILD.replace("return model.eval()", "return file"), "returned a dict"),
    migrates(
        MIGRATE
        + REBUILD.replace('SmallCNN(**file["arguments"])', "SmallCNN(7)").replace(
            'model.load_state_dict(file["weights"])', ""
        ),
        "other arguments",
    ),
]
