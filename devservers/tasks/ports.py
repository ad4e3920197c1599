"""ports.*: which worktree has which port."""

from invoke.collection import Collection

from devservers import config, worktree
from devservers.rendering.servers import Rendered
from devservers.tasks import factory, flags
from devservers.tasks.factory import Flag


def _assign() -> Rendered:
    from devservers.ports import assignment  # noqa: PLC0415 - only here
    from devservers.rendering import ports as rendering  # noqa: PLC0415 - only here

    here = worktree.find()
    return rendering.assigned(assignment.assign(config.load(here.root, here.main), here))


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


collection = Collection("ports")
collection.add_task(
    factory.task(
        "ports-assign",
        "Give this worktree a port of the pool, once, and say which it has.",
        _assign,
    ),
    name="assign",
)
collection.add_task(
    factory.task(
        "ports-list", "Show every port of the pool: who claims it, and who listens on it.", _list
    ),
    name="list",
    default=True,
)
collection.add_task(
    factory.task(
        "ports-who",
        "Say who holds a port: pid, command, user, folder, worktree, since when.",
        _who,
        {"port": Flag("", "the port to ask about (default: this worktree's)")},
    ),
    name="who",
)
