"""Kill this process, at once or in the middle of a write, on any system: nothing is cleaned up.

To be used in a process that was started for it, see `fresh`.
"""

import builtins
import io
import os
import signal
import sys

import torch


def this_process():
    """End this process as nothing in it can prevent: no `except`, no `finally`."""
    # Windows has no SIGKILL: os.kill ends a process there whatever the signal
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def when_a_file_exceeds(limit):
    """A write that would make a file longer than `limit` bytes fills it up to there, and kills.

    It counts what goes through `open`, `os.write` and `torch.save`.
    """
    write, new_file, torch_writer = os.write, io.open, torch._C.PyTorchFileWriter

    def filled(position, data):
        """The part of `data` that still fits into the file, and whether that is all of it."""
        data = memoryview(data).cast("B")
        room = max(limit - position, 0)
        return data[:room], len(data) <= room

    class Limited(io.FileIO):
        def write(self, data):
            part, fits = filled(self.tell(), data)
            count = super().write(part)
            return count if fits else this_process()

    def limited_open(
        file,
        mode="r",
        buffering=-1,
        encoding=None,
        errors=None,
        newline=None,
        closefd=True,
        opener=None,
    ):
        if not set(mode) & set("wax+"):
            return new_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Limited(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        stream = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

    def limited_write(descriptor, data):
        try:
            position = os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError:  # a pipe
            return write(descriptor, data)
        part, fits = filled(position, data)
        count = write(descriptor, part)
        return count if fits else this_process()

    def limited_torch_writer(target, *options):
        return torch_writer(Limited(target, "w") if isinstance(target, str) else target, *options)

    builtins.open = io.open = limited_open
    os.write = sys.modules[write.__module__].write = limited_write  # `posix` or `nt`, for pickle
    # torch would write past Python: into a path, and in its old form into any real file
    torch._C.PyTorchFileWriter = limited_torch_writer
    torch.serialization._should_read_directly = lambda file: False
