"""The command line: how it starts, working copies, reset, progress."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from utils.tools import commands
from utils.tools.course import RENAMED, ROOT


@pytest.fixture
def root(tmp_path):
    """A course with the real notebooks and requirements, and nothing installed."""
    for name in ("notebooks", "solutions"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("files"))
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


# ---------------------------------------------------------------- starting


@pytest.mark.parametrize("flag", ["--port={}", "--port {}", "--ServerApp.port={}"])
def test_a_port_in_use_is_told_first(root, flag, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = flag.format(taken.getsockname()[1]).split()
        assert commands.main(["open", *arguments], root) == 1
    assert "is in use" in capsys.readouterr().err
    assert not (root / ".venv").exists()


def test_python_too_old_is_one_sentence():
    program = "import sys, runpy; sys.version_info = (3, 10, 2); runpy.run_module('utils')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "This course needs Python 3.11 or newer, and this is 3.10: start it"
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["-m", "utils"], [str(ROOT / "utils")]])
def test_it_starts_from_any_folder_without_torch(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, *arguments, "progress"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "01_state_dict" in done.stdout, done.stderr
    probe = "import sys; sys.argv = ['utils', 'help']\nimport utils.tools.commands\nprint('torch' in sys.modules)"
    assert (
        "False"
        in subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout
    )


# ---------------------------------------------------------------- the learner's copies


EXERCISES = "01_state_dict_exercises"


def work_of(root):
    return root / "work" / f"{EXERCISES}.ipynb"


def edit(path, change):
    """Change a notebook on disk; returns its bytes."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path.read_bytes()


def test_copies_are_made_once_without_outputs(root):
    assert commands.make_working_copies(root) == []
    originals = {path.name for path in (root / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (root / "work").glob("*.ipynb")} == originals
    copy = json.loads(work_of(root).read_text(encoding="utf-8"))
    code = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
    assert code and all(not c["outputs"] and c["execution_count"] is None for c in code)


def test_what_one_looks_up_keeps_its_outputs(root):
    commands.make_working_copies(root)
    copy, original = (
        json.loads((root / folder / "reference.ipynb").read_text(encoding="utf-8"))
        for folder in ("work", "notebooks")
    )
    outputs = [cell["outputs"] for cell in copy["cells"] if cell["cell_type"] == "code"]
    assert any(outputs)
    assert outputs == [c["outputs"] for c in original["cells"] if c["cell_type"] == "code"]


def test_solutions_are_copied_too_and_links_lead_to_copies(root):
    commands.make_working_copies(root)
    solved = root / "work/solutions/01_state_dict_solutions.ipynb"
    assert "✅ 1.1" in solved.read_text(encoding="utf-8")
    for path in (root / "work").rglob("*.ipynb"):
        for goal in re.findall(r"\]\(([^)]+\.ipynb)\)", path.read_text(encoding="utf-8")):
            target = (path.parent / goal).resolve()
            assert target.exists() and target.is_relative_to(root / "work"), f"{path.name}: {goal}"


def test_a_copy_that_exists_is_never_touched_and_newer_versions_are_told(root):
    commands.make_working_copies(root)
    edit(work_of(root), lambda n: n["cells"][0].update(source="my notes"))
    before = work_of(root).read_bytes()
    assert commands.make_working_copies(root) == []
    edit(root / f"notebooks/{EXERCISES}.ipynb", lambda n: n["cells"][0].update(id="another"))
    (line,) = commands.make_working_copies(root)
    assert line.startswith(f"There is a newer version of {EXERCISES}; yours is untouched.")
    assert work_of(root).read_bytes() == before


def test_reset_keeps_every_old_version_even_within_a_second(root, capsys):
    commands.make_working_copies(root)
    original, mine = work_of(root).read_bytes(), []
    for name in (EXERCISES, f"work/{EXERCISES}.ipynb", f"{EXERCISES}.ipynb"):
        mine.append(
            edit(work_of(root), lambda n: n["cells"][0].update(source=f"notes {len(mine)}"))
        )
        assert commands.main(["reset", name], root) == 0
        assert work_of(root).read_bytes() == original
    backups = [path.read_bytes() for path in (root / "work/backup").iterdir()]
    assert sorted(backups) == sorted(mine)
    assert "Your version is kept as work/backup" in capsys.readouterr().out.replace("\\", "/")


@pytest.mark.parametrize("arguments", [[], ["nothing"], [EXERCISES, "01_state_dict"]])
def test_reset_wants_one_known_name(root, arguments, capsys):
    assert commands.main(["reset", *arguments], root) == 1
    assert EXERCISES in capsys.readouterr().err


def test_progress_counts_what_is_saved(root, capsys):
    def solve(notebook):
        outputs = {
            "1.1": "✅ 1.1 save and restore",
            "1.3": "❌ 1.3 keep: no",
            "1.4": "✅ 1.4 nothing gets lost",
        }
        notebook["cells"][-1]["outputs"] = [
            {"output_type": "execute_result", "data": {"text/plain": [text]}}
            for text in [
                *outputs.values(),
                "2 of 6 checks passed\n✅ 1.2 predict the names: passed",
            ]
        ]

    assert commands.main(["progress"], root) == 0
    header, row, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["lesson", "passed", "minutes", "left"]
    assert row.split()[:4] == [EXERCISES, "0", "of", "6"]
    minutes = int(row.split()[4])
    commands.make_working_copies(root)
    edit(work_of(root), solve)
    commands.main(["progress"], root)
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[1:4] == ["2", "of", "6"] and 0 < int(row[4]) < minutes


def test_a_damaged_copy_is_named(root, capsys):
    commands.make_working_copies(root)
    work_of(root).write_text("{", encoding="utf-8")
    assert commands.main(["progress"], root) == 1
    assert f"utils reset {EXERCISES}" in capsys.readouterr().err
    assert commands.main(["reset", EXERCISES], root) == 0


def test_unknown_commands_and_help(capsys):
    assert commands.main(["frobnicate"]) == 1
    assert (
        "open, here, progress, reset, snippet, build, check, new, test, bench."
        in capsys.readouterr().err
    )
    assert commands.main([]) == 0 and commands.main(["--help"]) == 0
    assert "open [ARGUMENT" in capsys.readouterr().out


# ---------------------------------------------------------------- what was renamed, and what is new

OLD, NEW = next((old, new) for old, new in RENAMED.items() if old.endswith("_exercises"))


def test_answers_under_an_old_name_are_kept_under_the_new_one(root):
    commands.make_working_copies(root)
    before, after = root / f"work/{OLD}.ipynb", root / f"work/{NEW}.ipynb"
    after.rename(before)
    mine = edit(before, lambda n: n["cells"][0].update(source="my answers"))
    assert commands.make_working_copies(root)[0] == (
        f"{OLD} is called {NEW} now; what you wrote is in it."
    )
    assert after.read_bytes() == mine and not before.exists()
    assert not any("is called" in line for line in commands.make_working_copies(root))


def test_a_copy_under_the_new_name_is_never_replaced_by_an_older_one(root):
    commands.make_working_copies(root)
    mine = edit(root / f"work/{NEW}.ipynb", lambda n: n["cells"][0].update(source="newer"))
    (root / f"work/{OLD}.ipynb").write_text("{}", encoding="utf-8")
    assert not any("is called" in line for line in commands.make_working_copies(root))
    assert (root / f"work/{NEW}.ipynb").read_bytes() == mine


def test_an_old_name_can_be_reset(root, capsys):
    commands.make_working_copies(root)
    assert commands.main(["reset", OLD], root) == 0
    assert f"{NEW}.ipynb is as new" in capsys.readouterr().out


def test_nothing_has_a_name_that_another_notebook_gave_up():
    there = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(RENAMED.values()) <= there and not set(RENAMED) & there


def test_an_exercise_counts_wherever_it_was_solved(root, capsys):
    """It had another number, in another notebook."""
    commands.make_working_copies(root)
    output = {"output_type": "execute_result", "data": {"text/plain": ["✅ 3.9 save and restore"]}}
    edit(root / "work/03_resume_exercises.ipynb", lambda n: n["cells"][-1].update(outputs=[output]))
    commands.main(["progress"], root)
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert rows[EXERCISES] == "1" and rows["03_resume_exercises"] == "0"


def test_a_newer_version_is_told_with_what_is_new(root):
    commands.make_working_copies(root)
    edit(root / f"notebooks/{EXERCISES}.ipynb", lambda n: n["cells"][0].update(id="another"))
    (root / "CHANGELOG.md").write_text(
        f"# Changes\n\n## 9\n\n- **05_x, {EXERCISES}:** One more\n  exercise.\n- **06_y:** No.\n\n"
        f"## 8\n\n- **{EXERCISES}:** Older news.\n",
        encoding="utf-8",
    )
    (line,) = commands.make_working_copies(root)
    assert "yours is untouched. What is new: One more exercise. To get it:" in line


def test_the_changelog_names_notebooks_that_exist():
    names = commands.NEWS.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    named = {name for group, _ in names for name in group.split(", ") if name[:2].isdigit()}
    there = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert named and named <= there, named - there


def test_a_copy_says_nothing_about_how_to_edit_the_original(root):
    original = (root / f"notebooks/{EXERCISES}.ipynb").read_text(encoding="utf-8")
    assert "<!-- made from notebooks/source/" in original
    commands.make_working_copies(root)
    assert "made from" not in work_of(root).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        ([], ["-n2"]),
        (["-q", "--full"], ["-n2"]),
        (["tests/test_build.py"], []),
        (["-n1"], []),
        (["--pdb"], []),
    ],
)
def test_the_suite_takes_as_many_workers_as_there_are_processors(arguments, wanted, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert commands.workers(arguments) == wanted
