"""Which program runs `next dev`, and the words that it takes in the version that is installed.

What each version and each package manager does was measured with Next.js 14.2, 15.0, 15.2, 15.5
and 16.4, npm 11, pnpm 10 and yarn 1.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devservers.errors import CliNotFoundError
from devservers.nextjs.settings import Settings
from devservers.system import programs, untrusted_files
from devservers.worktree import Worktree

Version = tuple[int, int]
LARGEST = 1 << 20  # bytes of a package.json

# The lock file tells the package manager; how it runs a program of the project, and installs one.
# npx has to be told not to install: it would fetch the latest Next.js without asking.
MANAGERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("pnpm-lock.yaml", ("pnpm", "exec", "next"), "pnpm install"),
    ("yarn.lock", ("yarn", "run", "next"), "yarn install"),
    ("package-lock.json", ("npx", "--no-install", "next"), "npm ci"),
    ("", ("npx", "--no-install", "next"), "npm install"),
)

# What a server's last words mean, most telling first; matched only once it has ended.
HINTS = (
    (
        r"Another next dev server is already running",
        "Somebody started one for this folder in this moment: run `inv nextjs.ensure` again, "
        "which adopts it.",
    ),
    (
        r"using Turbopack, with a `webpack` config",
        "Set nextjs.turbopack to false in the configuration, or add a `turbopack` config.",
    ),
    (r"EADDRINUSE", "Something took its port in this moment: `inv ports.who` names it."),
    (
        r"Couldn't find any `pages` or `app` directory",
        "This worktree holds no Next.js app: nextjs.command can start one in another folder.",
    ),
    (
        r"[Nn]ode\.?js version .* is required|Unsupported engine",
        "This Next.js needs a newer Node.js: update it, or have the right one first on the PATH.",
    ),
    (
        r"Command \"next\" not found|npx canceled due to missing packages|Cannot find module",
        "Packages are missing: install the project's dependencies in this worktree.",
    ),
    (r"project is configured to use", "package.json asks for another package manager: use that."),
    (
        r"unknown option '--(turbopack|turbo|webpack)'",
        "This Next.js takes other flags: set nextjs.command in the configuration.",
    ),
)


def installed_version(app: Path, top: Path | None = None) -> Version | None:
    """Return major and minor of the Next.js that an app has, None if unknown.

    It is looked for in the node_modules of `app`, and of the folders above it up to `top`.
    """
    packages = (_package(folder / "node_modules" / "next") for folder in upwards(app, top))
    version = next((found["version"] for found in packages if "version" in found), None)
    parts = version.split(".")[:2] if isinstance(version, str) else []
    return (
        (int(parts[0]), int(parts[1]))
        if len(parts) == 2 and all(part.isdecimal() for part in parts)  # noqa: PLR2004 - major, minor
        else None
    )


def upwards(app: Path, top: Path | None) -> tuple[Path, ...]:
    """Return `app` and the folders above it up to `top` (None: none), nearest first."""
    above = app.parents if top else ()
    return (app, *(folder for folder in above if top and folder.is_relative_to(top)))


def find_command(
    settings: Settings, here: Worktree, port: int, env: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the argv of this worktree's server. Raises CliNotFoundError."""
    path = env.get("PATH", os.defpath)
    app = here.root / settings.cwd
    if not app.is_dir():
        raise CliNotFoundError(
            f"nextjs.cwd names {settings.cwd!r}, and there is no folder {app}.",
            hint="Correct nextjs.cwd in the configuration.",
            details={"lookedFor": [str(app)]},
        )
    if settings.command:
        return _own_command(settings, app, here, port, path)
    program = _program(app, here.root, path)
    version = installed_version(app, here.root)
    host = ("-H", settings.hostname) if settings.hostname != "localhost" else ()
    bundler = bundler_flags(version, turbopack=settings.turbopack)
    # Always -p: without a port Next.js moves to another one when its own is taken.
    return (*program, "dev", "-p", str(port), *host, *bundler)


def bundler_flags(version: Version | None, *, turbopack: bool) -> tuple[str, ...]:
    """Return the flags that choose the bundler; each is an error in some versions."""
    if version is None:
        return ()
    major, _ = version
    if turbopack:
        return ("--turbopack",) if major >= 15 else ("--turbo",)  # noqa: PLR2004 - renamed in 15
    return ("--webpack",) if major >= 16 else ()  # noqa: PLR2004 - Turbopack is the default since


def probe_path(version: Version | None) -> str:
    """Return what to ask for that compiles nothing and writes nothing to the log.

    The answer is 404 or 400: any HTTP status proves that the server serves. One that is about to
    give up (a second one for the folder, a broken configuration) closes the connection instead.
    """
    cheap = version is None or version >= (15, 5)  # before, it compiles the page for "not found"
    return "/_next/static/devservers.js" if cheap else "/_next/image"


def remedy(words: str) -> str | None:
    """Return what helps against a server's last words, None if they are not known ones."""
    return next((cure for known, cure in HINTS if re.search(known, words)), None)


def _own_command(
    settings: Settings, app: Path, here: Worktree, port: int, path: str
) -> tuple[str, ...]:
    words = tuple(
        word.replace("{port}", str(port)).replace("{hostname}", settings.hostname)
        for word in settings.command or ()
    )
    relative = bool(os.path.dirname(words[0])) and not os.path.isabs(words[0])  # noqa: PTH117, PTH120
    # With a slash it is relative to where the server runs, whoever asks from wherever.
    program = str(app / words[0]) if relative else words[0]
    if programs.find(program, path, here.root if relative else None):
        return words
    raise CliNotFoundError(
        f"nextjs.command names {words[0]!r}, which can't be run.",
        hint="Correct nextjs.command in the configuration, or remove it.",
        details={"lookedFor": [words[0]]},
    )


def _program(app: Path, top: Path, path: str) -> tuple[str, ...]:
    folders = upwards(app, top)
    for folder in folders:
        if found := programs.find("next", str(folder / "node_modules" / ".bin"), top):
            return (found,)
    words, install = next(
        (words, install)
        for lock, words, install in MANAGERS
        if not lock or any((folder / lock).is_file() for folder in folders)
    )
    looked = [str(folder / "node_modules" / ".bin" / "next") for folder in folders]
    looked.append(f"{words[0]} on the PATH")
    if not _is_app(app):
        raise CliNotFoundError(
            f"{app} is no Next.js project: its package.json doesn't name `next`.",
            hint="Run it in a worktree with a Next.js app at its top, or set nextjs.cwd or "
            "nextjs.command.",
            details={"lookedFor": [str(app / "package.json"), *looked]},
        )
    # A launcher without the package would install another version, or fail with less to say.
    if not any(map(_has_next, folders)):
        raise CliNotFoundError(
            f"Next.js is not installed in {app}.",
            hint=f"Run `{install}` there. (A link to another worktree's node_modules doesn't work "
            "with Turbopack; hard links do: `cp -al`.)",
            details={"lookedFor": looked},
        )
    launcher = programs.find(words[0], path)
    if launcher is None:
        raise CliNotFoundError(
            f"{app} uses {words[0]}, which is not on the PATH.",
            hint=f"Install {words[0]}, or set nextjs.command in the configuration.",
            details={"lookedFor": looked},
        )
    programs.refuse_foreign_project(launcher, app)
    return (launcher, *words[1:])


def _has_next(folder: Path) -> bool:
    return (folder / "node_modules" / "next").is_dir() or (folder / ".pnp.cjs").is_file()


def _is_app(root: Path) -> bool:
    package = _package(root)
    sections = (package.get(name) for name in ("dependencies", "devDependencies"))
    return any(isinstance(section, dict) and "next" in section for section in sections)


def _package(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads(untrusted_files.read(str(folder / "package.json"), LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
