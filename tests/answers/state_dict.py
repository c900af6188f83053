from tests.support.answer import Answer
from utils.checks import state_dict as CHECKS  # noqa: F401

PREAMBLE = """\
from copy import deepcopy
from pathlib import Path
import zipfile
import torch
from torch import nn
"""
ARGUMENTS = {
    "saves_and_restores": ["save", "restore"],
    "predicts_names": ["predicted"],
    "keeps_the_best": ["train_and_keep_best"],
    "loses_nothing": ["Stacked"],
    "reads_messages": ["diagnosis"],
    "counts_bytes": ["bytes_of_numbers"],
}

SAVE = """
def save(model, path):
    torch.save(model.state_dict(), path)
"""
RESTORE = """
def restore(model, path):
    model.load_state_dict(torch.load(path))
    model.eval()
    return model
"""


def saves(code, words=""):
    return Answer("saves_and_restores", code, words)


def keeps(line, words="", end="return best"):
    code = f"""
def train_and_keep_best(model, epochs, train_one_epoch, score):
    best_score, best = float("-inf"), None
    for _ in range(epochs):
        train_one_epoch(model)
        s = score(model)
        {line}
    {end}
"""
    return Answer("keeps_the_best", code, words)


def stacked(init, words=""):
    code = f"""
class Stacked(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.seen = 0
        {init}

    def forward(self, inputs):
        if self.training:
            self.seen += len(inputs)
            self.center = inputs.mean(dim=0)
        outputs = inputs - self.center
        for layer in self.layers:
            outputs = torch.relu(layer(outputs))
        return outputs
"""
    return Answer("loses_nothing", code, words)


def names(predicted, words=""):
    return Answer("predicts_names", f"predicted = {predicted}", words)


def counts(body, words=""):
    return Answer("counts_bytes", f"def bytes_of_numbers(path):\n    {body}", words)


LAYERS = "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])"
NORM = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
ALL = ["embed.weight", *NORM, "gain", "table"]

ANSWERS = [
    # 1.1, right
    saves(SAVE + "def restore(m, p):\n    m.load_state_dict(torch.load(p))\n    return m.eval()"),
    saves(
        "def save(m, p):\n    with open(p, 'wb') as f:\n        torch.save(dict(m.state_dict()), f)\n"
        "def restore(m, p):\n    m.eval()\n    print(m.load_state_dict(torch.load(p), assign=True))\n"
        "    return m"
    ),
    saves(
        "def save(m, p):\n    torch.save({'weights': m.state_dict()}, p)\n"
        "def restore(m, p):\n    m.load_state_dict(torch.load(p)['weights'])\n    return m.eval()"
    ),
    saves(
        "def save(m, p):\n    torch.save(m.state_dict(), p, _use_new_zipfile_serialization=False)\n"
        + RESTORE
    ),
    # 1.1, wrong
    saves(
        "def save(model, path):\n    torch.save(model, path)\n" + RESTORE,
        "a whole object was saved",
    ),
    saves(
        "def save(model, path):\n    torch.save(model.state_dict, path)" + RESTORE,
        "a method was saved",
    ),
    saves("def save(model, path):\n    pass\n" + RESTORE, "wrote no file"),
    saves("def save(m, path):\n    return m.state_dict()\n" + RESTORE, "wrote no file"),
    saves(
        SAVE + "def restore(m, p):\n    m.load_state_dict(torch.load(p))\n    return m",
        "training mode",
    ),
    saves(SAVE + "def restore(m, p):\n    m.load_state_dict(torch.load(p))", "returned None"),
    saves(
        SAVE + "def restore(m, p):\n    return m.load_state_dict(torch.load(p))",
        "returned a _IncompatibleKeys",
    ),
    saves(
        SAVE + "def restore(m, p):\n    m.load_state_dict(p)\n    return m", "dict-like, got <class"
    ),
    saves(SAVE + "def restore(m, p):\n    return torch.load(p)", "returned an OrderedDict"),
    saves(SAVE + "def restore(m, p):\n    torch.load(p)\n    return m.eval()", "random weights"),
    saves(
        SAVE + "class Other(nn.Linear): pass\ndef restore(m, p):\n    return Other(1, 1)",
        "another model",
    ),
    saves(
        "def save(m, p):\n    torch.save(dict(m.named_parameters()), p)\n"
        "def restore(m, p):\n    m.load_state_dict(torch.load(p), strict=False)\n    return m.eval()",
        "not all of the buffers",
    ),
    saves(
        "def save(m, p):\n    for t in m.parameters(): t.data.zero_()\n"
        "    torch.save(m.state_dict(), p)\n" + RESTORE,
        "save changed the model",
    ),
    saves(
        "kept = []\n" + SAVE.rstrip() + "\n    kept.append(model)\n"
        "def restore(m, p):\n    return kept[0]",
        "name 'kept' is not defined",
    ),
    saves(
        SAVE + "def restore(m, p):\n    m.load_state_dict(torch.load(p))\n"
        "    m.training = False\n    return m",
        "some of its layers are still in training mode",
    ),
    saves(
        "def save(m, p):\n    m.eval()\n    torch.save(m.state_dict(), p)\n" + RESTORE,
        "switched the model to eval mode",
    ),
    saves("def save(m, p):\n    p.write_text('weights')\n" + RESTORE, "torch.load cannot read"),
    saves(
        "def save(m, p):\n    torch.save(dict(m.named_parameters()), p)\n" + RESTORE,
        "Missing key(s) in state_dict",
    ),
    saves(SAVE + "def restore(m, p):\n    while True: pass", "did not finish within"),
    saves(SAVE + "def restore(m, p):\n    import os\n    os._exit(7)", "exit code 7"),
    # 1.2
    names(ALL),
    names(tuple(reversed(ALL))),
    names([*ALL, "heads.0.weight", "heads.1.weight"], "what kind of object"),
    names([*ALL, "shift"], "`shift`: look at how it is assigned"),
    names([*ALL, "scratch"], "`scratch`: read its line"),
    names([*ALL, "act.weight"], "has no tensors"),
    names(["embed", "norm", "gain", "table"], "the name of a module alone"),
    names([*ALL, "embed.bias"], "more of `embed`"),
    names([*ALL, "norm.weight"], "what you expect of `norm`"),
    names([f"self.{name}" for name in ALL], "begins inside the module"),
    names([", ".join(ALL)], "a string of its own"),
    names([*ALL, "x", "y"], "not in the state_dict: 2 of your names"),
    names(["embed.weight", "norm.running_mean", "norm.running_var", "gain", "table"], "one buffer"),
    names(["embed.weight", *NORM, "table"], "one parameter"),
    names("Puzzle = 3", "a list of names"),
    # 1.3
    keeps("if s > best_score: best_score, best = s, deepcopy(model.state_dict())"),
    keeps(
        "if s > best_score:\n            best_score = s\n"
        "            best = {k: v.clone() for k, v in model.state_dict().items()}"
    ),
    keeps("if s > best_score: best_score, best = s, model.state_dict()", "of the last epoch"),
    keeps("if s > best_score: best_score, best = s, model.state_dict().copy()", "the model's own"),
    keeps("best = deepcopy(model.state_dict())", "of the last epoch"),
    keeps(
        "if s >= best_score: best_score, best = s, deepcopy(model.state_dict())",
        "same score",
    ),
    keeps("if s > best_score: best_score, best = s, deepcopy(model)", "returned a model"),
    keeps("if best is None: best = deepcopy(model.state_dict())", "not those of the epoch"),
    keeps("if s > best_score: best = deepcopy(model.state_dict())", "of the last epoch"),
    keeps(
        "if s > best_score:\n            best_score, best = s, deepcopy(model.state_dict())",
        "returned None",
        end="model.load_state_dict(best)",
    ),
    keeps(
        "if s > best_score:\n            best_score = s\n"
        "            best = dict(deepcopy(dict(model.named_parameters())))",
        "the buffers are missing",
    ),
    keeps("break", "not all of the 3 epochs"),
    keeps("train_one_epoch(model)", "more than 3 epochs"),
    keeps("s = train_one_epoch(deepcopy(model))", "another model"),
    keeps(
        "if s > best_score: best_score, best = s, deepcopy(model.state_dict())\n"
        "        else: model.load_state_dict(best)",
        "between two epochs",
    ),
    keeps(
        "if s > best_score: best_score, best = s, deepcopy(model.state_dict())",
        "the model's own",
        end="model.load_state_dict(best)\n    return model.state_dict()",
    ),
    keeps(
        "if round(s, 1) > best_score:\n"
        "            best_score, best = round(s, 1), deepcopy(model.state_dict())",
        "the scores were [0.91, 0.93, 0.92]",
    ),
    keeps(
        "if s > max(0, best_score): best_score, best = s, deepcopy(model.state_dict())",
        "the scores were [-0.5, 0.0, -0.2]",
    ),
    keeps(
        "if s > best_score:\n            best_score = s\n"
        "            best = {k: v.clone().half() for k, v in model.state_dict().items()}",
        "changed their dtype",
    ),
    # 1.4
    stacked(LAYERS + '; self.register_buffer("center", torch.zeros(8))'),
    stacked(
        "self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(depth)))\n"
        "        self.center = nn.Buffer(torch.zeros(8))"
    ),
    stacked(
        "self.layers = [nn.Linear(8, 8) for _ in range(depth)]\n"
        '        self.register_buffer("center", torch.zeros(8))',
        "layers are still not",
    ),
    stacked(LAYERS + "; self.center = torch.zeros(8)", "`center` is not in the state_dict"),
    stacked(
        LAYERS + '; self.register_buffer("center", torch.zeros(8), persistent=False)',
        "`center` is not in the state_dict",
    ),
    stacked(
        LAYERS + "; self.center = nn.Parameter(torch.zeros(8))",
        "`center` is a parameter now",
    ),
    stacked(
        LAYERS + '; self.register_buffer("center", torch.zeros(8))'
        '; del self.seen; self.register_buffer("seen", torch.tensor(0))',
        "`seen` is in the state_dict",
    ),
    stacked(
        "self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])"
        '; self.register_buffer("center", torch.zeros(8))',
        "with depth=3, the weights of 2 layers",
    ),
    stacked(
        "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])"
        '; self.register_buffer("center", torch.zeros(8))',
        "with depth=1, the weights of 3 layers",
    ),
    stacked(
        LAYERS + '; self.register_buffer("center", torch.zeros(8)); self.requires_grad_(False)',
        "frozen",
    ),
    stacked(
        LAYERS + '; self.center = self.register_buffer("center", torch.zeros(8))',
        "`center` is None",
    ),
    stacked(
        LAYERS + '; self.register_buffer("center", torch.zeros(1))', "size mismatch for center"
    ),
    Answer("loses_nothing", "Stacked = nn.Linear(8, 8)", "the class is wanted"),
    stacked(
        "self.layers = nn.ModuleList([nn.Linear(8, 8)] * depth)"
        '; self.register_buffer("center", torch.zeros(8))',
        "they are one layer",
    ),
    stacked(
        LAYERS + '; self.center = torch.zeros(8); self.register_buffer("center", torch.zeros(8))',
        "attribute 'center' already exists",
    ),
    # 1.5
    Answer("reads_messages", 'diagnosis = {1: "d", 2: "c", 3: "f", 4: "e"}'),
    Answer("reads_messages", 'diagnosis = {4: "e", 3: "f", 2: "c", 1: "d"}'),
    Answer(
        "reads_messages", 'diagnosis = {1: "d", 2: "b", 3: "f", 4: "e"}', "message 2 has another"
    ),
    Answer(
        "reads_messages", 'diagnosis = {1: "a", 2: "c", 3: "f", 4: "b"}', "message 4 has another"
    ),
    Answer("reads_messages", 'diagnosis = {1: "d", 2: "c", 3: "f"}', "numbers 1 to 4, all"),
    Answer("reads_messages", 'diagnosis = {"1": "d", "2": "c", "3": "f", "4": "e"}', "not texts"),
    Answer("reads_messages", 'diagnosis = {1: ["d"], 2: "c", 3: "f", 4: "e"}', "letters a to f"),
    Answer("reads_messages", 'diagnosis = "dcfe"', "a dictionary is wanted"),
    Answer("reads_messages", 'diagnosis = {1: "D", 2: "c", 3: "f", 4: "x"}', "letters a to f"),
    # 1.6
    counts(
        "return sum(e.file_size for e in zipfile.ZipFile(path).infolist() if '/data/' in e.filename)"
    ),
    counts(
        "root = Path(path).stem\n    return sum(e.file_size for e in zipfile.ZipFile(path).infolist()"
        " if e.filename.startswith(f'{root}/data/'))"
    ),
    counts(
        "import numpy as np\n    return np.sum([e.file_size for e in zipfile.ZipFile(path).infolist()"
        " if '/data/' in e.filename])"
    ),
    counts(
        "return sum(e.file_size for e in zipfile.ZipFile(path).infolist() if 'data' in e.filename)",
        "weights.pt: the storages are counted, and the pickle too",
    ),
    counts(
        "for e in zipfile.ZipFile(path).infolist():\n        if '/data/' in e.filename:\n"
        "            return e.file_size",
        "only one of the storages",
    ),
    counts(
        "root = Path(path).name.split('.')[0]\n    return sum(e.file_size for e in"
        " zipfile.ZipFile(path).infolist() if e.filename.startswith(f'{root}/data/'))",
        "digits.v2.pth: 0 bytes were counted",
    ),
    counts("return Path(path).stat().st_size", "size of the whole file"),
    counts(
        "return sum(e.file_size for e in zipfile.ZipFile(path).infolist())",
        "all entries are counted",
    ),
    counts(
        "return sum(e.file_size for e in zipfile.ZipFile(path).infolist() if 'data/' in e.filename)",
        "nearly the right name",
    ),
    counts(
        "return sum(e.file_size for e in zipfile.ZipFile(path).infolist()"
        " if 'data/' in e.filename and '.data' not in e.filename)",
        "data.pt: 291 bytes were counted",
    ),
    counts(
        "return sum(t.numel() * t.element_size() for t in torch.load(path).values())",
        "torch.load was called",
    ),
    counts(
        "return sum(t.numel() * t.element_size() for t in torch.load(path).values()"
        " if torch.is_tensor(t))",
        "torch.load was called",
    ),
    counts("return [e.file_size for e in zipfile.ZipFile(path).infolist()]", "an int is wanted"),
    counts("print(zipfile.ZipFile(path).namelist()[0])", "nothing was returned"),
]
