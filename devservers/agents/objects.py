"""Objects: JSON files that others write, too, in which some keys are ours."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from devservers import kinds
from devservers.agents import text
from devservers.config import Config
from devservers.errors import StateUnusableError
from devservers.worktree import Worktree

Data = dict[str, Any]


class Object(NamedTuple):
    """One such file."""

    path: str
    skeleton: Mapping[str, Any]
    """What is in it when we make it, and when nothing is left."""
    change: Callable[[Data, Config, Worktree], None]
    """Puts our keys in."""
    undo: Callable[[Data], bool]
    """Takes them out, and returns whether there were any."""

    def put_in(self, there: str, settings: Config, here: Worktree) -> str:
        """Return what is in the file, with our keys as they are to be."""
        data = self._parse(there)
        self.change(data, settings, here)
        return _dumped(data)

    def take_out(self, there: str) -> str:
        """Return it without our keys, nothing where nothing else is in it."""
        data = self._parse(there)
        if not self.undo(data):
            return there
        return _dumped(data) if data != self.skeleton else ""

    def is_in(self, there: str) -> bool:
        """Return whether it has any key of ours."""
        return self.undo(self._parse(there))

    def _parse(self, there: str) -> Data:
        try:
            data = json.loads(there or json.dumps(self.skeleton))
            problem = "it is no JSON object"
        except (ValueError, RecursionError) as error:
            data, problem = None, f"it is no JSON: {error}"
        if not isinstance(data, dict):
            raise StateUnusableError(
                f"{self.path} was left as it is: {problem}.",
                hint="Correct it, and run this again.",
                details={"file": self.path},
            )
        return data


def _dumped(data: object) -> str:
    return f"{json.dumps(data, indent=2, ensure_ascii=False)}\n"


# .claude/launch.json: how the desktop application starts a server that it shows

LAUNCH = ".claude/launch.json"
OURS = "devservers: "


def _launch(data: Data, settings: Config, here: Worktree) -> None:
    others = [one for one in _configurations(data) if not _is_our_launch(one)]
    data["configurations"] = [*others, *_launches(settings, here)]


def _launches(settings: Config, here: Worktree) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for kind in kinds.of(settings).values():
        if kind.foreground and not kind.is_shared(settings):
            port = kind.assign(settings, here, claim=False).port
            if port:
                found.append(
                    {
                        "name": f"{OURS}{kind.name}",
                        "runtimeExecutable": text.program(here),
                        "runtimeArgs": [f"{kind.name}.run"],
                        "port": port,
                    }
                )
    return found


def _configurations(data: Data) -> list[Any]:
    found = data.get("configurations", [])
    return found if isinstance(found, list) else []


def _is_our_launch(one: object) -> bool:
    return isinstance(one, dict) and str(one.get("name", "")).startswith(OURS)


def _forget_launch(data: Data) -> bool:
    others = [one for one in _configurations(data) if not _is_our_launch(one)]
    is_there = len(others) < len(_configurations(data))
    if is_there:
        data["configurations"] = others
    return is_there


# Cursor and Conductor: what is run when they make a worktree, or remove one

CURSOR, CONDUCTOR = ".cursor/worktrees.json", "conductor.json"


def _command(kind: str) -> Callable[[Worktree], str]:
    return lambda here: f"{text.program(here)} {kind}"


SET_UP, RUN, TEAR_DOWN = _command("ports.assign"), _command("dev.up"), _command("dev.down")


def _setups(data: Data) -> tuple[str, list[Any]]:
    """Return the key that Cursor reads on this kind of system, and its commands."""
    key = "setup-worktree-unix" if "setup-worktree-unix" in data else "setup-worktree"
    found = data.get(key, [])
    return key, found if isinstance(found, list) else [found]


def _cursor(data: Data, _: Config, here: Worktree) -> None:
    key, there = _setups(data)
    if isinstance(data.get(key), str):
        raise StateUnusableError(
            f"{CURSOR} was left as it is: its {key} is a script.",
            hint=f"Add `{SET_UP(here)}` to that script.",
            details={"file": CURSOR},
        )
    data[key] = [*(one for one in there if not _is_set_up(one)), SET_UP(here)]


def _is_set_up(one: object) -> bool:
    return isinstance(one, str) and one.endswith(" ports.assign")


def _forget_cursor(data: Data) -> bool:
    key, there = _setups(data)
    others = [one for one in there if not _is_set_up(one)]
    if len(others) == len(there):
        return False
    data[key] = others
    if not others:
        del data[key]
    return True


def _conductor(data: Data, _: Config, here: Worktree) -> None:
    scripts = data.setdefault("scripts", {})
    wanted = {"setup": SET_UP(here), "run": RUN(here), "archive": TEAR_DOWN(here)}
    for key, command in wanted.items():
        if not isinstance(scripts, dict) or not _is_conductors(key, scripts.get(key, command)):
            continue  # somebody's own
        scripts[key] = command


def _is_conductors(key: str, command: object) -> bool:
    ends = {"setup": " ports.assign", "run": " dev.up", "archive": " dev.down"}
    return isinstance(command, str) and command.count(" ") == 1 and command.endswith(ends[key])


def _forget_conductor(data: Data) -> bool:
    scripts = data.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    ours = [
        key
        for key in ("setup", "run", "archive")
        if key in scripts and _is_conductors(key, scripts[key])
    ]
    for key in ours:
        del scripts[key]
    return bool(ours)


LAUNCHES = Object(LAUNCH, {"version": "0.0.1", "configurations": []}, _launch, _forget_launch)
CURSORS = Object(CURSOR, {}, _cursor, _forget_cursor)
CONDUCTORS = Object(CONDUCTOR, {"scripts": {}}, _conductor, _forget_conductor)
