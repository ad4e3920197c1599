"""The state on disk: the record, the pid file and the lock, whatever has happened to them."""

import json
import math
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devservers.errors import StateUnusableError
from devservers.lifecycle import state
from devservers.lifecycle.record import LARGEST_PID, ServerRecord, dump, parse
from devservers.system.identity import Identity, Listener

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SAME_FILE = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RECORD = ServerRecord(
    process=Identity(4242, "boot:1"),
    port=8288,
    argv=("npx", "inngest-cli", "dev"),
    urls=("http://localhost:5001/api/inngest",),
    log_file="/repo/inngest-system.log",
    log_offset=7,
    cwd="/repo",
    worktree="/repo/wt-a",
    branch="feat/x",
    started_at=1763819000.125,
    listener=Listener(Identity(4244, "boot:2"), "127.0.0.1", 5, "socket:[99]"),
)

# Takes the lock, says so, and holds it until its stdin ends.
HOLDER = """
import sys
from pathlib import Path
from devservers.lifecycle import state
with state.lock(Path(sys.argv[1]), 5, "its start") as held:
    print("held" if held else "busy", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "server.pid"


@pytest.fixture
def holder(pid_file: Path) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-c", HOLDER, str(pid_file)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        try:
            assert line(child.stdout) == "held"
            yield child
        finally:
            child.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def refused(pid_file: Path, operation: str, *arguments: object) -> StateUnusableError:
    with pytest.raises(StateUnusableError) as caught:
        getattr(state, operation)(pid_file, *arguments)
    assert caught.value.hint
    return caught.value


def put_in_the_way(path: Path, kind: str) -> str:
    """Make `path` something that is not our own file; return what is to be said of it."""
    if kind == "link":
        target = path.with_name("target")
        target.write_text("untouched")
        path.symlink_to(target)
        return f"is a link to {target}"
    if kind == "broken link":
        path.symlink_to("/nowhere/at/all")
        return "is a link to /nowhere/at/all"
    if kind == "folder":
        path.mkdir()
        return "is a folder"
    if kind == "pipe":
        os.mkfifo(path)
        return "is not a file"
    path.write_text("4242\n")
    os.chown(path, NOBODY, NOBODY)
    return f"belongs to user id {NOBODY}, not to you (user id {os.geteuid()})"


IN_THE_WAY = [
    "link",
    "broken link",
    "folder",
    "pipe",
    pytest.param("someone else's", marks=ROOT_ONLY),
]


def test_a_record_is_read_as_it_was_written(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    assert state.read(pid_file) == RECORD
    assert state.read_pid(pid_file) == 4242


def test_the_pid_file_holds_the_decimal_pid_and_a_newline(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    assert pid_file.read_bytes() == b"4242\n"


def test_what_is_written_is_for_this_user_alone(pid_file: Path) -> None:
    old = os.umask(0)
    try:
        state.write(pid_file, RECORD)
        with state.lock(pid_file, 0, "start"):
            pass
    finally:
        os.umask(old)
    for path in (pid_file, state.record_file(pid_file), state.lock_file(pid_file)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_nothing_but_pid_file_and_record_is_left_by_a_write(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    assert {path.name for path in pid_file.parent.iterdir()} == {"server.pid", "server.pid.json"}


def test_a_write_replaces_what_was_there_and_never_changes_it_in_place(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    with pid_file.open() as reader, state.record_file(pid_file).open() as record_reader:
        state.write(pid_file, RECORD._replace(process=Identity(4300, "boot:9")))
        assert reader.read() == "4242\n"
        assert json.load(record_reader)["pid"] == 4242
    assert state.read_pid(pid_file) == 4300


def test_what_a_killed_writer_left_is_overwritten(pid_file: Path) -> None:
    for path in (pid_file, state.record_file(pid_file)):
        path.with_name(f"{path.name}.new").write_text("half a rec")
    state.write(pid_file, RECORD)
    assert state.read(pid_file) == RECORD
    assert {path.name for path in pid_file.parent.iterdir()} == {"server.pid", "server.pid.json"}


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(pid_file: Path) -> None:
    victim = pid_file.with_name("victim")
    victim.write_text("untouched")
    pid_file.with_name("server.pid.new").symlink_to(victim)
    state.write(pid_file, RECORD)
    assert victim.read_text() == "untouched"
    assert not pid_file.is_symlink()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stays_in_the_place_of_an_old_temporary_file_is_not_in_the_way(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    theirs = pid_file.with_name("theirs")
    theirs.write_text("untouched")
    for path in (pid_file, state.record_file(pid_file)):
        new = path.with_name(f"{path.name}.new")
        new.symlink_to(theirs) if kind == "link" else new.write_text("untouched")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a stranger's, in a sticky folder
    state.write(pid_file, RECORD)
    assert state.read(pid_file) == RECORD
    assert theirs.read_text() == "untouched"
    assert state.record_file(pid_file).with_name("server.pid.json.new").read_text() == "untouched"


def test_a_write_that_fails_half_way_leaves_what_was_there(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(pid_file, RECORD)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    error = refused(pid_file, "write", RECORD._replace(port=9))
    assert "No space left on device" in error.message
    assert state.read(pid_file) == RECORD
    assert state.read_pid(pid_file) == 4242


def test_no_pid_is_named_whose_record_could_not_be_written(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target == state.record_file(pid_file):
            raise OSError(28, "No space left on device", str(self), None, str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    refused(pid_file, "write", RECORD)
    assert not state.exists(pid_file)


def test_without_files_there_is_no_record_and_no_pid(pid_file: Path) -> None:
    assert state.read(pid_file) is None
    assert state.read_pid(pid_file) is None
    assert not state.exists(pid_file)


@pytest.mark.parametrize("name", ["server.pid", "server.pid.json"])
def test_either_file_is_enough_to_exist(pid_file: Path, name: str) -> None:
    pid_file.with_name(name).symlink_to("nowhere")
    assert state.exists(pid_file)


@pytest.mark.parametrize(
    ("content", "pid"),
    [
        (b"4242\n", 4242),
        (b"4242", 4242),
        (b"  4242 \r\n\n", 4242),
        (b"0042\n", 42),
        (b"4194304\n", 4194304),
        (b"", None),
        (b"\n", None),
        (b"0\n", None),
        (b"1\n", None),
        (b"-1\n", None),
        (b"-4242\n", None),
        (b"+4242\n", None),
        (b"4_2\n", None),
        (b"4242.0\n", None),
        (b"0x10\n", None),
        (b"4194305\n", None),
        (b"99999999999999999999\n", None),
        (b"1" * 100_000, None),
        (b"12 34\n", None),
        (b"12\n34\n", None),
        (b"12" + b"\n" * 100 + b"34", None),
        (b"pid\n", None),
        (b"\xff\xfe", None),
        (b"12\0\n", None),
        ("١٢٣\n".encode(), None),
    ],
    ids=lambda part: (
        (repr(part) if len(part) < 20 else f"{part[:9]!r}…") if isinstance(part, bytes) else ""
    ),
)
def test_only_a_plain_pid_that_can_be_a_server_is_read(
    pid_file: Path, content: bytes, pid: int | None
) -> None:
    pid_file.write_bytes(content)
    assert state.read_pid(pid_file) == pid


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_a_pid_file_that_is_not_our_own_file_is_refused(pid_file: Path, kind: str) -> None:
    said = put_in_the_way(pid_file, kind)
    for operation, arguments in (("read_pid", ()), ("write", (RECORD,)), ("remove", (None,))):
        error = refused(pid_file, operation, *arguments)
        assert f"{pid_file} {said}" in error.message
        assert error.details == {"file": str(pid_file)}
    assert os.path.lexists(pid_file)
    assert not state.record_file(pid_file).exists()  # no half of a write, no half of a removal


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_a_record_that_is_not_our_own_file_is_refused(pid_file: Path, kind: str) -> None:
    path = state.record_file(pid_file)
    said = put_in_the_way(path, kind)
    for operation, arguments in (("read", ()), ("write", (RECORD,)), ("remove", (None,))):
        assert f"{path} {said}" in refused(pid_file, operation, *arguments).message
    assert os.path.lexists(path)


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_a_lock_that_is_not_our_own_file_is_refused(pid_file: Path, kind: str) -> None:
    path = state.lock_file(pid_file)
    said = put_in_the_way(path, kind)
    with pytest.raises(StateUnusableError) as caught, state.lock(pid_file, 0, "start"):
        pytest.fail("the lock was taken")
    assert f"{path} {said}" in caught.value.message


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_put_there_right_after_the_look_is_neither_followed_nor_waited_for(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    record = state.record_file(pid_file)
    put_in_the_way(record, kind)
    if kind == "link":
        record.with_name("target").write_text(dump(RECORD))
    monkeypatch.setattr(state, "_check", lambda *_: True)
    if kind == "link":
        assert "can't be read" in refused(pid_file, "read").message
    else:
        assert state.read(pid_file) is None


def test_half_a_signature_is_none(pid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:-3], at))
    with state.lock(pid_file, 0, "boot:4242") as held:
        assert held
        assert state.lock_holder(pid_file) is None, "`boot:4` would name another process"


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "no" / "such" / "server.pid"
    error = refused(pid_file, "write", RECORD)
    assert f"there is no folder {pid_file.parent}" in error.message
    assert error.hint == f"Create it: mkdir -p {pid_file.parent}"


def test_a_lock_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the place of a folder")
    with pytest.raises(StateUnusableError), state.lock(tmp_path / "file" / "pid", 0, "start"):
        pytest.fail("the lock was taken")


def test_remove_takes_pid_file_and_record_away_and_leaves_the_lock(pid_file: Path) -> None:
    with state.lock(pid_file, 0, "start"):
        state.write(pid_file, RECORD)
        state.remove(pid_file, RECORD)
    assert [path.name for path in pid_file.parent.iterdir()] == ["server.pid.lock"]


def test_remove_leaves_a_record_that_is_not_the_one_that_was_read(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    for other in (None, RECORD._replace(process=Identity(4242, "boot:2"))):
        state.remove(pid_file, other)
        assert state.read(pid_file) == RECORD
        assert state.read_pid(pid_file) == 4242


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"{}"], ids=str)
def test_remove_cleans_up_where_no_record_can_be_read(
    pid_file: Path, content: bytes | None
) -> None:
    pid_file.write_text("4242\n")
    if content is not None:
        state.record_file(pid_file).write_bytes(content)
    state.remove(pid_file, None)
    assert not list(pid_file.parent.iterdir())


def test_remove_is_no_error_where_nothing_is_there(pid_file: Path) -> None:
    state.remove(pid_file, None)


RECORDS = st.builds(
    ServerRecord,
    process=st.builds(Identity, st.integers(2, 1 << 22), st.text(min_size=1, max_size=9)),
    port=st.integers(1, 65535),
    argv=st.lists(st.text(max_size=9)).map(tuple),
    urls=st.lists(st.text(max_size=9)).map(tuple),
    log_file=st.none() | st.text(min_size=1, max_size=9),
    log_offset=st.integers(0, 1 << 62),
    cwd=st.text(min_size=1, max_size=9),
    worktree=st.none() | st.text(min_size=1, max_size=9),
    branch=st.none() | st.text(min_size=1, max_size=9),
    started_at=st.floats(0, 1e10),
    listener=st.none()
    | st.builds(
        Listener,
        st.builds(Identity, st.integers(2, 1 << 22), st.text(min_size=1, max_size=9)),
        st.sampled_from(["127.0.0.1", "::1", "0.0.0.0", "::"]),  # noqa: S104 - not bound
        st.integers(-1, 1 << 20),
        st.text(max_size=9),
    ),
    adopted=st.booleans(),
    stand_in=st.booleans(),
)


def has_nul(record: ServerRecord) -> bool:
    return "\\u0000" in json.dumps(record)


@SAME_FILE
@given(record=RECORDS.filter(lambda record: not has_nul(record)))
@example(record=RECORD)
@example(record=RECORD._replace(cwd=os.fsdecode(b"/not/utf-8/\xff")))
def test_any_record_that_can_be_written_is_read_as_it_was(
    pid_file: Path, record: ServerRecord
) -> None:
    state.write(pid_file, record)
    assert state.read(pid_file) == record
    assert state.read_pid(pid_file) == record.process.pid


def written() -> dict[str, object]:
    """Return the JSON of RECORD as it stands in the file."""
    return json.loads(dump(RECORD))


def is_sane(record: ServerRecord) -> bool:
    listener = record.listener
    processes = [record.process, *([listener.process] if listener else [])]
    paths = [record.cwd, record.log_file, record.worktree, record.branch]
    texts = [*record.argv, *record.urls, *(path for path in paths if path is not None)]
    assert all("\0" not in os.fsencode(text).decode("latin-1") for text in texts)
    assert math.isfinite(record.started_at)
    assert record.log_offset >= 0
    assert (record.port is None and listener is None) or 1 <= (record.port or 0) <= 65535
    assert all(type(flag) is bool for flag in (record.adopted, record.stand_in))
    return all(2 <= process.pid <= LARGEST_PID and process.started for process in processes)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(
    data=st.binary()
    | ANY_JSON.map(lambda value: json.dumps(value).encode())
    | st.integers(0, 700).map(lambda size: json.dumps(written()).encode()[:size])
)
@example(data=b"")
@example(data=b"null")
@example(data=b"[" * 100_000)
@example(data=b"1" * 5000)
@example(data=json.dumps(written()).encode("utf-16"))
def test_any_bytes_are_no_record_or_a_sane_one(data: bytes) -> None:
    record = parse(data)
    assert record is None or is_sane(record)


@settings(deadline=None, max_examples=150)
@given(key=st.sampled_from([*written(), "listener.pid", "listener.fd"]), value=ANY_JSON)
@example(key="pid", value=0)
@example(key="pid", value=1)
@example(key="pid", value=True)
@example(key="started", value="")
@example(key="port", value=8288.0)
@example(key="port", value=10**400)
@example(key="startedAt", value=10**400)
@example(key="startedAt", value=math.nan)
@example(key="startedAt", value=math.inf)
@example(key="startedAt", value=-1)
@example(key="logFile", value="a\0b")
@example(key="logFile", value="\ud800")
@example(key="argv", value="abc")
@example(key="urls", value=["a", None])
@example(key="adopted", value=1)
@example(key="listener", value=[])
@example(key="listener.pid", value=1)
def test_a_record_with_one_field_changed_is_none_or_a_sane_one(key: str, value: object) -> None:
    raw = written()
    outer, _, inner = key.partition(".")
    if inner:
        part = raw[outer]
        assert isinstance(part, dict)
        part[inner] = value
    else:
        raw[outer] = value
    record = parse(json.dumps(raw).encode())
    assert record is None or is_sane(record)


@pytest.mark.parametrize("key", sorted({*written()} - {"ready"}))  # which 0.1 did not write
def test_a_record_without_one_of_its_fields_is_none(key: str) -> None:
    raw = written()
    del raw[key]
    assert parse(json.dumps(raw).encode()) is None


def test_a_record_with_a_field_of_a_later_version_is_read() -> None:
    assert parse(json.dumps({**written(), "later": 1}).encode()) == RECORD


def test_a_record_that_is_not_ours_is_read_as_none(pid_file: Path) -> None:
    state.record_file(pid_file).write_text("garbage")
    assert state.read(pid_file) is None


def test_a_huge_record_is_none_and_not_read_whole(pid_file: Path) -> None:
    state.write(pid_file, RECORD)
    with state.record_file(pid_file).open("r+b") as stream:
        stream.truncate(1 << 33)
    assert state.read(pid_file) is None


@pytest.mark.usefixtures("holder")
def test_the_lock_excludes_another_process(pid_file: Path) -> None:
    with state.lock(pid_file, 0, "mine") as held:
        assert not held


@pytest.mark.usefixtures("holder")
def test_the_wait_for_the_lock_is_bounded(pid_file: Path) -> None:
    begun = time.monotonic()
    with state.lock(pid_file, 0.3, "mine") as held:
        assert not held
    assert 0.3 <= time.monotonic() - begun < 1.5


@pytest.mark.usefixtures("holder")
def test_who_waits_for_the_lock_leaves_the_processor_to_its_holder(pid_file: Path) -> None:
    tries: list[str] = []
    watching = True

    def note(event: str, _words: object) -> None:
        if watching and event == "fcntl.flock":
            tries.append(event)

    sys.addaudithook(note)  # for good, so it is told when to stop
    with state.lock(pid_file, 2, "mine") as held:
        watching = False
        assert not held
    assert 5 < len(tries) < 60, "a hundred a second, of each of two hundred, stop the machine"


def test_the_lock_is_had_when_its_holder_lets_go(
    pid_file: Path, holder: "subprocess.Popen[str]"
) -> None:
    assert holder.stdin is not None
    holder.stdin.close()
    with state.lock(pid_file, 10, "mine") as held:
        assert held


def test_the_lock_dies_with_its_holder(pid_file: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    with state.lock(pid_file, 0, "mine") as held:
        assert held


def test_the_holder_of_the_lock_is_named(pid_file: Path, holder: "subprocess.Popen[str]") -> None:
    found = state.lock_holder(pid_file)
    assert found is not None
    assert found.process == Identity(holder.pid, "its start")
    assert time.time() - 30 < found.since <= time.time()


def test_one_who_does_not_get_the_lock_does_not_sign_it(
    pid_file: Path, holder: "subprocess.Popen[str]"
) -> None:
    with state.lock(pid_file, 0.05, "mine") as held:
        assert not held
    found = state.lock_holder(pid_file)
    assert found is not None
    assert found.process.pid == holder.pid


def test_a_shorter_signature_replaces_the_whole_of_a_longer_one(pid_file: Path) -> None:
    state.lock_file(pid_file).write_text("9" * 500)
    with state.lock(pid_file, 0, "s"):
        found = state.lock_holder(pid_file)
    assert found is not None
    assert found.process == Identity(os.getpid(), "s")


@pytest.mark.parametrize(
    "content",
    [b"", b"1", b"1 2", b"x 2 y", b"1 x y", b"\xff\xfe\xff", b"1 nan y", b"1 inf y"],
    ids=repr,
)
def test_a_lock_that_is_not_signed_names_nobody(pid_file: Path, content: bytes) -> None:
    state.lock_file(pid_file).write_bytes(content)
    assert state.lock_holder(pid_file) is None


def test_a_lock_that_is_not_there_names_nobody(pid_file: Path) -> None:
    assert state.lock_holder(pid_file) is None


def test_the_lock_file_is_never_removed_or_replaced(pid_file: Path) -> None:
    with state.lock(pid_file, 0, "mine"):
        pass
    with state.lock_file(pid_file).open() as first:  # kept open, its number isn't used again
        for _ in range(3):
            with state.lock(pid_file, 0, "mine") as held:
                assert held
            assert os.path.samestat(os.fstat(first.fileno()), state.lock_file(pid_file).stat())


def test_the_lock_is_asked_for_without_removal_and_without_a_fallback(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock  # noqa: PLC0415 - as where it is used

    asked: dict[str, object] = {}

    class Spy(filelock.FileLock):  # type: ignore[misc, valid-type]
        def __init__(self, path: Path, **options: object) -> None:
            asked.update(options)
            super().__init__(path, **options)

    monkeypatch.setattr(filelock, "FileLock", Spy)
    with state.lock(pid_file, 0, "mine") as held:
        assert held
    assert asked["preserve_lock_file"] is True
    assert asked["fallback_to_soft"] is False


def test_the_lock_is_given_back_when_its_block_fails(pid_file: Path) -> None:
    def fail() -> None:
        with state.lock(pid_file, 0, "mine"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with state.lock(pid_file, 0, "mine") as held:
        assert held


def test_the_lock_excludes_another_call_of_the_same_process(pid_file: Path) -> None:
    with state.lock(pid_file, 0, "mine") as first, state.lock(pid_file, 0, "mine") as second:
        assert first
        assert not second


def test_the_lock_is_not_inherited_by_a_server_that_is_started_under_it(pid_file: Path) -> None:
    sleeper = "import sys; sys.stdin.read()"
    with state.lock(pid_file, 0, "mine"):
        child = subprocess.Popen([sys.executable, "-c", sleeper], stdin=subprocess.PIPE)
    with child:
        try:
            with state.lock(pid_file, 0, "mine") as held:
                assert held
        finally:
            child.kill()


def test_locks_of_different_pid_files_are_independent(tmp_path: Path) -> None:
    with state.lock(tmp_path / "a", 0, "s") as one, state.lock(tmp_path / "b", 0, "s") as other:
        assert one
        assert other
