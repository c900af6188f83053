"""How checks answer, whatever they ask; and the fresh process they ask it in."""

import html
import os
import sys
import warnings

import pytest
import torch

from utils.checking import fresh
from utils.checking.errors import Wrong, expect
from utils.checking.outcomes import CheckFailed, Exercises
from utils.checks import start_here, todo

exercises = Exercises()


@exercises.check("9.1", "is three")
def is_three(answer):
    value = answer() if callable(answer) else answer
    expect(value == 3, f"expected 3 and found <{value}>")


@exercises.check("9.2", "never asked")
def never_asked(answer):
    raise AssertionError("not called")


def raises(error):
    def answer():
        raise error

    return answer


@pytest.mark.parametrize(
    "answer, line",
    [
        (3, "✅ 9.1 is three"),
        (4, "❌ 9.1 is three: expected 3 and found <4>"),
        (todo, "⬜ 9.1 is three: not attempted yet"),
        ({1: 3, 2: todo}, "⬜ 9.1 is three: not attempted yet"),
        ([todo], "⬜ 9.1 is three: not attempted yet"),
        (raises(NotImplementedError()), "⬜ 9.1 is three: not attempted yet"),
        (
            raises(NotImplementedError("no kernel for this")),
            "❌ 9.1 is three: your code raised NotImplementedError: no kernel for this, "
            "at the line `raise error`",
        ),
        (
            raises(KeyError("optimizer")),
            "❌ 9.1 is three: your code raised KeyError: 'optimizer', at the line `raise error`",
        ),
        (
            raises(EOFError()),
            "❌ 9.1 is three: your code raised EOFError, at the line `raise error`",
        ),
        (
            raises(RuntimeError("first line\nsecond line")),
            "❌ 9.1 is three: your code raised RuntimeError: first line second line, at the line `raise error`",
        ),
    ],
)
def test_an_answer_is_one_line(answer, line):
    assert repr(is_three(answer)) == line


def test_the_longest_message_of_torch_is_cut_to_its_cause():
    message = "Weights only load failed. This \x1b[1mfile\x1b[0m … \n\tWeightsUnpickler error: "
    message += "Unsupported global: GLOBAL a.B was not allowed. Please use `x` to allow it."
    assert is_three(raises(ValueError(message))).message == (
        "your code raised ValueError: Weights only load failed: Unsupported global: GLOBAL a.B "
        "was not allowed, at the line `raise error`"
    )


def test_of_several_functions_the_open_one_is_named():
    @Exercises().check("9.3", "both")
    def both(first, second):
        first()
        second()

    def unwritten():
        raise NotImplementedError

    assert repr(both(lambda: 1, unwritten)) == "⬜ 9.3 both: `unwritten` is not written yet"


def test_an_error_outside_the_answer_is_not_called_the_learners():
    message = start_here.names_the_entries(3).message
    assert message == "checking your answer raised TypeError: 'int' object is not callable"


def test_html_says_the_same_escaped_and_without_colour_of_its_own():
    page = is_three(4)._repr_html_()
    assert html.escape("found <4>") in page and "❌" in page
    assert "at the line <code>raise error</code>" in is_three(raises(KeyError("x")))._repr_html_()
    assert " color:" not in page and " id=" not in page and "class=" not in page


def test_the_summary_remembers_the_latest_outcomes():
    is_three(4)
    assert repr(exercises.summary()).splitlines()[0] == "0 of 2 checks passed"
    is_three(3)
    assert repr(exercises.summary()).splitlines() == [
        "1 of 2 checks passed",
        "✅ 9.1 is three: passed",
        "⬜ 9.2 never asked: not attempted yet",
    ]
    assert "1 of 2 checks passed" in exercises.summary()._repr_html_()


@pytest.mark.parametrize("answer, word", [(4, "expected 3"), (todo, "not attempted")])
def test_strict_raises_for_grading(answer, word, monkeypatch):
    monkeypatch.setenv("CHECKS_STRICT", "1")
    with pytest.raises(CheckFailed, match=word) as caught:
        is_three(answer)
    (line,) = caught.value._render_traceback_()
    assert line.startswith("CheckFailed: ") and "9.1 is three" in line
    assert repr(is_three(3)) == "✅ 9.1 is three"


def test_a_check_survives_an_exit():
    outcome = is_three(raises(SystemExit(4)))
    assert repr(outcome).startswith("❌ 9.1 is three: your code raised SystemExit: 4")


def test_a_check_answers_with_one_line_whatever_is_deprecated():
    def answer():
        warnings.warn("old", FutureWarning, stacklevel=1)
        return 3

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert is_three(answer).status == "passed"
    assert not caught


# ---------------------------------------------------------------- the fresh process


def notebook(code):
    """The function `f` of `code`, as if written in a notebook."""
    names = {"__name__": "__main__"}
    exec(code, names)
    return names["f"]


def test_it_is_another_process_and_sends_the_result_back(capsys):
    function = notebook("import os\ndef f(x):\n    print('hello')\n    return os.getpid(), x + 1")
    pid, value = fresh.call(function, 1)
    assert pid != os.getpid() and value == 2
    assert capsys.readouterr().out == "hello\n"


def test_it_has_torch_but_none_of_the_notebooks_data():
    loaded = fresh.call(notebook("def f():\n    import sys\n    return 'torch' in sys.modules"))
    assert loaded
    function = notebook("import torch\nkept = torch.ones(1)\ndef f():\n    return kept")
    assert function() == 1
    with pytest.raises(
        fresh.RaisedInFreshProcess, match="'kept' is not defined.*functions, classes"
    ):
        fresh.call(function)


def test_what_the_notebook_itself_brings_stays_behind():
    """IPython gives notebooks an `open` of its own, and no script has that."""
    function = notebook(
        "from IPython.core.interactiveshell import _modified_open as open\n"
        "def f():\n    return hasattr(open, '__code__')  # written in Python"
    )
    assert function() is True
    assert fresh.call(function) is False


def test_a_fresh_process_starts_no_server_of_its_own():
    function = notebook(
        "def f():\n"
        "    import utils.checks.state_dict\n"
        "    from multiprocessing import forkserver\n"
        "    return forkserver._forkserver._forkserver_pid"
    )
    assert fresh.call(function) is None


def test_helpers_classes_and_constants_come_along():
    function = notebook(
        "import math\nSIZE = 3\n"
        "class Box:\n    size = SIZE\n"
        "def helper(x):\n    return math.floor(x) + (helper(x - 1) if x > 1 else 0)\n"
        "def f(x=2.5, *, y=1):\n    return helper(x) + Box().size + y + SIZE"
    )
    assert fresh.call(function) == function() == 10


@pytest.mark.parametrize(
    "code, words",
    [
        ("def f():\n    while True: pass", "did not finish within 2 seconds"),
        ("def f():\n    import os; os._exit(3)", "ended the process with exit code 3"),
        ("def f():\n    raise SystemExit(4)", "your code raised SystemExit: 4"),
        ("def f():\n    raise KeyError('x')", "your code raised KeyError: 'x'"),
    ],
)
def test_loops_and_ends_are_reported(code, words):
    with pytest.raises(fresh.RaisedInFreshProcess, match=words):
        fresh.call(notebook(code), timeout=2 if "while" in code else 10)


def test_a_program_runs_in_its_folder_and_shows_its_error(tmp_path, capsys):
    (tmp_path / "own.py").write_text("answer = 42", encoding="utf-8")
    fresh.run("import own\nprint(own.answer)\nown.nothing", tmp_path)
    printed, error = capsys.readouterr().out.splitlines()
    assert printed == "42" and error == "AttributeError: module 'own' has no attribute 'nothing'"
    assert "own" not in sys.modules


def test_a_path_in_an_error_looks_the_same_on_windows():
    text = r"<module 'shop' from 'C:\\files\\shop.py'> is not C:\files\shop.py"
    assert fresh.with_slashes(text, "\\") == (
        "<module 'shop' from 'C:/files/shop.py'> is not C:/files/shop.py"
    )
    assert fresh.with_slashes(r"https://x, line\nline", "/") == r"https://x, line\nline"


def test_a_crash_is_reported():
    with pytest.raises(fresh.RaisedInFreshProcess, match="with (signal|exit code) 11") as caught:
        fresh.call(notebook("import os\ndef f():\n    os.kill(os.getpid(), 11)"))
    assert caught.value.ended


def test_nothing_prevents_a_kill(tmp_path):
    function = notebook(
        "from utils.checking import kill\n"
        "def f(path):\n"
        "    try:\n        kill.this_process()\n    finally:\n        path.touch()"
    )
    with pytest.raises(fresh.RaisedInFreshProcess) as caught:
        fresh.call(function, tmp_path / "last words")
    assert caught.value.ended and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write",
    [
        "open(path, 'wb').write(bytes(99_999))",
        "open(path, 'wb', buffering=0).write(bytes(99_999))",
        "open(path, 'w').write('x' * 99_999)",
        "open(path, 'x+b').write(bytes(99_999))",
        "for _ in range(99): open(path, 'ab').write(bytes(1010))",
        "path.write_bytes(bytes(99_999))",
        "path.write_text('x' * 99_999)",
        "print('x' * 99_999, file=path.open('w'))",
        "os.write(os.open(path, os.O_WRONLY | os.O_CREAT), bytes(99_999))",
        "os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), 'wb').write(bytes(99_999))",
        "torch.save(torch.ones(99_999), path)",
        "torch.save(torch.ones(99_999), str(path))",
        "torch.save(torch.ones(99_999), open(path, 'wb'))",
        "torch.save(torch.ones(99_999), path, _use_new_zipfile_serialization=False)",
        "zipfile.ZipFile(path, 'w').writestr('x', bytes(99_999))",
    ],
)
def test_a_write_beyond_the_limit_fills_the_file_up_to_there_and_kills(write, tmp_path):
    head = "import os, torch, zipfile\nfrom pathlib import Path\nfrom utils.checking import kill\n"
    head += "print('before')\nPath('before').write_bytes(bytes(12_345))\n"
    head += "kill.when_a_file_exceeds(12_345)\npath = Path('run.pt')\n"
    with pytest.raises(fresh.RaisedInFreshProcess) as caught:
        fresh.run(head + write, tmp_path)
    assert caught.value.ended
    assert {file.name: file.stat().st_size for file in tmp_path.iterdir()} == {
        "before": 12_345,
        "run.pt": 12_345,
    }


def test_up_to_the_limit_a_process_writes_as_ever(tmp_path):
    head = "import torch\nfrom utils.checking import kill\nkill.when_a_file_exceeds(9_999)\n"
    fresh.run(head + "torch.save({'w': torch.ones(3)}, 'small.pt')", tmp_path)
    fresh.run(head + "open('full', 'wb').write(bytes(9_999))", tmp_path)
    assert torch.load(tmp_path / "small.pt")["w"].tolist() == [1, 1, 1]
    assert (tmp_path / "full").stat().st_size == 9_999


def test_a_stub_is_told_from_an_error():
    with pytest.raises(fresh.RaisedInFreshProcess) as caught:
        fresh.call(notebook("def f():\n    raise NotImplementedError"))
    assert caught.value.stub == "f"


def test_what_a_check_expects_there_is_its_own_outcome():
    with pytest.raises(Wrong, match="^too small$"):
        fresh.call(
            notebook("from utils.checking.errors import expect\ndef f(): expect(0, 'too small')")
        )
