"""Layering: the floors of the house and who may import whom, read from paths and sources."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import devservers
from devservers import kinds, tasks

PACKAGE = Path(devservers.__file__).parent
# From the ground up: a module imports from its own floor and from those below. A folder, or a
# module at the top, that stands on none of them fails: give it its place.
FLOORS: list[set[str]] = [
    {"errors"},
    {"system"},
    {"config", "config_checks", "kind", "kinds", "spec", "terminal", "worktree"},
    {"lifecycle", "trust"},
    {"listeners", "ports"},
    {"declared", "inngest", "nextjs"},
    {"agents", "githooks", "worktrees"},
    {"rendering"},
    {"", "__main__", "board", "cli", "door", "console", "hook", "streams", "tasks"},
]
TOP = len(FLOORS) - 1
KINDS = set(kinds.NAMES)
# What only one kind can do, or has to show, is in modules that are named for it.
OF_A_KIND = {
    *("tasks.inngest_tasks", "tasks.nextjs_tasks", "rendering.inngest", "rendering.nextjs"),
}
# On the path of every checkout: nothing to import but one another, not even typing.
BARE = {
    *("githooks.warm_answer", "githooks.warm_proof", "kinds", "streams", "system.http_status"),
    *("system.by_psutil", "system.ownership", "system.procfs", "system.untrusted_files"),
}
PROGRAM = "inngest.standin"  # run by its path, apart from the package
HEAVY = {"filelock", "psutil", "requests"}  # 30 to 190 ms each
SPEAKS = {"cli", "hook", "console", "streams", PROGRAM}  # besides the tasks
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
LONGER = {PROGRAM: 1010}  # one file, since it is run by its path without anything beside it


def name_of(file: Path) -> str:
    """Return a module's name below the package; empty for the package itself."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {name_of(file): file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
FOR_TYPES = {  # what stands below `if TYPE_CHECKING`
    name: [
        child
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If)
        and isinstance(branch.test, ast.Name)
        and branch.test.id == "TYPE_CHECKING"
        for child in branch.body
    ]
    for name, tree in TREES.items()
}
LOWER = [name for name in SOURCES if name.partition(".")[0] not in FLOORS[TOP]]


def floor_of(name: str) -> int:
    """Return how high a module stands; -1 on no floor."""
    room = name.partition(".")[0]
    return next((height for height, rooms in enumerate(FLOORS) if room in rooms), -1)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module that is imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"  # a module, or something in one
                yield full if full.removeprefix("devservers.") in SOURCES else node.module


def direct(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from imported(node)


def ours(name: str) -> set[str]:
    """Return which of our modules the module `name` imports, those for its types apart."""
    for_types = {one for node in FOR_TYPES[name] for one in direct(node)}
    full = [one for one in imported(TREES[name]) if one.split(".")[0] == "devservers"]
    return {
        one.removeprefix("devservers").removeprefix(".") for one in full if one not in for_types
    }


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported, those in `if` and `try` too."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            pending += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)
            ]


def test_every_module_stands_on_a_floor() -> None:
    assert [name for name in SOURCES if floor_of(name) < 0] == []
    assert {"errors", "config", "lifecycle.server", "inngest", "nextjs", PROGRAM} <= set(SOURCES)


def test_a_module_imports_only_from_its_own_floor_and_those_below() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in SOURCES
        for other in sorted(ours(name))
        if floor_of(other) > floor_of(name) and not (other == "" and name in FLOORS[TOP])
    ]
    assert wrong == []


def test_one_kind_of_server_knows_nothing_of_another() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in SOURCES
        for other in sorted(ours(name))
        if name.partition(".")[0] in KINDS
        if other.partition(".")[0] in KINDS - {name.partition(".")[0]}
    ]
    assert wrong == []


def test_nothing_outside_a_kinds_own_folder_names_a_kind() -> None:
    """But the table of kinds. A fact that was measured may be told in words for the reader."""
    named = re.compile("|".join(re.escape(word) for word in _words_of_kinds()), re.IGNORECASE)
    wrong = [
        f"{name}: {said}"
        for name, tree in TREES.items()
        if name.partition(".")[0] not in KINDS and name not in {*OF_A_KIND, "kinds"}
        for said in code_words(tree)
        if named.search(said)
    ]
    assert wrong == []


def _words_of_kinds() -> list[str]:
    return [word for kind in kinds.every() for word in (kind.name, kind.short)]


def code_words(tree: ast.Module) -> Iterator[str]:
    """Yield every name and text in the code, docstrings apart."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "" if id(node) in documents else node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imported(node)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name


def test_what_runs_on_every_checkout_imports_nothing() -> None:
    for name in sorted(BARE):
        needed = [node for node in at_import(TREES[name]) if node not in FOR_TYPES[name]]
        found = {root for node in needed for root in direct(node)}
        allowed = {"errno", "importlib", "os", "stat", "sys", "time", "_socket"}
        allowed |= {f"devservers.{one}" for one in BARE}
        assert found <= allowed, name


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        list(TopologicalSorter({name: ours(name) for name in SOURCES}).static_order())
    except CycleError as error:
        pytest.fail(f"in a circle: {error.args[1]}")


def test_nothing_below_the_tasks_imports_invoke() -> None:
    for name in LOWER:
        assert "invoke" not in {one.split(".")[0] for one in imported(TREES[name])}, name


def test_nothing_prints() -> None:
    wrong = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert wrong == []


def test_nothing_below_the_tasks_writes_to_the_terminal() -> None:
    streams = {"stdout", "stderr", "__stdout__", "__stderr__"}
    wrong = [
        name
        for name in LOWER
        if name not in SPEAKS
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
        and node.attr in streams
    ]
    assert wrong == []


def test_what_is_slow_to_import_is_imported_only_where_it_is_needed() -> None:
    wrong = [
        name
        for name, tree in TREES.items()
        for node in at_import(tree)
        if node not in FOR_TYPES[name]
        for root in direct(node)
        if root.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_stand_in_needs_the_standard_library_alone() -> None:
    roots = {name.split(".")[0] for name in imported(TREES[PROGRAM])}
    assert roots <= set(sys.stdlib_module_names)


def test_no_module_and_no_function_is_too_long() -> None:
    modules = [
        name
        for name, source in SOURCES.items()
        if len(source.splitlines()) > LONGER.get(name, LONGEST_MODULE)
    ]
    long = [
        f"{name}.{node.name}"
        for name in SOURCES
        for node in functions(name)
        if (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ]
    assert modules + long == []


def loaded_by(code: str, tmp_path: Path) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_lifecycle_loads_nothing_slow(tmp_path: Path) -> None:
    without = loaded_by("", tmp_path)  # what an editable install or a .pth file loads anyway
    loaded = loaded_by("import devservers.lifecycle.server", tmp_path) - without
    assert "devservers" in loaded
    assert not loaded & {*HEAVY, "invoke", "dataclasses", "asyncio", "http", "inspect"}


def test_importing_the_console_script_loads_nothing_slow(tmp_path: Path) -> None:
    loaded = loaded_by("import devservers.cli", tmp_path) - loaded_by("", tmp_path)
    assert not loaded & {*HEAVY, "invoke", "subprocess", "threading"}


def test_importing_the_tasks_loads_nothing_slow_but_invoke(tmp_path: Path) -> None:
    loaded = loaded_by("from devservers.tasks import ns", tmp_path)
    assert "invoke" in loaded
    assert not loaded & HEAVY


def test_what_is_no_collection_is_known_as_a_module() -> None:
    """Or the import of one would make all collections, with Invoke."""
    files = {file.stem for file in (PACKAGE / "tasks").glob("*.py")} - {"__init__"}
    assert {name for name in files if not name.endswith(tasks.OF_TASKS)} == tasks.MODULES


def test_importing_what_is_plain_loads_nothing_slow(tmp_path: Path) -> None:
    loaded = loaded_by("import devservers.tasks.plain", tmp_path) - loaded_by("", tmp_path)
    assert not loaded & {*HEAVY, "invoke", "inspect", "subprocess", "socket", "threading"}


def test_a_glance_at_nothing_loads_nothing_slow(tmp_path: Path) -> None:
    code = (
        "from devservers import config, inngest, worktree\n"
        "from devservers.lifecycle import verdict\n"
        "here = worktree.find()\n"
        "spec = inngest.spec(config.load(here.root, here.main, {}), here)\n"
        "spec = spec._replace(files=spec.files._replace(pid=here.root / 'server.pid'))\n"
        "assert verdict.quick_proof(spec) is None"
    )
    assert not loaded_by(code, tmp_path) & {*HEAVY, "invoke"}
