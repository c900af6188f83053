from tests.support.answer import Answer
from utils.checks import checkpoint_policy as CHECKS  # noqa: F401

PREAMBLE = """\
import math, os, zipfile
from pathlib import Path
import torch
from utils.models import SmallCNN
"""
ARGUMENTS = {
    "never_loses": ["save"],
    "finds_the_newest": ["newest_intact"],
    "says_what_may_go": ["to_remove"],
    "names_sort": ["name_of", "read_name"],
    "is_released": ["release", "answer"],
}


def save(body, words="", before=""):
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return Answer("never_loses", f"{before}\ndef save(state, path):\n{lines}\n", words)


SAVE = """
partial = Path(f"{path}.partial")
try:
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
except BaseException:
    partial.unlink(missing_ok=True)
    raise
"""


def newest(body, words=""):
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return Answer("finds_the_newest", f"def newest_intact(folder):\n{lines}\n", words)


NEWEST = """
for path in sorted(folder.glob("epoch_*.pt"), reverse=True):
    if zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip() is None:
        return path
"""


def remove(body, words=""):
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return Answer(
        "says_what_may_go", f"def to_remove(scores, keep_last, keep_every):\n{lines}\n", words
    )


REMOVE = """
keep = set(sorted(scores)[-keep_last:]) | {e for e in scores if e % keep_every == 0}
good = [(score, e) for e, score in scores.items() if not math.isnan(score)]
if good:
    keep.add(max(good)[1])
return set(scores) - keep
"""


def names(write, read, words=""):
    return Answer(
        "names_sort",
        f"def name_of(model, epoch, score):\n    return {write}\n"
        f"def read_name(name):\n    {read}\n",
        words,
    )


WRITE = 'f"{model}_{epoch:05d}_{score:.3f}.pt"'
READ = (
    "model, epoch, score = name.removesuffix('.pt').rsplit('_', 2)\n"
    "    return model, int(epoch), float(score)"
)


def released(words="", keep='("model", "width", "mean", "std", "labels")', answer=""):
    return Answer(
        "is_released",
        "def release(checkpoint_path, path):\n"
        "    checkpoint = torch.load(checkpoint_path)\n"
        f"    torch.save({{name: checkpoint[name] for name in {keep}}}, path)\n"
        f"def answer(path, images):\n{answer or ANSWER}",
        words,
    )


ANSWER = """\
    file = torch.load(path)
    model = SmallCNN(len(file["labels"]), file["width"])
    model.load_state_dict(file["model"])
    model.eval()
    scaled = (images - file["mean"]) / file["std"]
    return [file["labels"][int(row.argmax())] for row in model(scaled)]
"""

ANSWERS = [
    # 5.1
    save(SAVE),
    save(SAVE.replace('Path(f"{path}.partial")', 'path.parent / ".being_written"')),
    save(
        """
import io
memory = io.BytesIO()
torch.save(state, memory)
partial = path.with_suffix(".new")
with io.open(partial, "wb") as file:
    file.write(memory.getbuffer())
    file.flush()
    os.fsync(file)
os.rename(partial, path)
"""
    ),
    save(SAVE, before="from io import open"),
    save(
        """
import io
from os import write
memory = io.BytesIO()
torch.save(state, memory)
partial = path.parent / "new"
descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0))
data = memory.getvalue()
while data:
    data = data[write(descriptor, data) :]
os.fsync(descriptor)
os.close(descriptor)
os.replace(partial, path)
"""
    ),
    save("torch.save(state, path)", "killed after 0 bytes, the file at the path cannot be read"),
    save(
        "partial = str(path) + '.partial'\ntorch.save(state, partial)\nos.replace(partial, path)",
        "an error left behind run.pt.partial",
    ),
    save(SAVE.replace("        os.fsync(file.fileno())\n", ""), "not forced to the disk"),
    save(
        "path.unlink(missing_ok=True)\n" + SAVE.strip(),
        "killed after 0 bytes, there is no file at the path",
    ),
    save(
        "backup = path.with_suffix('.old')\nif path.exists():\n    os.replace(path, backup)\n"
        + SAVE.strip(),
        "killed after 0 bytes, there is no file at the path",
    ),
    save(SAVE.replace("    raise\n", "    pass\n"), "a state that cannot be saved raised no error"),
    save(
        SAVE.replace("        file.flush()\n        os.fsync(file.fileno())\n", "").replace(
            "    os.replace(partial, path)\n",
            "    os.replace(partial, path)\n    os.fsync(os.open(path, os.O_RDONLY))\n",
        ),
        "the file got its name before its bytes were forced to the disk",
    ),
    save(
        SAVE.replace(
            "os.replace(partial, path)",
            "import shutil; shutil.copy(partial, path); partial.unlink()",
        ),
        "did not get its name in one step",
    ),
    save("pass", "after a save, there is no file at the path"),
    save(
        SAVE.replace("    os.replace", "    path.unlink(missing_ok=True)\n    os.replace"),
        "the old file was removed before the new one had its name",
    ),
    save(
        SAVE.replace('Path(f"{path}.partial")', 'Path("/tmp") / f"{os.getpid()}.partial"'),
        "the partial file was in another folder",
    ),
    save('torch.save(state, path + ".partial")', "TypeError: unsupported operand"),
    Answer("never_loses", "save = None", "`save` is a NoneType, and a function is wanted"),
    # 5.2
    newest(NEWEST),
    newest("""
intact = {}
for path in folder.iterdir():
    if path.match("epoch_????.pt") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                intact[int(path.stem.split("_")[1])] = path
return intact[max(intact)] if intact else None
"""),
    newest(
        NEWEST.replace(" and zipfile.ZipFile(path).testzip() is None", ""),
        "a file with a changed byte was returned",
    ),
    newest(
        "for path in sorted(folder.glob('epoch_*.pt'), reverse=True):\n"
        "    try:\n        torch.load(path, weights_only=False)\n        return path\n"
        "    except Exception:\n        pass",
        "your code calls torch.load",
    ),
    newest(
        NEWEST.replace(
            'sorted(folder.glob("epoch_*.pt"), reverse=True)',
            "sorted(folder.glob('epoch_*.pt'), key=os.path.getmtime, reverse=True)",
        ),
        "epoch_0002.pt was returned, and the newest intact one is epoch_0011.pt",
    ),
    newest(NEWEST.replace(", reverse=True", ""), "epoch_0002.pt was returned"),
    newest(NEWEST.replace("zipfile.is_zipfile(path) and ", ""), "BadZipFile"),
    newest(NEWEST + "raise FileNotFoundError(folder)", "your code raised FileNotFoundError"),
    newest(NEWEST.replace("return path", "return path.name"), "does not lead into the folder"),
    newest(
        NEWEST.replace('"epoch_*.pt"', '"epoch_*"').replace(
            "zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip() is None", "True"
        ),
        "epoch_9999.txt was returned",
    ),
    newest(
        NEWEST.replace("        return path", "        return path\n    path.unlink()"),
        "the folder is not as it was",
    ),
    newest(NEWEST.replace('"epoch_*.pt"', '"*.pt"'), "weights.pt was returned"),
    # 5.3
    remove(REMOVE),
    remove("""
newest = sorted(scores, reverse=True)
best = max(newest, key=lambda e: -1 if math.isnan(scores[e]) else scores[e], default=None)
return {e for e in newest[keep_last:] if e != best and e % keep_every}
"""),
    remove(REMOVE.replace(" if not math.isnan(score)", ""), "there are nan, and 2 would be lost"),
    remove(
        REMOVE.replace("keep.add(max(good)[1])", "keep.add(max(scores, key=scores.get))"),
        "would be lost",
    ),
    remove(REMOVE.replace("sorted(scores)", "list(scores)"), "the order is mixed, and"),
    remove(
        REMOVE.replace(" | {e for e in scores if e % keep_every == 0}", ""),
        "every third is kept, and 3, 6 would be lost",
    ),
    remove(REMOVE.replace("return set(scores) - keep", "return keep"), "would be lost"),
    remove(
        REMOVE.replace("return set(scores) - keep", "return sorted(set(scores) - keep)"),
        "a set is wanted",
    ),
    remove(
        "for e in sorted(scores)[:-keep_last]:\n    del scores[e]\nreturn set(scores)",
        "has been changed",
    ),
    remove(
        REMOVE.replace("if good:\n    keep.add(max(good)[1])", "keep.add(max(good)[1])"),
        "ValueError: max()",
    ),
    # 5.4
    names(WRITE, READ),
    names(
        'f"{model}__epoch{epoch:07d}__{score:.4f}.pt"',
        "model, epoch, score = name[:-3].rsplit('__', 2)\n"
        "    return [model, int(epoch.removeprefix('epoch')), float(score)]",
    ),
    names(WRITE.replace(":05d", ""), READ, "'small_10_0.700.pt' sorts before 'small_9_0.800.pt'"),
    names(WRITE.replace(":05d", ":04d"), READ, "'small_10000_0.200.pt' sorts before 'small_9999"),
    names(WRITE, READ.replace("rsplit('_', 2)", "split('_')"), "too many values to unpack"),
    names(WRITE, READ.replace("int(epoch)", "epoch"), "and the epoch was 0"),
    names(WRITE.replace("{score:.3f}", "{score:.1f}"), READ, "and the score was 0.971"),
    names(WRITE.replace(".pt", ""), READ, "does not end in .pt"),
    names(WRITE, READ.replace("float(score)", "score"), "and the score was 0.971"),
    names(
        'f"{model}_{score:.3f}_{epoch:05d}.pt"',
        "model, score, epoch = name.removesuffix('.pt').rsplit('_', 2)\n"
        "    return model, int(epoch), float(score)",
        "and is newer",
    ),
    names(
        WRITE, READ.replace("removesuffix('.pt')", "replace('.pt', '')"), "the model was 'net.pt'"
    ),
    # 5.5
    released(),
    released(keep='("model", "width", "mean", "std", "labels", "epoch")'),
    released("larger than the weights", keep="checkpoint"),
    released("KeyError: 'mean'", keep='("model", "width", "labels")'),
    released(
        "the images were not prepared as they were",
        answer=ANSWER.replace('(images - file["mean"]) / file["std"]', "images"),
    ),
    released("get other answers the second time", answer=ANSWER.replace("    model.eval()\n", "")),
    released(
        "answer",  # which of two messages depends on the last digits
        answer=ANSWER.replace(
            '(images - file["mean"]) / file["std"]', "(images - images.mean()) / images.std()"
        ),
    ),
    released(
        "the images were not prepared as they were",
        answer=ANSWER.replace(
            '(images - file["mean"]) / file["std"]', 'images / file["std"] - file["mean"]'
        ),
    ),
    released(
        "an answer is an int",
        answer=ANSWER.replace('file["labels"][int(row.argmax())]', "int(row.argmax())"),
    ),
    released(
        "size mismatch",
        answer=ANSWER.replace('SmallCNN(len(file["labels"]), file["width"])', "SmallCNN()"),
    ),
    released("answer returned a NoneType", answer=ANSWER.replace("return ", "")),
]
