"""How a test refuses a contribution."""

import pytest


def refuse(problems):
    """Fail with these sentences and nothing else: they name file, line and cure."""
    if problems := list(problems):
        pytest.fail("\n".join(problems), pytrace=False)
