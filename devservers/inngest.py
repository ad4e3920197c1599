"""The Inngest dev server as data: Config and worktree -> ServerSpec; which program would run it."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from devservers import inngest_api
from devservers.config import Config, InngestConfig
from devservers.errors import CliNotFoundError
from devservers.spec import ServerSpec
from devservers.worktree import Worktree, clean_env

STAND_IN = Path(__file__).with_name("standin.py")
INSTALL = "npm install --save-dev inngest-cli"

# What a server's last words mean. The package holds no binary: its install script downloads one.
HINTS = (
    (
        r"Inngest CLI binary not found",
        "The package's install script was not run, so it has no binary. Allow it: "
        "`npm install --save-dev --ignore-scripts=false inngest-cli`, or with pnpm "
        "`pnpm add -D --allow-build=inngest-cli inngest-cli`.",
    ),
    (
        r"(?i)ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network (request|timeout)",
        f"A download failed: check the network and the proxy, or install it once: `{INSTALL}`.",
    ),
)


def spec(
    config: Config,
    worktree: Worktree,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the machine-wide Inngest dev server as this worktree's configuration declares it."""
    settings = config.inngest
    urls = sdk_urls(config)

    def command() -> tuple[str, ...]:
        program = stand_in_program() if stand_in else find_cli(settings, worktree, env)
        return (*program, *arguments(settings, urls))

    return ServerSpec(
        name="inngest",
        title="Inngest dev server",
        port=settings.port,
        command=command,
        cwd=worktree.main,
        env=clean_env(env),
        pid_file=_absolute(settings.pid_file, worktree),
        log_file=_absolute(settings.log_file, worktree),
        log_max_bytes=settings.log_max_bytes,
        worktree=worktree.root,
        branch=worktree.branch,
        urls=urls,
        host=settings.host,
        stand_in=stand_in,
        hints=HINTS,
        recognise=inngest_api.recognise,
    )


def sdk_urls(config: Config) -> tuple[str, ...]:
    """Return the endpoint of each port of the pool, as the server is told to watch them."""
    path = config.inngest.path
    return tuple(f"http://localhost:{port}{path}" for port in config.nextjs.ports)


def arguments(settings: InngestConfig, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that follow the program: `dev`, the port, the host, the URLs, the rest."""
    host = ("--host", settings.host) if settings.host else ()
    watched = (word for url in urls for word in ("--sdk-url", url))
    return ("dev", "--port", str(settings.port), *host, *watched, *settings.args)


def stand_in_program() -> tuple[str, ...]:
    """Return the argv of the bundled imitation, run apart from anything the folder may hold."""
    return (sys.executable, "-I", "-S", str(STAND_IN))


def find_cli(
    settings: InngestConfig, worktree: Worktree, env: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the program that runs `inngest dev`, in the contract's order.

    Raises CliNotFoundError, with what was looked for and the command that installs it.
    """
    path = env.get("PATH", os.defpath)
    if settings.command:
        found = shutil.which(settings.command[0], path=path)
        if found or (worktree.main / settings.command[0]).is_file():
            return settings.command
        raise CliNotFoundError(
            f"inngest.command names {settings.command[0]!r}, which is no program that can be run.",
            hint="Correct inngest.command in the configuration, or remove it to have the CLI found.",
            details={"lookedFor": [settings.command[0]]},
        )
    looked: list[str] = []
    for folder in dict.fromkeys((worktree.root, worktree.main)):
        bin_folder = folder / "node_modules" / ".bin"
        looked.append(str(bin_folder / "inngest-cli"))
        if local := shutil.which("inngest-cli", path=str(bin_folder)):
            return (local,)
    for name, words in LAUNCHERS:
        looked.append(f"{name} on the PATH")
        if program := shutil.which(name, path=path):
            return (program, *words)
    raise CliNotFoundError(
        "No inngest-cli was found. Looked for: " + ", ".join(looked) + ".",
        hint=f"Install it: `{INSTALL}` (or `pnpm add -D --allow-build=inngest-cli inngest-cli`). "
        "Without it: `inv inngest.ensure --stand-in`.",
        details={"lookedFor": looked},
    )


LAUNCHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pnpx", ("--allow-build=inngest-cli", "inngest-cli")),
    # --yes: without it npx asks before it installs, and hangs or fails where stdin is closed.
    ("npx", ("--yes", "--ignore-scripts=false", "inngest-cli")),
    ("inngest-cli", ()),
    ("inngest", ()),
)


def _absolute(path: str, worktree: Worktree) -> Path:
    return Path(os.path.abspath(worktree.main / Path(path).expanduser()))  # noqa: PTH100 - links stay
