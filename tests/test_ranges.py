"""Ports as people read them: those in a row as a range."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers import streams
from devservers.ports import ranges
from devservers.rendering import lists

API = "/api/inngest"


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([5001], "5001"),
        ([5001, 5002], "5001, 5002"),
        ([5001, 5002, 5003], "5001–5003"),
        ([5001, 5002, 5003, 5004, 5005, 8288], "5001–5005, 8288"),
        ([1, 3, 5, 6, 7, 9, 10], "1, 3, 5–7, 9, 10"),
        ([3, 2, 1], "3, 2, 1"),
        (range(5001, 5301), "5001–5300"),
    ],
)
def test_ports_in_a_row_are_a_range_from_three_on(ports: list[int], text: str) -> None:
    assert ranges.shown(ports) == text


@given(st.lists(st.integers(1, 65535)))
def test_no_port_is_lost_and_none_is_added(ports: list[int]) -> None:
    found: list[int] = []
    for part in filter(None, ranges.shown(ports).split(", ")):
        first, _, last = part.partition("–")
        found += range(int(first), int(last or first) + 1)
    assert found == ports


def test_urls_that_differ_in_their_port_alone_are_one() -> None:
    urls = [f"http://localhost:{port}{API}" for port in (5001, 5002, 5003, 6001)]
    others = ["http://localhost:5001/other", "http://[::1]:5001/x", "https://example.com/x"]
    assert ranges.urls_shown([*urls, *others]) == ", ".join(
        [f"http://localhost:5001–5003, 6001{API}", *others]
    )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "watching 5001–5005 … /a–b/ö\n"),
        ("ascii", "watching 5001-5005 ... /a\\u2013b/\\xf6\n"),
        ("latin-1", "watching 5001-5005 ... /a\\u2013b/ö\n"),
    ],
)
def test_a_range_is_no_noise_where_a_terminal_knows_no_dash(encoding: str, text: str) -> None:
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding, errors="backslashreplace")
    streams.write(stream, "watching 5001–5005 … /a–b/ö\n")
    assert data.getvalue() == text.encode(encoding)


def test_a_long_list_is_cut_and_says_so() -> None:
    entries = [f"  {number}" for number in range(300)]
    assert lists.cut(entries[:20]) == tuple(entries[:20])
    assert lists.cut(entries) == (*entries[:20], "  … and 280 more: `--json` has all")
