"""Warm proof: what the last proof of a server rested on, so that it can be repeated at once.

Reading the configuration and the record costs three times the start of Python, nearly all of it
imports. The receipt says which files they were, as git's index does: device, inode, size, time.
While none of those has changed, the answer hangs on live facts only, which are asked again each
time: the same processes, the same socket, an answer over HTTP. A receipt never claims anything.

It lies in the worktree's git folder, which git removes with the worktree. This module imports
nothing of typing, pathlib or json: that is all its use. Without /proc psutil is asked of those
processes alone, and importing it is most of what a warm call costs.
"""

import os
import stat
import time

from devservers.system import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from devservers.lifecycle.record import ServerRecord
    from devservers.spec import ServerSpec

FORM = "devservers receipt 1"
SHORT_LIVED = f"{FORM}, for a while"  # where idle servers are to be looked for now and then
LIFE = 600.0  # seconds that such a one is good for
PLACE = "devservers"
LARGEST = 64 * 1024  # characters
ENVIRONMENT = ("DEVSERVERS_CONFIG", "HOME")  # what the configuration and its paths depend on


def is_good(folder: str, name: str) -> bool:
    """Return whether the server `name` is proved to run as the worktree at `folder` wants it.

    False says only that it could not be proved this way.
    """
    lines = kept(folder, f"{name}.receipt")
    if len(lines) < 5 or lines[1] != surroundings(folder):  # noqa: PLR2004 - see write
        return False
    if lines[0] != FORM and not (lines[0] == SHORT_LIVED and _is_young(folder, name)):
        return False
    if not are_unchanged(lines[4:]):
        return False
    try:
        processes, question = lines[2].split("\t"), lines[3].split("\t")
        lives = _lives if procfs.HAS_PROC else _lives_by_psutil
        good = lives(processes, question) and _answers(question)
    except (ValueError, IndexError):
        return False
    if good:
        _note_use(folder, name)
    return good


def are_unchanged(lines: list[str]) -> bool:
    """Return whether these lines of `sign`, and an empty one at their end, are true and whole."""
    *inputs, end = lines or ["?"]
    return not end and all(signature(path) == seen for seen, _, path in map(_split, inputs))


def write(  # noqa: PLR0913 - all that a proof rests on
    git_dir: str,
    folder: str,
    spec: "ServerSpec",
    record: "ServerRecord",
    inputs: "Iterable[str]",
    *,
    short_lived: bool = False,
) -> None:
    """Note down what `record` was proved by; `inputs` are lines of `sign`, from before the proof.

    With `short_lived` the whole way is gone again after LIFE seconds. What can't be noted (a
    read-only folder) is left: it only saves time.
    """
    listener, ready = record.listener, spec.ready
    path, worst = getattr(ready, "path", None), getattr(ready, "worst", 0)
    if listener is None or path is None:  # only over HTTP is it asked here
        return
    if procfs.HAS_PROC and not listener.inode:
        return
    own, its = record.process, listener.process
    processes = (own.pid, own.started, its.pid, its.started, listener.fd, listener.inode)
    question = (listener.address, record.port, path, worst)
    facts = ("\t".join(map(str, words)) for words in (processes, question))
    form = SHORT_LIVED if short_lived else FORM
    lines = [form, surroundings(folder), *facts, *inputs, ""]
    keep(git_dir, f"{spec.name}.receipt", lines)


def keep(git_dir: str, name: str, lines: list[str]) -> None:
    """Keep these lines for `kept`; what can't be kept is left."""
    path = _file(git_dir, name)
    new = f"{path}.{os.getpid()}"
    try:
        data = "\n".join(lines).encode(errors="surrogateescape")
        if data.count(b"\n") != len(lines) - 1:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)  # never into what is there
        with open(fd, "wb") as stream:
            stream.write(data)
        os.replace(new, path)  # noqa: PTH105
    except (OSError, ValueError):
        return


def kept(folder: str, name: str) -> list[str]:
    """Return the lines of a file that `keep` wrote for the worktree at `folder`, [] if none can."""
    git_dir = _git_dir(folder)
    return _lines(_file(git_dir, name)) if git_dir is not None else []


def sign(paths: "Iterable[str]") -> list[str]:
    """Return one line a file: its signature and its path."""
    return [f"{signature(path)}\t{path}" for path in paths]


def signature(path: str) -> str:
    """Return what changes when a file is written, replaced, removed or made a link."""
    try:
        info = os.lstat(path)
        found = _numbers(info)
        if stat.S_ISLNK(info.st_mode):
            found += _numbers(os.stat(path))  # noqa: PTH116 - no pathlib here
    except FileNotFoundError:
        return "-" if not os.path.lexists(path) else "broken"
    except OSError as error:
        return f"error {error.errno}"
    return " ".join(map(str, found))


def _numbers(info: os.stat_result) -> tuple[int, ...]:
    kind = (info.st_mode, info.st_uid)
    return (*kind, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _is_young(folder: str, name: str) -> bool:
    try:
        file = _file(_git_dir(folder) or "", f"{name}.receipt")
        return 0 <= time.time() - os.lstat(file).st_mtime < LIFE
    except OSError:
        return False


def _note_use(folder: str, name: str) -> None:
    """Do what lifecycle/used.py does, where that has been done before."""
    try:
        os.utime(_file(_git_dir(folder) or "", f"{name}.used"), follow_symlinks=False)
    except (OSError, NotImplementedError):
        return


def surroundings(folder: str) -> str:
    """Return the folder and the environment that what is kept depends on, in a line."""
    values = (os.environ.get(name, "") for name in ENVIRONMENT)
    return "\t".join((folder, *values))


def _git_dir(folder: str) -> str | None:
    entry = f"{folder}/.git"
    try:
        with open(entry, encoding="utf-8", errors="surrogateescape", opener=_open) as stream:
            pointer = stream.read(4096).strip()
    except IsADirectoryError:
        return entry
    except OSError:
        return None
    head, _, target = pointer.partition("gitdir: ")
    return os.path.join(folder, target) if not head else None  # noqa: PTH118


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", opener=_open) as stream:
            if os.fstat(stream.fileno()).st_uid != os.geteuid():
                return []  # somebody else's word, with an address to ask
            return stream.read(LARGEST).split("\n")
    except (OSError, ValueError):
        return []


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in its place holds nobody up


def _file(git_dir: str, name: str) -> str:
    return f"{git_dir}/{PLACE}/{name}"


def _split(line: str) -> tuple[str, str, str]:
    return line.partition("\t")


def _lives(facts: list[str], _: list[str]) -> bool:
    pid, started, listener, its_start, fd, inode = facts
    same = all(
        (fields := procfs.stat_fields(int(number))) is not None
        and procfs.start_of(fields) == start
        and not procfs.is_elsewhere(int(number))
        for number, start in ((pid, started), (listener, its_start))
    )
    # One that can't be read is "", too.
    return same and bool(inode) and procfs.socket_inode(int(listener), int(fd)) == inode


def _lives_by_psutil(facts: list[str], question: list[str]) -> bool:
    import gc  # noqa: PLC0415 - as below

    from devservers.system import by_psutil  # noqa: PLC0415 - only where there is no /proc

    pid, started, listener, its_start, fd, _ = facts
    address, port, *_ = question
    gc.disable()  # to go through what psutil brings, now and at the end, takes half of its import
    try:
        processes = {(pid, started), (listener, its_start)}
        alive = all(by_psutil.lives(int(one), its) for one, its in processes)
        return alive and by_psutil.listens(int(listener), int(fd), address, int(port))
    finally:
        gc.freeze()
        gc.enable()


def _answers(facts: list[str]) -> bool:
    from devservers.system import http_status  # noqa: PLC0415 - socket is the dearest of all imports here

    address, port, path, worst = facts
    status = http_status.first_status(address, int(port), path, http_status.TIMEOUT)
    return status is not None and status <= int(worst)
