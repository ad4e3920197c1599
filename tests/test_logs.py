"""Logs: the last lines of a file of any size, following it, rotating it."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devservers.system import logs

SAME_FILE = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Few different bytes, so that newlines and broken UTF-8 come often.
CONTENT = st.lists(
    st.sampled_from(
        [b"\n", b"\n", b"\r\n", b"a", b"\xc3", b"\xa4", "ä€😀".encode(), b"\xff", b"\0"]
    )
).map(b"".join) | st.binary(max_size=60)
BLOCKS = st.integers(1, 9)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def decoded(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def naive_tail(content: bytes, lines: int, start: int = 0) -> bytes:
    parts = content[start:].split(b"\n")
    rows = [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
    return b"".join(rows[-lines:]) if lines > 0 else b""


def write(log: Path, content: bytes) -> None:
    log.write_bytes(content)


def append(log: Path, content: bytes) -> None:
    with log.open("ab") as stream:
        stream.write(content)


def followed(log: Path, lines: int, steps: list[Callable[[], object]]) -> str:
    """Follow `log`, do one of `steps` each time everything was read, and end after the last."""
    reader = logs.Follower(log, lines)
    files = [b""]
    for step in (lambda: None, *steps):
        step()
        for block in reader.read():
            files[-1] += block
            if not block:
                files.append(b"")
    reader.close()
    return "".join(map(decoded, files))


@SAME_FILE
@given(content=CONTENT, lines=st.integers(-1, 12), start=st.integers(0, 70), block=BLOCKS)
@example(content=b"", lines=1, start=0, block=1)
@example(content=b"\n", lines=1, start=0, block=1)
@example(content=b"\n\n\n", lines=2, start=0, block=2)
@example(content=b"one\ntwo\n", lines=1, start=5, block=3)
@example(content=b"one\ntwo", lines=9, start=0, block=3)
def test_tail_is_the_last_lines_after_start_whatever_the_file_holds(
    log: Path, content: bytes, lines: int, start: int, block: int
) -> None:
    write(log, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        assert "".join(logs.tail(log, lines, start=start)) == decoded(
            naive_tail(content, lines, start)
        )


@SAME_FILE
@given(content=CONTENT, lines=st.integers(0, 12), block=BLOCKS)
def test_follow_begins_with_what_tail_shows(
    log: Path, content: bytes, lines: int, block: int
) -> None:
    write(log, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        assert followed(log, lines, []) == "".join(logs.tail(log, lines))


@SAME_FILE
@given(pieces=st.lists(CONTENT, max_size=5), block=BLOCKS)
def test_follow_shows_all_that_is_appended_and_nothing_twice(
    log: Path, pieces: list[bytes], block: int
) -> None:
    write(log, b"old\n")
    steps: list[Callable[[], object]] = [
        lambda piece=piece: append(log, piece)
        for piece in pieces  # type: ignore[misc]
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        assert followed(log, 0, steps) == decoded(b"".join(pieces))


def test_bytes_that_are_no_utf_8_are_shown_as_escapes(log: Path) -> None:
    write(log, b"Z\xfcrich \xff\xfe ok\n")
    assert "".join(logs.tail(log, 1)) == "Z\\xfcrich \\xff\\xfe ok\n"


def test_a_letter_that_is_cut_by_a_block_is_shown_whole(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK", 2)
    write(log, "€😀€\n".encode())
    assert "".join(logs.tail(log, 1)) == "€😀€\n"


def test_tail_of_a_file_that_is_not_there_raises(log: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(logs.tail(log, 1))


@pytest.mark.parametrize("lines", [1, 10**9], ids=["one line", "all lines"])
@pytest.mark.parametrize("fill", [b"\0", b"\n"], ids=["one huge line", "empty lines"])
def test_memory_does_not_grow_with_the_file(log: Path, fill: bytes, lines: int) -> None:
    size = 32 * 1024 * 1024
    with log.open("wb") as stream:
        if fill == b"\0":
            stream.truncate(size)  # sparse
        else:
            for _ in range(size >> 20):
                stream.write(fill * (1 << 20))
    tracemalloc.start()
    try:
        shown = sum(len(piece) for piece in logs.tail(log, lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown == (1 if fill == b"\n" and lines == 1 else size)
    assert peak < 20 * logs.BLOCK


def test_tail_ends_where_the_file_ended_when_it_was_asked_for(log: Path) -> None:
    log.write_bytes(b"one\n" * (logs.BLOCK // 2))
    pieces = logs.tail(log, logs.BLOCK)
    found = next(pieces)
    with log.open("ab") as writer:
        writer.write(b"late\n" * logs.BLOCK)
    assert found + "".join(pieces) == "one\n" * (logs.BLOCK // 2)


def test_tail_shows_the_last_lines_although_more_come_while_they_are_looked_for(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(b"one\ntwo\n")
    look = logs._tail_offset

    def later(*words: Any) -> int:
        with log.open("ab") as writer:
            writer.write(b"late\n" * 5)
        return look(*words)

    monkeypatch.setattr(logs, "_tail_offset", later)
    assert "".join(logs.tail(log, 1)) == "two\n"


def test_no_piece_of_a_tail_is_longer_than_a_block(log: Path) -> None:
    write(log, b"x" * (3 * logs.BLOCK + 1))
    assert max(map(len, logs.tail(log, 1))) <= logs.BLOCK


def test_the_last_lines_come_without_their_ends(log: Path) -> None:
    write(log, b"one\ntwo\r\nthree")
    assert logs.last_lines(log, 2) == ["two", "three"]


def test_the_last_lines_of_this_run_do_not_show_the_run_before(log: Path) -> None:
    write(log, b"before\nnow\n")
    assert logs.last_lines(log, 20, start=len(b"before\n")) == ["now"]
    assert logs.last_lines(log, 20, start=len(b"before\nnow\n")) == []


def test_the_last_lines_are_taken_from_the_last_bytes_only(log: Path) -> None:
    write(log, b"x" * 100_000 + b"\nlast\n")
    assert logs.last_lines(log, 2, most=10) == ["xxxx", "last"]


def test_the_last_lines_are_no_more_than_asked_for_whatever_ends_a_line(log: Path) -> None:
    write(log, "10 %\r20 %\r30 %\x0b40 %\u2028done\n".encode())
    assert logs.last_lines(log, 1) == ["done"]
    assert logs.last_lines(log, 0) == []


def test_there_are_no_last_lines_of_what_can_not_be_read(tmp_path: Path) -> None:
    assert logs.last_lines(tmp_path / "missing", 5) == []
    assert logs.last_lines(tmp_path, 5) == []


def test_follow_waits_for_a_file_that_is_not_there_yet(log: Path) -> None:
    assert followed(log, 5, [lambda: write(log, b"first\n")]) == "first\n"


def test_follow_goes_on_with_the_new_file_after_a_rotation(log: Path) -> None:
    write(log, b"old 1\nold 2\n")
    shown = followed(
        log,
        1,
        [
            lambda: append(log, b"old 3\n"),
            lambda: logs.rotate(log, 1),
            lambda: write(log, b"new 1\nnew 2\nnew 3\n"),
            lambda: append(log, b"new 4\n"),
        ],
    )
    assert shown == "old 2\nold 3\nnew 1\nnew 2\nnew 3\nnew 4\n"


def test_follow_shows_what_was_appended_right_before_the_rotation(log: Path) -> None:
    write(log, b"old 1\n")

    def append_and_rotate() -> None:
        append(log, b"old 2\n")
        logs.rotate(log, 1)
        write(log, b"new 1\n")

    assert followed(log, 1, [append_and_rotate]) == "old 1\nold 2\nnew 1\n"


def test_follow_loses_nothing_that_is_written_between_its_last_read_and_the_rotation(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, b"old 1\n")
    is_replaced = logs._is_replaced
    todo = [b"old 2\n"]

    def late(*arguments: object) -> bool:
        if todo:  # in the very moment after the last read
            append(log, todo.pop())
            logs.rotate(log, 1)
            write(log, b"new 1\n")
        return is_replaced(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(logs, "_is_replaced", late)
    assert followed(log, 1, []) == "old 1\nold 2\nnew 1\n"


def test_follow_begins_again_where_the_file_is_truncated(log: Path) -> None:
    write(log, b"a long line that was there\n")
    steps: list[Callable[[], object]] = [
        lambda: write(log, b""),
        lambda: append(log, b"anew\n"),
    ]
    assert followed(log, 0, steps) == "anew\n"


@pytest.mark.parametrize("replace", [True, False], ids=["rotated", "truncated"])
def test_half_a_letter_at_the_end_of_a_file_does_not_join_the_next_files_first(
    log: Path, *, replace: bool
) -> None:
    write(log, b"0123456789\xc3")

    def renew() -> None:
        if replace:
            logs.rotate(log, 1)
        write(log, b"\xa4")

    assert followed(log, 1, [renew]) == "0123456789\\xc3\\xa4"


def test_whoever_stops_in_the_middle_reads_on_from_there_also_across_a_rotation(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "BLOCK", 2)
    write(log, b"0123456789")
    reader = logs.Follower(log, 1)
    found = [next(reader.read())]
    logs.rotate(log, 1)
    write(log, b"new")
    while block := next(reader.read(), None):
        found.append(block)
    assert b"".join(found) == b"0123456789"
    assert b"".join(reader.read()) == b"new"
    reader.close()


@pytest.mark.parametrize("lines", [0, 1])
def test_of_a_file_that_was_not_there_everything_is_new(log: Path, lines: int) -> None:
    assert followed(log, lines, [lambda: write(log, b"1\n2\n3\n")]) == "1\n2\n3\n"


def test_what_is_no_plain_file_is_not_read(log: Path) -> None:
    os.mkfifo(log)  # nobody writes: to open it would take for ever
    assert followed(log, 1, []) == ""
    with pytest.raises(FileNotFoundError):
        list(logs.tail(log, 1))
    assert followed(log.parent, 1, []) == ""


def test_a_log_that_is_too_large_is_rotated(log: Path) -> None:
    write(log, b"12345")
    logs.rotate(log, 4)
    assert not log.exists()
    assert log.with_name("server.log.1").read_bytes() == b"12345"


def test_a_rotation_replaces_the_rotation_before(log: Path) -> None:
    log.with_name("server.log.1").write_bytes(b"older")
    write(log, b"12345")
    logs.rotate(log, 4)
    assert log.with_name("server.log.1").read_bytes() == b"12345"


@pytest.mark.parametrize("most", [5, 6, 0], ids=["just as large", "smaller", "never"])
def test_a_log_that_is_not_too_large_stays(log: Path, most: int) -> None:
    write(log, b"12345")
    logs.rotate(log, most)
    assert log.read_bytes() == b"12345"
    assert not log.with_name("server.log.1").exists()


def test_a_log_that_is_not_there_is_not_rotated(log: Path) -> None:
    logs.rotate(log, 1)
    assert not log.with_name("server.log.1").exists()


def test_the_size_is_in_bytes_and_none_without_a_file(log: Path) -> None:
    assert logs.size(log) is None
    write(log, "ä".encode())
    assert logs.size(log) == 2


def test_of_a_line_without_an_end_the_beginning_is_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n" + "é" * (20 * logs.BLOCK) + "\nReady\nhalf")
    first, long, *rest = logs.lines_since(log, 0, 1 << 30)
    assert (first, rest) == ("first", ["Ready", "half"])
    assert long.startswith("éé")
    assert len(long) <= 2 * logs.BLOCK
