"""Facts that nobody counts by hand: reading times, the map, the README's table and figures. Standard library only."""

import json
import re

from utils.tools.course import ABOUT, EXERCISE, MAP, TITLE, is_lesson, number_of, sources

# agreed with careful readers' own times within a quarter
WORDS_PER_MINUTE, CODE_LINES_PER_MINUTE, OUTPUT_LINES_PER_MINUTE = 200, 12, 25
MINUTES_PER_PREDICTION = 0.4
LIMIT = 45  # minutes: a longer lesson becomes two
NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
# counted by the fault tests at full length, which write docs/faults.json
FIGURES = ["killed", "killed_while_saving", "flipped", "flipped_and_loaded_by_torch", "truncated"]
FAULTS = """\
In the last full run of its fault tests (`python3 -m utils test --full`, torch {torch}) {killed} processes were killed,
{killed_while_saving} of them in the middle of a save, and none was left without an intact checkpoint. {flipped} flipped bytes and
{truncated} truncated files were all found, where `torch.load` alone had loaded {flipped_and_loaded_by_torch} of the flipped ones
without a word. On a full disk nothing that was saved before was lost."""
UNSPOKEN = re.compile(r"\]\([^)]*\)|<[^>]*>")  # where a link leads to, and tags


def in_words(number):
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def exercises_in(texts):
    """`(how many exercises, the sum of their minutes)` in the texts of cells, or of a source."""
    minutes = [int(n) for text in texts for _, _, n in EXERCISE.findall(text)]
    return len(minutes), sum(minutes)


def reading_minutes(cells):
    """How long it takes to read these cells with their outputs, and to predict where that is asked."""
    minutes = 0.0
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            minutes += len(UNSPOKEN.sub("", source).split()) / WORDS_PER_MINUTE
            minutes += len(re.findall(r"\bpredict\b", source, re.I)) * MINUTES_PER_PREDICTION
        else:
            lines = [line for line in source.splitlines() if line.strip()]
            minutes += len(lines) / CODE_LINES_PER_MINUTE
            outputs = sum(map(output_lines, cell["outputs"]))
            minutes += outputs / OUTPUT_LINES_PER_MINUTE
    return minutes


def output_lines(output):
    text = (
        output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue", "")
    )
    return len("".join(text).splitlines())


def rounded(minutes):
    """To five minutes, as one says it."""
    return max(5, 5 * round(minutes / 5))


# ---------------------------------------------------------------- what is known of each lesson


def lessons(root):
    """`(source, title, minutes to read or None, its exercises' source or None)` of each lesson."""
    found = []
    for source in filter(is_lesson, sources(root)):
        title = TITLE.search(source.read_text(encoding="utf-8"))
        exercises = source.with_name(f"{source.stem}_exercises.py")
        read = stated_minutes(root / "notebooks" / f"{source.stem}.ipynb")
        found.append(
            (
                source,
                title[1] if title else source.stem,
                read,
                exercises if exercises.exists() else None,
            )
        )
    return found


def stated_minutes(path):
    """What a built lesson says of its length; None if it says nothing, or was not built yet."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return None
    found = ABOUT.search("".join(cells[0]["source"])) if cells else None
    return int(found[1]) if found else None


def practice_of(exercises):
    """`("6 exercises", minutes)` of an exercise source."""
    count, minutes = exercises_in([exercises.read_text(encoding="utf-8")])
    return f"{count} exercise{'s' * (count != 1)}", minutes


def lesson_map(root):
    """The table of lesson 0."""
    rows = ["| | lesson | read | exercises | solutions |", "|:--|:--|--:|:--|:--|"]
    for source, title, read, exercises in lessons(root):
        if not (number := number_of(source)):
            continue
        practice = solutions = ""
        if exercises:
            words, minutes = practice_of(exercises)
            practice = f"[{words}]({exercises.stem}.ipynb), {minutes} min"
            solutions = f"[solutions](../solutions/{exercises.stem}.ipynb)"
        time = f"{read} min" if read else "to look up"
        rows.append(
            f"| {number} | [{title}]({source.stem}.ipynb) | {time} | {practice} | {solutions} |"
        )
    return "\n".join(rows)


def to_come(root):
    """One sentence on the lessons of the map that are not written yet; '' if all are."""
    there = {source.stem for source in sources(root)}
    missing = [f"{title} ({int(name[:2])})" for name, title in MAP.items() if name not in there]
    if not missing:
        return ""
    listed = ", ".join(missing[:-1]) + " and " * (len(missing) > 1) + missing[-1]
    return f"Still to come: {listed}."


# ---------------------------------------------------------------- the README


def readme(root):
    """The README's text with what stands between its pairs of comments made from the sources and figures."""
    text = (root / "README.md").read_text(encoding="utf-8")
    for name, block in (("lessons", lesson_table(root)), ("faults", fault_figures(root))):
        if block:
            marked = f"<!-- {name} -->\n{block}\n<!-- /{name} -->"
            text = re.sub(
                rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, new=marked: new, text, flags=re.S
            )
    return text


def lesson_table(root):
    rows, total = ["| | lesson | read | exercises |", "|--:|:--|--:|--:|"], 0
    for source, title, read, exercises in lessons(root):
        practice, minutes = "", 0
        if exercises:
            words, minutes = practice_of(exercises)
            practice = f"[{words}](notebooks/{exercises.stem}.ipynb), {minutes} min"
        time = f"{read} min" if read else "to look up"
        link = f"[{title}](notebooks/{source.stem}.ipynb)"
        rows.append(f"| {number_of(source)} | {link} | {time} | {practice} |")
        total += (read or 0) + minutes
    rows.append(f"| | **together** | | **{total} min** |")
    return "\n".join(rows)


def fault_figures(root):
    """What the last full run of the fault tests counted, in sentences; None if there was none."""
    path = root / "docs/faults.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return FAULTS.format_map(
        {name: f"{found[name]:,}" for name in FIGURES} | {"torch": found["torch"]}
    )
