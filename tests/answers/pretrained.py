from tests.support.answer import Answer
from utils.checks import pretrained as CHECKS  # noqa: F401

PREAMBLE = """\
import hashlib
import os
import shutil
from pathlib import Path
import torch
from torch import nn
from torch.hub import load_state_dict_from_url
from utils.models import SmallCNN
"""
ARGUMENTS = {
    "verifies": ["load_verified"],
    "publishes_and_fetches": ["publish", "fetch"],
    "fills_a_cache": ["fill"],
    "ships_everything": ["ship", "answer"],
    "adapts": ["adapt"],
    "knows_what_is_missing": ["found"],
}

VERIFY = """
def load_verified(path, digest):
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest().upper() != digest.upper():
            raise ValueError("another file")
    return torch.load(path, weights_only=True)
"""
FILL = """
def fill(home, files):
    folder = os.path.join(home, "hub", "checkpoints")
    os.makedirs(folder, exist_ok=True)
    out = []
    for address, path in files.items():
        name = os.path.basename(address)
        digits = name[:-4].rpartition("-")[2]
        if hashlib.sha256(Path(path).read_bytes()).hexdigest()[:len(digits)] != digits:
            out.append(address)
            continue
        shutil.copyfile(path, os.path.join(folder, name))
    return out
"""
SHIP = """
def ship(path, model, arguments, mean, std, labels):
    torch.save([model.state_dict(), arguments, mean, std, labels], path)


def answer(path, images):
    weights, arguments, mean, std, labels = torch.load(path)
    net = SmallCNN(**arguments)
    net.load_state_dict(weights)
    net.eval()
    images = images.float() / 255
    images = images - torch.tensor(mean)[None, :, None, None]
    images = images / torch.tensor(std)[None, :, None, None]
    return [labels[int(row.argmax())] for row in net(images)]
"""
ADAPT = """
def adapt(path, labels):
    file = torch.load(path)
    net = SmallCNN(**file["arguments"])
    net.load_state_dict(file["weights"])
    net.head = nn.Linear(net.head.in_features, len(labels))
    file["weights"] = net.state_dict()
    file["arguments"]["num_classes"] = len(labels)
    file["labels"] = labels
    return file
"""
FOUND = {
    "a": "in the file",
    "b": "not in the file",
    "c": "not in the file",
    "d": "in the file",
    "e": "not in the file",
    "f": "in the file",
}
PUBLISH = """
def publish(folder, name, release):
    path = Path(folder) / "x.pth"
    torch.save(release, path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    new = Path(folder) / f"{name}-{digits}.pth"
    os.replace(path, new)
    return str(new)


def fetch(url, cache):
    copy = Path(cache, url.rsplit("/", 1)[1])
    wanted = copy.stem.rsplit("-", 1)[1]
    if copy.exists() and hashlib.sha256(copy.read_bytes()).hexdigest()[:8] != wanted:
        os.remove(copy)
    return load_state_dict_from_url(
        url, str(cache), check_hash=True, weights_only=True, progress=False
    )
"""


def changed_code(check, code, old, new, words):
    assert old in code, old
    return Answer(check, code.replace(old, new), words)


def verify(old, new, words=""):
    return changed_code("verifies", VERIFY, old, new, words)


def fill(old, new, words=""):
    return changed_code("fills_a_cache", FILL, old, new, words)


def ship(old, new, words=""):
    return changed_code("ships_everything", SHIP, old, new, words)


def adapt(old, new, words=""):
    return changed_code("adapts", ADAPT, old, new, words)


def found(words="", **changes):
    return Answer("knows_what_is_missing", f"found = {FOUND | changes}", words)


def publish(old, new, words=""):
    return changed_code("publishes_and_fetches", PUBLISH, old, new, words)


LOOK = (
    "    if copy.exists() and hashlib.sha256(copy.read_bytes()).hexdigest()[:8] != wanted:\n"
    "        os.remove(copy)\n"
)

ANSWERS = [
    # 9.1
    Answer("verifies", VERIFY),
    verify("        if hash", "        content = file.read(); file.seek(0)\n        if hash"),
    verify(".upper() != digest.upper()", " != digest", "in capitals, was refused"),
    verify(
        'if hashlib.file_digest(file, "sha256").hexdigest().upper() != digest.upper()',
        "if not hashlib.file_digest(file, 'sha256').hexdigest().startswith(digest.lower())",
        "a digest of only eight digits was accepted",
    ),
    verify("raise ValueError", "raise KeyError", "a ValueError is wanted"),
    verify("raise ValueError", "print", "a digest with a wrong last digit was accepted"),
    verify("    return torch", "    torch", "returned None"),
    verify(
        "    return torch.load(path, weights_only=True)", "    return {}", "not what is in the file"
    ),
    Answer(
        "verifies",
        "def load_verified(path, digest):\n"
        "    content = torch.load(path, weights_only=False)\n"
        "    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest.lower():\n"
        "        raise ValueError\n    return content\n",
        "a ValueError is wanted",
    ),
    # 9.2
    Answer("publishes_and_fetches", PUBLISH),
    Answer(
        "publishes_and_fetches",
        PUBLISH.replace(
            "    if copy.exists() and hashlib",
            "    copy.parent.mkdir(exist_ok=True)\n    if copy.is_file() and hashlib",
        ),
    ),
    publish("check_hash=True, ", "", "a file with a wrong hash was accepted"),
    publish("weights_only=True, ", "", "that brings code was accepted without an error"),
    publish(LOOK, "", "changed in one bit, and its wrong numbers were returned"),
    publish(
        "os.remove(copy)", "raise ValueError('damaged')", "changed in one bit, your code raised"
    ),
    publish(
        "    if copy.exists() and hashlib.sha256(copy.read_bytes()).hexdigest()[:8] != wanted:\n",
        "    if copy.exists():\n",
        "the second fetch asked the server again",
    ),
    publish(
        "digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]",
        "digits = hashlib.sha256(name.encode()).hexdigest()[:8]",
        "not the first ones of the SHA-256 of the file",
    ),
    publish(
        "digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]",
        "digits = hashlib.md5(path.read_bytes()).hexdigest()[:8]",
        "not the first ones of the SHA-256 of the file",
    ),
    publish("hexdigest()[:8]\n", "hexdigest()\n", "stand 64 characters, not 8"),
    publish("os.replace(path, new)", "torch.save(release, new)", "not the first ones of the SHA"),
    publish(
        "os.replace(path, new)",
        "new.write_bytes(path.read_bytes())",
        "something was left in the folder: `x.pth`",
    ),
    publish("    return str(new)\n", "", "publish returned None, and not the path"),
    publish("    return load", "    load", "fetch returned None"),
    publish(
        "return load_state_dict_from_url(\n        url, str(cache), ",
        "return load_state_dict_from_url(\n        url, str(cache) + '2', ",
        "no copy in the folder `cache`",
    ),
    publish("torch.save(release, path)", 'torch.save(release["weights"], path)', "does not hold"),
    changed_code(
        "publishes_and_fetches",
        PUBLISH,
        'copy.stem.rsplit("-", 1)[1]',
        'copy.stem.split("-")[1]',
        "the second fetch asked the server again",
    ),
    # 9.3
    Answer("fills_a_cache", FILL),
    fill("shutil.copyfile(path, os", "Path(path).copy if 0 else shutil.copy2(path, os"),
    fill('"hub", "checkpoints"', '"checkpoints"', "where torch does not look"),
    fill("copyfile(path, os.path.join(folder, name))", "copy(path, folder)", "under its name"),
    fill("            continue\n", "", "a file too many"),
    fill("exist_ok=True", "exist_ok=False", "FileExistsError"),
    fill("    return out\n", "", "not a list"),
    fill("out.append(address)", "out.append(name)", "is not that of the addresses left out"),
    fill("shutil.copyfile", "os.replace", "did not stay as they were"),
    fill('rpartition("-")[2]', 'split("-")[1]', "a file whose hash fits is not where"),
    fill("[:len(digits)]", "[:8]", "a file whose hash fits is not where"),
    # 9.4
    Answer("ships_everything", SHIP),
    ship("net.eval()", "net.train(False)"),
    ship("    net.eval()\n", "", "get another label"),
    ship(" / 255\n", "\n", "get another label"),
    ship("    images = images - torch.tensor(mean)[None, :, None, None]\n", "", "get another"),
    ship("    images = images / torch.tensor(std)[None, :, None, None]\n", "", "get another"),
    ship("labels[int", "sorted(labels)[int", "get another label"),
    ship("labels[int(row.argmax())]", "int(row.argmax())", "not one of the labels"),
    ship("    return [", "    [", "returned None"),
    ship("[model.state_dict()", "[model.eval().state_dict()", "changed the mode of the model"),
    ship("[model.state_dict()", "[model", "the default torch.load refuses"),
    # 9.5
    Answer("adapts", ADAPT),
    adapt("    return file\n", "    return dict(file)\n"),
    adapt("    net.head = nn", "    other = nn", "does not accept the `weights`"),
    adapt('    net.load_state_dict(file["weights"])\n', "", "these were to stay as they are"),
    adapt('    file["labels"] = labels\n', "", "`labels` are not the new ones"),
    adapt(
        '    file["arguments"]["num_classes"] = len(labels)\n',
        "",
        "`arguments` are not those of the new net",
    ),
    adapt(
        "    return file\n",
        '    return {k: file[k] for k in ("weights", "arguments", "labels")}\n',
        "these keys of the file are lost: `preprocessing`",
    ),
    adapt(
        "    net.head = nn",
        "    if len(labels) != net.head.out_features: net.head = nn",
        "the head is still the old one",
    ),
    adapt(
        '    file["weights"]',
        '    nn.init.zeros_(net.head.weight)\n    file["weights"]',
        "the new head is not as torch makes it",
    ),
    adapt("    return file\n", "    torch.save(file, path)\n    return file\n", "changed the file"),
    adapt("    return file\n", "    return net\n", "not a dictionary"),
    # 9.6
    found(),
    found("a is not right", a="not in the file"),
    found("b is not right", b="in the file"),
    found("c is not right", c="in the file"),
    found("d is not right", d="not in the file"),
    found("e is not right", e="in the file"),
    found("f is not right", f="not in the file"),
    found("each letter's words are", a="yes"),
    found("the letters are a to f", g="in the file"),
]
