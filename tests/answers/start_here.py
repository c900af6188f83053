from tests.support.answer import Answer
from utils.checks import start_here as CHECKS  # noqa: F401

PREAMBLE = ""
ARGUMENTS = {"names_the_entries": ["entry_names"]}
ANSWERS = [
    Answer("names_the_entries", "def entry_names(model): return [*model.state_dict()]"),
    Answer("names_the_entries", "def entry_names(model): return list(model.state_dict().keys())"),
    Answer("names_the_entries", "def entry_names(model): return model.state_dict()", "OrderedDict"),
    Answer(
        "names_the_entries",
        "def entry_names(model): return [n for n, _ in model.named_parameters()]",
        "the buffers are missing",
    ),
    Answer("names_the_entries", "def entry_names(model): return []", "14 entries, and your list 0"),
    Answer(
        "names_the_entries",
        "def entry_names(model): return ['x'] * len(model.state_dict())",
        "other names",
    ),
    Answer(
        "names_the_entries",
        "def entry_names(model): return list(model.state_dict)",
        "'method' object is not iterable",
    ),
]
