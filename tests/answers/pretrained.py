from tests.support.answer import Answer
from utils.checks import pretrained as CHECKS  # noqa: F401

PREAMBLE = """\
import hashlib
import os
import shutil
from pathlib import Path
from urllib.parse import urlparse
import torch
from torch.hub import load_state_dict_from_url
from utils.models import SmallCNN
"""
ARGUMENTS = {
    "publishes_and_fetches": ["publish", "fetch"],
    "refuses_a_wrong_file": ["load_checked"],
    "installs_without_a_network": ["install"],
    "uses_what_was_published": ["read_digits"],
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
CHECKED = """
def load_checked(path):
    digits = path.stem.split("-")[-1] if "-" in path.stem else ""
    with open(path, "rb") as file:
        right = hashlib.file_digest(file, "sha256").hexdigest()
    if len(digits) < 8 or right[:len(digits)] != digits:
        raise ValueError("refused")
    return torch.load(path)
"""
INSTALL = """
def install(path, url):
    folder = os.path.join(torch.hub.get_dir(), "checkpoints")
    os.makedirs(folder, exist_ok=True)
    name = url.split("?")[0].split("/")[-1]
    Path(folder, name).write_bytes(Path(path).read_bytes())
"""
READ = """
def read_digits(path, scans):
    file = torch.load(path)
    net = SmallCNN(**file["arguments"])
    net.load_state_dict(file["weights"])
    net.eval()
    steps = file["preprocessing"]
    scans = scans / steps["divide_by"]
    scans = scans - steps["subtract"]
    return [file["labels"][net(one[None]).argmax()] for one in scans]
"""


def changed_code(check, code, old, new, words):
    assert old in code, old
    return Answer(check, code.replace(old, new), words)


def publish(old, new, words=""):
    return changed_code("publishes_and_fetches", PUBLISH, old, new, words)


def checked(old, new, words=""):
    return changed_code("refuses_a_wrong_file", CHECKED, old, new, words)


def install(old, new, words=""):
    return changed_code("installs_without_a_network", INSTALL, old, new, words)


def read(old, new, words=""):
    return changed_code("uses_what_was_published", READ, old, new, words)


LOOK = (
    "    if copy.exists() and hashlib.sha256(copy.read_bytes()).hexdigest()[:8] != wanted:\n"
    "        os.remove(copy)\n"
)

ANSWERS = [
    # 9.1
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
    # 9.2
    Answer("refuses_a_wrong_file", CHECKED),
    checked("len(digits) < 8 or ", "", "a file without a hash in its name was accepted"),
    checked("right[:len(digits)] != digits", "False", "changed in one bit was accepted"),
    checked("[-1] if", "[1] if", "another hash behind the last hyphen was accepted"),
    checked("right[:len(digits)]", "right[:8]", "12 right digits, your code raised ValueError"),
    checked("len(digits) < 8", "len(digits) != 64", "8 right digits, your code raised"),
    checked("len(digits) < 8", "len(digits) < 4", "only five digits in its name was accepted"),
    checked("raise ValueError", "raise KeyError", "not a ValueError"),
    checked("torch.load(path)", "torch.load(path, weights_only=False)", "that brings code was"),
    checked("return torch.load(path)", "torch.load(path)", "returned None"),
    checked(' if "-" in path.stem else ""', "", "without a hyphen in its name was accepted"),
    # 9.3
    Answer("installs_without_a_network", INSTALL),
    install('.split("?")[0]', "", "the copy is not where the call looks"),
    install(
        'torch.hub.get_dir(), "checkpoints"', "torch.hub.get_dir()", "not where the call looks"
    ),
    install("    os.makedirs(folder, exist_ok=True)\n", "", "your code raised FileNotFoundError"),
    install("folder, name", "folder, Path(path).name", "the copy is not where the call looks"),
    install(
        "    Path(folder, name).write_bytes(Path(path).read_bytes())",
        "    os.rename(path, os.path.join(folder, name))",
        "no longer where it was",
    ),
    install("Path(path).read_bytes()", "b'digits'", "the copy does not load"),
    install("    Path(folder, name).write", "    Path(path).write", "there is no copy"),
    # 9.4
    Answer("uses_what_was_published", READ),
    read("    net.eval()\n", "", "is the net as ready for use"),
    read('    scans = scans - steps["subtract"]\n', "", "from which nothing was subtracted"),
    read('    scans = scans / steps["divide_by"]\n', "", "that were not divided"),
    read('scans = scans - steps["subtract"]', "scans -= 1.0", "is the net as ready for use"),
    read("scans = scans / steps", "scans /= steps", "changed the scans"),
    read("SmallCNN(**file", "SmallCNN() or (file", "size mismatch"),
    read('file["labels"][net(one[None]).argmax()]', "net(one[None]).argmax()", "file's labels"),
    Answer(
        "uses_what_was_published",
        READ.replace("return [", "return tuple([").replace("in scans]", "in scans])"),
        "returned a tuple, not a list",
    ),
    Answer(
        "uses_what_was_published",
        """
def read_digits(path, scans):
    return [torch.load(path)["labels"][0]] * len(scans)
""",
        "not those of the publisher",
    ),
]
