"""dev.*: all servers of a worktree at once, and every worktree at a glance."""

import os
import sys

from devservers import config, console, kinds, worktree
from devservers.config import Config
from devservers.errors import UsageError
from devservers.rendering.servers import Rendered
from devservers.tasks import factory, flags
from devservers.tasks.definition import Definition, Flag, Group
from devservers.worktree import Worktree

SHARED = " and ".join(f"the {kind.title}" for kind in kinds.every() if kind.is_shared(Config()))
LINES = "50"
ALL = Flag(default=False, help=f"stop what every worktree uses, too: {SHARED}")


def _here() -> tuple[Config, Worktree]:
    here = worktree.find()
    return config.load(here.root, here.main), here


def _whose(here: Worktree) -> dict[str, object]:
    return {"worktree": str(here.root), "branch": here.branch}


def _up(*, timeout: str, stand_in: bool, only: str) -> Rendered:
    from devservers.rendering import worktrees as rendering  # noqa: PLC0415 - only here
    from devservers.worktrees import together  # noqa: PLC0415 - only here

    patience = flags.seconds("--timeout", timeout) if timeout else None
    names = tuple(filter(None, (name.strip() for name in only.split(","))))
    settings, here = _here()
    wish = together.Wish(patience, stand_in, names, console.say)
    return rendering.up(together.up(settings, here, wish), _whose(here))


def _down(*, all: bool, timeout: str) -> Rendered:  # noqa: A002 - the flag's name
    from devservers.rendering import worktrees as rendering  # noqa: PLC0415 - only here
    from devservers.worktrees import together  # noqa: PLC0415 - only here

    grace = flags.seconds("--timeout", timeout)
    settings, here = _here()
    return rendering.down(together.down(settings, here, everything=all, grace=grace), _whose(here))


def _status(*, as_json: bool, watch: bool) -> Rendered | None:
    from devservers.rendering import overview as rendering  # noqa: PLC0415 - only here
    from devservers.worktrees import overview  # noqa: PLC0415 - only here

    memory = overview.Memory.empty()

    def ask() -> Rendered:
        return rendering.overview(overview.overview(*_here(), memory))

    if not watch:
        return ask()
    from devservers.tasks import screen  # noqa: PLC0415 - only here

    _here()  # what is wrong from the beginning is no answer to be asked for again
    screen.watch(ask, as_json=as_json)
    return None


def _logs(
    *,
    as_json: bool,
    lines: str,
    follow: bool,
    all: bool,  # noqa: A002 - the flag's name
    raw: bool,
) -> None:
    from devservers.rendering.lines import Named, Objects  # noqa: PLC0415 - only here
    from devservers.worktrees import logfiles  # noqa: PLC0415 - only here

    count = flags.whole("--lines", lines)
    settings, here = _here()
    found = logfiles.of(settings, here, everywhere=all)
    sources = [log.source for log in found]
    named = Named(sources, colours=console.has_colours(), everywhere=all, raw=raw)
    look = logfiles.again(here, everywhere=all) if follow else None
    factory.print_logs(found, count, Objects() if as_json else named, look)


def _env(*, as_json: bool, format: str) -> Rendered | None:  # noqa: A002 - the flag's name
    from devservers.worktrees import environment  # noqa: PLC0415 - only here

    if format not in environment.FORMATS:
        known = ", ".join(environment.FORMATS)
        raise UsageError(f"--format must be one of {known}, not {format!r}.")
    settings, here = _here()
    found = environment.of(settings, here)
    if as_json:
        return Rendered({"variables": found, **_whose(here)})
    console.put(f"{environment.FORMATS[format](found)}\n")
    return None


def _exec() -> None:
    from devservers.worktrees import environment  # noqa: PLC0415 - only here

    # Invoke hands over what follows `--` as one text, in which words can't be told apart.
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if not words:
        raise UsageError("There is no command.", hint="`inv dev.exec -- COMMAND WORD…` runs one.")
    settings, here = _here()
    environment.become(words, environment.of(settings, here))


def _board(*, open: bool) -> Rendered:  # noqa: A002 - the flag's name
    from devservers.board import access, opened  # noqa: PLC0415 - only here
    from devservers.lifecycle import locked, server  # noqa: PLC0415 - only here
    from devservers.rendering import servers  # noqa: PLC0415 - only here

    settings, here = _here()
    kind = kinds.of(settings, kinds.BUNDLED)["board"]
    spec = kinds.declared(kind, settings, here, claim=True)
    file = access.token_file(here.shared_dir)
    if not os.path.lexists(file):  # else no lock is needed
        with locked.locked(spec, locked.LOCK_TIMEOUT, console.say):
            access.made(file)
    token = access.known(file)  # what is wrong with it is said first
    done = server.ensure(spec, notify=console.say)
    shown = servers.ensured(done, kind)
    # An address, not a name: nobody else can listen there, too. What follows # is sent to nobody.
    address = f"http://127.0.0.1:{done.port}/#{token}"
    if open and not opened.open_(address, file.with_suffix(".html")):
        console.say("No browser could be opened.")
    lines = (f"{kind.title}: {address}", *shown.lines[1:])
    return shown._replace(data={**shown.data, "url": address}, lines=lines)


def _use(*, worktree: str, none: bool) -> Rendered:
    from devservers.door import use  # noqa: PLC0415 - only here
    from devservers.rendering import use as rendering  # noqa: PLC0415 - only here

    if worktree and none:
        raise UsageError("Either a worktree is in use, or --none: use one of them.")
    settings, here = _here()
    if none:
        return rendering.used(use.release(settings, here, console.say), str(here.root))
    return rendering.used(use.use(settings, here, worktree, console.say), str(here.root))


def _prune(*, dry_run: bool, idle: str) -> Rendered:
    from devservers.rendering import worktrees as rendering  # noqa: PLC0415 - only here
    from devservers.worktrees import prune  # noqa: PLC0415 - only here

    limit = flags.duration("--idle", idle) if idle else None
    settings, here = _here()
    done = prune.prune(settings, here, dry_run=dry_run)
    if limit is not None:
        from devservers.worktrees import idle as unused  # noqa: PLC0415 - only here

        found, warnings = unused.sweep(here, limit, dry_run=dry_run)
        findings, said = (*done.findings, *found), (*done.warnings, *warnings)
        done = done._replace(findings=findings, warnings=said)
    return rendering.pruned(done)


GRACE = factory.STOP_GRACE
TASKS: dict[str, Definition] = {
    "up": factory.task(
        "dev-up",
        "Start all servers of this worktree, and wait until its app is registered.",
        _up,
        {
            "timeout": Flag("", "seconds for each server (default: its own)"),
            "only": Flag("", "names with commas between: these, and what they need"),
            "stand_in": Flag(default=False, help="start bundled imitations where there are some"),
        },
    ),
    "down": factory.task(
        "dev-down",
        "Stop this worktree's own servers; with --all those that every worktree uses, too.",
        _down,
        {
            "all": ALL,
            "timeout": Flag(GRACE, f"seconds between SIGTERM and SIGKILL (default {GRACE})"),
        },
    ),
    "status": factory.task(
        "dev-status",
        "Show every worktree: its servers, what they cost, since when idle, who is served.",
        _status,
        {"watch": Flag(default=False, help="again every two seconds, until ^C")},
    ),
    "logs": factory.task(
        "dev-logs",
        "Print the last lines of all servers of this worktree in one stream.",
        _logs,
        {
            "lines": Flag(LINES, f"how many of each server's last lines (default {LINES})"),
            "follow": Flag(default=False, help="go on printing what is written, until ^C"),
            "all": Flag(default=False, help="of every worktree's servers"),
            "raw": Flag(default=False, help="each line's bytes as they are in the log"),
        },
    ),
    "board": factory.task(
        "dev-board",
        "Show every worktree in a browser: start the board, and print its address.",
        _board,
        {"open": Flag(default=False, help="open it in the browser, too")},
    ),
    "use": factory.task(
        "dev-use",
        "Make a worktree the one in use: the door leads to it, its code runs the jobs.",
        _use,
        {
            "worktree": Flag("", "its branch or folder; also as a bare word (default: this one)"),
            "none": Flag(default=False, help="no worktree is in use any more"),
        },
        word="worktree",
    ),
    "env": factory.task(
        "dev-env",
        "Print this worktree's ports and URLs as environment variables.",
        _env,
        {"format": Flag("shell", "shell, dotenv or json (default shell)")},
    ),
    "exec": factory.task(
        "dev-exec",
        "Run the command after `--` with this worktree's ports and URLs in its environment.",
        _exec,
    ),
    "prune": factory.task(
        "dev-prune",
        "End servers, and remove files, of worktrees that are gone.",
        _prune,
        {
            "dry_run": Flag(default=False, help="only list what would be ended and removed"),
            "idle": Flag("", "2h: stop worktrees' servers that nobody has used for so long"),
        },
    ),
}
GROUP = Group("dev", TASKS)
