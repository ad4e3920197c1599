"""A worktree's Next.js server: one each, in its own folder, on its own port."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devservers.kind import Assignment, Kind, later

if TYPE_CHECKING:
    from devservers.config import Config
    from devservers.spec import ServerSpec
    from devservers.worktree import Worktree


def spec(
    config: "Config",
    here: "Worktree",
    *,
    env: Mapping[str, str] = os.environ,
    claim: bool = True,
    port: int | None = None,
) -> "ServerSpec":
    """Return the Next.js server of the worktree `here`.

    Its port is that of the server that runs there, whoever started it, else the one assigned to
    the worktree; or `port`, where the caller knows it. With `claim` false nothing is written: for
    a question, not for a start. Raises UsageError, NoPortError, LockTimeoutError,
    StateUnusableError.
    """
    from devservers.nextjs import declaration  # noqa: PLC0415 - see `later`

    assigned = (
        declaration.assign(config, here, claim=claim, env=env) if port is None else Assignment(port)
    )
    return declaration.declare(config, here, assigned, env=env)


KIND = Kind(
    name="nextjs",
    title="Next.js server",
    short="Next.js",
    assign=later("devservers.nextjs.declaration", "assign"),
    declare=later("devservers.nextjs.declaration", "declare"),
    ready_timeout=120.0,  # the first compile of a large app takes long
    foreground=True,
    tasks="devservers.tasks.nextjs_tasks",
    idle=later("devservers.nextjs.settings", "idle"),
    serves_app=True,
    own_server=later("devservers.nextjs.declaration", "own_server"),
    find_port=later("devservers.nextjs.declaration", "known_port"),
    is_server=later("devservers.nextjs.discovery", "is_dev_server"),
    # Before version 16 it goes on writing while git removes the worktree, so that a folder with no
    # more than this is left.
    remnants=frozenset({".next", "node_modules", "next-env.d.ts"}),
)
