"""Layering: the design's table of who may import whom, read from the source of every module."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import devservers

PACKAGE = Path(devservers.__file__).parent
# Which group a module belongs to. One that exists and is not named here fails: give it its place.
GROUPS = {
    "errors": {"errors"},
    "values": {
        *("checks", "config", "identity", "launchers", "record", "result", "spec", "tables"),
        *("terminal", "worktree"),
    },
    "proof": {"ownership", "probe", "proc", "untrusted_files"},
    "files": {"files"},
    "system": {
        "hookfile",
        "logs",
        "loopback",
        "ports",
        "process",
        "readiness",
        "spawn",
        "state",
        "threads",
        "whereabouts",
    },
    "lifecycle": {
        "adoption",
        "brought",
        "decide",
        "foreground",
        "launch",
        "locked",
        "receipt",
        "report",
        "server",
        "tracked",
        "trouble",
        "trust",
        "verdict",
    },
    "kinds": {
        *("inngest", "inngest_api", "inngest_apps", "inngest_cli", "inngest_drift"),
        *("decisions", "inngest_endpoint", "places", "programs"),
        *("nextjs", "nextjs_cli", "nextjs_running", "assignment", "claims", "pool"),
    },
    "survey": {"acceptance", "doctor", "fleet", "githooks", "prune"},
    "rendering": {
        *("rendering", "rendering_dev", "rendering_fleet", "rendering_hooks"),
        "rendering_inngest",
    },
    "entries": {"", "__main__", "bytecode", "cli", "hook", "printing", "tasks", "tasks.*"},
    "program": {"standin"},
}
# Groups and modules that the modules of a group may import. Within a group nobody goes in a circle.
MAY_IMPORT = {
    "errors": set(),
    "values": {"errors"},
    "files": set(),
    "proof": {"proof"},  # on the path of every checkout: nothing to import, not even typing
    "system": {
        "errors",
        "files",
        "identity",
        "proof",
        "record",
    },  # plain values as arguments, never a spec; never each other
    "lifecycle": {
        "errors",
        "values",
        "proof",
        "system",
        "lifecycle",
    },  # never asks which kind it has
    "kinds": {"errors", "values", "proof", "files", "system", "kinds"},  # never the lifecycle
    "survey": {"errors", "values", "proof", "system", "lifecycle", "kinds"},
    "rendering": {"errors", "result", "spec"},
    "entries": set(GROUPS) - {"program"},
    "program": set(),  # run by its path, apart from the package
}
# What has results of its own also has its own rendering, which knows their types.
ALSO = {
    "config": {"checks", "proof"},
    "githooks": {"acceptance"},
    "record": {"identity"},
    "spec": {"identity"},
    "tables": {"terminal"},
    "worktree": {"proof"},
    "rendering_hooks": {"rendering", "acceptance", "githooks"},
    "rendering_dev": {"rendering", "tables", "assignment", "pool"},
    "rendering_fleet": {
        *("rendering", "rendering_inngest", "tables", "fleet", "inngest_apps", "prune"),
    },
    "rendering_inngest": {"rendering", "tables", "doctor", "inngest_apps"},
}
HEAVY = {"filelock", "psutil", "requests"}  # 30 to 190 ms each
SPEAKS = {"cli", "hook", "printing", "standin"}  # besides the tasks
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
LONGER = {"standin": 800}  # one file, since it is run by its path without anything beside it


def name_of(file: Path) -> str:
    """Return a module's name below the package; empty for the package itself."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {name_of(file): file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
EVERY_MODULE = pytest.mark.parametrize("name", list(SOURCES), ids=lambda name: name or "__init__")


def group_of(name: str) -> str | None:
    is_task = name.startswith("tasks.")
    return next(
        (g for g, names in GROUPS.items() if ("tasks.*" if is_task else name) in names), None
    )


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


def ours(name: str) -> set[str]:
    """Return which of our modules the module `name` imports."""
    full = [one for one in imported(TREES[name]) if one.split(".")[0] == "devservers"]
    return {one.removeprefix("devservers").removeprefix(".") for one in full}


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


def is_below_tasks(name: str) -> bool:
    return group_of(name) != "entries"


def test_the_modules_of_the_table_are_there() -> None:
    assert {"errors", "config", "state", "server", "inngest", "standin"} <= set(SOURCES)


@EVERY_MODULE
def test_every_module_has_its_place_in_the_table(name: str) -> None:
    assert group_of(name), f"{name} is in no group: give it its place in GROUPS"


@EVERY_MODULE
def test_a_module_imports_only_what_its_level_may(name: str) -> None:
    group = group_of(name)
    assert group is not None
    allowed = MAY_IMPORT[group] | ALSO.get(name, set())
    wrong = {other for other in ours(name) if not {other, group_of(other)} & allowed}
    assert not wrong, f"{name} ({group}) must not import {sorted(wrong)}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        list(TopologicalSorter({name: ours(name) for name in SOURCES}).static_order())
    except CycleError as error:
        pytest.fail(f"in a circle: {error.args[1]}")


def test_nothing_but_the_entries_imports_the_tasks() -> None:
    for name in filter(is_below_tasks, SOURCES):
        assert not {other for other in ours(name) if group_of(other) == "entries"}, name


@pytest.mark.parametrize("name", [n for n in SOURCES if is_below_tasks(n)])
def test_nothing_below_the_tasks_imports_invoke(name: str) -> None:
    assert "invoke" not in {other.split(".")[0] for other in imported(TREES[name])}


@EVERY_MODULE
def test_nothing_prints(name: str) -> None:
    calls = [node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    assert "print" not in {func.id for func in calls if isinstance(func, ast.Name)}


@pytest.mark.parametrize("name", [n for n in SOURCES if is_below_tasks(n) and n not in SPEAKS])
def test_nothing_below_the_tasks_writes_to_the_terminal(name: str) -> None:
    streams = {"stdout", "stderr", "__stdout__", "__stderr__"}
    used = {
        node.attr
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    }
    assert not used & streams


@EVERY_MODULE
def test_what_is_slow_to_import_is_imported_only_where_it_is_needed(name: str) -> None:
    first = {root.split(".")[0] for node in at_import(TREES[name]) for root in direct(node)}
    assert not first & HEAVY


def direct(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from imported(node)


def test_the_stand_in_needs_the_standard_library_alone() -> None:
    roots = {name.split(".")[0] for name in imported(TREES["standin"])}
    assert roots <= set(sys.stdlib_module_names)


@EVERY_MODULE
def test_no_module_is_too_long(name: str) -> None:
    assert len(SOURCES[name].splitlines()) <= LONGER.get(name, LONGEST_MODULE)


@EVERY_MODULE
def test_no_function_is_too_long(name: str) -> None:
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions(name)
    }
    assert {n: length for n, length in lengths.items() if length > LONGEST_FUNCTION} == {}


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
    loaded = loaded_by("import devservers.server", tmp_path) - without
    assert "devservers" in loaded
    assert not loaded & {*HEAVY, "invoke", "dataclasses", "asyncio", "http", "inspect"}


def test_importing_the_tasks_loads_nothing_slow_but_invoke(tmp_path: Path) -> None:
    loaded = loaded_by("import devservers.tasks", tmp_path)
    assert "invoke" in loaded
    assert not loaded & HEAVY


def test_a_glance_at_nothing_loads_nothing_slow(tmp_path: Path) -> None:
    code = (
        "from devservers import config, inngest, verdict, worktree\n"
        "here = worktree.find()\n"
        "spec = inngest.spec(config.load(here.root, here.main, {}), here)\n"
        "spec = spec._replace(pid_file=here.root / 'server.pid')\n"
        "assert verdict.glance(spec) is None"
    )
    assert not loaded_by(code, tmp_path) & {*HEAVY, "invoke"}
