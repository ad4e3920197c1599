"""The JSON configuration file: found, checked, and turned into a frozen Config."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from devservers import config_checks
from devservers.errors import ConfigInvalidError
from devservers.system import ownership, untrusted_files

RELATIVE_PATH = Path(".claude/plugins/workspace-dev-servers/config.json")
LARGEST = 1 << 20  # bytes


class NextjsConfig(NamedTuple):
    """The `nextjs` section."""

    ports: tuple[int, ...] = (5001, 5002, 5003, 5004, 5005)
    turbopack: bool = True
    hostname: str = "localhost"
    command: tuple[str, ...] | None = None


class InngestConfig(NamedTuple):
    """The `inngest` section; `log_max_bytes` 0 means: never rotate."""

    enabled: bool = True
    port: int = 8288
    pid_file: str = "/tmp/flowt-inngest.pid"  # noqa: S108 - promised; state.py guards it
    log_file: str = "inngest-system.log"
    log_max_bytes: int = 10 * 1024 * 1024
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    path: str = "/api/inngest"
    host: str | None = None


class WorktreeConfig(NamedTuple):
    """The `worktree` section."""

    port_cache_file: str = ".dev-port"


class Config(NamedTuple):
    """The whole configuration; `source` is the file it came from, None for the defaults."""

    nextjs: NextjsConfig = NextjsConfig()
    inngest: InngestConfig = InngestConfig()
    worktree: WorktreeConfig = WorktreeConfig()
    source: Path | None = None
    given: frozenset[str] = frozenset()
    """The dotted keys that the file sets; all others are defaults."""


def load(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration that holds in `worktree`.

    `DEVSERVERS_CONFIG` names the file; without it, it is looked for in the worktree, then in the
    main worktree; without any, the defaults hold. Raises ConfigInvalidError.
    """
    named = bool(env.get("DEVSERVERS_CONFIG"))
    for file in candidates(worktree, main, env):
        if named or os.path.lexists(file):  # a broken link is an error to name, not to pass over
            return read(file, main, next((t for t in (worktree, main) if t in file.parents), None))
    return Config()


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
    _no_unknown(file, "", data, _SECTIONS)
    sections = {
        name: kind(**_section(file, name, data.get(name, {}))) for name, kind in _SECTIONS.items()
    }
    given = frozenset(f"{name}.{key}" for name in data for key in data[name])
    config = Config(**sections, source=file, given=given)
    _check_log(file, config.inngest, main)
    port, pool = config.inngest.port, list(config.nextjs.ports)
    if port in pool:
        key = "nextjs.ports" if "inngest.port" not in given else "inngest.port"
        _reject(file, f"{key}: the Inngest port {port} must not be one of nextjs.ports {pool}")
    return config


def key_names() -> dict[str, str]:
    """Return every dotted key of the file with its field's name, as docs/reference.md has them."""
    return {
        f"{section}.{_camel(field)}": field
        for section, kind in _SECTIONS.items()
        for field in kind._fields
    }


def _check_log(file: Path, inngest: InngestConfig, main: Path) -> None:
    """Reject a log that is a file of the server's state, however either is spelt."""
    files = (main / os.path.expanduser(path) for path in (inngest.pid_file, inngest.log_file))  # noqa: PTH111
    pid_file, log = (os.path.realpath(path).lower() for path in files)  # macOS knows no case
    state = {pid_file + end for end in ("", ".json", ".lock", ".new", ".json.new")}
    if state & {log, f"{log}.1"}:  # the latter is what a log is rotated to
        what = f"inngest.logFile is {_shown(inngest.log_file)}; it must not be the same as "
        _reject(file, f"{what}inngest.pidFile, {_shown(inngest.pid_file)}, or a file beside it")


def _section(file: Path, name: str, data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        _reject(file, f"{name} is {_shown(data)}; it must be an object")
    fields = {_camel(field): field for field in _SECTIONS[name]._fields}
    _no_unknown(file, f"{name}.", data, fields)
    values = {}
    for key, value in data.items():
        field = fields[key]
        if value is None and _SECTIONS[name]._field_defaults[field] is None:
            continue  # null stands for "not set" where the default is none
        try:
            values[field] = _CHECKS[f"{name}.{key}"](value)
        except config_checks.NotAllowedError as error:
            allowed, *fault = error.args
            _reject(file, f"{name}.{key} is {_shown(fault[0] if fault else value)}; {allowed}")
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


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # nested just as deeply as could be read
        return "nested too deeply"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line of a message


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)


_SECTIONS: dict[str, Any] = {
    "nextjs": NextjsConfig,
    "inngest": InngestConfig,
    "worktree": WorktreeConfig,
}
_CHECKS: dict[str, Callable[[Any], object]] = {
    "nextjs.ports": config_checks.ports,
    "nextjs.turbopack": config_checks.flag,
    "nextjs.hostname": config_checks.host,
    "nextjs.command": config_checks.command,
    "inngest.enabled": config_checks.flag,
    "inngest.port": config_checks.port,
    "inngest.pidFile": config_checks.path,
    "inngest.logFile": config_checks.path,
    "inngest.logMaxBytes": config_checks.size,
    "inngest.command": config_checks.command,
    "inngest.args": config_checks.args,
    "inngest.path": config_checks.url_path,
    "inngest.host": config_checks.host,
    "worktree.portCacheFile": config_checks.file_name,
}
