"""Use: what a worktree gets of the machine's server by being the one in use: it is pinned."""

from devservers import config as configuration
from devservers.config import Config
from devservers.errors import NotSyncedError
from devservers.inngest import declaration, serving, settings, target
from devservers.spec import Description
from devservers.system import sockets
from devservers.worktree import Worktree

NOBODY: dict[str, object] = {"pinned": None, "servedBy": None}


def use(config: Config, here: Worktree, chosen: Worktree | None) -> Description:
    """Pin the worktree `chosen`, and have its app served now if that can be; with None release.

    `config` is that of `here`. Raises ConfigInvalidError, LockTimeoutError, StateUnusableError.
    """
    its = configuration.load(chosen.root, chosen.main) if chosen else config
    tree = chosen or here
    it = target.of(its, tree)
    if not settings.of(its).enabled or not it.shared:
        return Description(NOBODY)
    spec = declaration.of_target(its, tree, it)
    if chosen is None:
        done = serving.release(here, spec)
        said = f"Inngest: {done.released} is pinned no longer" if done.released else ""
        return Description(NOBODY, lines=(said,) if said else ())
    if not sockets.is_open(it.port or 0, it.host):
        serving.keep(tree, spec)
        said = "Inngest doesn't run; its app is pinned there for when it does"
        return Description({**NOBODY, "pinned": str(tree.root)}, lines=(said,))
    try:
        done = serving.choose(its, tree, it, spec, None)
    except NotSyncedError as error:
        serving.keep(tree, spec)
        why = f"Its app is pinned in Inngest, but not served yet: {error.message}"
        return Description({**NOBODY, "pinned": str(tree.root)}, warnings=(why,))
    line = f"Inngest: {done.app_id} is served from port {done.port}, and pinned"
    return Description({"pinned": done.pinned, "servedBy": done.port}, lines=(line,))
