"""Server: the board's own process: its page for everybody here, the rest for who has the token."""

import contextlib
import json
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from devservers import worktree
from devservers.board import access, actions
from devservers.board.guests import Guests
from devservers.board.watch import Watch
from devservers.errors import DevServerError

HERE = Path(__file__).parent
PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# Nothing is downloaded from elsewhere, nothing in a log or a branch can run, no page may hold ours.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_CONNECTIONS = 64
MOST_PAGES = 16  # that are kept up to date
LARGEST = 4096  # bytes of a request's body
PATIENCE = 15.0  # seconds for one write, and between two signs of life of ours
REQUEST = 10.0  # seconds until a request must be there as a whole, its body too


class Board(ThreadingHTTPServer):
    """Listens on this machine alone, for a limited number at once."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, token_file: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token_file = token_file
        self.watch = Watch(token_file.parent, self.shutdown)
        self.pages = threading.BoundedSemaphore(MOST_PAGES)
        self.guests = Guests(MOST_CONNECTIONS, REQUEST)
        # Read once: an upgrade of the package doesn't mix an old server with a new page.
        self.files = {
            path: ((HERE / name).read_bytes(), kind) for path, (name, kind) in PAGES.items()
        }

    @property
    def token(self) -> str | None:
        """The token as it is now: who removes its file takes it back. None: nobody may."""
        try:
            return access.known(self.token_file)
        except DevServerError:
            return None

    def server_bind(self) -> None:
        """Bind, without asking anybody for our name: that may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Answer in a thread, unless there are too many: then the connection is closed."""
        if not self.guests.admit(request):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as above
        """Close a connection, and make room for another."""
        self.guests.left(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """See, now and then, who keeps us waiting."""
        self.guests.dismiss_late()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing of clients that have gone."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of what says none: no answer is without our headers
    server_version = "devservers"
    sys_version = ""
    timeout = PATIENCE
    server: Board

    def log_message(self, *_: object) -> None:
        """Log nothing: a page that is open asks all the time."""

    def send_error(self, code: int, *_: object) -> None:
        """Refuse what is no request, with the headers that all answers have."""
        self._refuse(code)

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self.server.guests.wait_for(self.connection)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer with the page, the state of the server, or the stream of what is true."""
        self.server.guests.has_asked(self.connection)
        path = self.path.partition("?")[0]
        if not self._may(open_to_all=path in PAGES or path == "/health"):
            return
        if path == "/health":
            self._answer(200, {"status": 200})
        elif path in PAGES:
            body, kind = self.server.files[path]
            self._send(200, kind, body)
        elif path == "/events":
            self._stream()
        else:
            self._answer(404, {"message": "not found"})

    def do_POST(self) -> None:
        """Do what a button says."""
        if not self._may():
            return
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if self.path != "/do" or kind != "application/json":
            self._refuse(404 if self.path != "/do" else 415)
        elif not length.isdecimal() or len(length) > 6 or int(length) > LARGEST:  # noqa: PLR2004 - a megabyte has more digits
            self._refuse(413)
        else:
            try:
                asked = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                self._refuse(400)
                return
            self.server.guests.has_asked(self.connection)
            status, told = actions.do(asked)
            self.server.watch.soon()
            self._answer(status, told)

    def _may(self, *, open_to_all: bool = False) -> bool:
        port = self.server.server_address[1]
        headers: Mapping[str, str] = self.headers  # type: ignore[assignment]
        doubled = any(len(self.headers.get_all(name, ())) > 1 for name in ("Host", "Origin"))
        refused = access.refusal(headers, port, self.server.token, open_to_all=open_to_all)
        if doubled or refused is not None:
            self._refuse(403 if doubled else refused or 403)
            return False
        return True

    def _refuse(self, status: int) -> None:
        self.close_connection = True  # what is left of the body is not the next request
        self._answer(status, {"ok": False, "message": f"refused ({status})", "hint": None})

    def _stream(self) -> None:
        """Send what is true, whenever it is asked anew, until the reader goes."""
        if not self.server.pages.acquire(blocking=False):
            self._refuse(503)
            return
        watch, token = self.server.watch, self.server.token
        watch.reading(1)
        try:
            self._head(200, "text/event-stream; charset=utf-8", None)
            number = 0
            while token == self.server.token:  # or it was taken back
                newer, told = watch.after(number, PATIENCE)
                self.wfile.write(b"data: %s\n\n" % (told if newer != number else b""))
                number = newer
        except OSError:
            return
        finally:
            self.close_connection = True
            watch.reading(-1)
            self.server.pages.release()

    def _answer(self, status: int, data: object) -> None:
        self._send(status, "application/json", json.dumps(data).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def main(words: list[str]) -> int:
    """Serve the board of the repository that the working directory is in, while that is there."""
    file = access.token_file(worktree.find().shared_dir)
    try:
        access.made(file)  # whoever starts the board holds its lock
    except DevServerError as error:
        sys.exit(f"{error.message} {error.hint}")
    board = Board(int(words[0]), file)
    board.watch.start()
    with contextlib.suppress(KeyboardInterrupt):  # of board.run
        board.serve_forever(0.5)
    return 0
