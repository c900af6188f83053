from tests.support.answer import Answer
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
    cleans(confusion='[list(map(int, r)) for r in c["confusion"]]', seen='{**c["seen"]}'),
    cleans("`confusion` is now tensor", confusion='torch.tensor(c["confusion"])'),
    cleans("`confusion` is now [[0.0", confusion='c["confusion"].astype(float).tolist()'),
    cleans("`losses` is now [2.5, 0.33,", losses='[round(float(x), 2) for x in c["losses"]]'),
    cleans("`seen` is now {'3'", seen='{str(k): v for k, v in c["seen"].items()}'),
    Answer(
        "cleans",
        "def clean(c):\n    c['options'].__dict__.pop('lr')\n    return c",
        "has been changed",
    ),
    cleans("refuses the values of accuracy", accuracy='c["accuracy"]'),
    cleans("refuses the values of losses", losses='list(c["losses"])'),
    cleans("refuses the values of options", options='c["options"]'),
    cleans("refuses the values of confusion", confusion='list(c["confusion"])'),
    cleans("`options` is now", options='str(c["options"])'),
    cleans("`accuracy` is now 1,", accuracy='round(float(c["accuracy"]) + 0.1)'),
    cleans("`data` is now '3.csv'", data='c["data"].name'),
    cleans("`losses` is now 2.5", losses='float(c["losses"][0])'),
    cleans("no longer the same tensors", weights='{k: v * 2 for k, v in c["weights"].items()}'),
    Answer("cleans", "def clean(c):\n    c['accuracy'] = 0.5\n    return c", "has been changed"),
    Answer("cleans", "def clean(c):\n    return {'accuracy': 0.5}", "the keys are not those"),
    Answer("cleans", "def clean(c):\n    c.copy()", "a NoneType"),
    # 2.2
    lines("{4, 7, 8, 10}"),
    lines("[10, 8, 7, 4]"),
    lines("{4, 7, 8}", "read it to its end"),
    lines("{4, 10}", "2 of the lines that torch.load refuses are not named"),
    lines("{4, 7, 8, 9, 10}", "the values of one of the lines that you have named"),
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
        "let the error out",
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
        "the whole program accepts more",
    ),
    trusts(
        "unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)\n"
        "    if 'argparse.Namespace' not in unsafe:\n        raise ValueError\n"
        "    return torch.load(path, weights_only=False)",
        "a call beside a Namespace",
    ),
    trusts(
        "from picklescan.scanner import scan_file_path\n"
        "    if scan_file_path(str(path)).infected_files:\n        raise ValueError\n"
        "    return torch.load(path, weights_only=False)",
        "ran its program",
    ),
    trusts(
        "with torch.serialization.safe_globals([argparse.Namespace, torch.nn.Linear, set]):\n"
        "        return torch.load(path, weights_only=True)['x']",
        "KeyError",
    ),
    trusts(
        "import collections\n"
        "    with torch.serialization.safe_globals([argparse.Namespace, collections.defaultdict, int]):\n"
        "        return torch.load(path)",
        "something else than Namespace",
    ),
    trusts(
        "torch.serialization.add_safe_globals([argparse.Namespace])\n"
        "    try:\n        return torch.load(path)\n"
        "    finally:\n        torch.serialization.clear_safe_globals()",
        "removed what the program had allowed",
    ),
    trusts(
        "from collections import defaultdict\n    from datetime import datetime\n"
        "    with torch.serialization.safe_globals([argparse.Namespace, defaultdict, datetime]):\n"
        "        return torch.load(path)",
        "was loaded without an error",
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
        "the new file does not hold the value of num_classes",
    ),
    migrates(
        MIGRATE.replace("model.head.out_features", "10") + REBUILD,
        "the new file does not hold the value of num_classes",
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
        "was built with {'num_classes': 7, 'width': 8}",
    ),
    migrates(MIGRATE + "    old.unlink()\n" + REBUILD, "the old file is not as it was"),
    migrates(
        "def migrate(old, new):\n    torch.save({'m': old.read_bytes(), 'a': [7, 8, 10, 16]}, new)\n"
        + REBUILD,
        "does not hold the weights",
    ),
    migrates(
        "def migrate(old, new):\n    torch.serialization.add_safe_globals([SmallCNN])\n"
        "    torch.save(torch.load(old, weights_only=False), new)\n" + REBUILD,
        "refuses the new file",
    ),
]
