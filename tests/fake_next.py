"""A fake `next dev`, as awkward as the real one: what it does was measured with Next.js 14 to 16.

    python -I -S fake_next.py BEHAVIOUR… PORT

lock            keep .next/dev/lock as version 16 does, and refuse a second server for the folder
title           call itself next-server, as every version does
fork            listen in a child, as every version does; the launcher forks a new one if it ends
start           be `next start`: nothing to adopt
late=SECONDS    accept at once, answer only then
beside=PORT     answer there, too, and two seconds earlier than on its own
exit=N          end at once with that status; `say=TEXT` comes first
say=TEXT        print a line
app=ID          serve an Inngest app with that id at /api/inngest
sdk=VERSION     of its SDK, 4.24.0 unless given
fails=TEXT      have the app's function fail so; step=NAME: in a step
dump=FILE       write cwd and environment there as JSON
"""

import contextlib
import fcntl
import json
import os
import signal
import sys

sys.modules["ssl"] = None  # see fake_cli.py
import socketserver
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler

LOCK = ".next/dev/lock"
ANEW = 77  # the exit status of a listener that wants to be started anew
BEGUN = time.monotonic()


def main(words: list[str]) -> None:
    behaviours = dict(word.partition("=")[::2] for word in words[:-1])
    port = int(words[-1])
    if "say" in behaviours:
        say(behaviours["say"])
    if "exit" in behaviours:
        raise SystemExit(int(behaviours["exit"]))
    if "dump" in behaviours:
        with open(behaviours["dump"], "w") as stream:
            json.dump({"cwd": os.getcwd(), "env": dict(os.environ)}, stream)
    if "fork" in behaviours:
        launch()
    serve(behaviours, port)


def launch() -> None:
    """Be the launcher, and return in the child: a listener that wants to be started anew is."""
    while (child := os.fork()) != 0:

        def end(_number: int, _frame: object, child: int = child) -> None:
            with contextlib.suppress(OSError):  # ^C reaches it, too
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)
            os._exit(0)

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != ANEW:
            raise SystemExit(0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def serve(behaviours: dict[str, str], port: int) -> None:
    if "title" in behaviours:
        import ctypes

        ctypes.CDLL(None).prctl(15, b"next-server (v16.4.6)", 0, 0, 0)  # PR_SET_NAME
    Handler.behaviours, Handler.port = behaviours, port
    if "beside" in behaviours:
        Handler.ready.set()
        beside = Server(("", int(behaviours["beside"])), Handler)
        threading.Thread(target=beside.serve_forever, daemon=True).start()
        time.sleep(2)
    server = Server(("", port), Handler)
    say(f"- Local: http://localhost:{port}\nReady")
    if "lock" in behaviours:
        take_lock(port)
    signal.signal(signal.SIGTERM, lambda *_: leave(behaviours))
    signal.signal(signal.SIGINT, lambda *_: leave(behaviours))
    Handler.ready.set()
    server.serve_forever(0.05)


def take_lock(port: int) -> None:
    """Do as version 16: it listens first, then looks, and gives up without having answered."""
    os.makedirs(os.path.dirname(LOCK), exist_ok=True)
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("Another next dev server is already running.")
        raise SystemExit(1) from None
    os.ftruncate(fd, 0)
    facts = {"pid": os.getpid(), "port": port, "hostname": "localhost", "startedAt": 1}
    os.write(fd, json.dumps(facts).encode())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def leave(behaviours: dict[str, str]) -> None:
    if "lock" in behaviours:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LOCK)
    os._exit(0)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of who has gone, as the original: Python 3.14 notices it more often."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    behaviours: dict[str, str]
    port: int
    ready = threading.Event()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.ready.wait()
        late = float(self.behaviours.get("late", 0))
        time.sleep(max(late - (time.monotonic() - BEGUN), 0))
        if self.path == "/restart":  # as a change of next.config.js makes it
            with contextlib.suppress(OSError):  # who asked may have gone after the first line
                self.answer(200, {})
                self.wfile.flush()
            os._exit(ANEW)
        if self.path == "/api/inngest" and "app" in self.behaviours:
            self.answer(200, {"function_count": 1, "mode": "dev"})
        else:
            self.answer(404, {})

    @property
    def sdk(self) -> str:
        return self.behaviours.get("sdk", "4.24.0")

    def do_PUT(self) -> None:
        if "app" not in self.behaviours:
            self.answer(404, {})
            return
        app, url = self.behaviours["app"], f"http://localhost:{self.port}/api/inngest"
        runtime = {"type": "http", "url": f"{url}?fnId={app}-hello&stepId=step"}
        step = {"id": "step", "runtime": runtime, "retries": {"attempts": 1}}
        function = {"id": f"{app}-hello", "name": "hello", "triggers": [{"event": "demo/hello"}]}
        body = {
            "url": url, "appName": app, "sdk": f"js:v{self.sdk}", "v": "0.1", "deployType": "ping",
            "functions": [{**function, "steps": {"step": step}}],
        }  # fmt: skip
        inngest = HTTPConnection(os.environ["INNGEST_DEV"].removeprefix("http://"), timeout=9)
        with contextlib.closing(inngest):
            kind = {"Content-Type": "application/json"}
            inngest.request("POST", "/fn/register", json.dumps(body), kind)
            said = json.loads(inngest.getresponse().read())
        message = said.get("error", "Successfully registered")
        self.answer(
            said.get("status", 200), {"message": message, "modified": said.get("modified", False)}
        )

    def do_POST(self) -> None:
        """Run the function: it returns, or fails, in a step of its own if it has one."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        error = {"name": "Error", "message": self.behaviours.get("fails"), "stack": "at hello"}
        step = self.behaviours.get("step")
        if "fails" not in self.behaviours:
            self.answer(200, "hello")
        elif step and not body["steps"]:
            self.answer(
                206, [{"op": "StepFailed", "id": "s1", "displayName": step, "error": error}]
            )
        else:
            self.answer(500, error)

    def answer(self, status: int, data: object) -> None:
        if not self.path.startswith("/_next/"):  # of those it writes nothing
            say(f" {self.command} {self.path} {status} in 5ms")
        body = json.dumps(data).encode()
        self.send_response(status)
        if self.path == "/api/inngest" and "app" in self.behaviours:
            self.send_header("x-inngest-sdk", f"inngest-js:v{self.sdk}")
        if status >= 500:
            self.send_header("x-inngest-no-retry", "true")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    main(sys.argv[1:])
