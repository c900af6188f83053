"""`python3 -m utils bench [FOLDER]`: what a durable, checked save costs, beside the usual ways.

Everything is measured in one run on the disk of FOLDER (here, unless told), five times, the ways
in turn, so that a slow moment of the machine hits all of them. Each save makes a new file, as in a run;
the one before is removed while nobody looks at the clock. Given are medians, and ratios to the raw
write or read of the same bytes. Memory is measured in a new process each time: the growth of its
anonymous memory (RssAnon; Linux only), which files that are mapped do not count for.
"""

import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import safetensors.torch
import torch

from utils import checkpoint
from utils.checking import fresh
from utils.show import Table

ROUNDS = 5
SIZES = {"45 MB": (122, 92_240), "1 GB": (64, 1 << 22)}  # tensors, float32 numbers in each
MIB = 1 << 20
SPACE = 8 << 30  # bytes: the files of one size, and two checkpoints


def make(count, length, fill=torch.ones):
    return {f"layer{i}.weight": fill(length) for i in range(count)}


# ---------------------------------------------------------------- the ways


def raw_write(tensors, path):
    with open(path, "wb", buffering=0) as file:
        for tensor in tensors.values():
            file.write(memoryview(tensor.numpy()).cast("B"))
        os.fsync(file.fileno())


def raw_read(path):
    buffer = bytearray(os.path.getsize(path))
    with open(path, "rb", buffering=0) as file:
        view, done = memoryview(buffer), 0
        while count := file.readinto(view[done:]):
            done += count
    return buffer


def load_and_use(path):
    return sum(t.sum() for t in safetensors.torch.load_file(path).values())


SAVES = {
    "raw write + fsync": raw_write,
    "checkpoint.save": lambda tensors, path: checkpoint.save(path, tensors),
    "torch.save": torch.save,
    "safetensors": safetensors.torch.save_file,
}
LOADS = {  # way: (function of a path, which file)
    "raw read": (raw_read, "raw write + fsync"),
    "checkpoint.load": (checkpoint.load, "checkpoint.save"),
    "… verify=False": (lambda path: checkpoint.load(path, verify=False), "checkpoint.save"),
    "… mmap=True": (lambda path: checkpoint.load(path, mmap=True), "checkpoint.save"),
    "… both": (lambda path: checkpoint.load(path, mmap=True, verify=False), "checkpoint.save"),
    "torch.load": (torch.load, "torch.save"),
    "safetensors": (safetensors.torch.load_file, "safetensors"),
    "… and read once": (load_and_use, "safetensors"),
}


def file_of(way, folder):
    return os.path.join(folder, f"{list(SAVES).index(way)}.pt")


# ---------------------------------------------------------------- time


def seconds(function, *args):
    if hasattr(os, "sync"):
        os.sync()  # what others wrote, and did not force to the disk, is not our business
    start = time.perf_counter()
    result = function(*args)
    took = time.perf_counter() - start
    del result  # giving memory back is not part of it
    return took


def in_turn(ways, measure):
    """`{way: median of measure(way)}`, after one round that does not count."""
    ways, rounds = list(ways), []
    for number in range(ROUNDS + 1):
        order = ways[number % len(ways) :] + ways[: number % len(ways)]  # nobody is always first
        rounds.append({way: measure(way) for way in order})
    return {way: median(times[way] for times in rounds[1:]) for way in ways}


def time_saves(tensors, folder):
    def measure(way):
        path, new = file_of(way, folder), os.path.join(folder, "new.pt")
        took = seconds(SAVES[way], tensors, new)
        os.replace(new, path)
        return took

    return in_turn(SAVES, measure)


def time_loads(folder):
    def measure(way):
        function, source = LOADS[way]
        return seconds(function, file_of(source, folder))

    return in_turn(LOADS, measure)


def time_background(tensors, folder):
    """Seconds that a save holds up training: blocking, in the background, and there at first."""
    checkpoints = checkpoint.Checkpoints(os.path.join(folder, "run"), keep_last=1, keep_best=0)
    step = iter(range(100))

    def save(background):
        checkpoints.save(tensors, epoch=0, step=next(step), background=background)

    def stall():
        checkpoints.wait()
        took = seconds(save, True)
        checkpoints.wait()
        return took

    times = {"first time": [stall()], "blocking": [], "background": []}
    for _ in range(ROUNDS):
        times["blocking"].append(seconds(save, False))
        times["background"].append(stall())
    checkpoints.close()
    return {name: median(values) for name, values in times.items()}


# ---------------------------------------------------------------- memory


def memory(way, shape, folder):
    """By how many bytes the process grows at most, in a new process; None where it is not known."""
    if not Path("/proc/self/status").exists():
        return None
    ours, theirs = fresh.context.Pipe()
    process = fresh.context.Process(target=child, args=(theirs, way, shape, folder), daemon=True)
    process.start()
    theirs.close()
    ours.recv()  # it is ready
    peak = before = anonymous(process.pid)
    ours.send("go")
    while not ours.poll(0.0005):
        peak = max(peak, anonymous(process.pid))
    peak = max(peak, anonymous(process.pid))  # what it has loaded is still there
    ours.send("end")
    process.join()
    return peak - before


def child(connection, way, shape, folder):
    """A small file first, so that what is loaded at the first use does not count."""
    small = {"w": torch.ones(10)}
    path = os.path.join(folder, "small.pt")
    kind, name = way
    if kind == "save":
        function, args = SAVES[name], (make(*shape), os.path.join(folder, "memory.pt"))
        function(small, path)
    else:
        function, source = LOADS[name]
        args = (file_of(source, folder),)
        SAVES[source](small, path)
        function(path)
    connection.send("ready")
    connection.recv()
    result = function(*args)
    connection.send("done")
    connection.recv()
    del result


def anonymous(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024


def memories(kind, ways, size, folder):
    """`{way: median growth in MiB}`."""
    found = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            found[way].append(memory((kind, way), SIZES[size], folder))
    return {w: None if None in v else median(v) / MIB for w, v in found.items()}


# ---------------------------------------------------------------- the report


def table(title, times, grown):
    first = next(iter(times.values()))
    rows = []
    for way, took in times.items():
        more = "–" if grown[way] is None else f"{grown[way]:,.1f}"
        rows.append((way, f"{1000 * took:,.1f}", f"{took / first:.2f}", more))
    return Table([title, "ms", "ratio", "+ MiB"], rows)


def measure(size, folder):
    """Print the tables of one size; returns what the aims need."""
    tensors = make(*SIZES[size], torch.rand)
    mib = sum(t.numel() * 4 for t in tensors.values()) / MIB
    saves, loads = time_saves(tensors, folder), time_loads(folder)
    stalls = time_background(tensors, folder)
    del tensors
    save_memory = memories("save", SAVES, size, folder)
    load_memory = memories("load", LOADS, size, folder)
    print(table(f"saving {size}", saves, save_memory), end="\n\n")
    print(table(f"loading {size}", loads, load_memory), end="\n\n")
    print(f"training stands still for {1000 * stalls['blocking']:,.0f} ms in a blocking save,")
    print(f"for {1000 * stalls['background']:,.0f} ms in one in the background, and for", end=" ")
    print(
        f"{1000 * stalls['first time']:,.0f} ms in the first, which takes its memory\n", flush=True
    )
    grown = save_memory["checkpoint.save"]
    mapped = load_memory["… mmap=True"]
    return [
        ("save, to raw write + fsync", saves["checkpoint.save"] / saves["raw write + fsync"], 1.15),
        ("load, to one without verifying", loads["checkpoint.load"] / loads["… verify=False"], 1.3),
        ("background stall, to blocking", stalls["background"] / stalls["blocking"], 0.05),
        ("memory of a save, to the state", grown and grown / mib, 0.01),
        ("memory of an mmap load, to the state", mapped and mapped / mib, 0.01),
    ]


def main(arguments):
    """Measure, print, and say which aims hold at 1 GB; returns 0, or 1 if there is no room."""
    if len(arguments) > 1 or (arguments and not Path(arguments[0]).is_dir()):
        print(f"Say which folder's disk to measure: a folder, not {' '.join(arguments)}.")
        return 1
    where = Path(arguments[0] if arguments else ".").resolve()
    if (free := shutil.disk_usage(where).free) < SPACE:
        print(f"{where} has {free >> 30} GB free, and {SPACE >> 30} are needed.")
        return 1
    warnings.simplefilter("ignore")
    fresh.warm_up("torch._dynamo", "safetensors.torch", "utils.checkpoint")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.platform()}\n")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as folder:
        for size in SIZES:
            aims = measure(size, folder)
    rows = []
    for name, found, limit in aims:
        measured = ("–", "–") if found is None else (f"{found:.3f}", str(found <= limit))
        rows.append((name, f"{limit:g}", *measured))
    print(Table(["aim at 1 GB", "at most", "measured", "holds"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
