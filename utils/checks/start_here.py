"""The check that lesson 0 shows in each of its outcomes."""

from utils.checking.errors import a_kind, expect
from utils.checking.outcomes import Exercises
from utils.models import SmallCNN

exercises = Exercises()
summary = exercises.summary


@exercises.check("0.1", "name the entries")
def names_the_entries(entry_names):
    model = SmallCNN()
    found = entry_names(model)
    expect(isinstance(found, list), f"a list was asked for, and this is {a_kind(found)}")
    parameters = [name for name, _ in model.named_parameters()]
    expect(found != parameters, "the parameters are all there, and the buffers are missing")
    expect(
        sorted(map(str, found)) == sorted(model.state_dict()),
        f"the state_dict has {len(model.state_dict())} entries, and your list {len(found)}"
        + (": the same number, but other names" if len(found) == len(model.state_dict()) else ""),
    )
