"""Brought along: all that a checkout contributes to what a start executes or where it writes."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from devservers.errors import HooksUnusableError
from devservers.spec import ServerSpec
from devservers.system import launchers, untrusted_files
from devservers.trust.tracked_files import LINK, PROGRAM, Tracked
from devservers.worktree import Worktree

FORM = "devservers trust 1"
MOST_FILES = 20_000
MOST_BYTES = 1 << 29
LONGEST_SCRIPT = 1 << 20  # bytes; of what is longer, only the content counts
PYTHON = ".py"
IMPORTABLE = (PYTHON, ".pyc", ".so")
SHOWN = 5  # files of one folder of packages that are named one by one
# A word of a command or a script, as far as it may name a file.
WORD = re.compile(r"[^\s\"'`=,;:()<>|&${}\[\]*?!#\\]+")
ENDINGS = (
    *("", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx", ".json", ".sh", ".py"),
    *(f"/index.{kind}" for kind in ("js", "mjs", "cjs", "ts", "mts", "tsx")),
    *("/package.json", "/__init__.py", "/__main__.py"),
)


class Brought(NamedTuple):
    """What a checkout brought along: names for people, and a digest of all their contents."""

    names: tuple[str, ...]
    """Empty: nothing at all."""
    digest: str


def along(spec: ServerSpec, here: Worktree, argv: tuple[str, ...]) -> Brought:
    """Return what decides a start of `spec` that would execute `argv`.

    Raises HooksUnusableError where git can't tell what it tracks, or that is too much.
    """
    search = _Search(Tracked(here), spec)
    search.program(argv[0])
    keys = spec.brought.keys()
    given = [
        word for value in keys.values() for word in (value if isinstance(value, tuple) else ())
    ]
    search.words(given)
    search.launchers(argv, configured=any(key.endswith(".command") for key in keys))
    for folder in dict.fromkeys((*search.folders(str(spec.cwd)), str(here.root))):
        search.everything(os.path.realpath(os.path.join(folder, launchers.MODULES)))
    search.path(spec.env.get("PATH", ""))
    search.named(spec.brought.executes)
    for file in (spec.files.log, spec.files.pid, *spec.brought.writes):
        search.destination(str(file))
    facts = [FORM, spec.name, spec.behaviour.stand_in, sorted(keys.items()), sorted(search.found)]
    digest = hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()
    return Brought((*keys, *_shown({name for name, _ in search.found})), digest)


class _Search:
    """Collects tracked files, by their name in every worktree, with what of each counts."""

    def __init__(self, tracked: Tracked, spec: ServerSpec) -> None:
        self.tracked, self.spec = tracked, spec
        self.cwd = str(spec.cwd)
        self.found: set[tuple[str, str]] = set()
        self.read = 0
        self.seen: set[str] = set()

    def program(self, word: str) -> None:
        """Add the program, and the package or folder that it lies in."""
        import shutil  # noqa: PLC0415

        if os.path.dirname(word):
            file = os.path.join(self.cwd, word)
        else:
            file = shutil.which(word, path=self.spec.env.get("PATH", os.defpath)) or word
        self.add(os.path.abspath(file))

    def words(self, argv: Iterable[str]) -> None:
        """Add what the words of a command name, relative to where it runs."""
        for word in argv:
            for token in dict.fromkeys((word, *WORD.findall(word))):
                for path in _candidates(token, (self.cwd,)):
                    if os.path.lexists(path) and not os.path.isdir(path):
                        self.add(path)
                        self.modules(path, token)

    def launchers(self, argv: Iterable[str], *, configured: bool) -> None:
        """Add the files by which a checkout redirects the launchers among the words."""
        tokens = {os.path.basename(token) for word in argv for token in WORD.findall(word)}
        names = sorted(tokens & launchers.REDIRECTS.keys())
        for folder in self.folders(self.cwd) if names else ():
            for file in dict.fromkeys(one for name in names for one in launchers.REDIRECTS[name]):
                path = os.path.join(folder, file)
                if file == launchers.PACKAGE and not configured and "yarn" not in names:
                    self.package(path)
                else:
                    self.add(path)
            if "yarn" in names:
                self.everything(os.path.realpath(os.path.join(folder, ".yarn")))

    def package(self, path: str) -> None:
        """Add of a package.json what a launcher that is given a package's name reads of it."""
        if not self.tracked.has(path):
            return
        try:
            data = json.loads(untrusted_files.read(path, LONGEST_SCRIPT))
            telling = {key: data[key] for key in launchers.TELLING if key in data}
        except OSError:
            return
        except (ValueError, TypeError, RecursionError):
            self.add(path)
            return
        if telling:
            text = json.dumps(telling, sort_keys=True)
            self.found.add((self.tracked.name(path), text))
            self.follow(path, text)

    def path(self, value: str) -> None:
        """Add the programs in those folders of a PATH that lie in a checkout."""
        for entry in value.split(os.pathsep) if value else ():
            folder = os.path.realpath(os.path.join(self.cwd, entry))
            for tracked in self.tracked.below(folder):
                runs = tracked.mode in (PROGRAM, LINK)
                if runs and os.path.dirname(tracked.path) == folder:
                    self.add(tracked.path)

    def named(self, patterns: Iterable[str]) -> None:
        """Add the files with such names that the program looks for where it runs."""
        patterns = tuple(patterns)
        for tracked in self.tracked.below(os.path.realpath(self.cwd)) if patterns else ():
            name = os.path.relpath(tracked.path, self.cwd)
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                self.add(tracked.path)

    def everything(self, folder: str) -> None:
        """Add all files in and under a real folder."""
        if folder not in self.seen:
            self.seen.add(folder)
            for tracked in self.tracked.below(folder):
                self.add(tracked.path, follow=False)

    def destination(self, file: str) -> None:
        """Add where a tracked link leads what is written to `file`; its content doesn't count."""
        for step in untrusted_files.steps(file):
            if self.tracked.has(step):
                self.found.add((f"{self.tracked.name(step)} (written)", _target(step)))

    def add(self, path: str, *, follow: bool = True) -> None:
        """Add a file, and the links that lead to it, as far as git tracks them."""
        *links, last = untrusted_files.steps(path)
        for link in links:
            if self.tracked.has(link):
                self.found.add((self.tracked.name(link), _target(link)))
        if not self.tracked.has(last) or last in self.seen or not os.path.lexists(last):
            return
        if os.path.isdir(last):
            self.everything(last)
            return
        self.seen.add(last)
        name = self.tracked.name(last)
        self.found.add((name, self._content(last)))
        if len(self.found) > MOST_FILES:
            _too_much(f"more than {MOST_FILES} files")
        if not follow:
            return
        if launchers.MODULES in name.split("/"):
            self.packages(os.path.dirname(last))
        else:
            self.follow(last)

    def follow(self, file: str, text: str | None = None) -> None:
        """Add what a script names: files beside it, from where it runs, and from the top."""
        top = self.tracked.top_of(file) or self.cwd
        beside = (os.path.dirname(file), self.cwd, top, os.path.join(top, "src"))
        if text is None:
            try:
                text = untrusted_files.read(file, LONGEST_SCRIPT).decode("utf-8", "surrogateescape")
            except OSError:
                return
        for token in dict.fromkeys(WORD.findall(text)):
            for path in _candidates(token, dict.fromkeys(beside)):
                if self.tracked.has(path):
                    self.add(path)
                    if not file.endswith(PYTHON):  # whose own imports begin where it began
                        self.modules(path, token)

    def modules(self, script: str, called: str) -> None:
        """Add what a script may load before anything else of that name.

        Python looks beside the script first, also where its own library asks, or where it runs if
        the script is called by a module's name; Node.js in the `node_modules` beside it and above.
        """
        folder = os.path.dirname(os.path.realpath(script))
        self.packages(folder)
        if not script.endswith(PYTHON):
            return
        place = folder if called.endswith(PYTHON) else os.path.realpath(self.cwd)
        if (key := f"{place}/*{PYTHON}") in self.seen:
            return
        self.seen.add(key)
        for tracked in self.tracked.below(place):
            head, _, tail = os.path.relpath(tracked.path, place).partition(os.sep)
            if tail.startswith("__init__.") or (not tail and head.endswith(IMPORTABLE)):
                self.add(tracked.path)

    def packages(self, folder: str) -> None:
        """Add the packages that Node.js finds for what lies in a real folder."""
        for place in self.folders(folder):
            self.everything(os.path.realpath(os.path.join(place, launchers.MODULES)))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield a folder and those above it, as far as they belong to a worktree."""
        while self.tracked.top_of(folder) is not None:
            yield folder
            folder = os.path.dirname(folder)

    def _content(self, file: str) -> str:
        total = hashlib.sha256()
        try:
            fd = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with open(fd, "rb", buffering=0) as stream:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return "no file"
                while block := stream.read(1 << 20):
                    total.update(block)
                    self.read += len(block)
                    if self.read > MOST_BYTES:
                        _too_much(f"more than {MOST_BYTES >> 20} MB")
        except OSError as error:
            return f"unreadable: {error.errno}"
        return total.hexdigest()


def _candidates(token: str, folders: Iterable[str]) -> Iterator[str]:
    """Yield the paths that a word may mean: as it is, without its alias, as a module's name."""
    bare = token.removeprefix("@").removeprefix("~").lstrip("/")
    if not bare.strip("./") or len(token) > 1000:  # noqa: PLR2004 - longer than a path
        return
    spellings = [bare, re.sub(r"\.[cm]?js$", "", bare)]
    if "/" not in bare and re.fullmatch(r"\w+(\.\w+)*", bare):
        names = bare.split(".")
        spellings.append("/".join(names))  # python -m tools.server
        # The packages that Python imports on the way.
        spellings += ["/".join((*names[:count], "__init__")) for count in range(1, len(names))]
    if os.path.isabs(token):
        yield os.path.normpath(token)
    for folder in folders:
        for spelling in dict.fromkeys(spellings):
            for ending in ENDINGS:
                yield os.path.normpath(os.path.join(folder, spelling + ending))


def _target(step: str) -> str:
    try:
        return f"-> {os.readlink(step)}"
    except OSError:
        return "file"


def _shown(found: set[str]) -> Iterator[str]:
    """Yield the names of files, and how many there are in a folder of packages."""
    packages = [name for name in found if launchers.MODULES in name.split("/")]
    many = len(packages) > SHOWN
    yield from (name for name in sorted(found) if not many or name not in packages)
    if many:
        yield f"{launchers.MODULES} ({len(packages)} files)"


def _too_much(what: str) -> None:
    raise HooksUnusableError(
        f"This checkout brings along {what} that decide what a start executes: too many to check.",
        hint="Start the server by hand: `inv dev.up`.",
    )
