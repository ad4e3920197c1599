"""Prune: end and remove what worktrees that are gone have left behind, with proof for each."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from devservers import config as configuration
from devservers import kinds, worktree
from devservers.config import Config
from devservers.errors import DevServerError, StateUnusableError, StopFailedError
from devservers.kind import Assignment
from devservers.lifecycle import state
from devservers.ports import claims
from devservers.spec import MARKER
from devservers.system import process, process_info, procfs, sockets
from devservers.system.identity import Identity
from devservers.worktree import Worktree
from devservers.worktrees import in_use

GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class Finding(NamedTuple):
    """One thing without an owner."""

    kind: str
    """server, listener, claim, file or idle."""
    what: str
    why: str
    processes: tuple[Identity, ...] = ()
    """Whom to end."""
    files: tuple[Path, ...] = ()
    """What to remove."""
    pid_file: Path | None = None
    """Whose record to forget."""


class Pruned(NamedTuple):
    """The answer of prune."""

    findings: tuple[Finding, ...]
    dry_run: bool
    warnings: tuple[str, ...] = ()


def prune(config: Config, here: Worktree, *, dry_run: bool = False) -> Pruned:
    """End the servers and remove the files that belong to no worktree; only list with `dry_run`.

    Nothing is signalled but processes in a folder that is itself deleted (or has nothing left of
    a worktree but what such servers write), and that carry our mark or stand in a worktree of git's
    list; and recorded servers that no configuration has any more. Raises StopFailedError if one of
    them remains.
    """
    warnings: list[str] = []
    ending = [*_servers(here)]
    known = {victim for finding in ending for victim in finding.processes}
    ending += _listeners(config, here, known, warnings.append)
    known |= {victim for finding in ending for victim in finding.processes}
    ending += _of_other_scope(here, known)
    known |= {victim for finding in ending for victim in finding.processes}
    ending += _undeclared(here, known)
    known |= {victim for finding in ending for victim in finding.processes}
    removing = [*_lost_claims(config, here), *_stale_records(config, here, known)]
    if gone := in_use.lost(here):
        note = in_use.file_of(here)
        removing.append(Finding("file", str(note), f"{gone} is gone", files=(note,)))
    if not dry_run:
        _end(ending)
        for finding in (*ending, *removing):
            _remove(finding)
    return Pruned((*ending, *removing), dry_run, tuple(warnings))


def _servers(here: Worktree) -> Iterator[Finding]:
    """Find what carries the mark of a worktree that is gone."""
    by_mark: dict[str, list[int]] = {}
    for pid, value in process_info.carriers(MARKER).items():
        by_mark.setdefault(value, []).append(pid)
    for value, pids in sorted(by_mark.items()):
        name, _, pid_file = value.partition(":")
        if not name or not _is_our_business(Path(pid_file), here):
            continue
        marker = f"{MARKER}={value}"
        own = [member for member in process.family((), marker).members if member.pid in pids]
        roots = [member for member in own if process_info.is_gone(member.pid)]
        why = "its folder was deleted"
        if not roots and _is_lost(Path(pid_file), here):
            roots = [member for member in own if _is_remnant(process_info.folder(member.pid))]
            why = "nothing of its worktree is left"
        # The folder may have been made again, with a server of its own: that has the same mark.
        again = _is_there(Path(pid_file))
        members = process.family(roots, "" if again else marker).members if roots else ()
        if members:
            folder = process_info.folder(members[0].pid)
            yield Finding("server", _named(members, folder), why, members)


def _is_our_business(pid_file: Path, here: Worktree) -> bool:
    """Return whether a server is this repository's, or of one that can't be seen any more."""
    owner = pid_file.parent.parent
    if pid_file.parent.name not in worktree.STATE_FOLDERS:  # of the whole machine
        return False
    if pid_file.parent.name == ".devservers":  # outside git
        return owner == here.root or not os.path.lexists(owner)
    common = owner.parent.parent if owner.parent.name == "worktrees" else owner
    return common == here.common_dir or not os.path.lexists(common / "HEAD")


def _is_lost(pid_file: Path, here: Worktree) -> bool:
    """Return whether a pid file is that of a linked worktree of this repository which is gone."""
    owner = pid_file.parent.parent
    is_linked = here.common_dir is not None and owner.parent == here.common_dir / "worktrees"
    return is_linked and not worktree.is_there(owner)


def _is_there(pid_file: Path) -> bool:
    owner = pid_file.parent.parent
    outside = pid_file.parent.name == ".devservers"
    return os.path.isdir(owner) if outside else worktree.is_there(owner)  # noqa: PTH112


def _listeners(
    config: Config, here: Worktree, known: set[Identity], warn: Callable[[str], None]
) -> Iterator[Finding]:
    """Find servers by hand, on ports of the pool, in worktrees that git lists as gone."""
    lost = {root for _, root in _lost(here)}
    seen: set[int] = set()
    for socket in sockets.listening():
        pid = socket.pid
        if socket.port not in config.pool or pid is None or pid in seen:
            continue
        seen.add(pid)
        identity = process.identify(pid) if procfs.is_within_reach(pid) else None
        folder = process_info.folder(pid)
        if identity is None or identity in known or folder is None:
            continue
        what = f"{_named((identity,), folder)}, port {socket.port}"
        deleted = process_info.is_gone(pid)
        known_kind = any(kind.is_server and kind.is_server(pid) for kind in kinds.every())
        if folder in lost and (deleted or (known_kind and _is_remnant(folder))):
            why = "its folder was deleted" if deleted else "nothing of its worktree is left"
            yield Finding("listener", what, why, (identity,))
        elif deleted:
            warn(f"{what}: its folder is gone, but it is no server of ours. It was left alone.")


def _is_remnant(folder: Path | None) -> bool:
    try:
        left = {entry.name for entry in folder.iterdir()} if folder else None
        return left is not None and left <= frozenset().union(*_remnants())
    except OSError:
        return False


def _remnants() -> Iterator[frozenset[str]]:
    return (kind.remnants for kind in kinds.every())


def _of_other_scope(here: Worktree, known: set[Identity]) -> Iterator[Finding]:
    """Find what worktrees of this repository started before the scope was changed.

    Each may have a configuration of its own, and use what another one doesn't.
    """
    trees = [*configured(here)]
    roots = {str(tree.root) for tree, _ in trees}
    for kind in (kind for kind in kinds.every() if kind.other_scope):
        seen = {kind.declare(its, tree, Assignment(0)).marker for tree, its in trees}
        for spec in (kind.other_scope(its, tree) for tree, its in trees if kind.other_scope):
            if spec.marker in seen:
                continue
            seen.add(spec.marker)
            with contextlib.suppress(StateUnusableError):  # a link, or somebody else's
                record = state.read(spec.files.pid)
                ours = record is not None and record.worktree in roots
                if record is None or not ours or not process.is_alive(record.process):
                    continue
                members = process.family((record.process,), spec.marker).members
                what = f"{_named(members, None)}: {spec.title}{spec.where}"
                why = f"{kind.name}.scope was changed since it was started"
                if not known & set(members):
                    yield Finding("server", what, why, members)


def configured(here: Worktree) -> Iterator[tuple[Worktree, Config]]:
    """Yield every worktree of the repository whose configuration can be used, with that."""
    for tree in worktree.every(here):
        try:
            its = configuration.load(tree.root, tree.main)
        except DevServerError:  # whoever starts a server there is told what is wrong
            continue
        yield tree, its


def _undeclared(here: Worktree, known: set[Identity]) -> Iterator[Finding]:
    """Find recorded servers that the configuration of their worktree declares no more.

    Another branch may have declared them, and no task knows their names now. Where a configuration
    is broken, nothing is known of its servers.
    """
    places: set[Path] = set()
    declared: set[Path] = set()
    for tree in worktree.every(here):
        try:
            settings = configuration.load(tree.root, tree.main)
            specs = (
                (kind, kind.declare(settings, tree, Assignment(0)))
                for kind in kinds.of(settings, kinds.BUNDLED).values()
            )
            declared |= {spec.files.pid for kind, spec in specs if kind.built_in or spec.enabled}
            places |= {tree.state_dir, tree.shared_dir}
        except DevServerError:
            return
    for pid_file in sorted({file for place in places for file in place.glob("*.pid")} - declared):
        with contextlib.suppress(StateUnusableError):  # a link, or somebody else's
            record = state.read(pid_file)
            if record is None or not process.is_alive(record.process):
                continue
            marker = f"{MARKER}={pid_file.stem}:{pid_file}"
            members = process.family((record.process,), marker).members
            what = f"{_named(members, None)}: {pid_file.stem} server"
            why = "the configuration declares it no more"
            if not known & set(members):
                yield Finding("server", what, why, members, pid_file=pid_file)


def _lost(here: Worktree) -> Iterator[tuple[Path, Path]]:
    """Yield git's folder and former place of each worktree that git lists and that is gone."""
    for git_dir, root in worktree.linked(here.common_dir).items() if here.common_dir else ():
        if root and not worktree.is_there(git_dir):
            yield git_dir, root


def _lost_claims(config: Config, here: Worktree) -> Iterator[Finding]:
    for _, root in _lost(here):
        file = root / config.worktree.port_cache_file
        if not os.path.lexists(root / ".git") and claims.of(config, root):
            yield Finding("claim", str(file), "its folder is no worktree any more", files=(file,))


def _stale_records(config: Config, here: Worktree, ending: set[Identity]) -> Iterator[Finding]:
    """Find pid files whose server is gone, or is about to be ended."""
    gone = (here._replace(root=root, git_dir=folder) for folder, root in _lost(here))
    trees = (*gone, *worktree.every(here))
    specs = {
        spec.marker: spec
        for kind in kinds.of(config, kinds.BUNDLED).values()
        for tree in ((here,) if kind.is_shared(config) else trees)
        if (spec := kind.declare(config, tree, Assignment(0))).enabled
    }
    for marker, spec in sorted(specs.items()):
        pid_file = spec.files.pid
        if _is_stale(pid_file, marker, ending):
            why = "its server is gone"
            yield Finding("file", str(pid_file), why, pid_file=pid_file)


def _is_stale(pid_file: Path, marker: str, ending: Iterable[Identity]) -> bool:
    with contextlib.suppress(StateUnusableError):  # a link, or somebody else's: not ours to remove
        if not state.exists(pid_file):
            return False
        record = state.read(pid_file)
        known = [record.process] if record else []
        known += [record.listener.process] if record and record.listener else []
        live = {*filter(process.is_alive, known), *process.family((), marker).members}
        return live <= set(ending)
    return False


def _end(findings: Iterable[Finding]) -> None:
    survivors: list[int] = []
    for finding in findings:
        survivors += process.stop(finding.processes, GRACE).survivors
    if survivors:
        who = ", ".join(f"pid {pid}" for pid in survivors)
        raise StopFailedError(
            f"Could not be ended: {who}.",
            hint="Stop it as the user it belongs to, or as root.",
            details={"survivors": [sockets.holder(pid) for pid in survivors]},
        )


def _remove(finding: Finding) -> None:
    for file in finding.files:
        file.unlink(missing_ok=True)
    if finding.pid_file is None:
        return
    with state.lock(finding.pid_file, 0) as held:
        record = state.read(finding.pid_file)
        if held and not (record and process.is_alive(record.process)):  # else somebody starts one
            state.remove(finding.pid_file, record)


def _named(members: tuple[Identity, ...], folder: Path | None) -> str:
    pids = ", ".join(str(member.pid) for member in members)
    return f"pid {pids}, in {folder}" if folder else f"pid {pids}"
