"""ports.*: which worktree has which port."""

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, worktree
from devservers.rendering.servers import Rendered
from devservers.tasks import boundary, factory


@task(name="ports-assign", help={"json_": factory.JSON}, auto_shortflags=False)
def assign(_: Context, json_: bool = False) -> None:
    """Give this worktree a port of the pool, once, and say which it has."""

    def make() -> Rendered:
        from devservers.nextjs import port_assignment  # noqa: PLC0415 - only here
        from devservers.rendering import ports as rendering_ports  # noqa: PLC0415 - only here

        here = worktree.find()
        done = port_assignment.assign(config.load(here.root, here.main), here)
        return rendering_ports.assigned(done)

    boundary.answer(make, as_json=json_)


@task(name="ports-list", help={"json_": factory.JSON}, auto_shortflags=False)
def list_(_: Context, json_: bool = False) -> None:
    """Show every port of the pool: who claims it, and who listens on it."""

    def make() -> Rendered:
        from devservers.nextjs import port_pool  # noqa: PLC0415 - only here
        from devservers.rendering import ports as rendering_ports  # noqa: PLC0415 - only here

        here = worktree.find()
        found = port_pool.survey(config.load(here.root, here.main), here)
        return rendering_ports.port_list(found, str(here.root))

    boundary.answer(make, as_json=json_)


@task(
    name="ports-who",
    help={"json_": factory.JSON, "port": "the port to ask about (default: this worktree's)"},
    auto_shortflags=False,
)
def who(_: Context, json_: bool = False, port: str = "") -> None:
    """Say who holds a port: pid, command, user, folder, worktree, since when."""

    def make() -> Rendered:
        from devservers.nextjs import port_assignment, port_pool  # noqa: PLC0415 - only here
        from devservers.rendering import ports as rendering_ports  # noqa: PLC0415 - only here

        if port:
            number = boundary.port("--port", port)
        else:
            here = worktree.find()
            settings = config.load(here.root, here.main)
            number = port_assignment.assign(settings, here, claim=False).port
        return rendering_ports.holders(number, port_pool.holders(number))

    boundary.answer(make, as_json=json_)


collection = Collection("ports")
collection.add_task(assign, name="assign")
collection.add_task(list_, name="list", default=True)
collection.add_task(who, name="who")
