"""The Inngest dev server, which runs the functions of apps: one for all worktrees, or one each."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devservers.kind import Kind, later

if TYPE_CHECKING:
    from devservers.config import Config
    from devservers.spec import ServerSpec
    from devservers.worktree import Worktree


def spec(
    config: "Config",
    here: "Worktree",
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> "ServerSpec":
    """Return the Inngest dev server that the worktree `here` uses, as it declares it."""
    from devservers.inngest import declaration  # noqa: PLC0415 - see `later`

    return declaration.spec(config, here, stand_in=stand_in, env=env)


KIND = Kind(
    name="inngest",
    title="Inngest dev server",
    short="Inngest",
    assign=later("devservers.inngest.declaration", "assign"),
    declare=later("devservers.inngest.declaration", "declare"),
    is_shared=later("devservers.inngest.declaration", "is_shared"),
    other_scope=later("devservers.inngest.declaration", "other_scope"),
    watches=True,
    imitable=True,
    tasks="devservers.tasks.inngest_tasks",
    loses="the events and runs that it holds are lost",
    exports=later("devservers.inngest.declaration", "exports"),
    identity=later("devservers.inngest.declaration", "identity"),
    rests_on=later("devservers.inngest.target", "rests_on"),
    served=later("devservers.inngest.registration", "served_ports"),
    users=later("devservers.inngest.registration", "users"),
    keep_served=later("devservers.inngest.declaration", "keep_served"),
    use=later("devservers.inngest.use", "use"),
    after_up=later("devservers.inngest.registration", "after_up"),
)
