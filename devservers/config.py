"""The JSON configuration file: found, checked, and turned into a frozen Config."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from devservers import config_checks, kinds
from devservers.errors import ConfigInvalidError
from devservers.system import ownership, untrusted_files

if TYPE_CHECKING:
    from devservers.declared.settings import Declared

RELATIVE_PATH = Path(".claude/plugins/workspace-dev-servers/config.json")
LARGEST = 1 << 20  # bytes
SERVERS = "servers"


Section = TypeVar("Section")


class WorktreeConfig(NamedTuple):
    """The `worktree` section."""

    port_cache_file: str = ".dev-port"


_WORKTREE = {"portCacheFile": config_checks.file_name}


class Config(NamedTuple):
    """The whole configuration; `source` is the file it came from, None for the defaults."""

    sections: Mapping[str, Any] = MappingProxyType({})
    """What each kind's section holds, by name; see the kind's own `settings`."""
    worktree: WorktreeConfig = WorktreeConfig()
    source: Path | None = None
    servers: Mapping[str, "Declared"] = MappingProxyType({})
    """The declared servers, by name."""
    given: frozenset[str] = frozenset()
    """The dotted keys that the file sets; all others are defaults."""

    def section(self, wanted: type[Section]) -> Section:
        """Return the section of that type, as the file has it or by default."""
        given = (found for found in self.sections.values() if isinstance(found, wanted))
        return next(given, None) or wanted()

    @property
    def pool(self) -> tuple[int, ...]:
        """The ports of which each worktree gets one."""
        pool: tuple[int, ...] = self._every()[self.pool_section].pool
        return pool

    @property
    def pool_section(self) -> str:
        """The section that has the pool."""
        return next(name for name, section in self._every().items() if hasattr(section, "pool"))

    @property
    def pool_key(self) -> str:
        """The key of the pool, for messages."""
        return f"{self.pool_section}.ports"

    def others_ports(self, name: str) -> dict[int, str]:
        """Return the ports of servers other than those of the section `name`, with their keys."""
        return {
            port: key
            for other, module in kinds.settings().items()
            if other != name and getattr(module.of(self), "enabled", True)
            for key, ports in module.taken(self).items()
            for port in ports
        } | {
            port: key
            for other, one in self.servers.items()
            if other != name
            for key, ports in one.taken(len(self.pool)).items()
            for port in ports
        }

    def value(self, key: str) -> object:
        """Return what the dotted key of the file holds."""
        section, _, name = key.partition(".")
        everything = {**self._every(), "worktree": self.worktree}
        return getattr(everything[section], key_names()[key]) if name else everything[section]

    def _every(self) -> dict[str, Any]:
        return {name: self.section(module.Settings) for name, module in kinds.settings().items()}


def load(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration that holds in `worktree`.

    `DEVSERVERS_CONFIG` names the file; without it, it is looked for in the worktree, then in the
    main worktree; without any, the defaults hold. Raises ConfigInvalidError.
    """
    file = source(worktree, main, env)
    if file is None:
        return Config()
    return read(file, main, next((top for top in (worktree, main) if top in file.parents), None))


def source(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that `load` reads; None where the defaults hold."""
    named = bool(env.get("DEVSERVERS_CONFIG"))
    for file in candidates(worktree, main, env):
        if named or os.path.lexists(file):  # a broken link is an error to name, not to pass over
            return file
    return None


def candidates(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files that `load` looks for; the first one that is there holds."""
    named = env.get("DEVSERVERS_CONFIG")
    if named:
        return (Path(named).absolute(),)
    return tuple(folder / RELATIVE_PATH for folder in dict.fromkeys((worktree, main)))


def read(file: Path, main: Path, top: Path | None = None) -> Config:
    """Return the configuration in `file`; raise ConfigInvalidError if it can't be used.

    `main` is what relative paths in it are relative to, `top` the top of the worktree that it lies
    in: see `ownership.objection`.
    """
    if fault := ownership.objection(str(file), str(top) if top else None):
        raise ConfigInvalidError(fault[0], hint=fault[1], details={"file": str(file)})
    try:
        text = untrusted_files.read(str(file), LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _reject(file, f"it is not UTF-8 text: {error}")
    except OSError as error:
        _reject(file, f"it can't be read: {error.strerror or error}")
    try:
        data = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        _reject(file, f"it is not valid JSON: {error}")
    if not isinstance(data, dict):
        _reject(file, "the whole must be a JSON object")
    types = _types()
    _no_unknown(file, "", data, (*types, SERVERS))
    servers = _servers(file, data.pop(SERVERS, {}))
    found = {name: kind(**_section(file, name, data.get(name, {}))) for name, kind in types.items()}
    given = {f"{name}.{key}" for name in data for key in data[name]}
    given |= {f"{SERVERS}.{name}.{key}" for name in servers for key in servers[name][1]}
    declared = {name: one for name, (one, _) in servers.items()}
    config = Config(found, found.pop("worktree"), file, declared, frozenset(given))
    for module in kinds.settings().values():
        for problem in getattr(module, "faults", _no_faults)(config, main):
            _reject(file, problem)
    if servers:
        for key, allowed, value in kinds.declared_settings().faults(config):
            _reject(file, f"{key} is {config_checks.shown(value)}; {allowed}")
    _check_ports(file, config)
    return config


def _servers(file: Path, data: object) -> "dict[str, tuple[Declared, dict[str, object]]]":
    """Return the declared servers with what the file says of each."""
    if not isinstance(data, dict):
        _reject(file, f"{SERVERS} is {config_checks.shown(data)}; it must be an object")
    found = {}
    for name, declaration in data.items():
        try:
            one: Declared = kinds.declared_settings().parse(name, declaration)
        except config_checks.NotAllowedError as error:
            key, allowed, *value = error.args
            shown = config_checks.shown(value[0] if value else declaration)
            _reject(file, f"{SERVERS}.{key} is {shown}; {allowed}")
        found[name] = (one, declaration)
    return found


def key_names() -> dict[str, str]:
    """Return every dotted key of the file with the name of its field, in the file's order."""
    return {
        f"{section}.{_camel(field)}": field
        for section, kind in _types().items()
        for field in kind._fields
    }


def _types() -> dict[str, Any]:
    """Return the type of each section's values, by name."""
    kind = {name: module.Settings for name, module in kinds.settings().items()}
    return {**kind, "worktree": WorktreeConfig}


def _no_faults(_config: Config, _main: Path) -> tuple[str, ...]:
    return ()


def _check_ports(file: Path, config: Config) -> None:
    """Reject a port that two servers would share, naming a key that the file sets."""
    taken: dict[int, str] = {}
    everybodys = [module.taken(config) for module in kinds.settings().values()]
    everybodys += [one.taken(len(config.pool)) for one in config.servers.values()]
    for their in everybodys:
        for key, ports in their.items():
            for port in ports:
                other = taken.setdefault(port, key)
                if other != key:
                    wrong, right = (other, key) if other in config.given else (key, other)
                    value = config_checks.shown(_value(config, wrong))
                    what = f"{wrong} is {value}; two servers would share port {port}, which {right}"
                    _reject(file, f"{what} has")


def _value(config: Config, key: str) -> object:
    section, _, rest = key.partition(".")
    if section != SERVERS:
        return config.value(key)
    name, _, field = rest.partition(".")
    return getattr(config.servers[name], field)


def _section(file: Path, name: str, data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        _reject(file, f"{name} is {config_checks.shown(data)}; it must be an object")
    kind = _types()[name]
    checks = _WORKTREE if name == "worktree" else kinds.settings()[name].CHECKS
    fields = {_camel(field): field for field in kind._fields}
    _no_unknown(file, f"{name}.", data, fields)
    values = {}
    for key, value in data.items():
        field = fields[key]
        if value is None and kind._field_defaults[field] is None:
            continue  # null stands for "not set" where the default is none
        try:
            values[field] = checks[key](value)
        except config_checks.NotAllowedError as error:
            allowed, *fault = error.args
            _reject(
                file,
                f"{name}.{key} is {config_checks.shown(fault[0] if fault else value)}; {allowed}",
            )
    return values


def _reject(file: Path, what: str) -> NoReturn:
    raise ConfigInvalidError(
        f"{file}: {what}.", hint="Correct the file and try again.", details={"file": str(file)}
    )


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice)} stands twice in one object")
    return found


def _no_unknown(file: Path, prefix: str, data: Iterable[str], known: Iterable[str]) -> None:
    for key in data:
        if key not in known:
            _reject(file, f"{prefix}{key} is not a known key; allowed are {', '.join(known)}")


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)
