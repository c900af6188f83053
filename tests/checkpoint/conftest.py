"""A full run of test_faults.py in which every test passed writes its figures to docs/faults.json.

The tests hand them over with `record_property`. With xdist, `--dist loadfile` runs the whole file in
one worker, and that worker writes.
"""

import json
import platform
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

WRITTEN = Path(__file__).resolve().parents[2] / "docs/faults.json"
FIGURES = (
    "killed",
    "killed_while_saving",
    "flipped",
    "flipped_and_loaded_by_torch",
    "truncated",
    "full_disks",
    "full_disks_mounted",  # the others: writes that fail as on a full disk
    "saved_before_a_disk_was_full",
)
all_tests, passed, failed, sums = set(), set(), set(), Counter()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """All tests of the file, also those that were not asked for (`-k`, `::name`)."""
    report = yield
    if isinstance(collector, pytest.Module) and collector.path.name == "test_faults.py":
        all_tests.update(item.nodeid for item in report.result or [])
    return report


def pytest_runtest_logreport(report):
    if report.failed:
        failed.add(report.nodeid)
    elif report.when == "call" and report.passed and report.nodeid in all_tests:
        passed.add(report.nodeid)
        sums.update({key: n for key, n in report.user_properties if key in FIGURES})


def pytest_sessionfinish(session):
    complete = passed == all_tests and not failed & all_tests and sums.keys() == set(FIGURES)
    if session.config.getoption("--full") and complete:
        figures = {key: sums[key] for key in FIGURES}
        figures |= {"torch": version("torch").split("+")[0], "python": platform.python_version()}
        figures["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        WRITTEN.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
