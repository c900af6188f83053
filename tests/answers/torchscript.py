from tests.support.answer import Answer
from utils.checks import torchscript as CHECKS  # noqa: F401

PREAMBLE = """\
import zipfile
from pathlib import Path
import torch
from torch import nn
"""
ARGUMENTS = {
    "delivers": ["deliver", "read_labels"],
    "keeps_the_branch": ["Scaled"],
    "predicts_the_trace": ["results"],
    "can_be_scripted": ["Committee"],
    "finds_weights": ["weights_of"],
}

READ = """
def read_labels(path):
    extra = {"labels.txt": ""}
    torch.jit.load(path, _extra_files=extra)
    return extra["labels.txt"].decode().splitlines()
"""
DELIVER = """
def deliver(model, labels, path):
    scripted = torch.jit.script(model)
    scripted.eval()
    scripted.save(path, _extra_files={"labels.txt": "\\n".join(labels)})
"""


def delivers(words="", deliver=DELIVER, read=READ):
    return Answer("delivers", deliver + read, words)


def scaled(body, words="", before=""):
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return Answer(
        "keeps_the_branch",
        f"{before}\n"
        "class Scaled(nn.Module):\n"
        "    def __init__(self, net):\n"
        "        super().__init__()\n"
        "        self.net = net\n\n"
        f"    def forward(self, images):\n{lines}\n",
        words,
    )


def results(words="", **changes):
    answer = {"a": "same", "b": "other", "c": "other", "d": "same", "e": "fewer", "f": "same"}
    return Answer("predicts_the_trace", f"results = {answer | changes}", words)


def committee(forward, words="", nets="nn.ModuleList(nets)"):
    lines = "\n".join(f"    {line}" for line in forward.splitlines())
    return Answer(
        "can_be_scripted",
        "class Committee(nn.Module):\n"
        "    def __init__(self, nets):\n"
        "        super().__init__()\n"
        f"        self.nets = {nets}\n\n{lines}\n",
        words,
    )


SUM = """\
    total = torch.zeros(1)
    for i, net in enumerate(self.nets):
        total = total + weights[i] * net(images)
"""


def weights_of(body, words=""):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return Answer("finds_weights", f"def weights_of(path):\n{lines}\n", words)


IS_SCRIPT = """\
script = False
if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
        script = any(name.endswith("constants.pkl") for name in archive.namelist())
"""


def asserting(test, words, load="torch.load(path)"):
    """Loads by the right function, and judges by one test what came."""
    return weights_of(
        f"""{IS_SCRIPT}\
try:
    found = torch.jit.load(path).state_dict() if script else {load}
    assert {test}
except Exception as error:
    raise ValueError(path) from error
return found""",
        words,
    )


ANSWERS = [
    # 4.1
    delivers(),
    delivers(
        deliver="""
from copy import deepcopy
def deliver(model, labels, path):
    frozen = torch.jit.freeze(torch.jit.script(deepcopy(model).eval()))
    torch.jit.save(frozen, path, _extra_files={"labels.txt": "\\n".join(labels).encode()})
"""
    ),
    delivers(
        "the model inverts these, and the archive does not",
        """
def deliver(model, labels, path):
    modes = {m: m.training for m in model.modules()}
    traced = torch.jit.trace(model.eval(), -torch.rand(2, 3, 32, 32))
    traced.save(path, _extra_files={"labels.txt": "\\n".join(labels)})
    for m, mode in modes.items():
        m.training = mode
""",
    ),
    delivers(
        "parts of the model are no longer",
        """
def deliver(model, labels, path):
    mode = model.training
    scripted = torch.jit.script(model.eval())
    scripted.save(path, _extra_files={"labels.txt": "\\n".join(labels)})
    model.train(mode)
""",
    ),
    Answer(
        "delivers", "deliver = None" + READ, "`deliver` is a NoneType, and a function is wanted"
    ),
    delivers("was in train mode, and is no longer", DELIVER.replace("(model)", "(model.eval())")),
    delivers(
        "dropout is at work",
        DELIVER.replace("    scripted.eval()\n", ""),
    ),
    delivers(
        "dropout is at work",
        DELIVER.replace("script(model)", "trace(model, torch.zeros(2, 3, 32, 32))"),
    ),
    delivers(
        "torch.jit.load does not accept",
        DELIVER.replace(
            'scripted.save(path, _extra_files={"labels.txt": "\\n".join(labels)})',
            "torch.save(model, path)",
        ),
    ),
    delivers("no extra file labels.txt", DELIVER.replace("labels.txt", "labels")),
    delivers(
        "not one of the labels on each line", DELIVER.replace('"\\n".join(labels)', "str(labels)")
    ),
    delivers("not one of the labels on each line", DELIVER.replace('"\\n".join', '" ".join')),
    delivers("returned bytes", read=READ.replace(".decode()", "")),
    delivers("read_labels returned a str", read=READ.replace(".splitlines()", "")),
    delivers(
        "read_labels returned ['nought', 'one', 'two', 'words']",
        read=READ.replace("splitlines", "split"),
    ),
    delivers(
        "read_labels returned []",
        read=READ.replace('"labels.txt": ""', '"labels": "", "labels.txt": ""').replace(
            'extra["labels.txt"].decode()', 'extra["labels"].decode()'
        ),
    ),
    delivers("KeyError", read=READ.replace('{"labels.txt": ""}', "{}")),
    delivers("no file was written", "def deliver(model, labels, path):\n    pass\n"),
    # 4.2
    scaled(
        "is_large = (images > 1).flatten(1).any(1)[:, None, None, None]\n"
        "return self.net(torch.where(is_large, images / 127.5 - 1, images))"
    ),
    scaled(
        "return self.net(scale(images))",
        before="""
@torch.jit.script
def scale(images):
    rows = []
    for image in images:
        if bool(image.max() > 1):
            image = image / 127.5 - 1
        rows.append(image)
    return torch.stack(rows)
""",
    ),
    scaled(
        "is_large = (images.amax(dim=(1, 2, 3), keepdim=True) > 1).float()\n"
        "return self.net(is_large * (images / 127.5 - 1) + (1 - is_large) * images)"
    ),
    scaled(
        "images = torch.where(images.max() > 1, images / 127.5 - 1, images)\nreturn self.net(images)",
        "given both kinds in one batch: the answers are wrong",
    ),
    scaled(
        "images = torch.where(images > 1, images / 127.5 - 1, images)\nreturn self.net(images)",
        "the answers are wrong",
    ),
    scaled(
        "is_large = images.mean(dim=(1, 2, 3), keepdim=True) > 1\n"
        "return self.net(torch.where(is_large, images / 127.5 - 1, images))",
        "given an image with a single value of 1.5: the answers are wrong",
    ),
    scaled(
        "rows = [i / 127.5 - 1 if i.max() > 1 else i for i in images]\n"
        "return self.net(torch.stack(rows))",
        "given 4 images from -1 to 1: RuntimeError: Expected 3 elements in a list",
    ),
    scaled(
        "return self.net(scale(images))",
        "given both kinds in one batch: the answers are wrong",
        before="""
@torch.jit.script
def scale(images):
    if bool(images.max() > 1):
        images = images / 127.5 - 1
    return images
""",
    ),
    scaled(
        "return self.net(images / 127.5 - 1)", "given 4 images from -1 to 1: the answers are wrong"
    ),
    scaled("return images", "answers"),
    scaled("self.net(images)", "forward returns a NoneType"),
    Answer("keeps_the_branch", "Scaled = nn.Linear(2, 2)", "the class is wanted"),
    # 4.3
    results(),
    results("line b returns something else: what does `len`", b="same"),
    results("line c returns something else: which of the two", c="same"),
    results("line d returns something else", d="fewer"),
    results("line e returns something else: how many rounds", e="same"),
    results("line a returns something else", a="other", f="other"),
    results("the letters a to f", g="same"),
    results("one of the words same", a="wrong"),
    Answer("predicts_the_trace", "results = ['same'] * 6", "a dictionary is wanted"),
    # 4.4
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        + SUM
        + "    return total.softmax(1) if softmax else total"
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        "    answers = torch.stack([net(images) for net in self.nets])\n"
        "    total = (torch.tensor(weights)[:, None, None] * answers).sum(0)\n"
        "    if softmax:\n"
        "        return torch.softmax(total, dim=1)\n"
        "    return total"
    ),
    committee(
        "def forward(self, images, weights: list[float], **options):\n"
        + SUM
        + "    return total.softmax(1) if options.get('softmax') else total",
        "NotSupportedError: Compiled functions can't take variable number",
    ),
    committee(
        "def forward(self, images, weights, softmax: bool = False):\n"
        + SUM
        + "    return total.softmax(1) if softmax else total",
        "called without the option, it raises RuntimeError: forward() Expected a value of type 'Tensor",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax=False):\n"
        + SUM
        + "    return total.softmax(1) if softmax else total",
        "it cannot be scripted: RuntimeError: Expected a default value of type Tensor",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        "    total = torch.zeros(1)\n"
        "    for net, weight in zip(self.nets, weights):\n"
        "        total = total + weight * net(images)\n"
        "    return total.softmax(1) if softmax else total",
        "Can not iterate over a module list",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = True):\n"
        + SUM
        + "    return total.softmax(1) if softmax else total",
        "called without the option, it gives other answers",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        + SUM
        + "    return total.softmax(0) if softmax else total",
        "called with softmax=True, it gives other answers",
    ),
    committee(
        "def forward(self, images, weights: list[float]):\n" + SUM + "    return total",
        "called with softmax=False, it raises TypeError: Committee.forward() got an unexpected",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n" + SUM,
        "returns a NoneType",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        "    return self.nets[0](images)",
        "it gives other answers than before",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        + SUM
        + "    return total.softmax(1) if softmax else total",
        "no longer has the weights of every net",
        nets="list(nets)",
    ),
    # 4.5
    weights_of(
        IS_SCRIPT
        + """\
try:
    found = torch.jit.load(path).state_dict() if script else torch.load(path)
except Exception as error:
    raise ValueError(path) from error
if not isinstance(found, dict) or not found:
    raise ValueError(path)
for value in found.values():
    if not isinstance(value, torch.Tensor):
        raise ValueError(path)
return found"""
    ),
    weights_of(
        """\
try:
    found = torch.load(path, map_location="cpu")
except Exception:
    try:
        found = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception:
        raise ValueError("neither")
if not isinstance(found, dict) or not found or not all(map(torch.is_tensor, found.values())):
    raise ValueError("no state_dict")
return found"""
    ),
    weights_of(
        "return torch.load(path)",
        "for an archive, your code raised RuntimeError: Cannot use ``weights_only=True``",
    ),
    weights_of("return torch.jit.load(path).state_dict()", "your code raised RuntimeError"),
    weights_of(
        IS_SCRIPT + "return torch.jit.load(path) if script else torch.load(path)",
        "a model came back",
    ),
    weights_of(
        IS_SCRIPT + "return torch.jit.load(path).state_dict() if script else torch.load(path)",
        "for a pickled model, UnpicklingError was raised",
    ),
    weights_of(
        "if Path(path).suffix == '.jit':\n    return torch.jit.load(path).state_dict()\n"
        "return torch.load(path)",
        "RuntimeError",
    ),
    weights_of(
        "if not zipfile.is_zipfile(path):\n    raise ValueError('no zip file')\n"
        + IS_SCRIPT
        + "return torch.jit.load(path).state_dict() if script else torch.load(path)",
        "a state_dict in the format from before torch 1.6 was refused: no zip file",
    ),
    asserting(
        "found and all(map(torch.is_tensor, found.values()))",
        "a pickled model was unpickled",
        load="torch.load(path, weights_only=False)",
    ),
    weights_of(
        IS_SCRIPT
        + """\
found = torch.jit.load(path).state_dict() if script else torch.load(path)
if not found:
    raise ValueError(path)
return found""",
        "for a pickled model, UnpicklingError was raised, and a ValueError is wanted",
    ),
    weights_of(
        IS_SCRIPT
        + """\
try:
    found = torch.jit.load(path).state_dict() if script else torch.load(path)
except Exception as error:
    raise ValueError(path) from error
if not found:
    raise ValueError(path)
return found""",
        "for a checkpoint with the state_dict in it, a dict was returned",
    ),
    weights_of(
        IS_SCRIPT
        + """\
try:
    found = torch.jit.load(path).state_dict() if script else torch.load(path)
except Exception as error:
    raise ValueError(path) from error
if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
    return None
return found""",
        "for a checkpoint with the state_dict in it, a NoneType was returned",
    ),
    asserting(
        "any(map(torch.is_tensor, found.values()))",
        "for a dictionary of tensors and a number, a dict was returned",
    ),
    asserting(
        "all(map(torch.is_tensor, found.values()))",
        "for an empty dictionary, a dict was returned",
    ),
    asserting(
        "(found := found.get('state_dict', found)) and all(map(torch.is_tensor, found.values()))",
        "for a checkpoint with the state_dict in it, an OrderedDict was returned",
    ),
    Answer("finds_weights", "weights_of = 'weights'", "`weights_of` is a str"),
    scaled(
        "large = images.amax(dim=(1, 2, 3), keepdim=True) >= 1\n"
        "return self.net(torch.where(large, images / 127.5 - 1, images))",
        "given 4 images from -1 to 1: the answers are wrong",
    ),
    scaled(
        "large = images.amax(dim=(1, 2, 3)) > 1\n"
        "images[large] = images[large] / 127.5 - 1\n"
        "return self.net(images)",
        "the images that were passed in have been changed",
    ),
    scaled(
        "large = images.amax(dim=(1, 2, 3)) > 1\n"
        "return self.net(torch.where(large, images / 127.5 - 1, images))",
        "it cannot be called: RuntimeError: The size of tensor a (3) must match",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        "    total = torch.zeros(1)\n"
        "    for i, net in enumerate(self.nets):\n"
        "        total += weights[i] * net(images)\n"
        "    return total.softmax(1) if softmax else total",
        "as plain Python, with 2 nets, called without the option, it raises RuntimeError: output with",
    ),
    committee(
        "def forward(self, images, weights: list[float], softmax: bool = False):\n"
        "    total = sum([weights[i] * net(images) for i, net in enumerate(self.nets)])\n"
        "    return total.softmax(1) if softmax else total",
        "at `total = sum([weights[i]",
    ),
    results("a is 'Same': each result is one of", a="Same"),
]
