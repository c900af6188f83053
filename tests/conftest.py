"""What many tests start from: a warm server for checks, and a small course that is built once."""

import shutil

import pytest

from tests.support.course import NAME, make_course


def pytest_collectstart(collector):
    """One server for all checks, with what any of them needs: it cannot be given more later.

    Before such a file is imported; other tests do not wait for torch.
    """
    warm = ("test_checks.py", "test_checking.py")
    if collector.path.name in warm or collector.path.parent.name == "checkpoint":
        from utils.checking import fresh

        fresh.warm_up("torch._dynamo")


@pytest.fixture(scope="session")
def built_course(tmp_path_factory):
    from utils.tools import build

    root = make_course(tmp_path_factory.mktemp("built") / "course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        written, problems = build.build(root=root)
    assert not problems, problems
    assert written == [
        f"notebooks/{NAME}.ipynb",
        f"notebooks/{NAME}_exercises.ipynb",
        f"solutions/{NAME}_exercises.ipynb",
        "notebooks/00_start_here.ipynb",
        "README.md",
    ]
    return root


@pytest.fixture
def course(built_course, tmp_path, monkeypatch):
    """A copy of the small course, to be broken."""
    root = shutil.copytree(built_course, tmp_path / "course", symlinks=True)
    monkeypatch.setenv("PYTHONPATH", str(root))
    return root
