"""Checks of `09_pretrained_exercises`."""

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from copy import deepcopy
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from torch import nn

from utils.checking import fresh
from utils.checking.errors import (
    Wrong,
    a_kind,
    describe,
    expect,
    listed,
    must_load,
    same,
    stub_name,
)
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN

exercises = Exercises()
check, summary = exercises.check, exercises.summary
fresh.warm_up("torch._dynamo")  # the first optimizer of a process would import it


# ---------------------------------------------------------------- 9.1


def contents():
    """Three contents of files that differ in names, depth, number and dtype."""
    draw = torch.Generator().manual_seed(9)
    return (
        {"w": torch.randn(40, 5, generator=draw)},
        {"weights": {"a": torch.randint(9, (7,), generator=draw), "b": torch.ones(2)}, "n": 3},
        {"layer.0.bias": torch.randn(3, generator=draw).double(), "labels": ["x", "y"], "none": {}},
    )


@check("9.1", "load it, or refuse it")
def verifies(load_verified):
    """Three files: each with its digest in small letters and capitals, and with five wrong ones.

    A damaged file and one that brings code are refused before anything in them is read.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, ran = Path(folder) / "model.pth", Path(folder) / "ran"
        for content in contents():
            torch.save(content, path)
            before, digest = path.read_bytes(), sha256(path)
            for given, what in ((digest, "small letters"), (digest.upper(), "capitals")):
                try:
                    found = load_verified(path, given)
                except ValueError:
                    raise Wrong(f"the right digest, in {what}, was refused") from None
                expect(found is not None, "load_verified returned None, not what is in the file")
                expect(same(found, content), "what was returned is not what is in the file")
            for given, what in wrong_digests(digest):
                must_refuse(load_verified, path, given, f"{what} was accepted")
            path.write_bytes(before[:-1])
            must_refuse(load_verified, path, digest, "a file that was cut short was accepted")
            expect(path.exists(), "the file that was refused is gone")
            torch.save(Code(ran), path)
            must_refuse(load_verified, path, digest, "a file with another hash was accepted")
            expect(not ran.exists(), "a file that was to be refused was loaded, and its code ran")


def wrong_digests(digest):
    last = "0" if digest[-1] != "0" else "1"
    return (
        (digest[:-1] + last, "a digest with a wrong last digit"),
        (last + digest[1:] if digest[0] != last else "f" + digest[1:], "a wrong first digit"),
        (digest[:8], "a digest of only eight digits"),
        (digest + "0", "a digest with one digit too many"),
        ("", "an empty digest"),
    )


def must_refuse(load_verified, path, digest, message):
    try:
        load_verified(path, digest)
    except ValueError:
        return
    except Exception as error:
        if stub_name(error):
            raise
        raise Wrong(
            f"a ValueError is wanted for a file that does not fit, and {describe(error)}"
        ) from None
    raise Wrong(message)


# ---------------------------------------------------------------- 9.2

RELEASE = {
    "weights": {"w": torch.arange(500.0), "b": torch.ones(3)},
    "labels": ["even", "odd"],
    "preprocessing": {"divide_by": 8.0},
}


class Code:
    """On loading without `weights_only`, makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@contextlib.contextmanager
def serving(folder):
    """A server for `folder` on this computer: yields its URL and the list of requests."""
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    proxies = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        os.environ.pop("no_proxy")
        if proxies is not None:
            os.environ["no_proxy"] = proxies
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def silence():
    """torch.hub reports downloads, with paths of this computer."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@check("9.2", "publish and fetch")
def publishes_and_fetches(publish, fetch):
    """One release, on a server, with a wrong hash, with code, and with two kinds of damage.

    `publish` names the file by its hash and leaves nothing else; `fetch` asks the server once,
    refuses what it should, and mends the copy in the cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        served, cache = Path(folder) / "served", Path(folder) / "cache"
        served.mkdir()
        cache.mkdir()
        path = published(publish, served, "my-digits", RELEASE)
        bad = with_hash(served, "code", {"weights": Code(Path(folder) / "ran")})
        (served / "my-digits-00000000.pth").write_bytes(path.read_bytes())
        with serving(served) as (url, requests):
            address = f"{url}/{path.name}"
            fetches_once(fetch, address, cache, requests)
            refuses(fetch, f"{url}/my-digits-00000000.pth", cache, "with a wrong hash")
            refuses(fetch, f"{url}/{bad.name}", cache, "that brings code")
            expect(not (Path(folder) / "ran").exists(), "code from a file was run")
            mends_the_copy(fetch, address, cache)


def with_hash(folder, name, content):
    torch.save(content, folder / "temporary.pth")
    return (folder / "temporary.pth").replace(
        folder / f"{name}-{sha256(folder / 'temporary.pth')[:8]}.pth"
    )


def published(publish, folder, name, release):
    path = publish(folder, name, deepcopy(release))
    expect(path is not None, "publish returned None, and not the path")
    expect(isinstance(path, (str, os.PathLike)), f"publish returned {a_kind(path)}, not the path")
    path = Path(path)
    expect(path.exists(), "publish returned a path at which there is no file")
    expect(path.parent == folder, "the file is not in the folder that was given")
    expect(path.suffix == ".pth", f"the file's name ends in {path.suffix!r}, not in '.pth'")
    expect(path.name.startswith(f"{name}-"), f"the file's name does not begin with `{name}-`")
    digits = path.stem.removeprefix(f"{name}-")
    expect(len(digits) == 8, f"behind the hyphen stand {len(digits)} characters, not 8")
    expect(
        digits == sha256(path)[:8],
        "the digits in the name are not the first ones of the SHA-256 of the file as it is",
    )
    others = [each.name for each in folder.iterdir() if each != path]
    expect(not others, f"beside the file, something was left in the folder: {listed(others)}")
    must_load(path)
    expect(same(torch.load(path), release), "the file does not hold what was to be published")
    return path


def fetched(fetch, url, cache):
    with silence():
        return fetch(url, cache)


def fetches_once(fetch, url, cache, requests):
    for time in ("first", "second"):
        found = fetched(fetch, url, cache)
        expect(found is not None, "fetch returned None, and not what is in the file")
        expect(same(found, RELEASE), "fetch returned something else than what was published")
        copies = [each.name for each in cache.iterdir()]
        expect(copies, "there is no copy in the folder `cache`")
        expect(Path(url).name in copies, f"the copy in `cache` has another name: {listed(copies)}")
        expect(requests, "nothing was asked of the server")
        expect(
            len(requests) == 1,
            f"the {time} fetch asked the server again"
            if time == "second"
            else f"one file was fetched with {len(requests)} requests",
        )


def refuses(fetch, url, cache, what):
    try:
        fetched(fetch, url, cache)
    except Exception as error:
        if stub_name(error):
            raise
        return
    raise Wrong(f"a file {what} was accepted without an error")


def mends_the_copy(fetch, url, cache):
    copy = cache / Path(url).name
    content = bytearray(copy.read_bytes())
    content[content.find(RELEASE["weights"]["w"].numpy().tobytes()) + 402] ^= 0b0100_0000
    for damage, what in ((content, "changed in one bit"), (content[:900], "cut short")):
        copy.write_bytes(damage)
        try:
            found = fetched(fetch, url, cache)
        except Exception as error:
            raise Wrong(f"with a copy in the cache that is {what}, {describe(error)}") from None
        expect(
            same(found, RELEASE),
            f"the copy in the cache was {what}, and its wrong numbers were returned",
        )
        expect(
            copy.exists() and sha256(copy)[:8] in copy.name,
            f"the copy in the cache was {what}, and is still there",
        )


# ---------------------------------------------------------------- 9.3


@check("9.3", "fill an offline cache")
def fills_a_cache(fill):
    """Three homes: new, there already, and given no files; hashes of 8, 10 and 64 digits.

    Of the files one is damaged; two have hyphens and a dot in their names.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files, left_out, wanted = brought(folder)
        for number, chosen in enumerate((files, {a: files[a] for a in left_out}, {}, files)):
            home = folder / f"home {number}"
            if number == 3:
                (home / "hub" / "checkpoints").mkdir(parents=True)
            before = {path: path.read_bytes() for path in files.values()}
            answer = fresh.call(fill, home, dict(chosen))
            is_filled(home, {a: wanted[a] for a in chosen if a in wanted})
            expect(isinstance(answer, list), f"fill returned {a_kind(answer)}, not a list")
            expect(
                answer == [a for a in chosen if a in left_out],
                "the list that fill returned is not that of the addresses left out, in their order",
            )
            kept = all(p.exists() and p.read_bytes() == old for p, old in before.items())
            expect(kept, "the files that were brought did not stay as they were")


def brought(folder):
    """Files on a stick, by address; the addresses whose file is damaged; the bytes of the others."""
    files, left_out, wanted = {}, [], {}
    names = (("net", 8), ("old-net", 10), ("bad-net", 8), ("v2-net_x0.5", 64), ("a", 8))
    for number, ((name, digits), content) in enumerate(zip(names, contents() * 2)):
        path = folder / f"file{number}"
        torch.save(content | {"number": number}, path)
        address = f"https://example.com/{number}/{name}-{sha256(path)[:digits]}.pth"
        files[address] = path
        if name in ("bad-net", "a"):
            path.write_bytes(path.read_bytes()[:-1] + b"x")
            left_out.append(address)
        else:
            wanted[address] = path.read_bytes()
    return files, left_out, wanted


def is_filled(home, wanted):
    found = {p.relative_to(home).as_posix(): p for p in home.rglob("*") if p.is_file()}
    places = {f"hub/checkpoints/{a.split('/')[-1]}": content for a, content in wanted.items()}
    lost = [place.split("/")[-1] for place in places if place not in found]
    names = {path.name for path in found.values()}
    expect(
        not lost or not names.issuperset(lost),
        "the copies lie in a folder where torch does not look for them",
    )
    expect(not lost, "a file whose hash fits is not where torch looks for it, under its name")
    more = [path.name for place, path in found.items() if place not in places]
    expect(
        not more, "under `home` is a file too many: its hash does not fit, or its name is another"
    )
    wrong = [p for p, content in places.items() if found[p].read_bytes() != content]
    expect(not wrong, "a copy is not what was brought under that address")


# ---------------------------------------------------------------- 9.4


def shipments():
    """Three trained nets that differ in width, classes, labels and preparation, and images."""
    draw = torch.Generator().manual_seed(94)
    for width, labels in ((4, ["cat", "ant", "bee"]), (8, list("zyxwv")), (16, ["no", "yes"])):
        arguments = {"num_classes": len(labels), "width": width}
        mean, std = (torch.rand(2, 3, generator=draw) * 0.5 + 0.1).tolist()
        model = SmallCNN(**arguments)
        shape = (60, 3, 1, 1)
        images = torch.randint(256, shape, generator=draw) // 2
        images = images + torch.randint(128, (60, 3, 32, 32), generator=draw)
        images = images.to(torch.uint8)
        with torch.no_grad():
            inputs = prepared(images, mean, std)
            for _ in range(30):
                model(inputs)  # moves the running statistics
            features = model.eval().features(inputs).flatten(1)
            # a head whose classes are all in use: distances to as many images
            centres = features[: len(labels)]
            model.head.weight.copy_(2 * centres)
            model.head.bias.copy_(-(centres**2).sum(dim=1))
            indices = model(inputs).argmax(dim=1)
        yield model.train(), arguments, mean, std, labels, images, [labels[i] for i in indices]


def prepared(images, mean, std):
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    return (images / 255 - mean) / std


@check("9.4", "say what the weights do not")
def ships_everything(ship, answer):
    """Three nets in training mode; `answer` in a new process, for 60 images and for one."""
    for model, arguments, mean, std, labels, images, wanted in shipments():
        before = deepcopy(model.state_dict())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shipped.pth"
            ship(path, model, dict(arguments), list(mean), list(std), list(labels))
            must_load(path)
            expect(same(model.state_dict(), before), "ship changed the model's weights")
            expect(model.training, "ship changed the mode of the model")
            for part in (images, images[:1]):
                found = fresh.call(answer, path, part)
                explain_answers(found, wanted[: len(part)], labels)


def explain_answers(found, wanted, labels):
    expect(found is not None, "answer returned None, not the labels")
    expect(isinstance(found, list), f"answer returned {a_kind(found)}, not a list")
    expect(len(found) == len(wanted), f"{len(found)} answers for {len(wanted)} images")
    strange = [each for each in found if not isinstance(each, str) or each not in labels]
    expect(not strange, "answer returned something that is not one of the labels")
    wrong = sum(mine != other for mine, other in zip(found, wanted))
    expect(
        not wrong,
        f"{wrong} of {len(wanted)} images get another label than from the net that was shipped:"
        " is it the preparation, the mode or the order of the labels?",
    )


# ---------------------------------------------------------------- 9.5


def files_to_adapt():
    """Three files, each with the labels it is to get: fewer, more and as many as before."""
    cases = (
        (4, ["a", "b", "c"], ["d", "e"], {"preprocessing": {"divide_by": 8.0}}),
        (16, ["no", "yes"], list("uvwxyz"), {"preprocessing": {"mean": [0.5]}, "licence": "MIT"}),
        (8, ["left", "right"], ["up", "down"], {}),
    )
    for width, old, new, others in cases:
        arguments = {"num_classes": len(old), "width": width}
        weights = SmallCNN(**arguments).state_dict()
        yield {"weights": weights, "arguments": arguments, "labels": old} | others, new


@check("9.5", "another head, the same preparation")
def adapts(adapt):
    """Three files that differ in width, labels and their other keys."""
    for file, labels in files_to_adapt():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "theirs.pth"
            torch.save(file, path)
            before = path.read_bytes()
            found = adapt(path, list(labels))
            expect(path.exists() and path.read_bytes() == before, "adapt changed the file")
        expect(isinstance(found, dict), f"adapt returned {a_kind(found)}, not a dictionary")
        lost = [key for key in file if key not in found]
        expect(not lost, f"these keys of the file are lost: {listed(lost)}")
        more = [key for key in found if key not in file]
        expect(not more, f"these keys were not in the file: {listed(more)}")
        expect(found["labels"] == labels, "`labels` are not the new ones, in their order")
        others = [key for key in file if key not in ("weights", "arguments", "labels")]
        wrong = [key for key in others if not same(found[key], file[key])]
        expect(not wrong, f"this was to stay as it was in the file: {listed(wrong)}")
        wanted = file["arguments"] | {"num_classes": len(labels)}
        expect(found["arguments"] == wanted, "`arguments` are not those of the new net")
        explain_weights(found, file["weights"])


def explain_weights(found, old):
    net = SmallCNN(**found["arguments"])
    try:
        net.load_state_dict(found["weights"])
    except Exception:
        raise Wrong("a SmallCNN of the new arguments does not accept the `weights`") from None
    new = net.state_dict()
    body = [name for name in new if not name.startswith("head.")]
    wrong = [name for name in body if not torch.equal(new[name], old[name])]
    expect(not wrong, f"these were to stay as they are in the file: {listed(wrong)}")
    expect(not same(new["head.weight"], old["head.weight"]), "the head is still the old one")
    rows = new["head.weight"]
    expect(rows.unique().numel() > rows.numel() / 2, "the new head is not as torch makes it")
    bound = rows.shape[1] ** -0.5
    expect(rows.abs().max() <= bound * 1.001, "the new head is not as torch makes it")
    kept = min(len(rows), len(old["head.weight"]))
    expect(
        not torch.equal(rows[:kept], old["head.weight"][:kept])
        and not torch.equal(new["head.bias"][:kept], old["head.bias"][:kept]),
        "a part of the head is still the old one",
    )


# ---------------------------------------------------------------- 9.6

FILE_CLUES = {
    "a": "how many rows has the last layer?",
    "b": "if two classes changed places in the training, what would tell you?",
    "c": "would any name or shape be another with other values?",
    "d": "which shape has the first convolution's weight?",
    "e": "has dropout any parameter or buffer?",
    "f": "does a tensor know its dtype?",
}


def really_there():
    """{letter: words}: can two nets that differ in just this be told apart by their entries?"""

    def entries(model):
        return [(name, t.shape, t.dtype) for name, t in model.state_dict().items()]

    gray, dropping = SmallCNN(), SmallCNN()
    gray.features[0] = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    dropping.dropout = nn.Dropout(0.9)
    others = {"a": SmallCNN(5), "d": gray, "e": dropping, "f": SmallCNN().half()}
    plain = entries(SmallCNN())  # the order of the classes and the range change no net at all
    return {
        letter: "in the file"
        if letter in others and entries(others[letter]) != plain
        else "not in the file"
        for letter in FILE_CLUES
    }


@check("9.6", "is it in the file?")
def knows_what_is_missing(found):
    """Six letters, each with one of two words."""
    expect(isinstance(found, dict), "a dictionary is wanted: from the letters to the words")
    expect(set(found) == set(FILE_CLUES), "the letters are a to f, all of them")
    words = ("in the file", "not in the file")
    expect(
        all(isinstance(word, str) and word in words for word in found.values()),
        "each letter's words are `in the file` or `not in the file`",
    )
    truth = really_there()
    wrong = [letter for letter in truth if found[letter] != truth[letter]]
    expect(not wrong, "; ".join(f"{letter} is not right: {FILE_CLUES[letter]}" for letter in wrong))
