"""Definition: a task as data. Invoke runs it, and for plain words the console script on its own."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from devservers import console, errors
from devservers.rendering.servers import Rendered
from devservers.tasks import bytecode


class Flag(NamedTuple):
    """One flag of a task: its default, which tells Invoke its type, and its help."""

    default: object
    help: str


JSON = Flag(default=False, help="one JSON object on stdout, also on failure")


class Definition(NamedTuple):
    """One task. Its flags are named as its body has them."""

    name: str
    """`<group>-<task>`: unique, since Invoke runs tasks of one name and code once only."""
    summary: str
    body: Callable[..., Rendered | None]
    flags: Mapping[str, Flag]
    aliases: tuple[str, ...] = ()
    word: str | None = None
    """The flag that may be given as a bare word, too."""

    def run(self, words: Mapping[str, object]) -> int:
        """Print what the body returns or raises for these flags; return the exit status.

        Those that aren't given have their defaults.
        """
        values = {flag: entry.default for flag, entry in self.flags.items()} | {**words}
        as_json = bool(values.pop("json_"))
        code = self.body.__code__
        if "as_json" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            values["as_json"] = as_json
        quiet = bool(values.get("quiet"))

        def do() -> Rendered | None:
            errors.refuse_windows()
            return self.body(**values)

        with bytecode.kept():
            return console.run(do, as_json=as_json, quiet=quiet)


class Group(NamedTuple):
    """Tasks of one subject, by name: `inv <group>.<task>`."""

    name: str
    tasks: Mapping[str, Definition]
    default: str = "status"
    """What the bare name of the group means."""

    @property
    def spellings(self) -> dict[str, str]:
        """All that a command line may call its tasks, with their names."""
        return {self.name: self.default} | {
            f"{self.name}.{word}": name
            for name, one in self.tasks.items()
            for word in (name, *one.aliases)
        }

    def find(self, spelling: str) -> Definition | None:
        """Return the task that a command line calls so."""
        name = self.spellings.get(spelling)
        return None if name is None else self.tasks[name]


def task(
    name: str,
    summary: str,
    body: Callable[..., Rendered | None],
    given: Mapping[str, Flag] | None = None,
    *,
    aliases: tuple[str, ...] = (),
    word: str | None = None,
) -> Definition:
    """Return the task whose body is given its flags by name: those of `given`, and --json."""
    return Definition(name, summary, body, {"json_": JSON, **(given or {})}, aliases, word)
