"""nbval made to run cells as Jupyter does, and the time each notebook took."""

import os
from collections import Counter
from pathlib import Path

import nbval.kernel
import pytest

ROOT = Path(__file__).resolve().parent
start_new_kernel = nbval.kernel.start_new_kernel
seconds = Counter()


def start_like_jupyter(*args, **kwargs):
    """ipykernel drops the output of subprocesses when it sees that pytest is running."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    kwargs.setdefault("extra_arguments", ["--log-level=ERROR"])
    return start_new_kernel(*args, env=environment, **kwargs)


def execute_like_jupyter(self, code, allow_stdin=None):
    """With history: without it, a `;` at the end of a line does not silence the line."""
    return self.kc.execute(code, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="hundreds of kills and damaged files instead of dozens"
    )


def pytest_configure(config):
    nbval.kernel.start_new_kernel = start_like_jupyter
    nbval.kernel.RunningKernel.execute_cell_input = execute_like_jupyter
    rules = config.option.nbval_sanitize_with  # nbval looks for it where pytest was started
    if rules:
        config.option.nbval_sanitize_with = str(ROOT / rules)


def pytest_itemcollected(item):
    """Files may run in any order (`--random-order`), and the cells of a notebook in theirs alone."""
    if item.path.suffix == ".ipynb":
        item.add_marker(pytest.mark.random_order(disabled=True))


def pytest_runtest_logreport(report):
    seconds[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("time")
    for name, total in seconds.most_common():
        terminalreporter.write_line(f"{total:6.1f} s  {name}")
