"""TCP ports: real sockets on IPv4, IPv6 and both, and who holds them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devservers.system import http_status, listening, procfs, sockets
from devservers.system.identity import Socket


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is Linux's")
WHERE = [
    pytest.param("127.0.0.1", id="v4 loopback"),
    pytest.param("0.0.0.0", id="v4 every address"),  # noqa: S104 - a test of just that
    pytest.param("::1", id="v6 loopback", marks=IPV6),
    pytest.param("::", id="v6 every address", marks=IPV6),
    pytest.param("dual", id="dual stack", marks=IPV6),
]


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def listen(stack: contextlib.ExitStack, where: str, port: int = 0) -> socket.socket:
    if where == "dual":
        family, address = socket.AF_INET6, "::"
    else:
        family, address = (socket.AF_INET6 if ":" in where else socket.AF_INET), where
    server = socket.create_server((address, port), family=family, dualstack_ipv6=where == "dual")
    return stack.enter_context(server)


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def unused_port(stack: contextlib.ExitStack) -> int:
    """Return a port that is nobody's, and that this test keeps others from being given.

    It is bound without listening, with SO_REUSEADDR: so servers may bind it beside, but the
    system gives it to nobody who asks for any port.
    """
    keeper = stack.enter_context(socket.socket())
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    return port_of(keeper)


def test_a_port_that_nobody_has_is_free_and_not_open(stack: contextlib.ExitStack) -> None:
    port = unused_port(stack)
    assert sockets.is_free(port)
    assert not sockets.is_open(port)
    assert sockets.listeners(port) == ()
    assert sockets.holders(port) == ()


@pytest.mark.parametrize("where", WHERE)
def test_a_port_that_is_listened_on_is_open_and_not_free(
    stack: contextlib.ExitStack, where: str
) -> None:
    port = port_of(listen(stack, where))
    assert sockets.is_open(port)
    assert not sockets.is_free(port)


@pytest.mark.parametrize("where", WHERE)
def test_a_listener_is_noticed_by_a_bind_where_no_connection_reaches_it(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    port = port_of(listen(stack, where))
    monkeypatch.setattr(sockets, "is_open", lambda *_: False)  # such as behind a packet filter
    assert not sockets.is_free(port)


@pytest.mark.parametrize("where", WHERE)
def test_a_listener_is_noticed_by_a_connection_where_a_bind_beside_it_is_allowed(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    port = port_of(listen(stack, where))
    monkeypatch.setattr(sockets, "_can_bind", lambda *_: True)  # as on macOS
    assert not sockets.is_free(port)


@LINUX
def test_another_loopback_address_is_found_by_a_bind(stack: contextlib.ExitStack) -> None:
    port = port_of(listen(stack, "127.0.0.2"))
    assert not sockets.is_open(port)
    assert not sockets.is_free(port)  # a server for every address could not have it


@LINUX
def test_an_address_of_the_servers_own_is_asked_too(stack: contextlib.ExitStack) -> None:
    port = port_of(listen(stack, "127.0.0.2"))
    assert sockets.is_open(port, "127.0.0.2")
    assert not sockets.is_free(port, "127.0.0.2")
    assert not sockets.is_free(port, "127.0.0.3")


@pytest.mark.parametrize("host", [None, "localhost", "0.0.0.0", "::", "127.0.0.1", "::1"])  # noqa: S104 - not bound
def test_whatever_the_host_a_loopback_listener_counts(
    stack: contextlib.ExitStack, host: str | None
) -> None:
    port = port_of(listen(stack, "127.0.0.1"))
    assert sockets.is_open(port, host)
    assert not sockets.is_free(port, host)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_makes_no_port_taken(
    stack: contextlib.ExitStack, host: str
) -> None:
    assert sockets._can_bind(host, unused_port(stack))


def test_a_machine_without_ipv6_has_free_ports(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *words: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *words)

    port = unused_port(stack)
    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert sockets.is_free(port)


def test_a_connection_in_time_wait_does_not_take_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = port_of(server)
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = server.accept()
            served.close()  # the side that closes first is left in TIME_WAIT
            assert client.recv(1) == b""
    with socket.socket() as strict, pytest.raises(OSError, match="in use"):
        strict.bind(("127.0.0.1", port))
    assert sockets.is_free(port)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses")
def test_a_listener_with_a_full_backlog_is_open(stack: contextlib.ExitStack) -> None:
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    port = port_of(server)
    for _ in range(2):
        queued = stack.enter_context(socket.socket())
        queued.settimeout(0)
        queued.connect_ex(("127.0.0.1", port))
    begun = time.monotonic()
    assert sockets.is_open(port)
    assert time.monotonic() - begun < 2 * sockets.CONNECT_TIMEOUT + 0.5


@pytest.mark.parametrize("where", WHERE)
def test_a_listener_is_found_with_its_pid_address_and_descriptor(
    stack: contextlib.ExitStack, where: str
) -> None:
    server = listen(stack, where)
    address = "::" if where == "dual" else where
    expected = Socket(os.getpid(), address, port_of(server), server.fileno())
    # Somebody else's socket may have the same port on another address for a moment.
    found = sockets.listeners(port_of(server))
    assert [one for one in found if one.pid is not None] == [expected]
    assert sockets.listeners(port_of(server), pids=[os.getpid()]) == (expected,)


@IPV6
def test_every_socket_of_a_port_is_found(stack: contextlib.ExitStack) -> None:
    port = port_of(listen(stack, "127.0.0.1"))
    listen(stack, "::1", port)
    assert {found.address for found in sockets.listeners(port)} == {"127.0.0.1", "::1"}
    assert len(sockets.holders(port)) == 1  # one process, named once


def test_only_the_processes_that_are_named_are_asked(stack: contextlib.ExitStack) -> None:
    port = port_of(listen(stack, "127.0.0.1"))
    assert sockets.listeners(port, pids=[os.getppid()]) == ()
    assert sockets.listeners(port, pids=[]) == ()


def test_a_process_that_is_gone_listens_nowhere() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert sockets.listening(pids=[child.pid]) == ()


def test_a_connection_is_no_listener(stack: contextlib.ExitStack) -> None:
    server = listen(stack, "127.0.0.1")
    client = stack.enter_context(socket.create_connection(server.getsockname()))
    assert sockets.listeners(port_of(client)) == ()


def test_where_the_whole_table_needs_root_each_process_is_asked(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil  # noqa: PLC0415 - as where it is used

    server = listen(stack, "127.0.0.1")

    def refuse(_: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)  # as on macOS
    monkeypatch.setattr(psutil, "pids", lambda: [os.getpid(), 1 << 22])
    expected = Socket(os.getpid(), "127.0.0.1", port_of(server), server.fileno())
    assert sockets.listeners(port_of(server)) == (expected,)


def test_a_holder_is_described_as_in_the_reference(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    with child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            found = sockets.holder(child.pid)
            started = sockets.started_at(child.pid)
        finally:
            child.kill()
    assert list(found) == ["pid", "name", "cmdline", "user", "cwd", "since"]
    assert found["pid"] == child.pid
    assert found["cmdline"] == argv
    assert found["cwd"] == str(tmp_path.resolve())
    assert isinstance(found["user"], str)
    assert str(found["name"]).startswith("python")
    assert started is not None
    assert abs(started - time.time()) < 60
    assert found["since"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))


def test_the_emptiness_behind_a_title_is_no_part_of_a_command() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-I", "-S", "-c", code, "", "kept"]
    left = ["", "", ""]  # as where `next-server` has overwritten a longer command
    words = [*argv, *left]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = sockets.holder(child.pid)
        child.kill()
    assert found["cmdline"] == argv


@pytest.mark.parametrize("pid", [None, 1 << 22], ids=["hidden", "gone"])
def test_of_a_holder_that_can_not_be_asked_nothing_is_known(pid: int | None) -> None:
    keys = ("name", "cmdline", "user", "cwd", "since")
    assert sockets.holder(pid) == {"pid": pid, **dict.fromkeys(keys)}


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    assert sockets.started_at(1 << 22) is None


@pytest.mark.parametrize(
    ("bound", "targets"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("0.0.0.0", ("127.0.0.1",)),  # noqa: S104 - not bound
        ("", ("127.0.0.1",)),
        ("::1", ("::1",)),
        ("::", ("::1", "127.0.0.1")),
        ("192.0.2.7", ("192.0.2.7",)),
    ],
)
def test_a_listener_is_asked_where_it_can_be_reached(bound: str, targets: tuple[str, ...]) -> None:
    assert http_status.reachable(bound) == targets


@pytest.mark.parametrize("where", WHERE)
def test_one_of_the_reachable_addresses_does_reach_the_listener(
    stack: contextlib.ExitStack, where: str
) -> None:
    server = listen(stack, where)
    address = server.getsockname()[0]
    targets = http_status.reachable(address)
    assert any(sockets._accepts(target, port_of(server)) for target in targets)


@pytest.mark.skipif(not procfs.HAS_PROC, reason="there is no /proc")
@pytest.mark.parametrize("where", WHERE)
def test_proc_tells_the_same_as_psutil(stack: contextlib.ExitStack, where: str) -> None:
    listen(stack, where)
    known = {
        (os.getpid(), row.laddr.ip, row.laddr.port, row.fd)
        for row in psutil.Process().net_connections("tcp")
        if row.status == psutil.CONN_LISTEN
    }
    assert known
    assert {tuple(found) for found in listening.sockets({os.getpid()})} == known
    assert known <= {tuple(found) for found in listening.sockets()}
