"""A server whose answers are as awkward as HTTP allows, each at a path of its own.

    python -I -S upstream.py PORT

/                   a line: the name of the folder that it runs in
/seen               the head of the request, byte by byte
/bytes              how many the body of the request had
/chunks, /trailers  the line in chunks, and with trailers
/close              the line, until the connection is closed
/status?s=N         that status, with a length that only a body of another one would have
/big?n=N            so many bytes
/head?n=N           a head of so many bytes; without &end it never ends
/continue           100 Continue, then as /bytes
/early              an answer before the body is read, which never is; ?close: it says so, too
/events             server-sent events: one, then silence
/slow?gate=FILE     the line once that file is there
/sink?gate=FILE     as /bytes, but the body isn't read before that file is there
/socket             another protocol: an echo, and `bye` when nothing more comes
/stays              another protocol: `over`, and nothing more; it goes on reading what comes, and
                    notes `got ID COUNT`
/drop               nothing: the connection is closed
/once               the line, and the next request on that connection is dropped
/last               the line, and the connection is closed without a word about it
/raw?x=HEX          those bytes, then the connection is closed

What happens is written to `upstream.log` in its folder, a line each: `request ID METHOD TARGET`,
`end ID` (nothing more comes), `reset ID`.
"""

import contextlib
import os
import socket
import sys
import threading
import time

NAME = os.path.basename(os.getcwd())
LOG = os.open("upstream.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
LINE = f"{NAME}\n".encode()
EVENT = b"data: %s\n\n" % NAME.encode()


def note(*words: object) -> None:
    os.write(LOG, " ".join(map(str, words)).encode("utf-8", "surrogateescape") + b"\n")


class EndedError(Exception):
    """Nothing more comes, or it was reset."""


class Connection:
    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock, self.number, self.buffer, self.drops = sock, number, b"", False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Node.js does

    def more(self) -> bytes:
        try:
            data = self.sock.recv(1 << 16)
        except OSError:
            note("reset", self.number)
            raise EndedError from None
        if not data:
            note("end", self.number)
            raise EndedError
        return data

    def run(self) -> None:
        with contextlib.suppress(EndedError, OSError), self.sock:
            while self.answer():
                pass

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.buffer += self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def skip(self, count: int) -> int:
        left = count
        while left:
            if not self.buffer:
                self.buffer = self.more()
            step = min(left, len(self.buffer))
            self.buffer = self.buffer[step:]
            left -= step
        return count

    def body(self, fields: dict[str, str]) -> int:
        if fields.get("transfer-encoding") != "chunked":
            return self.skip(int(fields.get("content-length", 0)))
        total = 0
        while size := int(self.line().partition(b";")[0], 16):
            total += self.skip(size)
            self.line()
        while self.line():
            pass
        return total

    def watch(self, gate: str) -> None:
        """Wait until the file is there, and notice who leaves meanwhile."""
        self.sock.settimeout(0.01)
        while not os.path.exists(gate):
            try:
                if not self.sock.recv(1, socket.MSG_PEEK):
                    note("end", self.number)
                    self.sock.settimeout(None)
                    wait(gate)
            except TimeoutError:
                continue
            except OSError:
                note("reset", self.number)
                raise EndedError from None
        self.sock.settimeout(None)

    def say(self, body: bytes, *fields: bytes, status: bytes = b"200 OK") -> None:
        head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
        self.sock.sendall(b"\r\n".join([*head, b"", body]))

    def answer(self) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = self.head()
        method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
        lines = [line.decode("latin-1") for line in head.split(b"\r\n")[1:]]
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        note("request", self.number, method, target)
        if self.drops:
            return False
        path, _, query = target.partition("?")
        asked = dict(one.partition("=")[::2] for one in query.split("&"))
        known = getattr(self, f"at_{path[1:]}", None)
        if known is None:
            self.body(fields)
            self.say(head + b"\r\n\r\n" if path == "/seen" else LINE)
            return fields.get("connection") != "close"
        return known(fields, asked) is not False

    def at_bytes(self, fields: dict[str, str], _: object) -> None:
        self.say(b"%d" % self.body(fields))

    def at_chunks(self, fields: dict[str, str], _: object) -> None:
        self.body(fields)
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (LINE[:1], LINE[1:]):
            self.sock.sendall(b"%X;ext=1\r\n%s\r\n" % (len(part), part))
            time.sleep(0.01)
        self.sock.sendall(b"0\r\n\r\n")

    def at_trailers(self, *_: object) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n"
        self.sock.sendall(head + b"%X\r\n%s\r\n0\r\nDigest: abc\r\n\r\n" % (len(LINE), LINE))

    def at_close(self, *_: object) -> bool:
        self.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + LINE)
        return False

    def at_status(self, fields: dict[str, str], asked: dict[str, str]) -> None:
        self.body(fields)
        length = b"" if asked["s"] == "204" else b"Content-Length: 5\r\n"
        self.sock.sendall(b"HTTP/1.1 %s Fine\r\n%s\r\n" % (asked["s"].encode(), length))

    def at_big(self, _: object, asked: dict[str, str]) -> None:
        left = int(asked["n"])
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
        while left:
            step = min(left, 1 << 16)
            self.sock.sendall(b"x" * step)
            left -= step
        note("sent", self.number)

    def at_head(self, _: object, asked: dict[str, str]) -> bool:
        end = b"\r\nContent-Length: 0\r\n\r\n" if "end" in asked else b""
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * int(asked["n"]) + end)
        if not end:
            self.more()
        return False

    def at_continue(self, fields: dict[str, str], _: object) -> None:
        self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.at_bytes(fields, None)

    def at_early(self, _: object, asked: dict[str, str]) -> bool:
        closes = "close" in asked
        self.say(LINE, *([b"Connection: close"] if closes else []), status=b"413 Too Large")
        if not closes:
            self.watch("never")
        self.sock.shutdown(socket.SHUT_WR)  # or the answer could be lost with what isn't read
        with contextlib.suppress(EndedError):
            while True:
                self.more()
        return False

    def at_events(self, *_: object) -> bool:
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + EVENT)
        self.more()
        return False

    def at_slow(self, fields: dict[str, str], asked: dict[str, str]) -> None:
        self.body(fields)
        self.watch(asked["gate"])
        self.say(LINE)

    def at_sink(self, fields: dict[str, str], asked: dict[str, str]) -> None:
        wait(asked["gate"])
        self.say(b"%d" % self.body(fields))

    def at_socket(self, *_: object) -> bool:
        self.switch()
        with contextlib.suppress(EndedError):
            while True:
                self.sock.sendall(self.buffer)
                self.buffer = self.more()
        self.sock.sendall(b"bye")
        return False

    def at_stays(self, *_: object) -> bool:
        self.switch()
        self.sock.sendall(b"over")
        self.sock.shutdown(socket.SHUT_WR)  # it has said all, and goes on listening
        got = self.buffer
        with contextlib.suppress(EndedError):
            while True:
                got += self.more()
        note("got", self.number, len(got))
        return False

    def switch(self) -> None:
        head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        self.sock.sendall(head)

    def at_drop(self, *_: object) -> bool:
        return False

    def at_once(self, fields: dict[str, str], _: object) -> None:
        self.body(fields)
        self.say(LINE)
        self.drops = True

    def at_last(self, *_: object) -> bool:
        self.say(LINE)
        return False

    def at_raw(self, _: object, asked: dict[str, str]) -> bool:
        self.sock.sendall(bytes.fromhex(asked["x"]))
        return False


def wait(gate: str) -> None:
    while not os.path.exists(gate):
        time.sleep(0.01)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
    sys.stdout.write("Ready\n")
    sys.stdout.flush()
    number = 0
    while True:
        sock, _ = listener.accept()
        number += 1
        threading.Thread(target=Connection(sock, number).run, daemon=True).start()


if __name__ == "__main__":
    main()
