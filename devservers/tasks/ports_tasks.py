"""ports.*: which worktree has which port."""

from devservers import config, kinds, worktree
from devservers.rendering.servers import Rendered
from devservers.tasks import flags
from devservers.tasks.definition import Flag, Group, task


def _assign() -> Rendered:
    from devservers.ports import assignment  # noqa: PLC0415 - only here
    from devservers.rendering import ports as rendering  # noqa: PLC0415 - only here

    here = worktree.find()
    settings = config.load(here.root, here.main)
    done = assignment.assign(settings, here)
    return rendering.assigned(done, kinds.exports(settings, here))


def _list() -> Rendered:
    from devservers.ports import pool  # noqa: PLC0415 - only here
    from devservers.rendering import ports as rendering  # noqa: PLC0415 - only here

    here = worktree.find()
    found = pool.survey(config.load(here.root, here.main), here)
    return rendering.port_list(found, str(here.root))


def _who(*, port: str) -> Rendered:
    from devservers.ports import assignment, pool  # noqa: PLC0415 - only here
    from devservers.rendering import ports as rendering  # noqa: PLC0415 - only here

    if port:
        number = flags.port("--port", port)
    else:
        here = worktree.find()
        settings = config.load(here.root, here.main)
        number = assignment.assign(settings, here, claim=False).port
    return rendering.holders(number, pool.holders(number))


GROUP = Group(
    "ports",
    {
        "assign": task(
            "ports-assign",
            "Give this worktree a port of the pool, once, and say which it has.",
            _assign,
        ),
        "list": task(
            "ports-list",
            "Show every port of the pool: who claims it, and who listens on it.",
            _list,
        ),
        "who": task(
            "ports-who",
            "Say who holds a port: pid, command, user, folder, worktree, since when.",
            _who,
            {"port": Flag("", "the port to ask about (default: this worktree's)")},
        ),
    },
    default="list",
)
