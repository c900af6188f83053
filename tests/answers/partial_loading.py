from tests.support.answer import Answer
from utils.checks import partial_loading as CHECKS  # noqa: F401

PREAMBLE = """\
from copy import deepcopy
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small
"""
ARGUMENTS = {
    "takes_wrappers_off": ["unwrap"],
    "loads_what_fits": ["load_what_fits"],
    "loads_all_or_nothing": ["try_to_load"],
    "swaps_the_head": ["for_new_task"],
    "translates": ["translate"],
    "predicts_what_is_loaded": ["loaded"],
}

FITS = """
def load_what_fits(model, state):
    own = model.state_dict()
    fitting = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
    if not fitting:
        raise ValueError("nothing")
    left = model.load_state_dict(fitting, strict=False)
    return {
        "missing": [n for n in own if n not in state],
        "unexpected": [n for n in state if n not in own],
        "shapes": {n: (t.shape, own[n].shape) for n, t in state.items()
                   if n in own and own[n].shape != t.shape},
    }
"""
ALL_OR_NOTHING = """
def try_to_load(model, state):
    before = deepcopy(model.state_dict())
    try:
        model.load_state_dict(state)
    except RuntimeError:
        model.load_state_dict(before)
        return False
    return True
"""
HEAD = """
def for_new_task(path, num_classes):
    state = torch.load(path)
    state = {n: t for n, t in state.items() if not n.startswith("classifier.3.")}
    model = mobilenet_v3_small(num_classes=num_classes)
    left = model.load_state_dict(state, strict=False)
    assert len(left.missing_keys) == 2 and not left.unexpected_keys
    return model
"""
MAP = """
def translate(state):
    names = {"first": "stem.0", "norm": "stem.1", "second": "block.main",
             "shortcut": "block.skip", "out": "head"}
    return {names[k.split(".")[0]] + "." + k.split(".")[1]: t for k, t in state.items()}
"""


def changed(check, code, old, new, words):
    assert old in code, old
    return Answer(check, code.replace(old, new), words)


def unwraps(body, words=""):
    return Answer("takes_wrappers_off", f"def unwrap(state):\n    {body}", words)


def fits(old, new, words=""):
    return changed("loads_what_fits", FITS, old, new, words)


def whole(old, new, words=""):
    return changed("loads_all_or_nothing", ALL_OR_NOTHING, old, new, words)


def head(old, new, words=""):
    return changed("swaps_the_head", HEAD, old, new, words)


def translates(old, new, words=""):
    return changed("translates", MAP, old, new, words)


def loaded(words="", **changes):
    answer = {"a": "nothing", "b": "error", "c": "part", "d": "all", "e": "all", "f": "all"}
    return Answer("predicts_what_is_loaded", f"loaded = {answer | changes}", words)


ANSWERS = [
    # 6.1
    unwraps(
        "for prefix in ('module.', '_orig_mod.'):\n"
        "        if state and all(n.startswith(prefix) for n in state):\n"
        "            return unwrap({n[len(prefix):]: t for n, t in state.items()})\n"
        "    return dict(state)"
    ),
    unwraps(
        "state = dict(state)\n    while True:\n        heads = {n.split('.')[0] for n in state}\n"
        "        if len(heads) != 1 or not heads <= {'module', '_orig_mod'}:\n"
        "            return state\n"
        "        state = {n.split('.', 1)[1]: t for n, t in state.items()}"
    ),
    unwraps(
        "return {n.replace('module.', '').replace('_orig_mod.', ''): t for n, t in state.items()}",
        "`submodule.fc.weight` became `subfc.weight`: the inside",
    ),
    unwraps(
        "return {n.removeprefix('module.').removeprefix('_orig_mod.'): t for n, t in state.items()}",
        "what was taken away is not on every name",
    ),
    unwraps(
        "def inner(n):\n        while n.startswith(('module.', '_orig_mod.')):\n"
        "            n = n.removeprefix('module.').removeprefix('_orig_mod.')\n        return n\n"
        "    return {inner(n): t for n, t in state.items()}",
        "became `weight`: what was taken away is not on every name, `submodule.fc.weight`",
    ),
    unwraps(
        "for prefix in ('module.', '_orig_mod.'):\n"
        "        if all(n.startswith(prefix) for n in state):\n"
        "            state = {n.removeprefix(prefix): t for n, t in state.items()}\n"
        "    return state",
        "a wrapper's prefix is still there",
    ),
    unwraps(
        "from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present as c\n"
        "    c(state, 'module.')\n    c(state, '_orig_mod.')\n    return state",
        "that was passed in was changed",
    ),
    unwraps(
        "return {n.lstrip('module.'): t for n, t in state.items()}",
        "`module.weight` became `weight`",
    ),
    unwraps(
        "return {n.split('module.')[-1]: t for n, t in state.items()}",
        "`submodule.fc.weight` became `fc.weight`",
    ),
    unwraps("{n.removeprefix('module.'): t for n, t in state.items()}", "returned None"),
    unwraps("return [n.removeprefix('module.') for n in state]", "a list, not a dictionary"),
    unwraps("return {n.split('.')[-1]: t for n, t in state.items()}", "3 entries went in, and 2"),
    unwraps("return dict(state)", "still has a wrapper's prefix: every name begins with it"),
    unwraps(
        "for n in state:\n        state[n.removeprefix('module.')] = state.pop(n)\n    return state",
        "that was passed in was changed",
    ),
    Answer(
        "takes_wrappers_off",
        """
def unwrap(state):
    both = ("module.", "_orig_mod.")
    while state and all(name.startswith(both) for name in state):
        state = {n.removeprefix(both[0]).removeprefix(both[1]): t for n, t in state.items()}
    return dict(state)
""",
        "entries went in",
    ),
    # 6.2
    Answer(
        "loads_what_fits",
        "def load_what_fits(model, state):\n    own, shapes = model.state_dict(), {}\n"
        "    both = own.keys() & state.keys()\n"
        "    fitting = {n for n in both if own[n].shape == state[n].shape}\n"
        "    if not fitting:\n        raise ValueError\n"
        "    for n in fitting:\n        own[n].copy_(state[n])\n"
        "    shapes = {n: [list(state[n].shape), list(own[n].shape)] for n in both - fitting}\n"
        "    return {'missing': own.keys() - both, 'unexpected': state.keys() - both,"
        " 'shapes': shapes}",
    ),
    Answer("loads_what_fits", FITS),
    fits('"missing": [n for n in own if n not in state]', '"missing": set(own) - set(state)'),
    fits(
        '"missing": [n for n in own if n not in state]',
        '"missing": left.missing_keys',
        "that is in the file and in the model",
    ),
    fits("(t.shape, own[n].shape)", "(own[n].shape, t.shape)", "in the wrong order"),
    fits(
        '    if not fitting:\n        raise ValueError("nothing")\n',
        "",
        "returned without a ValueError",
    ),
    fits("fitting, strict=False", "state, strict=False", "size mismatch for head.weight"),
    fits("own = model.state_dict()", "own = dict(model.named_parameters())", "`unexpected` names"),
    fits("    left = model.load_state_dict(fitting, strict=False)\n", "", "were not loaded"),
    fits("    return {\n", "    {\n", "and not the report"),
    fits('"shapes": {n: (t.shape, own[n].shape)', '"shapes": {n: t.shape', "not a pair of shapes"),
    fits('"shapes": {', '"shape": {', "the report's keys are ['missing', 'shape', 'unexpected']"),
    fits("if n in own and own[n].shape != t.shape}", "}", "KeyError"),
    fits(
        "n in own and own[n].shape == t.shape}",
        "n in own and own[n].shape == t.shape and n != 'features.0.weight'}",
        "these fit, and were not loaded",
    ),
    fits(
        "own = model.state_dict()",
        "own = model.state_dict()\n    for n in own: own[n].zero_()",
        "these do not fit, and were changed",
    ),
    fits('raise ValueError("nothing")', 'raise RuntimeError("nothing")', "not ValueError"),
    fits(
        '"unexpected": [n for n in state if n not in own]', '"unexpected": 0', "an int, not a list"
    ),
    fits(
        "fitting = {n: t for", "fitting = {n: state.pop(n) for", "RuntimeError: dictionary changed"
    ),
    # 6.3
    Answer("loads_all_or_nothing", ALL_OR_NOTHING),
    Answer(
        "loads_all_or_nothing",
        "def try_to_load(model, state):\n    try:\n"
        "        deepcopy(model).load_state_dict(state)\n    except RuntimeError:\n"
        "        return False\n    model.load_state_dict(state)\n    return True",
    ),
    Answer(
        "loads_all_or_nothing",
        "def try_to_load(model, state):\n    own = model.state_dict()\n"
        "    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in state.items()}:\n"
        "        return False\n    model.load_state_dict(state)\n    return True",
    ),
    whole("deepcopy(model.state_dict())", "model.state_dict()", "entries were overwritten"),
    whole("deepcopy(model.state_dict())", "dict(model.state_dict())", "entries were overwritten"),
    whole("deepcopy(model.state_dict())", "model.state_dict().copy()", "were overwritten"),
    whole(
        "deepcopy(model.state_dict())",
        "{n: p.detach().clone() for n, p in model.named_parameters()}",
        "raised an error in place of False",
    ),
    Answer(
        "loads_all_or_nothing",
        ALL_OR_NOTHING.replace(
            "deepcopy(model.state_dict())",
            "{n: p.detach().clone() for n, p in model.named_parameters()}",
        ).replace("load_state_dict(before)", "load_state_dict(before, strict=False)"),
        "but not the running statistics",
    ),
    whole("load_state_dict(state)", "load_state_dict(state, strict=False)", "lacks an entry"),
    whole("        return False\n", "", "True was returned, not False"),
    whole("    return True\n", "", "None was returned, not True"),
    whole(
        "    try:\n        model.load",
        "    try:\n        model.load_state_dict(before, assign=True)\n        model.load",
        "the model has new parameters",
    ),
    Answer(
        "loads_all_or_nothing",
        "def try_to_load(model, state):\n    try:\n"
        "        deepcopy(model).load_state_dict(state)\n    except RuntimeError:\n"
        "        return False\n    return True",
        "a file that fits was not loaded",
    ),
    Answer(
        "loads_all_or_nothing",
        "def try_to_load(model, state):\n    if model.state_dict().keys() != state.keys():\n"
        "        return False\n    model.load_state_dict(state)\n    return True",
        "raised an error in place of False",
    ),
    Answer(
        "loads_all_or_nothing",
        ALL_OR_NOTHING.replace("model.state_dict())", "model)", 1).replace(
            "        model.load_state_dict(before)\n", "        model = before\n"
        ),
        "entries were overwritten",
    ),
    # 6.4
    Answer("swaps_the_head", HEAD),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    state = torch.load(path)\n"
        "    model = mobilenet_v3_small(num_classes=num_classes)\n    own = model.state_dict()\n"
        "    for n in ('classifier.3.weight', 'classifier.3.bias'):\n        state[n] = own[n]\n"
        "    model.load_state_dict(state)\n    return model",
    ),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    model = mobilenet_v3_small(num_classes=10)\n"
        "    model.load_state_dict(torch.load(path))\n"
        "    model.classifier = nn.Linear(576, num_classes)\n    return model",
        "other entries than a mobilenet_v3_small",
    ),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    state = torch.load(path)\n"
        "    model = mobilenet_v3_small(num_classes=len(state['classifier.3.bias']))\n"
        "    model.load_state_dict(state)\n"
        "    model.classifier[3] = nn.Linear(1024, num_classes)\n    return model",
    ),
    head(
        'state = {n: t for n, t in state.items() if not n.startswith("classifier.3.")}',
        "pass",
        "size mismatch for classifier.3.weight",
    ),
    head(
        "    assert len(left.missing_keys) == 2 and not left.unexpected_keys\n",
        "",
        "a file with the prefix `module.` was accepted",
    ),
    head(
        "len(left.missing_keys) == 2 and not left.unexpected_keys",
        "not left.unexpected_keys",
        "a file that lacks an entry was accepted",
    ),
    head(
        "len(left.missing_keys) == 2 and not left.unexpected_keys",
        "len(left.missing_keys) == 2",
        "a file of a net with one layer more was accepted",
    ),
    head(
        '    state = {n: t for n, t in state.items() if not n.startswith("classifier.3.")}\n'
        "    model = mobilenet_v3_small(num_classes=num_classes)\n",
        "    model = mobilenet_v3_small(num_classes=num_classes)\n    own = model.state_dict()\n"
        "    state = {n: t for n, t in state.items() if own[n].shape == t.shape}\n",
        "AssertionError",
    ),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    state = torch.load(path)\n"
        "    model = mobilenet_v3_small(num_classes=num_classes)\n    own = model.state_dict()\n"
        "    state = {n: t for n, t in state.items() if own[n].shape == t.shape}\n"
        "    model.load_state_dict(state, strict=False)\n    return model",
        "the old head was loaded",
    ),
    Answer(
        "swaps_the_head",
        HEAD.replace("classifier.3.", "classifier.").replace("== 2", "== 4"),
        "more than the last layer is new",
    ),
    head("    return model\n", "", "returned None"),
    head("    return model\n", "    return left\n", "not a mobilenet_v3_small"),
    head("num_classes=num_classes", "num_classes=10", "for 2 classes the last layer's weight has"),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    state = torch.load(path)\n"
        "    model = mobilenet_v3_small(num_classes=num_classes)\n"
        "    with torch.no_grad():\n        for name, weight in model.named_parameters():\n"
        "            if 'classifier.3' not in name:\n                weight.copy_(state[name])\n"
        "    return model",
        "the running statistics do not come from the file",
    ),
    head(
        "    return model\n",
        "    for p in model.features.parameters(): p.requires_grad = False\n    return model\n",
        "these parameters do not train",
    ),
    Answer(
        "swaps_the_head",
        "def for_new_task(path, num_classes):\n    return mobilenet_v3_small(num_classes=num_classes)",
        "the backbone does not come from the file",
    ),
    # 6.5
    Answer("translates", MAP),
    Answer(
        "translates",
        "def translate(state):\n    table = [('first.', 'stem.0.'), ('norm.', 'stem.1.'),"
        " ('second.', 'block.main.'), ('shortcut.', 'block.skip.'), ('out.', 'head.')]\n"
        "    new = {}\n    for name, t in state.items():\n        for a, b in table:\n"
        "            if name.startswith(a): new[b + name.removeprefix(a)] = t.clone()\n"
        "    return new",
    ),
    Answer(
        "translates",
        "def translate(state):\n    names = ['block.skip.weight', 'block.skip.bias',"
        " 'stem.1.weight', 'stem.1.bias', 'stem.1.running_mean', 'stem.1.running_var',"
        " 'stem.1.num_batches_tracked', 'stem.0.weight', 'stem.0.bias', 'block.main.weight',"
        " 'block.main.bias', 'head.weight', 'head.bias']\n"
        "    return dict(zip(names, state.values()))",
        "when its entries come in another order",
    ),
    translates(
        '"second": "block.main",\n             "shortcut": "block.skip"',
        '"second": "block.skip",\n             "shortcut": "block.main"',
        "two layers of the same shape are exchanged",
    ),
    translates('"norm": "stem.1"', '"norm": "stem.2"', "`Mine` has no entry `stem.2.bias`"),
    translates(
        "for k, t in state.items()}",
        "for k, t in state.items() if 'running' not in k}",
        "`Mine` also needs `stem.1.running_mean`",
    ),
    translates("    return {names", "    {names", "returned None"),
    translates(
        "for k, t in state.items()}",
        "for k, t in list(state.items()) if state.pop(k) is t}",
        "that was passed in was changed",
    ),
    translates(
        "+ k.split", "+ k.replace('running_mean', 'running_var').split", "`Mine` also needs"
    ),
    Answer(
        "translates",
        "def translate(state):\n" + "    new = " + "dict(zip(['x'] * 2, state))\n    return new",
        "`x` is a str, not a tensor",
    ),
    translates(
        "t for k, t",
        "torch.zeros_like(t) for k, t",
        "and the answers differ from those of `Theirs`",
    ),
    # 6.6
    loaded(),
    loaded("a does something else: which of the names", a="all"),
    loaded("b does something else: what does strict=False", b="part"),
    loaded("c does something else: when is the error raised", c="nothing"),
    loaded("d does something else: is anything of the model", d="error"),
    loaded("e does something else", e="error"),
    loaded("f does something else: which shape", f="error"),
    loaded("one of the words error, all", f="loaded"),
    Answer("predicts_what_is_loaded", "loaded = ['error'] * 6", "a dictionary is wanted"),
    Answer("predicts_what_is_loaded", "loaded = {'a': 'all'}", "the letters are a to f"),
]
