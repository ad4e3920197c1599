"""Which program runs `inngest dev`, and the words that make each launcher work unattended.

What each package manager does and accepts was measured with npm 8 to 12 and pnpm 9 to 12.
"""

import os
import re
from collections.abc import Mapping

from devservers.errors import CliNotFoundError
from devservers.inngest.settings import Settings
from devservers.system import programs
from devservers.worktree import Worktree, clean_env

# What `inngest dev` reads unasked, in the folder that it runs in and in those above.
OWN_FILES = ("inngest.json", "inngest.yaml", "inngest.yml")
INSTALL = "npm install --save-dev inngest-cli"

# inngest-cli holds no binary: its install script downloads one, so that script has to run.
# Each of these is read by some package managers and ignored by the others.
INSTALL_ENV = {
    "npm_config_ignore_scripts": "false",  # npm, pnpm 9 and 10
    "pnpm_config_ignore_scripts": "false",  # pnpm 11 and 12
    # pnpm 11 keeps a package whose script failed once, and never runs it again, in this store.
    "pnpm_config_enable_global_virtual_store": "false",
}

# Besides INNGEST_*: what opens a debug port, and what hides that the server has moved.
VARIABLES = ("DEBUG", "LOG_LEVEL")

LAUNCHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Bare: pnpm 9 to 12 all run the script for dlx (10.0 and 10.1 don't, and have no flag for it),
    # while --allow-build is an unknown option before 10.2.
    ("pnpx", ("inngest-cli",)),
    # --yes: never ask. --allow-scripts: npm 12 runs no script without it, npm 8 to 11 ignore it.
    # --foreground-scripts: else a failed script ends with status 1 and without a word.
    # No @latest: that would pass over the project's own version and need the network every time.
    (
        "npx",
        (
            "--yes",
            "--ignore-scripts=false",
            "--allow-scripts=inngest-cli",
            "--foreground-scripts=true",
            "inngest-cli",
        ),
    ),
    ("inngest-cli", ()),
    ("inngest", ()),
)

_DOWNLOAD = (
    "Its install script could not download the binary: check the network and the proxy "
    "(HTTPS_PROXY). A proxy that re-signs TLS needs NODE_EXTRA_CA_CERTS."
)
_REGISTRY = (
    "The package registry can't be reached: check the network, or `npm config get registry`."
)

# What a server's last words mean, most telling first; matched only once it has ended.
HINTS = (
    (
        r"requires at least Node\.js|No such built-in module: node:sqlite",
        "This pnpm needs Node.js 22.13 or later: update Node.js, or use pnpm 10.",
    ),
    (r"Corepack cannot download|corepack\.cjs", "Install pnpm itself: `npm install -g pnpm`."),
    (
        r"EBADDEVENGINES",
        "package.json asks for another package manager: install inngest-cli with that one.",
    ),
    (r"ENOSPC|No space left on device", "The disk is full: make room, and try again."),
    (
        r"EACCES|ERR_PNPM_CLI_DLX_CACHE|[Pp]ermission denied",
        "A file or the package cache belongs to another user: `ls -ld ~/.npm ~/.cache/pnpm`.",
    ),
    (
        r"postinstall: Failed|LIFECYCLE_SCRIPT_FAILED|\bELIFECYCLE\b"
        r"|request to https://(github\.com/inngest|cli\.inngest\.com)",
        _DOWNLOAD,
    ),
    (
        r"Inngest CLI binary not found",
        "Its install script never ran. With npx: `npm cache npx rm` the cached copy (or remove "
        "~/.npm/_npx) and try again. In a project: `npm rebuild inngest-cli "
        "--ignore-scripts=false`; with pnpm 10 list it under onlyBuiltDependencies, with pnpm 11 "
        "and later `pnpm approve-builds inngest-cli`, then `pnpm rebuild inngest-cli`. pnpm 10.0 "
        "and 10.1 can't: use a later one.",
    ),
    (
        r"SyntaxError: Invalid or unexpected token",
        "The installed inngest-cli is not built: `npm rebuild inngest-cli` or `pnpm rebuild "
        "inngest-cli`.",
    ),
    (r"\bE404\b|ERR_PNPM_FETCH_404|404 Not Found", _REGISTRY),
    (r"SELF_SIGNED_CERT_IN_CHAIN", "Set NODE_EXTRA_CA_CERTS to your proxy's certificate."),
    (
        r"npm error code (ECONNREFUSED|ENOTFOUND|ENOTCACHED|EAI_AGAIN|ETIMEDOUT)"
        r"|ERR_PNPM_META_FETCH_FAIL|ADD_RESOLVE_LATEST",
        _REGISTRY,
    ),
    (r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT", _DOWNLOAD),
)


def server_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the server: the caller's own, without what would configure it."""
    kept = {
        name: value
        for name, value in clean_env(env).items()
        if not name.startswith("INNGEST_") and name not in VARIABLES
    }
    return kept | INSTALL_ENV


def find_cli(
    settings: Settings, worktree: Worktree, env: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the program that runs `inngest dev`, in the order of docs/reference.md.

    Raises CliNotFoundError, with what was looked for and the command that installs it, or with
    whose a program is that somebody else could have put there.
    """
    path = env.get("PATH", os.defpath)
    programs.refuse_foreign(OWN_FILES, worktree.main)
    if settings.command:
        first, *rest = settings.command
        # With a slash it is relative to where the server runs, whoever asks from wherever.
        program = str(worktree.main / first) if os.path.dirname(first) else first  # noqa: PTH120
        inside = worktree.main if program != first and not os.path.isabs(first) else None  # noqa: PTH117
        if programs.find(program, path, inside):
            return (program if os.path.dirname(first) else first, *rest)  # noqa: PTH120
        raise CliNotFoundError(
            f"inngest.command names {first!r}, which can't be run.",
            hint="Correct inngest.command in the configuration, or remove it.",
            details={"lookedFor": [program]},
        )
    looked: list[str] = []
    for folder in dict.fromkeys((worktree.root, worktree.main)):
        bin_folder = folder / "node_modules" / ".bin"
        looked.append(str(bin_folder / "inngest-cli"))
        if local := programs.find("inngest-cli", str(bin_folder), folder):
            return (local,)
    for name, words in LAUNCHERS:
        looked.append(f"{name} on the PATH")
        if found := programs.find(name, path):
            programs.refuse_foreign_project(found, worktree.main)
            return (found, *words)
    raise CliNotFoundError(
        f"No inngest-cli was found. Looked for: {', '.join(looked)}.",
        hint=f"Install it: `{INSTALL}`, or `pnpm add -D inngest-cli` and `pnpm approve-builds`. "
        "To try things out without it: `inv inngest.ensure --stand-in`.",
        details={"lookedFor": looked},
    )


def remedy(words: str) -> str | None:
    """Return what helps against a program's last words, None if they are not known ones."""
    return next((cure for known, cure in HINTS if re.search(known, words)), None)
