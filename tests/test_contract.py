"""The course keeps its promises: each rule of `utils/tools/contract.py`, over every notebook."""

import shutil

import pytest

from tests.support.refuse import refuse
from utils.tools import build, contract
from utils.tools.course import ROOT


def test_every_notebook_is_the_one_its_source_stands_for():
    refuse(build.stale(root=ROOT))


@pytest.mark.parametrize(
    "rule", contract.OF_A_PAGE + contract.OF_THE_COURSE, ids=lambda rule: rule.__name__
)
def test_the_course(rule):
    refuse(contract.problems(rule, root=ROOT))


def test_there_is_a_compiler_for_lesson_4():
    if not shutil.which("g++"):
        refuse(
            ["lesson 4 compiles a C++ program: install g++ (on Debian and Ubuntu, apt install g++)"]
        )
