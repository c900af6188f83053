"""What of `utils` a notebook's cells use, as one digest: when it changes, the outputs may be stale.

Followed are imports and names, down to single functions and classes: a new figure in `show` does
not concern a lesson that draws others. Comments and layout do not count. Programs inside texts
count too, with every module that they name.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

NAMED_IN_TEXT = re.compile(r"\butils(?:\.\w+)+|\bfrom utils(?:\.\w+)* import [\w, ]+")
EVERYTHING = "*"


def digest(codes, root):
    """A short digest of everything under `root/utils` that the code cells `codes` can reach.

    Args:
        codes: the source texts of cells, which are Python.
    """
    found, waiting = {}, set()
    for code in codes:
        tree = ast.parse(code)
        waiting |= used_names(tree, imports_of(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                waiting |= {(m, EVERYTHING) for m in modules_in_text(node.value)}
    # an alias is imported in one cell and used in others
    together = ast.parse("\n".join(codes))
    waiting |= used_names(together, imports_of(together))
    seen = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or (path := file_of(module, root)) is None:
            continue
        seen.add((module, name))
        for number, (statement, code, needs) in enumerate(
            statements(path, path.stat().st_mtime_ns)
        ):
            if concerns(statement, name):
                found[module, number] = code
                waiting |= needs | {(module, used) for used in names_in(statement)}
    text = "\n".join(found[key] for key in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_of(module, root):
    """The file of `utils.show`, or None: a function, or a module of somebody else."""
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def statements(path, _changed):
    """Each statement of a module, its code, and the `(module, name)` pairs that it takes from others."""
    text = Path(path).read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    imported = imports_of(tree)
    return [
        (statement, code_of(statement, lines), frozenset(used_names(statement, imported)))
        for statement in tree.body
    ]


def code_of(statement, lines):
    """Its words, without comments that have a line of their own. (`ast.dump` is another in each Python.)"""
    decorators = getattr(statement, "decorator_list", [])
    first = min(node.lineno for node in [statement, *decorators])
    code = [line.split() for line in lines[first - 1 : statement.end_lineno]]
    return "\n".join(" ".join(words) for words in code if words and not words[0].startswith("#"))


def concerns(statement, name):
    """Whether who uses `name` of a module runs this statement: it makes the name, or it makes none."""
    made = made_by(statement)
    return name == EVERYTHING or not made or name in made


def made_by(statement):
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and stored(n)}
    return set()


def stored(node):
    return isinstance(node.ctx, ast.Store)


def names_in(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not stored(n)}


def imports_of(tree):
    """`{name here: (module, name there)}` of what is imported from `utils`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "utils":
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "utils":
                    found[alias.asname or "utils"] = (alias.name, EVERYTHING)
    return found


def used_names(tree, imported):
    """The `(module, name)` pairs that `tree` takes from `utils`; of a module, the attributes it names."""
    found, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in imported:
                module, name = imported[node.value.id]
                found |= {(f"{module}.{name}", node.attr), (module, name)}
                modules.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in imported and node not in modules:
            module, name = imported[node.id]
            found |= {(module, name), (f"{module}.{name}", EVERYTHING)}
    return found


def modules_in_text(text):
    """`utils.show` for `from utils import show`, and the like, in a program that is a text."""
    found = set()
    for match in NAMED_IN_TEXT.findall(text):
        if match.startswith("from"):
            module, _, names = match.removeprefix("from ").partition(" import ")
            found |= {module, *(f"{module}.{name.strip()}" for name in names.split(","))}
        else:
            found.add(match)
    return found
