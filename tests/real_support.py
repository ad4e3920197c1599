"""The real Next.js and the real Inngest SDK, from npm, installed once for all runs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from next_support import NextWorld

VERSIONS = {"next": "16.4.6", "react": "19.3.1", "react-dom": "19.3.1", "inngest": "4.24.0"}
PACKAGE = {"name": "app", "private": True, "dependencies": VERSIONS}
LAYOUT = """export default function Layout({ children }) {
  return <html><body>{children}</body></html>;
}
"""
PAGE = "export default function Page() { return <p>this is WHICH</p>; }\n"
ROUTE = """import { serve } from "inngest/next";
import { Inngest } from "inngest";
const inngest = new Inngest({ id: "flowt" });
const hello = inngest.createFunction(
  { id: "hello", triggers: [{ event: "demo/hello" }] }, async () => "hello");
export const { GET, POST, PUT } = serve({ client: inngest, functions: [hello] });
"""


def cache() -> Path:
    """Return where the packages are kept between runs, one folder for each set of versions."""
    system = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("DEVSERVERS_TEST_CACHE") or system / "devservers-tests")
    return folder / "-".join(f"{name}@{version}" for name, version in VERSIONS.items())


def installed() -> Path:
    """Return a folder with node_modules; skip where there is no npm, or it reaches no registry."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "install.lock"):  # tests run in several processes
        if not (folder / "node_modules").exists():
            _install(folder)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    loud = "THE REAL NEXT.JS WAS NOT TESTED"
    if npm is None:
        pytest.skip(f"{loud}: there is no npm on the PATH")
    ping = subprocess.run([npm, "ping"], capture_output=True, text=True, timeout=60, check=False)
    if ping.returncode:
        pytest.skip(f"{loud}: npm can't reach its registry: {ping.stderr[-300:]}")
    half = folder / "half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    (half / "package.json").write_text(json.dumps(PACKAGE))
    words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(words, cwd=half, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (half / "package-lock.json").rename(folder / "package-lock.json")
    (half / "node_modules").rename(folder / "node_modules")


def make_real(world: NextWorld, modules: Path, cwd: str = ".") -> None:
    """Turn the world's worktrees into Next.js apps with an Inngest endpoint.

    With a `cwd` into npm workspaces, with the app there and its packages at the top.
    """
    world.configure(nextjs={"command": None, "cwd": cwd}, command=world.fake())
    workspaces = {"name": "mono", "private": True, "workspaces": [cwd]}
    (world.main / "package.json").write_text(json.dumps(workspaces))
    (world.main / cwd).mkdir(parents=True, exist_ok=True)
    (world.main / cwd / "package.json").write_text(json.dumps(PACKAGE))
    shutil.copy(modules.parent / "package-lock.json", world.main)
    for name, text in (("layout.jsx", LAYOUT), ("api/inngest/route.js", ROUTE)):
        file = world.main / cwd / "app" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (world.main / cwd / "app/page.jsx").write_text(PAGE.replace("WHICH", "main"))
    world.git("add", ".", cwd=world.main)
    world.git("commit", "-q", "-m", "App", cwd=world.main)
    for tree in (world.a, world.b):
        (tree / ".gitignore").unlink()
        world.git("reset", "-q", "--hard", "main", cwd=tree)
        (tree / cwd / "app/page.jsx").write_text(PAGE.replace("WHICH", tree.name))
    for tree in (world.main, world.a, world.b):
        give_modules(tree, modules)


def give_modules(tree: Path, modules: Path) -> None:
    """Give a worktree its own node_modules, as hard links: symbolic ones break Turbopack."""
    shutil.copytree(modules, tree / "node_modules", symlinks=True, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # the cache is on another file system
        shutil.copy2(source, target, follow_symlinks=False)


__all__ = ["give_modules", "installed", "make_real"]
