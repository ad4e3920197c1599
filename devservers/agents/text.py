"""Text: what a coding agent has to know of this repository's servers, in few words."""

from collections.abc import Iterator

from devservers import errors, kinds
from devservers.config import Config
from devservers.kind import Kind
from devservers.worktree import Worktree

SKILL_NAME = "dev-servers"
TITLE = "## Dev servers"


def program(here: Worktree) -> str:
    """Return what the tasks are called by: `inv` where there is a tasks.py, else our own script."""
    return "inv" if (here.root / "tasks.py").is_file() else "devservers"


def section(settings: Config, here: Worktree) -> str:
    """Return the section of AGENTS.md, without its marks."""
    return f"{TITLE}\n\n{body(settings, here)}"


def skill(settings: Config, here: Worktree) -> str:
    """Return the skill, without its marks; its description decides when an agent loads it."""
    names = ", ".join(kind.title for kind in kinds.of(settings).values())
    description = (
        f"Start, look at, restart or stop this repository's dev servers ({names}). Use it before "
        "you open the app in a browser, call it, read a server's log, run end-to-end tests, start "
        "any server, or remove a worktree."
    )
    front = f'---\nname: {SKILL_NAME}\ndescription: "{description}"\n---\n'
    return f"{front}\n# Dev servers\n\n{body(settings, here)}"


def body(settings: Config, here: Worktree) -> str:
    """Return the rules, each with the command that follows it."""
    return "".join(f"{line}\n" for line in _lines(settings, program(here)))


def _lines(settings: Config, inv: str) -> Iterator[str]:
    known = kinds.of(settings)
    app = next((kind for kind in known.values() if kind.serves_app), None)
    yield (
        "Each git worktree has servers and ports of its own. Never start one yourself (no "
        "`next dev`, no `npm run dev`), never assume a port, never kill by port or name."
    )
    yield ""
    yield (
        f"- Before you open a browser or call the app: `{inv} dev.up --json`. Take `url` from the "
        "answer. Safe to repeat."
    )
    yield f"- Servers: {'; '.join(_described(kind, settings) for kind in known.values())}."
    yield (
        f"- Each has `ensure`, `restart`, `stop`, `status`, `logs`: `{inv} NAME.logs --lines=100`. "
        f"All worktrees: `{inv} dev.status`."
    )
    if app:
        yield f"- After an edit: `{inv} {app.name}.errors --json` says whether it compiles."
    for kind in known.values():
        if kind.built_in and kind.watches:
            yield from _of_watcher(kind, settings, inv)
    if "door" in known:
        yield (
            f"- `{inv} dev.use` makes this worktree the one that the fixed address and the jobs "
            "follow, for everybody: only when you are asked to."
        )
    yield f"- With this worktree's ports in the environment: `{inv} dev.exec -- COMMAND`."
    yield f"- Before the worktree is removed: `{inv} dev.down`."
    yield (
        "- Exit status: 0 done, 3 not running, 4 not responding, "
        f"{_status(errors.PortInUseError)} a stranger has the port: ask a person, don't force; "
        f"{_status(errors.ServerExitedError)} or {_status(errors.NotReadyError)}: read that "
        f"server's log; {_status(errors.NoPortError)}: too many worktrees, ask a person; "
        f"{_status(errors.NotSyncedError)}: read the app's log; "
        f"{_status(errors.NeedFailedError)}: a server that another needs failed, fix that one. "
        "With `--json`, `next` lists what to run next."
    )


def _described(kind: Kind, settings: Config) -> str:
    shared = " (one for all worktrees)" if kind.is_shared(settings) else ""
    return f"`{kind.name}`{shared}"


def _of_watcher(kind: Kind, settings: Config, inv: str) -> Iterator[str]:
    """Say whose code the server runs."""
    if kind.is_shared(settings):
        yield (
            f"- Events run one worktree's code only, the last that registered. To have them run "
            f"this one's: `{inv} {kind.name}.sync`. Whose it is now: `{inv} {kind.name}.apps`."
        )
    yield f"- What became of this worktree's events: `{inv} {kind.name}.runs --json`."


def _status(error: type[errors.DevServerError]) -> int:
    return error.exit_code
