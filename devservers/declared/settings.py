"""The `servers` section of the configuration: what a declared server may say of itself."""

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from devservers import config_checks, kinds
from devservers.config_checks import NotAllowedError
from devservers.spec import HIGHEST_PORT, Alive, Http, Log, Ready, Tcp

if TYPE_CHECKING:
    from devservers.config import Config

MACHINE, WORKTREE = "machine", "worktree"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# Of the namespaces that there are, or that later releases have.
TAKEN = frozenset(
    {*kinds.NAMES, *kinds.BUNDLED, "agents", "dev", "hooks", "ports", "servers", "worktree"}
)
WORDS = frozenset({"port", "url", "slot", "branch", "worktree", "main"})
LONGEST = 1e6  # seconds


class Declared(NamedTuple):
    """One declared server."""

    name: str
    command: tuple[str, ...]
    scope: str = WORKTREE
    port: int | None = None
    """Of slot 0; slot n has `port + n`."""
    ports: tuple[int, ...] | None = None
    """Instead: a port for each slot."""
    cwd: str = "."
    env: Mapping[str, str] = {}
    ready: Ready | None = None
    timeout: float = 60.0
    needs: tuple[str, ...] = ()
    up: bool = True
    log_max_bytes: int = 10 * 1024 * 1024
    idle: float | None = None
    """Seconds without use after which it is stopped in passing; None: never."""
    enabled: bool = True
    """Of a bundled one: whether there is to be one at all."""
    passes_on: bool = False
    """See `Behaviour`."""

    @property
    def has_port(self) -> bool:
        """Whether it has one at all."""
        return self.port is not None or self.ports is not None

    @property
    def readiness(self) -> Ready:
        """What makes it count as up."""
        return self.ready or (Tcp() if self.has_port else Alive(1.0))

    def port_of(self, slot: int) -> int | None:
        """Return its port in a slot; a server of the whole machine has one only."""
        if self.ports is not None:
            return self.ports[slot]
        if self.port is None or self.scope == MACHINE:
            return self.port
        return self.port + slot

    def taken(self, slots: int) -> dict[str, tuple[int, ...]]:
        """Return the ports that no other server can have, by key."""
        key = f"servers.{self.name}.{'port' if self.ports is None else 'ports'}"
        count = 1 if self.scope == MACHINE else slots
        found = (self.port_of(slot) for slot in range(count))
        return {key: tuple(port for port in found if port is not None)}


def parse(name: str, data: object) -> Declared:
    """Return the server `name` as `data` declares it.

    Raises NotAllowedError with the key after `servers.`, what would be allowed, and the value.
    """
    if not NAME.fullmatch(name) or name in TAKEN:
        taken = f"{name} is a namespace of its own; " if name in TAKEN else ""
        what = "a name is lower-case letters, digits and hyphens, and no namespace that there is"
        raise NotAllowedError(name, f"{taken}{what}", name)
    if not isinstance(data, dict):
        raise NotAllowedError(name, "it must be an object", data)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in CHECKS:
            allowed = f"it is not a known key; allowed are {', '.join(CHECKS)}"
            raise NotAllowedError(f"{name}.{key}", allowed, value)
        field, check = CHECKS[key]
        try:
            values[field] = check(value)
        except NotAllowedError as error:
            allowed, *fault = error.args
            raise NotAllowedError(f"{name}.{key}", allowed, *(fault or [value])) from None
    if "command" not in values:
        raise NotAllowedError(f"{name}.command", "it is needed: a list of texts", None)
    found = Declared(name, **values)
    _check_ports(found, data)
    return found


def _check_ports(found: Declared, data: Mapping[str, object]) -> None:
    if found.port is not None and found.ports is not None:
        allowed = "there can be either port or ports"
        raise NotAllowedError(f"{found.name}.ports", allowed, data["ports"])
    if found.ports is not None and found.scope == MACHINE:
        allowed = 'with scope "machine" there is one for all: use port'
        raise NotAllowedError(f"{found.name}.ports", allowed, data["ports"])
    if not found.has_port and isinstance(found.readiness, (Http, Tcp)):
        allowed = "a server without a port can be told up by log or alive"
        raise NotAllowedError(f"{found.name}.ready", allowed, data["ready"])


def faults(config: "Config") -> Iterator[tuple[str, str, object]]:
    """Yield key, what would be allowed, and value of what can't be so all together."""
    for one in config.servers.values():
        key = f"servers.{one.name}"
        if one.ports is not None and len(one.ports) != len(config.pool):
            allowed = f"it must have a port for each of {config.pool_key}: {len(config.pool)}"
            yield f"{key}.ports", allowed, one.ports
        highest = one.port_of(len(config.pool) - 1) if one.ports is None else None
        if highest is not None and highest > HIGHEST_PORT:
            allowed = f"the last of {len(config.pool)} slots would have port {highest}"
            yield f"{key}.port", allowed, one.port
        known = {*kinds.NAMES, *config.servers}
        for need in one.needs:
            if need not in known:
                allowed = f"no server has that name; there are {', '.join(sorted(known))}"
                yield f"{key}.needs", allowed, need
        yield from _wrong_placeholders(config, one)
    circle = _circle({name: one.needs for name, one in config.servers.items()})
    if circle:
        allowed = f"a circle can't be started: {' needs '.join(circle)}"
        yield f"servers.{circle[0]}.needs", allowed, config.servers[circle[0]].needs


def _circle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    from graphlib import CycleError, TopologicalSorter  # noqa: PLC0415 - where there is something

    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def _wrong_placeholders(config: "Config", one: Declared) -> Iterator[tuple[str, str, object]]:
    texts = [("command", word) for word in one.command]
    texts += [(f"env.{name}", value) for name, value in one.env.items()]
    for key, text in texts:
        for field in placeholders(text):
            if problem := _problem(config, one, field):
                yield f"servers.{one.name}.{key}", problem, text


def _problem(config: "Config", one: Declared, field: str) -> str | None:
    name, dot, what = field.rpartition(".")
    if not dot:
        if field not in WORDS:
            words = ", ".join(f"{{{word}}}" for word in sorted(WORDS))
            return f"{{{field}}} is not a known placeholder; there are {words}, {{NAME.port}}"
        return f"{{{field}}}: it has no port" if _lacks(one, field) else None
    if what not in ("port", "url"):
        return f"{{{field}}}: of another server there are port and url"
    other = config.servers.get(name)
    if other is None and name not in kinds.NAMES:
        return f"{{{field}}}: no server has that name"
    return f"{{{field}}}: {name} has no port" if other and not other.has_port else None


def _lacks(one: Declared, field: str) -> bool:
    return field in ("port", "url") and not one.has_port


def placeholders(text: str) -> list[str]:
    """Return the names in braces. Raises ValueError for a brace without its other half."""
    return [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]


def filled(text: str, known: Mapping[str, str]) -> str:
    """Return `text` with each placeholder replaced by what it stands for."""
    parts = string.Formatter().parse(text)
    return "".join(f"{literal}{known[field] if field else ''}" for literal, field, _, _ in parts)


def _templates(value: Any) -> tuple[str, ...]:
    words = config_checks.command(value)
    for word in words:
        _template(word)
    return words


def _template(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise NotAllowedError("it must be a text", value)
    try:
        for _, field, form, conversion in string.Formatter().parse(value):
            if field == "" or form or conversion:
                raise NotAllowedError("a placeholder is a name in braces", value)
    except ValueError as error:
        raise NotAllowedError(f"{error}; `{{{{` and `}}}}` stand for braces", value) from None
    return value


def _env(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise NotAllowedError("it must be an object of texts")
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise NotAllowedError("a variable is letters, digits and underscores", name)
        _template(text)
    return dict(value)


def _ready(value: Any) -> Ready:
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _READY:
        raise NotAllowedError(
            'it must be exactly one of {"http": "/path"}, {"tcp": true}, {"log": "expression"} '
            'and {"alive": SECONDS}'
        )
    (key, given), *_ = value.items()
    return _READY[key](given)


def _tcp(value: Any) -> Ready:
    if value is not True:
        raise NotAllowedError("tcp must be true")
    return Tcp()


def _log(value: Any) -> Ready:
    try:
        if not isinstance(value, str) or not value:
            raise NotAllowedError("log must be a regular expression")
        re.compile(value)
    except re.error as error:
        raise NotAllowedError(f"log must be a regular expression: {error}") from None
    return Log(value)


def seconds(value: Any) -> float:
    """Return a duration. Raises NotAllowedError."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not 0 < value <= LONGEST:
        raise NotAllowedError("it must be a number of seconds above 0")
    return float(value)


_READY: Mapping[str, Callable[[Any], Ready]] = {
    "http": lambda value: Http(config_checks.url_path(value)),
    "tcp": _tcp,
    "log": _log,
    "alive": lambda value: Alive(seconds(value)),
}


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise NotAllowedError("it must be a list of names")
    return tuple(dict.fromkeys(value))


CHECKS: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "command": ("command", _templates),
    "scope": ("scope", config_checks.one_of(WORKTREE, MACHINE)),
    "port": ("port", config_checks.port),
    "ports": ("ports", config_checks.ports),
    "cwd": ("cwd", config_checks.folder),
    "env": ("env", _env),
    "ready": ("ready", _ready),
    "timeout": ("timeout", seconds),
    "needs": ("needs", _names),
    "up": ("up", config_checks.flag),
    "logMaxBytes": ("log_max_bytes", config_checks.size),
    "idle": ("idle", config_checks.duration),
}
