from tests.support.answer import Answer
from utils.checks import stages_and_tasks as CHECKS  # noqa: F401

PREAMBLE = """\
from copy import deepcopy
from pathlib import Path
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
"""
ARGUMENTS = {
    "saves_two": ["save_two", "load_two"],
    "resumes_a_stage": ["resume"],
    "trains_the_rest": ["to_train_mode"],
    "chooses_the_average": ["for_inference"],
    "predicts_what_changes": ["changed"],
}

CHANGED = {
    "a": "stays",
    "b": "changes",
    "c": "stays",
    "d": "stays",
    "e": "changes",
    "f": "changes",
    "g": "stays",
}


def changed(words="", **changes):
    return Answer("predicts_what_changes", f"changed = {CHANGED | changes}", words)


TWO = """
def save_two(path, left, right, left_optimizer, right_optimizer):
    torch.save([left.state_dict(), right.state_dict(), left_optimizer.state_dict(),
                right_optimizer.state_dict(), torch.get_rng_state()], path)


def load_two(path, left, right, left_optimizer, right_optimizer):
    a, b, c, d, rng = torch.load(path)
    left.load_state_dict(a)
    right.load_state_dict(b)
    left_optimizer.load_state_dict(c)
    right_optimizer.load_state_dict(d)
    torch.set_rng_state(rng)
"""
RESUME = """
def resume(path, model):
    file = torch.load(path)
    model.load_state_dict(file["model"])
    model.requires_grad_(True)
    for name in file["frozen"]:
        model.get_parameter(name).requires_grad_(False)
    training = filter(lambda p: p.requires_grad, model.parameters())
    optimizer = torch.optim.SGD(training, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(file["optimizer"])
    return optimizer
"""
MODE = """
def to_train_mode(model):
    model.train()
    for module in model.modules():
        if type(module).__name__.startswith("BatchNorm"):
            module.train(module.weight.requires_grad)
"""
AVERAGE = """
def for_inference(path, model, batches):
    average = AveragedModel(model)
    average.load_state_dict(torch.load(path)["ema"])
    update_bn(batches, average.module)
    return average.module.eval()
"""
STRIP = """
def for_inference(path, model, batches):
    ema = torch.load(path)["ema"]
    ema = {n[len("module."):]: t for n, t in ema.items() if n != "n_averaged"}
    model.load_state_dict(ema)
    update_bn(batches, model)
    model.eval()
    return model
"""


def changed_code(check, code, old, new, words):
    assert old in code, old
    return Answer(check, code.replace(old, new), words)


def two(old, new, words=""):
    return changed_code("saves_two", TWO, old, new, words)


def resume(old, new, words=""):
    return changed_code("resumes_a_stage", RESUME, old, new, words)


def mode(body, words=""):
    return Answer("trains_the_rest", f"def to_train_mode(model):\n    {body}", words)


def strip(old, new, words=""):
    return changed_code("chooses_the_average", STRIP, old, new, words)


EACH = "model.train()\n    for m in model.modules():\n        "
FREEZE = (
    '    model.requires_grad_(True)\n    for name in file["frozen"]:\n'
    "        model.get_parameter(name).requires_grad_(False)\n"
)
ANSWERS = [
    # 8.1
    Answer("saves_two", TWO),
    Answer(
        "saves_two",
        "from utils.checkpoint import capture, restore\n"
        "def save_two(path, a, b, c, d):\n    torch.save(capture(a=a, b=b, c=c, d=d), path)\n"
        "def load_two(path, a, b, c, d):\n    restore(torch.load(path), a=a, b=b, c=c, d=d)\n",
    ),
    Answer(
        "saves_two",
        """
def save_two(path, left, right, left_optimizer, right_optimizer):
    nets = {**left.state_dict(), **right.state_dict()}
    torch.save({"nets": nets, "l": left_optimizer.state_dict(),
                "r": right_optimizer.state_dict(), "rng": torch.get_rng_state()}, path)


def load_two(path, left, right, left_optimizer, right_optimizer):
    file = torch.load(path)
    left.load_state_dict(file["nets"])
    right.load_state_dict(file["nets"])
    left_optimizer.load_state_dict(file["l"])
    right_optimizer.load_state_dict(file["r"])
    torch.set_rng_state(file["rng"])
""",
        "`left` came back with what was saved of `right`",
    ),
    two("a, b, c, d, rng =", "b, a, c, d, rng =", "`left` came back with what was saved of"),
    two("a, b, c, d, rng =", "a, b, d, c, rng =", "`left_optimizer` came back with what was"),
    two("    torch.set_rng_state(rng)\n", "", "random numbers do not go on"),
    two("    right_optimizer.load_state_dict(d)\n", "", "`right_optimizer` did not come back"),
    two("    right.load_state_dict(b)\n", "", "`right` did not come back"),
    two("right_optimizer.load_state_dict(d)", "right_optimizer.load_state_dict(c)", "of `left_o"),
    two("left.state_dict(), right.state_dict()", "left, right", "torch.load refuses the file"),
    two("torch.save([", "list([", "list expected at most 1 argument"),
    two("], path)", '], "two.pt.none/x")', "Parent directory"),
    # 8.2
    Answer("resumes_a_stage", RESUME),
    resume('    optimizer.load_state_dict(file["optimizer"])\n', "", "momentum and settings"),
    resume(
        "    model.requires_grad_(True)\n",
        "",
        "comes from another stage, your code raised ValueError",
    ),
    resume(FREEZE, "", "doesn't match the size of optimizer's group"),
    resume(
        FREEZE + "    training = filter(lambda p: p.requires_grad, model.parameters())\n",
        "    training = list(model.parameters())\n" + FREEZE,
        "doesn't match the size of optimizer's group",
    ),
    resume(
        FREEZE,
        "    model.requires_grad_(True)\n    model.features.requires_grad_(False)\n",
        "doesn't match the size of optimizer's group",
    ),
    Answer(
        "resumes_a_stage",
        """
def resume(path, model):
    file = torch.load(path)
    model.load_state_dict(file["model"])
    training = [p for n, p in model.named_parameters() if n not in file["frozen"]]
    optimizer = torch.optim.SGD(training, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(file["optimizer"])
    return optimizer
""",
        "these were frozen, and would train now",
    ),
    resume("    return optimizer\n", "", "returned a NoneType, not the optimizer"),
    resume('    model.load_state_dict(file["model"])\n', "", "weights did not come back"),
    resume("return optimizer", "model.eval()\n    return optimizer", "no longer in train mode"),
    resume(
        "    return optimizer",
        "    model.requires_grad_(True)\n    return optimizer",
        "these were frozen, and would train now",
    ),
    resume(
        'optimizer.load_state_dict(file["optimizer"])',
        "optimizer.add_param_group({'params': [model.get_parameter(n) for n in file['frozen']]})",
        "the optimizer holds what is frozen",
    ),
    # 8.3
    Answer("trains_the_rest", MODE),
    mode(
        EACH + "if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) and not m.weight.requires_grad:"
        " m.eval()"
    ),
    mode("model.train()", "the batch norm `conv.1` is in train mode, and would move"),
    mode(
        EACH + "if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) and"
        " not any(p.requires_grad for p in m.parameters()): m.eval()",
        "with `conv.1.weight`, `head.1.bias` frozen, the batch norm `conv.1` is in train mode",
    ),
    mode(
        EACH + "if isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad: m.eval()",
        "the batch norm `head.1` is in train mode",
    ),
    mode(
        EACH + "if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)): m.eval()",
        "is in eval mode, though its weight trains",
    ),
    mode(
        EACH + "if not any(p.requires_grad for p in m.parameters()): m.eval()",
        "the dropout `conv.2` is in eval mode",
    ),
    mode(
        EACH
        + "p = list(m.parameters())\n        if p and not any(q.requires_grad for q in p): m.eval()",
        "the dropout `conv.2` is in eval mode",
    ),
    mode(
        "for m in model.modules():\n        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):\n"
        "            m.train(m.weight.requires_grad)",
        "the model itself is in eval mode",
    ),
    mode("model.train()\n    model.conv.eval()", "the dropout `conv.2` is in eval mode"),
    mode(
        EACH + "if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)): m.requires_grad_(False).eval()",
        "changed which parameters are frozen",
    ),
    # 8.4
    Answer("chooses_the_average", AVERAGE),
    Answer("chooses_the_average", STRIP),
    strip(
        '["ema"]\n',
        '["model"]\n    ema = {"module." + n: t for n, t in ema.items()}\n',
        "of `model`",
    ),
    strip("    update_bn(batches, model)\n", "", "are those of the file, which do not fit"),
    strip("    model.eval()\n", "", "the net is in train mode"),
    strip(
        "    model.load_state_dict(ema)\n    update_bn(batches, model)\n",
        "    update_bn(batches, model)\n    model.load_state_dict(ema)\n",
        "are those of the file, which do not fit",
    ),
    strip('n[len("module."):]', 'n.replace("module.", "")', "Missing key(s) in state_dict"),
    strip('n[len("module."):]', "n", "Missing key(s) in state_dict"),
    strip(
        'n[len("module."):]: t for n, t in ema.items() if n != "n_averaged"}\n'
        "    model.load_state_dict(ema)",
        "n: t for n, t in ema.items()}\n    model.load_state_dict(ema, strict=False)",
        "no weight of the average has arrived",
    ),
    strip("    return model\n", "", "returned None, and not the net"),
    strip(
        "update_bn(batches, model)",
        "model.train()\n    for images, _ in batches: model(images)",
        "not those of the averaged weights on these batches",
    ),
    Answer(
        "chooses_the_average",
        AVERAGE.replace("average.module.eval()", "average.eval()"),
        "returned an AveragedModel",
    ),
    # 8.5
    changed(),
    changed("a is not right: does it get a gradient", a="changes"),
    changed("b is not right: what moves running statistics", b="stays"),
    changed("c is not right: which statistics does", c="changes"),
    changed("d is not right: what does an optimizer do", d="changes"),
    changed("e is not right: does it train", e="stays"),
    changed("f is not right: what does it count", f="stays"),
    changed("g is not right: is that one of the entries", g="changes"),
    changed("each letter's word is", a="yes"),
    changed("the letters are a to g", h="stays"),
    Answer("predicts_what_changes", "changed = ['stays'] * 7", "a dictionary is wanted"),
]
