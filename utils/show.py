"""What a cell displays: tables, pictures with their message in words, and what is inside a file."""

import html
import io
import pickletools
import zipfile
from pathlib import PurePosixPath


class Table:
    """Rows under headings, as aligned text and as HTML.

    Args:
        headings: one string per column.
        rows: sequences of values, one per column; ints get thousands separators.
    """

    def __init__(self, headings, rows):
        self.headings = list(headings)
        self.rows = [[f"{v:,}" if type(v) is int else str(v) for v in row] for row in rows]
        first = rows[0] if rows else self.headings
        self.right = [type(value) in (int, float) for value in first]

    def __repr__(self):
        lines = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        cells = (
            [v.rjust(w) if right else v.ljust(w) for v, w, right in zip(line, widths, self.right)]
            for line in lines
        )
        return "\n".join("  ".join(line).rstrip() for line in cells)

    def _repr_html_(self):
        def row(tag, values):
            styles = ["right" if right else "left" for right in self.right]
            cells = (
                f'<{tag} style="text-align: {style};">{html.escape(value)}</{tag}>'
                for value, style in zip(values, styles)
            )
            return f"<tr>{''.join(cells)}</tr>"

        body = "".join(row("td", values) for values in self.rows)
        return f"<table><thead>{row('th', self.headings)}</thead><tbody>{body}</tbody></table>"


class Picture:
    """A matplotlib figure that says its message in words too.

    Stored outputs are compared by their text, and an image has none: `message` is that text,
    and the image's alternative text.
    """

    def __init__(self, figure, message):
        self.figure, self.message = figure, message

    def __repr__(self):
        return self.message

    def _repr_mimebundle_(self, **_):
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, facecolor="white")
        data = {"image/png": buffer.getvalue(), "text/plain": self.message}
        return data, {"image/png": {"alt": self.message}}


def _axes(width, height, rows=1, columns=1, **options):
    from matplotlib.figure import Figure  # not pyplot: no global state, no second display

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def digit_images(images, labels, answers):
    """Scans side by side, each with the model's answer above it.

    Args:
        images: float tensor (N, 3, 32, 32) from -1 to 1; labels, answers: N ints each.

    Returns:
        A `Picture`; behind a wrong answer stand a cross and the right one.
    """
    figure, axes = _axes(9, 1.5, columns=len(images))
    for axis, image, label, answer in zip(axes, images, labels, answers):
        axis.imshow(image[0].numpy(), cmap="gray_r", vmin=-1, vmax=1)
        axis.set_title(f"{int(answer)}" if answer == label else f"{int(answer)} ✗ {int(label)}")
        axis.axis("off")
    right = sum(int(a) == int(b) for a, b in zip(labels, answers))
    return Picture(
        figure,
        f"{len(images)} scans, and above each the model's answer: right for ≈ {right} of them",
    )


def photographs(images, answers):
    """Photographs side by side, each with the model's answer above it.

    Args:
        images: float tensor (N, 3, height, width) of pixels from 0 to 255.
        answers: N strings.
    """
    figure, axes = _axes(2.6 * len(images), 3, columns=len(images))
    for axis, image, answer in zip(axes, images, answers):
        axis.imshow(image.permute(1, 2, 0).clamp(0, 255).byte().numpy())
        axis.set_title(answer)
        axis.axis("off")
    return Picture(
        figure, f"{len(images)} photographs, and above each the answer: {', '.join(answers)}"
    )


def _entries(path):
    """`(name below the archive's root folder, bytes)` of every entry of a `.pt` file."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        return [("/".join(PurePosixPath(i.filename).parts[1:]), i.file_size) for i in infos]


_MEANING = {
    "data.pkl": "the pickle: names, shapes, dtypes, and which storage holds each tensor",
    ".format_version": "version of the rules for placing storages",
    ".storage_alignment": "storages start at multiples of this many bytes",
    "byteorder": "order of the bytes in a number",
    "version": "version of the whole format",
    ".data/serialization_id": "a fingerprint of the content",
}


def anatomy(path, storages=3):
    """What is in a file of `torch.save`, one row per zip entry; of the storages only the first few.

    Args:
        path: a file in today's zip format.

    Raises:
        zipfile.BadZipFile: it is in another format.
    """
    entries = _entries(path)
    rows = [(n, size, _MEANING.get(n, "")) for n, size in entries if not n.startswith("data/")]
    numbers = [(n, size) for n, size in entries if n.startswith("data/")]
    rows += [(n, size, "a storage: the bare numbers of a tensor") for n, size in numbers[:storages]]
    if rest := numbers[storages:]:
        rows.append((f"… and {len(rest)} more", sum(size for _, size in rest), "storages"))
    return Table(["entry", "size in bytes", "what it is"], rows)


def file_map(path):
    """Where the bytes of a `.pt` file go: numbers, pickle, and the zip around them, as a bar."""
    entries = dict(_entries(path))
    total = path.stat().st_size
    numbers = sum(size for name, size in entries.items() if name.startswith("data/"))
    parts = [
        ("the numbers themselves", numbers, "#4c72b0", ""),
        ("the pickle: names and shapes", entries["data.pkl"], "#dd8452", "//"),
        ("zip headers and padding", total - numbers - entries["data.pkl"], "#8c8c8c", ".."),
    ]
    figure, axis = _axes(9, 1.7)
    start, words = 0, []
    for label, size, colour, hatch in parts:
        words.append(f"{label} {size / total:.0%}")
        axis.barh(
            0, size, left=start, color=colour, hatch=hatch, edgecolor="white", label=words[-1]
        )
        start += size
    axis.set(yticks=[], xlim=(0, total), xlabel=f"bytes of {path.name}")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return Picture(figure, "; ".join(words))


def pickle_names(path):
    """The Python functions and classes that the pickle inside a `.pt` file names, in order."""
    with zipfile.ZipFile(path) as archive:
        (pickle,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        operations = pickletools.genops(archive.read(pickle))
        names = [
            argument.replace(" ", ".") for op, argument, _ in operations if op.name == "GLOBAL"
        ]
    return list(dict.fromkeys(names))


def accuracy_bars(results, chance=0.1):
    """Two bars per batch size: accuracy with `model.eval()` and without.

    Args:
        results: {batch size: (accuracy in eval mode, accuracy in train mode)}, each 0 to 1.
    """
    figure, axis = _axes(6, 2.6)
    for shift, column, label, hatch in ((-0.2, 0, "eval mode", ""), (0.2, 1, "train mode", "//")):
        heights = [accuracies[column] for accuracies in results.values()]
        places = [place + shift for place in range(len(results))]
        axis.bar(places, heights, 0.38, label=label, hatch=hatch, edgecolor="white")
    axis.axhline(chance, color="black", linestyle=":", linewidth=1)
    axis.annotate("guessing", (1, chance), (4, 0), ("axes fraction", "data"), "offset points")
    axis.set(xticks=range(len(results)), xticklabels=list(results), ylim=(0, 1.05))
    axis.set(xlabel="images per batch", ylabel="accuracy")
    figure.legend(loc="outside right upper", frameon=False)
    steady = len({round(in_eval, 6) for in_eval, _ in results.values()}) == 1
    worse = all(in_train < in_eval for in_eval, in_train in results.values())
    return Picture(
        figure,
        f"eval mode gives the same accuracy for every batch size: {steady}; "
        f"train mode is worse every time: {worse}",
    )


def loss_curves(curves, average=1):
    """The losses of several runs, one line each; the first, to compare with, is drawn broad.

    Args:
        curves: {name: losses}, one float per batch.
        average: how many batches a point of a line stands for.
    """
    figure, axis = _axes(7, 3)
    (reference, expected), *others = curves.items()
    places = range(0, len(expected), average)

    def means(losses):
        return [sum(losses[i : i + average]) / len(losses[i : i + average]) for i in places]

    axis.plot(places, means(expected), linewidth=9, alpha=0.25, color="black", label=reference)
    for (name, losses), marker in zip(others, "osv^Dx+"):
        axis.plot(places, means(losses), marker=marker, markersize=4, label=name)
    axis.set(xlabel="batch", ylabel="loss", yscale="log")
    figure.legend(loc="outside right upper", frameon=False)
    same = [name for name, losses in others if losses == expected]
    return Picture(
        figure, f"on the broad line of the run {reference!r}: {', '.join(same) or 'none'}"
    )


def resumed_runs(reference, runs, stop):
    """One column per resumed run: its losses and learning rates, over those of a run without a stop.

    Args:
        reference: `(losses, rates)` of the run without a stop, one float per batch each.
        runs: {name: (losses, rates)} from batch `stop` on.
        stop: how many batches there were before the stop.
    """
    grid = {"sharex": True, "sharey": "row", "height_ratios": (3, 2)}
    figure, axes = _axes(11, 4, rows=2, columns=len(runs), **grid)
    words, end = [], stop + max(len(losses) for losses, _ in runs.values())
    for column, (name, run) in zip(axes.T, runs.items()):
        for axis, expected, found in zip(column, reference, run):
            axis.plot(expected, linewidth=6, alpha=0.2, color="black")
            axis.plot(expected, linewidth=0.8, color="black")
            axis.plot(range(stop, stop + len(found)), found, color="#c44e52", alpha=0.8)
            axis.plot(stop, found[0], "o", markersize=5, color="#c44e52")
            axis.axvline(stop, color="black", linestyle=":", linewidth=1)
        column[0].set(title=name, xlim=(stop - 5, end + 1))
        column[1].set(xlabel="batch", ylim=(0, None))
        losses, rates = run
        compared = [f"{len(losses)} batches after the stop"]
        for what, same in (
            ("first loss", losses[0] == reference[0][stop]),
            ("learning rates", rates[: len(reference[1]) - stop] == reference[1][stop:]),
        ):
            compared.append(f"{what} {'as' if same else 'not as'} without a stop")
        jumps = losses[0] > 2 * reference[0][stop]
        words.append(f"{name}: {', '.join(compared)}{', the loss jumps' if jumps else ''}")
    axes[0, 0].set(ylabel="loss", ylim=(0, 1.08 * axes[0, 0].get_ylim()[1]))
    axes[1, 0].set(ylabel="learning rate")
    return Picture(figure, "\n".join(words))


def retention(on_disk, keep_last, keep_every):
    """Which checkpoints were on the disk after each epoch: one row per file, one column per epoch.

    Args:
        on_disk: for each epoch, from 1 on, the epochs whose files were there after it.
        keep_last, keep_every: the rules, which give the colours; what is kept besides is the best.
    """
    from matplotlib.patches import Patch

    figure, axis = _axes(7, 3.2)
    rules = {
        f"last {keep_last}": ("#4c72b0", ""),
        f"every {keep_every}th": ("#8c8c8c", ".."),
        "best": ("#dd8452", "//"),
    }
    last, every, best = rules
    newest_there = few = True
    for now, epochs in enumerate(on_disk, start=1):
        newest_there &= set(range(max(1, now - keep_last + 1), now + 1)) <= set(epochs)
        few &= len(epochs) <= keep_last + 1 + now // keep_every
        for epoch in epochs:
            rule = last if epoch > now - keep_last else every if epoch % keep_every == 0 else best
            colour, hatch = rules[rule]
            axis.barh(epoch, 1, left=now - 0.5, color=colour, hatch=hatch, edgecolor="white")
    count = len(on_disk)
    axis.set(xlabel="after epoch", ylabel="file of epoch", xlim=(0.5, count + 0.5))
    axis.set(xticks=range(1, count + 1), yticks=range(1, count + 1))
    handles = [
        Patch(color=colour, hatch=hatch, label=rule) for rule, (colour, hatch) in rules.items()
    ]
    figure.legend(
        handles=handles, title="kept because it is", loc="outside right upper", frameon=False
    )
    return Picture(
        figure,
        f"after each epoch there are the last {keep_last}: {newest_there}; "
        f"never more than {keep_last} + 1 + one in {keep_every} files: {few}",
    )


def intervals(lost, best):
    """The share of time that is lost, over the interval between two checkpoints.

    Args:
        lost: {interval in minutes: share from 0 to 1}; best: the interval of Young's formula.
    """
    figure, axis = _axes(6, 2.8)
    axis.plot(list(lost), [100 * share for share in lost.values()], marker="o")
    axis.axvline(best, color="black", linestyle=":", linewidth=1)
    axis.annotate("Young", (best, 1), (4, -12), ("data", "axes fraction"), "offset points")
    axis.set(xscale="log", xlabel="minutes between two checkpoints", ylabel="time lost, %")
    axis.set(xticks=list(lost), xticklabels=list(lost), ylim=(0, None))
    axis.minorticks_off()
    lowest = min(lost, key=lost.get)
    return Picture(
        figure,
        f"the lost time falls to its lowest value at {lowest} minutes, and rises again",
    )
