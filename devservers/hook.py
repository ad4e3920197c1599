"""The entry for git hooks, made for being run on every checkout: `devservers-hook`.

It always leaves with 0 (a failing post-checkout makes git report failure for work that it did), it
prints nothing when all is well and one line on stderr otherwise, and it returns at once: what takes
longer is done by a detached run of its own, which holds none of git's descriptors.
"""

import os
import sys
import time

from devservers import kinds

TYPE_CHECKING = False  # every import counts here; see githooks/warm_proof.py
if TYPE_CHECKING:
    from pathlib import Path

    from devservers.config import Config
    from devservers.kind import Kind
    from devservers.spec import ServerSpec
    from devservers.worktree import Worktree

MORE = tuple(f"--{name}" for name in kinds.NAMES if name not in kinds.HOOKED)
USAGE = (
    f"devservers-hook [--wait] {' '.join(f'[{flag}]' for flag in MORE)} "
    f"post-checkout OLD NEW FLAG | post-merge [SQUASH] | ensure [{'|'.join(kinds.NAMES)}|NAME]"
)
# How many words follow.
EVENTS = {"post-checkout": (0, 3), "post-merge": (0, 1), "ensure": (0, 1)}
IDLE = "idle"  # with DETACHED: see worktrees/passing.py
DETACHED = "--detached"  # waits, and tells the log: how a hook calls itself
OPTIONS = frozenset({"--wait", *MORE, DETACHED})
ONCE_IN = 3600.0  # seconds until the same is said again of a port that somebody else has
FILES_ONLY = "0"  # post-checkout's flag: single files, not a branch (githooks(5))


def main(words: list[str] | None = None) -> int:
    """Ensure the servers of the worktree that the caller stands in; return 0, whatever happens."""
    try:
        _run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        say("interrupted.")
    except Exception as error:  # noqa: BLE001 - no defect of ours may fail a checkout
        say(_in_one_line(error))
    return 0


def say(text: str) -> None:
    """Print one line on stderr, if there is one: unbuffered, so that nothing can fail later.

    What isn't printable is shown as Python would write it. `terminal` would do that, too; but
    where nothing can be imported any more, this line has to come all the same.
    """
    words = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    line = f"devservers: {words}\n"
    try:
        if sys.stderr is not None:  # closed by the caller; 2 may be anything by now
            os.write(2, line.encode(errors="backslashreplace"))
    except OSError:
        pass


def _run(words: list[str]) -> None:
    if sys.platform == "win32":
        from devservers.errors import UNSUPPORTED  # noqa: PLC0415 - only there

        say(UNSUPPORTED)
        return
    options = {word for word in words if word.startswith("--")}
    event, *rest = [word for word in words if word not in options] or [""]
    named = [option[2:] for option in options if option not in OPTIONS]
    named += rest if event == "ensure" else []
    declared = [name for name in named if name not in kinds.NAMES]
    if DETACHED in options and event == IDLE:
        _stop_idle()
        return
    if len(rest) not in EVENTS.get(event, ()) or not _are_declared(declared):
        say(f"unusable arguments: {' '.join(words) or 'none'}. Usage: {USAGE}")
        return
    # pre-commit hands git's arguments on in variables.
    flag = rest[2] if len(rest) > 2 else os.environ.get("PRE_COMMIT_CHECKOUT_TYPE")  # noqa: PLR2004
    if flag == FILES_ONLY:
        return
    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib costs as much as the rest
    except FileNotFoundError:
        say("the working directory is gone: change into one that exists, and try again.")
        return
    from devservers.githooks import warm_proof  # noqa: PLC0415 - not for a checkout of files

    asked = [name for name in kinds.NAMES if name in kinds.HOOKED or f"--{name}" in options]
    asked += [name for name in declared if f"--{name}" in options]
    for name in rest if event == "ensure" and rest else asked:
        if not warm_proof.is_good(folder, name):
            try:
                _ensure(name, folder, options)
            except Exception as error:  # noqa: BLE001 - trouble with one is none with the other
                say(_in_one_line(error))


def _stop_idle() -> None:
    from devservers import worktree  # noqa: PLC0415 - not for a warm call
    from devservers.worktrees import idle  # noqa: PLC0415

    idle.sweep_as_configured(worktree.find())


def _are_declared(names: list[str]) -> bool:
    """Return whether the configuration declares servers of all these names."""
    if not names:
        return True
    if not all(name.isascii() and name.replace("-", "").isalnum() for name in names):
        return False
    from devservers import config, worktree  # noqa: PLC0415 - only for what isn't built in

    here = worktree.find()
    return {*config.load(here.root, here.main).servers}.issuperset(names)


def _ensure(name: str, folder: str, options: set[str]) -> None:
    from devservers.githooks import proving  # noqa: PLC0415 - not for a warm call

    kind, spec, settings, here, record, _ = proving.prove(name, folder)
    if record is not None or not spec.enabled:
        return
    try:
        if options & {"--wait", DETACHED}:
            _start(kind, spec, settings, here)
        else:
            _hand_over(spec, here)
    except Exception as error:
        if getattr(error, "code", None) != "port-in-use" or DETACHED in options:
            raise
        # Not by its text: the start of a process, as psutil tells it, may differ by a second.
        holders = getattr(error, "details", {}).get("holders", ())
        who = sorted(f"{holder['pid']} {holder['name']} {holder['user']}" for holder in holders)
        if not _was_said(here.state_dir / f"{name}.said", f"{spec.port}: {', '.join(who)}"):
            say(_in_one_line(error))


def _start(kind: "Kind", spec: "ServerSpec", settings: "Config", here: "Worktree") -> None:
    """Ensure the server, and wait for it, if all that it executes was accepted."""
    from devservers.lifecycle import server  # noqa: PLC0415 - not for a warm call
    from devservers.trust import gate  # noqa: PLC0415 - not for a warm call

    gate.require(spec)  # before anything is written; and once more right before it is executed
    claimed = kinds.declared(kind, settings, here, claim=True)
    server.ensure(gate.by_hook(claimed), timeout=kind.ready_timeout)


def _hand_over(spec: "ServerSpec", here: "Worktree") -> None:
    """Start a detached `ensure`, unless it is clear already that it would be in vain."""
    from devservers.githooks import file as githooks_file  # noqa: PLC0415 - not if warm
    from devservers.lifecycle import launch, state  # noqa: PLC0415 - not if warm
    from devservers.system import sockets, spawn  # noqa: PLC0415 - not if warm
    from devservers.trust import gate  # noqa: PLC0415 - not if warm

    state.read_pid(spec.files.pid)  # raises where it can't be used, as what follows does
    doing = "is not running: it is being started"
    if spec.port is not None and sockets.is_open(spec.port, spec.host):
        doing = _examine_holder(spec)
    if not doing:
        return
    gate.require(spec)
    launch.prepare_log(spec, rotate=False)
    argv = githooks_file.detached(DETACHED, "ensure", spec.name)
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    spawn.let_go(spawn.spawn(argv, here.root, env, spec.files.log))
    say(f"the {spec.title} {doing} in the background. Log: {spec.files.log}")


def _examine_holder(spec: "ServerSpec") -> str:
    """Return what is to be done about whoever has the port; empty if nothing can be. Says so."""
    from devservers.lifecycle import failures  # noqa: PLC0415 - only where the port is taken
    from devservers.lifecycle.verdict import Verdict, examine  # noqa: PLC0415

    view = examine(spec)
    if view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT):
        raise failures.port_in_use(spec, view.port)
    if view.verdict is Verdict.UNRESPONSIVE:
        pid = view.record.process.pid if view.record else "unknown"
        say(
            f"the {spec.title} (pid {pid}) runs, but does not answer{spec.where}. Look at "
            f"`inv {spec.name}.logs`; `inv {spec.name}.restart` replaces it."
        )
        return ""
    if view.verdict in (Verdict.RUNNING, Verdict.ADOPTABLE, Verdict.ORPHAN):
        return "runs, and is being taken over"
    return "is not running: it is being started"


def _was_said(stamp: "Path", what: str) -> bool:
    """Return whether the very same was said within the hour; else note that it is being said."""
    from devservers.system import files, untrusted_files  # noqa: PLC0415 - not for a warm call

    now = time.time()
    try:
        known = untrusted_files.read(str(stamp), 8192).decode(errors="replace")
        then, _, said = known.partition("\n")
        if said == what and 0 <= now - float(then) < ONCE_IN:
            return True
    except (OSError, ValueError):
        pass
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        files.replace(stamp, f"{int(now)}\n{what}")
    except (OSError, ValueError):  # then it is said again
        pass
    return False


def _in_one_line(error: Exception) -> str:
    message = getattr(error, "message", None)  # a DevServerError; its class costs an import
    if message is None:
        return f"{type(error).__name__}: {error} (a defect: `inv dev.status` may tell more)"
    return f"{message.splitlines()[0]} {getattr(error, 'hint', None) or ''}"


if __name__ == "__main__":
    sys.exit(main())
