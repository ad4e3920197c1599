"""Proving: the whole way to what a receipt repeats, which leaves the next call a receipt."""

import sys
from collections.abc import Iterable
from typing import NamedTuple

from devservers import config, kinds, worktree
from devservers.config import Config
from devservers.githooks import warm_answer, warm_proof
from devservers.kind import Kind
from devservers.lifecycle import state, used, verdict
from devservers.lifecycle.record import ServerRecord
from devservers.spec import ServerSpec
from devservers.worktree import Worktree
from devservers.worktrees import passing

# What says what a server is to be, and what is said of it: another release may say it otherwise.
ROOMS = ("config", "kinds", "spec", "lifecycle.status", "rendering.servers", "terminal", "console")


class Proved(NamedTuple):
    """What a worktree declares, and the record of the server that was proved to run so, if any."""

    kind: Kind
    spec: ServerSpec
    config: Config
    here: Worktree
    record: ServerRecord | None
    inputs: tuple[str, ...] = ()
    """The signatures of all that this hangs on, from before it was read."""

    def keep_answer(self, folder: str, texts: Iterable[str]) -> None:
        """Keep what was said of the server for the next call, if that comes from files alone."""
        rests_on = self.kind.rests_on
        if not (rests_on and self.here.git_dir and str(self.here.root) == folder):
            return
        more = rests_on(self.config, self.here)
        named = {line.partition("\t")[2] for line in self.inputs}
        if more is not None and named.issuperset(map(str, more)):  # none that came up meanwhile
            warm_answer.write(str(self.here.git_dir), folder, self.spec.name, texts, self.inputs)


def prove(name: str, folder: str) -> Proved:
    """Return the server `name` of the worktree that the caller stands in, proved if it runs.

    Where `folder` is the top of that, it leaves a receipt. Raises DevServerError.
    """
    here = worktree.find()
    inputs = warm_proof.sign(map(str, config.candidates(here.root, here.main)))
    settings = config.load(here.root, here.main)
    kind = kinds.kind(name) if name in kinds.NAMES else kinds.of(settings)[name]
    more = kind.rests_on(settings, here) if kind.rests_on else ()
    extra = warm_proof.sign(map(str, more or ()))
    spec = kinds.declared(kind, settings, here)  # a port is claimed by who starts it
    passing.by(settings, here)
    if not spec.enabled:
        return Proved(kind, spec, settings, here, None)
    used.touch(spec)
    inputs += warm_proof.sign([str(spec.files.pid), str(state.record_file(spec.files.pid))])
    inputs += warm_proof.sign(_rules(name))
    if not spec.shared:  # what it is to be follows from the worktree's port, and where its app runs
        others = (here.state_dir / f"{other}.pid" for other in kinds.NAMES if other != name)
        port_file = here.root / settings.worktree.port_cache_file
        inputs += warm_proof.sign(map(str, (port_file, *map(state.record_file, others))))
    record = verdict.quick_proof(spec)
    if record is not None and here.git_dir and str(here.root) == folder:
        short = passing.is_watched(settings, here)
        warm_proof.write(str(here.git_dir), folder, spec, record, inputs, short_lived=short)
    return Proved(kind, spec, settings, here, record, (*inputs, *extra))


def _rules(name: str) -> list[str]:
    """Return the files that say what a server is to be, and what is said of it."""
    folder = name if name in kinds.NAMES else "declared"
    rooms = tuple(f"devservers.{room}" for room in (folder, *ROOMS))
    loaded = ((module, sys.modules[module]) for module in sorted(sys.modules))
    return [
        str(found.__file__)
        for module, found in loaded
        if module in rooms or module.startswith(f"{rooms[0]}.")
    ]
