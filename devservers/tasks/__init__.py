"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

import sys

from devservers.tasks import bytecode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from invoke.collection import Collection

    ns: Collection


# What is no collection: the import system asks for a module, too, before it looks for the file.
MODULES = frozenset(
    (
        "bytecode",
        "declared",
        "definition",
        "factory",
        "flags",
        "groups",
        "invoked",
        "plain",
        "screen",
    )
)
OF_TASKS = "_tasks"  # how the names of the others end: one that is a collection's would hide that


def __getattr__(name: str) -> "Collection":
    """Return the namespace, or one collection by its name, for projects with tasks of their own.

    Invoke is imported when one is first asked for: the console script mostly does without.
    """
    is_module = name in MODULES or name.endswith(OF_TASKS) or name.startswith("_")
    if not is_module and "ns" not in globals():
        globals().update(_made())
        if name in globals():
            found: Collection = globals()[name]
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _made() -> "dict[str, Collection]":
    if sys.platform == "win32" and not {"--list", "-l"}.isdisjoint(sys.argv):
        from devservers import console, errors  # noqa: PLC0415 - only there

        console.say(errors.UNSUPPORTED)  # a list all the same: others' tasks may stand in it
    with bytecode.kept():
        from invoke.collection import Collection  # noqa: PLC0415 - see above

        from devservers.tasks import declared, groups, invoked  # noqa: PLC0415 - see above

        made = invoked.collections(groups.every(), declared.named(sys.argv[1:]))
        return {**made, "ns": Collection(*made.values())}
