"""Checks of `09_pretrained_exercises`."""

import contextlib
import hashlib
import io
import os
import random
import tempfile
import threading
from copy import deepcopy
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from torch.hub import load_state_dict_from_url

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


# ---------------------------------------------------------------- 9.1

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


@check("9.1", "publish and fetch")
def publishes_and_fetches(publish, fetch):
    """Publishes a release, fetches it once, refuses two bad files and mends two damaged copies."""
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
    return (folder / "temporary.pth").rename(
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


# ---------------------------------------------------------------- 9.2


@check("9.2", "refuse a wrong file")
def refuses_a_wrong_file(load_checked):
    """Loads four files with drawn numbers whose names fit, and refuses seven whose names do not."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, digits in (("digits", 8), ("my-net", 8), ("net-2026", 12), ("net", 64)):
            content = {"w": torch.randn(50), "name": name}
            path, digest = named_by_hash(folder, name, content, digits)
            what = f"a file whose name ends in {digits} right digits"
            found = accepted(load_checked, path, what)
            expect(found is not None, "load_checked returned None, and not what is in the file")
            expect(same(found, content), f"of {what}, something else came back")
            damaged = bytearray(path.read_bytes())
            damaged[damaged.find(content["w"].numpy().tobytes()) + 42] ^= 0b0100_0000
            intact = path.read_bytes()
            path.write_bytes(damaged)
            raises_value_error(load_checked, path, "that was changed in one bit")
            other_names(load_checked, folder, intact, digest)
        ran = folder / "ran"
        path, _ = named_by_hash(folder, "code", {"w": Code(ran)}, 8)
        refuses(lambda path, _: load_checked(path), path, None, "that brings code")
        expect(not ran.exists(), "code from a file was run")


def accepted(load_checked, path, what):
    try:
        with silence():
            return load_checked(path)
    except Exception as error:
        if stub_name(error):
            raise
        raise Wrong(f"with {what}, {describe(error)}") from None


def other_names(load_checked, folder, content, digest):
    wrong = {
        "digits-00000000.pth": "with another hash in its name",
        "digits.pth": "without a hash in its name",
        f"{digest[:8]}.pth": "without a hyphen in its name",
        "digits-.pth": "whose name ends in a hyphen",
        f"digits-{digest[:5]}.pth": "with only five digits in its name",
        f"digits-{digest[:8]}-00000000.pth": "with another hash behind the last hyphen",
    }
    for name, what in wrong.items():
        (folder / name).write_bytes(content)
        raises_value_error(load_checked, folder / name, what)


def named_by_hash(folder, name, content, digits):
    torch.save(content, folder / "temporary.pth")
    digest = sha256(folder / "temporary.pth")
    path = folder / f"{name}-{digest[:digits]}.pth"
    return (folder / "temporary.pth").rename(path), digest


def raises_value_error(load_checked, path, what):
    try:
        with silence():
            load_checked(path)
    except ValueError:
        return
    except Exception as error:
        if stub_name(error):
            raise
        raise Wrong(f"with a file {what}, {describe(error)}, not a ValueError") from None
    raise Wrong(f"a file {what} was accepted without an error")


# ---------------------------------------------------------------- 9.3


URLS = (
    "https://weights.invalid/digits-{}.pth",
    "https://weights.invalid/v2/models/net-{}.pth",
    "https://weights.invalid/files/{}.pt?download=1",
    "https://weights.invalid/a.b/{}.pth?from=x/y.pth",
)


@check("9.3", "for a computer without a network")
def installs_without_a_network(install):
    """Installs four files of drawn numbers under drawn URLs, each in a new hub folder, and loads them."""
    usual = torch.hub.get_dir()
    try:
        for url in URLS:
            with tempfile.TemporaryDirectory() as folder:
                url = url.format(f"{random.getrandbits(32):08x}")
                torch.hub.set_dir(Path(folder) / "hub")
                is_installed(install, Path(folder), url)
    finally:
        torch.hub.set_dir(usual)


def is_installed(install, folder, url):
    content = {"w": torch.randn(20)}
    path = folder / "from_the_stick.bin"
    torch.save(content, path)
    with silence():
        install(path, url)
    expect(path.exists(), "the file that was brought is no longer where it was")
    found = [each for each in folder.rglob("*") if each.is_file() and each != path]
    expect(found, "after install there is no copy in the hub's folder")
    wanted = folder / "hub" / "checkpoints" / url.split("?")[0].split("/")[-1]
    places = listed(each.relative_to(folder).as_posix() for each in found)
    expect(
        wanted.is_file(),
        f"for the URL `{url}`, the copy is not where the call looks: {places}",
    )
    expect(len(found) == 1, f"more than one file was left: {places}")
    try:
        with silence():
            loaded = load_state_dict_from_url(url, weights_only=True)
    except Exception as error:
        raise Wrong(f"the copy does not load: {describe(error)}") from None
    expect(same(loaded, content), "what loads from the hub's folder is not what was brought")


# ---------------------------------------------------------------- 9.4


WORDS = "zero one two three four five six seven eight nine".split()
PUBLISHED = (
    ({"num_classes": 10, "width": 16}, {"divide_by": 8.0, "subtract": 1.0}),
    ({"num_classes": 5, "width": 4}, {"divide_by": 2.0, "subtract": 3.0}),
    ({"num_classes": 7, "width": 8}, {"divide_by": 16.0, "subtract": 0.5}),
)


@check("9.4", "use what somebody published")
def uses_what_was_published(read_digits):
    """Answers for 40 drawn scans, of three drawn nets with other arguments, labels and preprocessing."""
    for arguments, steps in PUBLISHED:
        labels = random.sample(WORDS, arguments["num_classes"])
        scans = torch.rand(40, 3, 32, 32) * torch.rand(40, 3, 1, 1) * 16
        net = net_for(scans / steps["divide_by"] - steps["subtract"], arguments)
        file = {"weights": net.state_dict(), "arguments": arguments, "labels": labels}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "release.pth"
            torch.save(file | {"preprocessing": steps}, path)
            given = scans.clone()
            found = read_digits(path, given)
        expect(torch.equal(given, scans), "read_digits changed the scans that it was given")
        explain_answers(found, net, scans, steps, labels)


def net_for(inputs, arguments):
    """A net in eval mode whose answers to `inputs` are spread over its labels."""
    net = SmallCNN(**arguments)
    with torch.no_grad():
        for _ in range(3):
            net(inputs * 1.3)
        net.eval()
        logits = net(inputs)
        net.head.bias -= logits.mean(dim=0)
    return net


@torch.no_grad()
def words_of(net, inputs, labels):
    return [labels[i] for i in net(inputs).argmax(dim=1)]


def explain_answers(found, net, scans, steps, labels):
    expect(found is not None, "read_digits returned None, and not the answers")
    expect(isinstance(found, list), f"read_digits returned {a_kind(found)}, not a list")
    expect(len(found) == len(scans), f"{len(found)} answers to {len(scans)} scans")
    strange = [each for each in found if each not in labels]
    expect(not strange, f"an answer is not one of the file's labels: {strange[:1]}")
    divided = scans / steps["divide_by"]
    if found == words_of(net, divided - steps["subtract"], labels):
        return
    others = {
        "of the scans without any preprocessing": scans,
        "of scans from which nothing was subtracted": divided,
        "of scans that were not divided": scans - steps["subtract"],
        "of scans from which was subtracted first": (scans - steps["subtract"])
        / steps["divide_by"],
    }
    for what, inputs in others.items():
        expect(found != words_of(net, inputs, labels), f"these are the answers {what}")
    raise Wrong(
        "the answers are not those of the publisher: is the net as ready for use as theirs?"
    )
