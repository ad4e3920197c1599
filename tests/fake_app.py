"""A fake app: the part of the inngest SDK that the server and this package see.

    python -I -S fake_app.py PORT INNGEST_PORT APP_ID [BEHAVIOUR]

Behaviours: cloud (no INNGEST_DEV), unreachable (its SDK finds no server), elsewhere (it says that
it registered, but not with this server), denied (its SDK is one that the server refuses), error
(HTTP 500 without the SDK), no-route (HTTP 404), hang (accepts and never answers), compiles (it
registers a second after it was asked to, and answers nothing meanwhile).
"""

import json
import sys
import threading
import time

sys.modules["ssl"] = None  # see fake_cli.py
import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, INNGEST = int(sys.argv[1]), int(sys.argv[2])
APP_ID, BEHAVIOUR = sys.argv[3], "".join(sys.argv[4:5])
VERSION = "v3.52.7" if BEHAVIOUR == "denied" else "v4.24.0"
SDK = {"x-inngest-sdk": f"inngest-js:{VERSION}"}
COMPILING = threading.Lock()
REFUSALS = {
    "cloud": (500, {"code": "internal_server_error"}, {"x-inngest-sdk-handled": "true"}),
    "error": (500, {"oops": True}, {}),
    "no-route": (404, {}, {}),
}


def register(host: str) -> tuple[int, dict[str, object]]:
    """Register as the SDK does, and return what it makes of the server's answer."""
    url = f"http://{host}/api/inngest"
    step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": f"{url}?fnId=f"}}
    function = {
        "id": f"{APP_ID}-f",
        "name": "f",
        "triggers": [{"event": "x"}],
        "steps": {"step": step},
    }
    body = {"url": url, "appName": APP_ID, "sdk": f"js:{VERSION}", "functions": [function]}
    connection = http.client.HTTPConnection("127.0.0.1", INNGEST, timeout=5)
    connection.request("POST", "/fn/register", json.dumps(body))
    answer = connection.getresponse()
    said = json.load(answer)
    connection.close()
    if answer.status == 200:
        return 200, {"message": "Successfully registered", "modified": True}
    return said["status"], {"message": said["error"], "modified": False}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with COMPILING:
            pass
        self.answer(200, {"function_count": 1, "mode": "dev"}, SDK)

    def do_PUT(self) -> None:
        if BEHAVIOUR == "unreachable":
            self.answer(
                500, {"message": "Failed to register; fetch failed", "modified": False}, SDK
            )
            return
        with COMPILING:
            time.sleep(BEHAVIOUR == "compiles")
        if BEHAVIOUR in ("", "denied", "compiles"):
            self.answer(*register(self.headers["Host"]), SDK)
            return
        self.answer(200, {"message": "Successfully registered", "modified": True}, SDK)

    def answer(self, status: int, body: object, headers: dict[str, str]) -> None:
        while BEHAVIOUR == "hang":
            time.sleep(1)
        status, body, headers = REFUSALS.get(BEHAVIOUR, (status, body, headers))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
sys.stdout.write("listens\n")
sys.stdout.flush()
server.serve_forever(0.02)
