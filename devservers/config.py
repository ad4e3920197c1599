"""The JSON configuration file: found, checked, and turned into a frozen Config."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple, NoReturn

from devservers.errors import ConfigInvalidError

RELATIVE_PATH = Path(".claude/plugins/workspace-dev-servers/config.json")


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
    pid_file: str = "/tmp/flowt-inngest.pid"  # noqa: S108 - fixed by the contract; state.py guards it
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


class _NotAllowedError(Exception):
    """Carries what would be allowed, and the part of the value at fault if it isn't the whole."""


def load(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration that holds in `worktree`.

    `DEVSERVERS_CONFIG` names the file; without it, it is looked for in the worktree, then in the
    main worktree; without any, the defaults hold. Raises ConfigInvalidError.
    """
    named = bool(env.get("DEVSERVERS_CONFIG"))
    for file in candidates(worktree, main, env):
        if named or os.path.lexists(file):  # a broken link is an error to name, not to pass over
            return read(file, main)
    return Config()


def candidates(worktree: Path, main: Path, env: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files that `load` looks for; the first one that is there holds."""
    named = env.get("DEVSERVERS_CONFIG")
    if named:
        return (Path(named).absolute(),)
    return tuple(folder / RELATIVE_PATH for folder in dict.fromkeys((worktree, main)))


def read(file: Path, main: Path) -> Config:
    """Return the configuration in `file`; raise ConfigInvalidError if it can't be used.

    `main` is what relative paths in it are relative to.
    """
    try:
        text = file.read_text("utf-8-sig")
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
    """Return every dotted key of the file with the name of its field, in the contract's order."""
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
        except _NotAllowedError as error:
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


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and _is_usable(value)


def _is_usable(text: str) -> bool:
    """Return whether an argument can hold `text`; JSON can spell half a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _NotAllowedError("it must be true or false")
    return value


def _port(value: Any) -> int:
    if not _is_int(value) or not 1 <= value <= 65535:  # noqa: PLR2004 - the range of TCP ports
        raise _NotAllowedError("it must be a port number from 1 to 65535", value)
    return int(value)


def _ports(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise _NotAllowedError("it must be a list of at least one port number from 1 to 65535")
    ports = tuple(_port(item) for item in value)
    for port in ports:
        if ports.count(port) > 1:
            raise _NotAllowedError(f"{port} stands in it twice; each port is allowed once")
    return ports


def _size(value: Any) -> int:
    if not _is_int(value) or value < 0:
        raise _NotAllowedError("it must be a whole number of bytes, 0 or more")
    return int(value)


def _text(value: Any) -> str:
    if not _is_text(value):
        raise _NotAllowedError("it must be a text that is not empty")
    return str(value)


def _path(value: Any) -> str:
    text = _text(value)
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise _NotAllowedError("it must be a path; nobody here has that home folder") from None
    return text


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _NotAllowedError("it must be a list of texts, one a word of the command line")
    if not all(map(_is_usable, value)):
        raise _NotAllowedError("no word of a command line can hold NUL or half a surrogate pair")
    return tuple(value)


def _command(value: Any) -> tuple[str, ...]:
    words = _words(value)
    if not words or not words[0].strip():
        raise _NotAllowedError("it must be a list of texts that begins with a program")
    return words


def _args(value: Any) -> tuple[str, ...]:
    words = _words(value)
    owned = {"--port": "inngest.port", "-p": "inngest.port", "--host": "inngest.host"}
    for word in words:
        key = owned.get("-p" if word[:2] == "-p" else word.partition("=")[0])
        if key:
            raise _NotAllowedError(f"use {key} instead", word)
    return words


def _url_path(value: Any) -> str:
    if not _is_text(value) or not value.startswith("/") or any(c.isspace() for c in value):
        raise _NotAllowedError('it must be a path that begins with "/" and has no spaces')
    return str(value)


def _host(value: Any) -> str:
    if not _is_text(value) or any(c.isspace() or c in "/[]" for c in value):
        raise _NotAllowedError("it must be a host name or an IP address")
    return str(value)


def _file_name(value: Any) -> str:
    if not _is_text(value) or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
        raise _NotAllowedError("it must be a file name inside the worktree")
    return str(value)


_SECTIONS: dict[str, Any] = {
    "nextjs": NextjsConfig,
    "inngest": InngestConfig,
    "worktree": WorktreeConfig,
}
_CHECKS: dict[str, Callable[[Any], object]] = {
    "nextjs.ports": _ports,
    "nextjs.turbopack": _flag,
    "nextjs.hostname": _host,
    "nextjs.command": _command,
    "inngest.enabled": _flag,
    "inngest.port": _port,
    "inngest.pidFile": _path,
    "inngest.logFile": _path,
    "inngest.logMaxBytes": _size,
    "inngest.command": _command,
    "inngest.args": _args,
    "inngest.path": _url_path,
    "inngest.host": _host,
    "worktree.portCacheFile": _file_name,
}
