"""An imitation of the Inngest dev server's HTTP surface, for demos, CI smoke jobs and tests.

Run it by its path, with the words of `inngest dev`; it needs the standard library and nothing else:

    python -I -S standin.py dev --port 8288 --sdk-url http://localhost:3000/api/inngest

It repeats what was measured on the real one (docs/inngest.md), the awkward parts included:
a taken port is no error, the last to register an app id wins. Where the measurements are silent it
follows the public source of inngest/inngest, named where it counts. It is configured by more than
flags: by `INNGEST_*` variables, and by a file that it looks for here, in all folders above, and at
home.

It differs where that is safer: it listens on loopback unless `--host` says otherwise, answers no
page of another site, and asks only apps on this machine.

Not imitated: auto-discovery (reported as it is configured, never done), configuration in YAML, the
UI, crons, trigger expressions, sleeping and waiting steps, the pauses between retries, and storage
(`--persist` leaves an empty file). The gRPC ports are opened only where they are configured: their
defaults are the same for every server of a machine and nothing asks them, so that two stand-ins
would only make each other move.
"""

from __future__ import annotations

import errno
import html
import json
import os
import re
import signal
import socket
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from contextlib import suppress
from functools import partial
from http import HTTPStatus, client
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Lock, Thread, Timer
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

VERSION = "1.45.1-standin"
MAX_BODY = 3 * 1024 * 1024
MAX_ANSWER = 4 * 1024 * 1024  # bytes; pkg/consts, MaxSDKResponseBodySize
MAX_RUNS = 1000  # kept for who asks
MAX_CALLS = 1000  # a run's calls to its function; bounds a function that never ends
PING_TIMEOUT = 10.0  # pkg/deploy/deploy.go
RUN_TIMEOUT = 600.0
PING_ERRORS = {401: "unauthorized", 403: "forbidden", 404: "url_not_found"}
PING_ERRORS |= {500: "internal_server_error"}  # same place: any other status counts as success
# 3.22.0 to 3.53.1 are refused (same place, since 1.19.1); the message begins as the original's.
DENIED = re.compile(r"(inngest-)?js:v?3\.((2[2-9]|[34]\d|5[0-2])\.\d+|53\.[01])([-+].*)?")
DENIAL = "App sync was blocked because this SDK has a known security vulnerability."
EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - only bound where the flag asks for it
LOCAL = re.compile(r"([\w.-]+\.)?localhost|127(\.[0-9]{1,3}){3}|0\.0\.0\.0|::1")
ADDRESS = re.compile(r"[0-9.]+|[0-9a-f.]*:[0-9a-f:.]*")
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "EMERGENCY"]
HIDDEN: set[str] = set()  # those that aren't logged
# The flags and their defaults, whose types say what they take (cmd/devserver/cmd.go). Stand-ins on
# other ports leave 8289 alone: unless it is given, the gateway's is one more than the API's.
FLAGS: dict[str, Any] = {"sdk-url": [], "no-discovery": False, "no-poll": False, "config": ""}
FLAGS |= {"host": "", "port": 8288, "persist": False, "poll-interval": 5.0, "retry-interval": 0}
FLAGS |= {"queue-workers": 100, "tick": 150, "connect-gateway-port": 8289, "json": False}
FLAGS |= {"connect-gateway-grpc-port": 50052, "connect-executor-grpc-port": 50053}
FLAGS |= {"connect-gateway-grpc-ip": "127.0.0.1", "connect-executor-grpc-ip": "127.0.0.1"}
FLAGS |= {"sqlite-dir": ".inngest", "debug-api-port": 7777, "verbose": False, "log-level": "info"}
# Nonsense in a file or a variable ends the start where it should be one of these, even if it is for
# another command; elsewhere it counts as 0, which as a port is any.
FORMS = {bool: "1|t|T|TRUE|true|True|0|f|F|FALSE|false|False", int: r"[+-]?\d+"}
FORMED = {name: FORMS.get(type(default)) for name, default in FLAGS.items()}
FORMED |= {"port": None, "debug-api-port": None, "api-port": FORMS[int], "prod": FORMS[bool]}
Json = dict[str, Any]


def log(level: str, msg: str, **fields: object) -> None:
    """Write one JSON object on one line of stdout, as the original does without a terminal."""
    seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    record = {"time": f"{stamp}.{fraction:09d}Z", "level": level, "msg": msg, **fields}
    if level not in HIDDEN:
        say(json.dumps(record, separators=(",", ":"), default=str))


def say(text: str) -> None:
    """Write a line to stdout at once."""
    with suppress(OSError, ValueError):  # a reader that has gone must not take the server with it
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def fail(message: str) -> NoReturn:
    """Leave as the original's command line does: the reason on stdout, status 1 (cmd/root.go)."""
    say(message)
    raise SystemExit(1)


class Parser(ArgumentParser):
    """The flags of `inngest dev`; those that aren't given are absent from its answer."""

    def __init__(self) -> None:
        super().__init__("inngest", allow_abbrev=False, argument_default=SUPPRESS)
        self.add_argument("command", choices=["dev"])
        self.add_argument("--version", action="version", version=f"inngest version {VERSION}")
        for name, default in FLAGS.items():
            add = partial(self.add_argument, f"--{name}", dest=name, help=f"default: {default!r}")
            if isinstance(default, bool):
                add(action="store_true")
            elif isinstance(default, list):
                add("-u", action="extend", type=lambda text: text.split(","))
            else:
                add(*(["-p"] if name == "port" else []), type=type(default))

    def error(self, message: str) -> NoReturn:
        """Report a mistake as the original does: on stderr, and again after the usage."""
        unknown = r"unrecognized arguments: -*([^ =]*).*"
        message = re.sub(unknown, r"flag provided but not defined: -\1", message, flags=re.DOTALL)
        sys.stderr.write(f"Incorrect Usage: {message}\n\n")
        fail(f"{self.format_help()}\n{message}")


def read(kind: type, value: Any) -> Any:  # noqa: ANN401 - as many types as kinds
    """Return a setting as the original's library reads it: what makes no sense is empty or 0."""
    if kind is bool:
        return str(value)[:1] in {"1", "t", "T"}
    if kind is list:  # one that isn't in a list is none
        return [*map(str, value)] if isinstance(value, list) else []
    try:
        return kind("" if value is None else value)
    except (TypeError, ValueError):
        return 0


def configured(path: str) -> Json:
    """Return what the given file sets, or else the first one found from here upwards or at home."""
    parts = [""]
    with suppress(OSError):  # the working directory may have been removed
        parts = os.getcwd().split("/")  # noqa: PTH109 - pathlib costs 5 ms of the start
    folders = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    folders += [f"{home}/.config/inngest"] if (home := os.environ.get("HOME")) else []
    files = [f"{folder}/inngest.{end}" for folder in folders for end in ("json", "yaml", "yml")]
    for file in [path] if path else files:
        try:
            settings = read_file(file)
        except (OSError, ValueError, RecursionError) as error:
            if path:
                fail(f"error reading config file {file}: {error}")
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                log("WARN", "error reading config file", file=file, error=str(error))
        else:
            log("INFO", "using config", file=file)
            return settings
    return {}


def read_file(path: str) -> Json:
    """Return what is in a file; raises ValueError. YAML is read if it is JSON, too, or empty."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    try:
        settings = json.loads(text)
    except ValueError:
        if path.endswith(".json"):
            raise
        if text.strip():
            log("WARN", "the stand-in reads no YAML: this file sets nothing", file=path)
        return {}
    if not isinstance(settings, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the file's fault
    return settings


def options_of(words: list[str]) -> SimpleNamespace:
    """Return the settings: flags win over variables, even empty ones, and these over a file."""
    flags = vars(Parser().parse_args(words))
    level = os.environ.get("LOG_LEVEL") or flags.get("log-level") or FLAGS["log-level"]
    HIDDEN.update(LEVELS[: LEVELS.index(level.upper() if level.upper() in LEVELS else "INFO")])
    settings = configured(flags.get("config") or os.environ.get("INNGEST_CONFIG", ""))
    for variable, value in os.environ.items():
        if variable.startswith("INNGEST_"):
            name = variable[8:].replace("_", "-").lower()
            settings[name] = value.split(",") if name == "sdk-url" else value
    for name, value in settings.items():
        form = FORMED.get(name)
        if form and isinstance(value, str) and not re.fullmatch(f"({form})?", value):
            fail(f"error unmarshaling config: {name}: cannot be {value!r}")
    settings = {name: read(type(FLAGS[name]), settings[name]) for name in {*FLAGS} & {*settings}}
    values = {name.replace("-", "_"): value for name, value in (FLAGS | settings | flags).items()}
    options = SimpleNamespace(**values, set={*flags, *settings})
    if "connect-gateway-port" not in options.set:
        options.connect_gateway_port = min(options.port + 1, 65535) if options.port else 0
    try:
        for url in options.sdk_url:
            local(url)
    except ValueError as error:
        fail(f"invalid --sdk-url: {error}")
    options.poll_interval = max(0.05, options.poll_interval or FLAGS["poll-interval"])
    return options


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on one address, on all of them, or without `host` on loopback, IPv4 and IPv6.

    The original takes every interface, so that the port counts as taken where anybody has it on
    any. `create_server` sets SO_REUSEADDR (not on Windows, where it would steal the port), as Go.
    """
    dual = socket.has_dualstack_ipv6()
    every = socket.AF_INET6 if dual else socket.AF_INET
    if host in EVERY_ADDRESS:
        return [socket.create_server(("", port), family=every, backlog=128, dualstack_ipv6=dual)]
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [socket.create_server((host, port), family=family, backlog=128)]
    with socket.socket(every) as probe:  # bound and never listening: nobody can connect to it
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(("", port))
        port = probe.getsockname()[1]
    listeners = [socket.create_server(("127.0.0.1", port), backlog=128)]
    try:
        if dual:
            listeners += [socket.create_server(("::1", port), family=every, backlog=128)]
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # a loopback without IPv6, as in many containers
            listeners[0].close()
            raise
    return listeners


def listen_near(name: str, host: str, port: int, reserved: set[int]) -> list[socket.socket]:
    """Listen on `port`, or on the next free one that isn't reserved, and log the move.

    A port that needs privileges counts as taken: pkg/devserver/ports.go asks only whether it
    can listen there. It lets go of all and takes them later, this one keeps them.
    """
    if not 0 <= port <= 65535:  # noqa: PLR2004 - the last port there is
        fail(f"could not find open port for {name}: invalid port {port}")
    for candidate in (one for one in range(port, 65536) if one not in reserved):
        try:
            listeners = listen(host, candidate)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                continue
            fail(f"could not listen on {host}:{candidate}: {error.strerror}")
        if candidate != port:
            fields = {"name": name, "from": port, "to": candidate}
            log("INFO", "Port conflict, using new port", **fields)
        return listeners
    fail(f"could not find open port for {name}: no ports available starting at {port}")


class Server(ThreadingMixIn, TCPServer):
    """An HTTP server on a listening socket, with a thread a connection, so that none can block."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        # The listener is bound already: TCPServer would do that its own way.
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, *_: object) -> None:
        """Log what a handler raised; a client that went away is not worth a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log("ERROR", "request failed", error=repr(error))


def host_of(url: str) -> str:
    """Return the host that a URL names, in lower case, without port and brackets; "" for none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket too few
        return ""


def local(url: str) -> str:
    """Return `url`, whose `http://` may be left out. Raises ValueError for another machine's."""
    full = url if "://" in url else f"http://{url}"
    if not LOCAL.fullmatch(host_of(full)):
        raise ValueError(f"{url!r} is not on this machine; the stand-in asks nobody else")
    return full


def normalized(url: str) -> str:
    """Return `url` so that two spellings of one endpoint are equal (pkg/util, NormalizeAppURL)."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket too few: equal to itself only
        return url
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, ":")
    netloc = parts.netloc.removesuffix(default)
    if parts.hostname in {"127.0.0.1", "0.0.0.0"}:  # noqa: S104 - compared, not bound
        netloc = netloc.replace(parts.hostname, "localhost", 1)
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != "deployId"])
    return parts._replace(netloc=netloc, query=query).geturl()


def call(method: str, url: str, body: Json, timeout: float) -> tuple[int, bool, bytes]:
    """Send `body` to an app; return the status, whether a retry makes sense, and the answer.

    `http.client` knows no proxies and follows no redirects, and that is why it is used: an app is
    always asked directly. Raises OSError or HTTPException where there is no whole answer within
    `timeout` seconds and MAX_ANSWER bytes, ValueError where the URL is unusable.
    """
    parts = urlsplit(local(url))
    kind = getattr(client, f"{parts.scheme.upper()}Connection", None)
    if kind is None:  # also https in a Python without ssl
        raise ValueError(url)
    deadline = time.monotonic() + timeout
    name = parts.hostname or ""  # what is below .localhost may lead anywhere, if DNS is asked
    name = "localhost" if name.endswith("localhost") else name
    connection: client.HTTPConnection = kind(name, parts.port, timeout=timeout)
    connection.connect()
    clock = Timer(max(deadline - time.monotonic(), 0), hang_up, [connection.sock])
    try:
        clock.start()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "X-Inngest-Server-Kind": "dev"}
        headers["Host"] = parts.netloc.rpartition("@")[2]
        connection.request(method, target, json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read(MAX_ANSWER + 1)
    finally:
        clock.cancel()
        connection.close()
    if len(said) > MAX_ANSWER or time.monotonic() > deadline:
        raise client.HTTPException(f"no whole answer of {MAX_ANSWER} bytes in {timeout:g} s")
    return answer.status, answer.headers["x-inngest-no-retry"] != "true", said


def hang_up(connection: socket.socket) -> None:
    """End a conversation that another thread is in, also one that drips."""
    with suppress(OSError):  # it is over
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # under TLS, too


def ping(url: str) -> str | None:
    """Ask an app to register, as a poll does; return the error as the original words it."""
    try:
        status, _, body = call("PUT", url, {"url": url}, PING_TIMEOUT)
        if status == HTTPStatus.BAD_REQUEST:  # the SDK's own message is the error then
            answer = json.loads(body)
            return str(answer.get("message", "")) if isinstance(answer, dict) else "bad request"
    except (OSError, client.HTTPException):
        return "unreachable"
    except (ValueError, RecursionError):
        return "unsupported_protocol"
    return PING_ERRORS.get(status)


class App:
    """A row of the app list: a URL that is watched and, once it has registered, its app."""

    def __init__(self, url: str) -> None:
        self.id = "-".join(os.urandom(size).hex() for size in (4, 2, 2, 2, 6))
        self.url = url
        self.error: str | None = "unreachable"
        self.request: Json = {}

    @property
    def name(self) -> str:
        """The app id from the app's code, empty until it has registered."""
        return str(self.request.get("appName", ""))

    @property
    def functions(self) -> list[Json]:
        """The functions as the app registered them."""
        functions: list[Json] = self.request.get("functions", [])
        return functions

    def fields(self) -> Json:
        """Return the row as GraphQL knows it (pkg/coreapi/gql.schema.graphql, type App)."""
        language, _, version = str(self.request.get("sdk", "")).partition(":v")
        functions = [
            {"id": f["id"], "slug": f["id"], "name": f.get("name")} for f in self.functions
        ]
        row: Json = {"__typename": "App", "id": self.id, "externalID": self.name, "name": self.name}
        row |= {"url": self.url, "error": self.error, "connected": self.error is None}
        row |= {"functionCount": len(functions), "functions": functions, "autodiscovered": False}
        row |= {"sdkLanguage": language, "sdkVersion": version, "method": "SERVE"}
        return row | {"framework": self.request.get("framework"), "appVersion": None}


class Apps:
    """What the server watches and serves. Safe to use from several threads."""

    def __init__(self, urls: list[str]) -> None:
        self._lock = Lock()
        self._rows: list[App] = []
        self._runs: dict[str, Run] = {}
        for url in urls:
            self.watch(url)

    def rows(self) -> list[App]:
        """Return the rows of this moment."""
        with self._lock:
            return list(self._rows)

    def watch(self, url: str) -> App:
        """Return the row of `url`, a new one if it isn't watched. Raises ValueError; see local."""
        url = local(url)
        with self._lock:
            for row in self._rows:
                if normalized(row.url) == normalized(url):
                    return row
            self._rows.append(App(url))
            return self._rows[-1]

    def register(self, request: Json) -> Json:
        """Take an SDK's registration: the last registrant of an app id has the row of that id.

        The row of the URL that only waited for a registration goes, and so does the URL that the
        app id had before: nothing polls it any more (pkg/devserver/api.go, docs/inngest.md).
        """
        url = request["url"]
        with self._lock:
            self._rows = [row for row in self._rows if row.name or normalized(row.url) != url]
            row = next((row for row in self._rows if row.name == request["appName"]), None)
            modified = row is None or row.request != request or row.error is not None
            if row is None:
                row = App(url)
                self._rows.append(row)
            denied = DENIED.fullmatch(str(request.get("sdk")))  # it gets the row, and no functions
            functions = row.functions if denied else request["functions"]
            row.url, row.request, row.error = url, {**request, "functions": functions}, None
            if denied:
                row.error = "sdk_version_denied"
                refuse(400, DENIAL, code=row.error)
        if modified:
            log("INFO", "app registered", app=row.name, url=url, functions=len(row.functions))
        return {"ok": True, "modified": modified, "app_id": row.id}

    def keep(self, run: Run) -> Run:
        """Keep a run for who asks later, and not too many."""
        with self._lock:
            self._runs[run.id] = run
            if len(self._runs) > MAX_RUNS:
                del self._runs[next(iter(self._runs))]
        return run

    def run(self, id_: str) -> Run | None:
        """Return the run of that id."""
        return self._runs.get(id_)

    def runs_as(self, arguments: Json) -> Json:
        """Return runs as GraphQL has them, the last queued first (runs_v2.go)."""
        wanted = (arguments.get("filter") or {}).get("appIDs")
        with self._lock:
            runs = list(self._runs.values())[::-1]
        found = [run for run in runs if not wanted or run.app_id in wanted]
        first = int(arguments.get("first") or 100)
        edges = [{"node": run.fields(), "cursor": run.id} for run in found[:first]]
        return {"edges": edges, "totalCount": len(found)}

    def ping(self, row: App) -> str | None:
        """Ask one app to register and note its error; success is noted by its registration."""
        url = row.url
        error = ping(url)
        with self._lock:
            if error is not None and row.url == url:  # else another app took the row meanwhile
                row.error = error
        return error

    def poll_forever(self, options: SimpleNamespace) -> None:
        """Ask each app in turn to register, for as long as the server runs (a thread's work)."""
        while True:
            for row in self.rows():
                if row.error is not None or not options.no_poll:
                    self.ping(row)
            time.sleep(options.poll_interval)


def registration(body: Any) -> Json:  # noqa: ANN401 - whatever JSON there is
    """Return a registration whose parts are what they should be; raises where one isn't."""
    functions = body.get("functions") or []
    for function in functions:
        Run(function, {})
        triggered(function, "\0")
    wanted = {"url": normalized(local(body["url"])), "appName": str(body["appName"])}
    return {**body, **wanted, "functions": functions}


def ulid() -> str:
    """Return an id as events and runs have them: 48 bits of milliseconds, then 80 random ones."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(letters[value >> 5 * n & 31] for n in range(25, -1, -1))


def triggered(function: Json, name: str) -> bool:
    """Tell whether an event of this name starts the function; `some/*` stands for a prefix."""
    for trigger in function.get("triggers") or []:
        wanted = str(trigger.get("event") or "")
        prefix = wanted[:-1] if wanted.endswith("*") else None
        if name != wanted and (prefix is None or not name.startswith(prefix)):
            continue
        if not trigger.get("expression"):
            return True
        log("WARN", "trigger expressions are not imitated: not run", function=function["id"])
    return False


def instant() -> str:
    """Return this moment as GraphQL has it."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"


def step_error(text: str | bytes) -> Json:
    """Return an error as GraphQL has it (StepError), from what the SDK says of one."""
    try:
        said = json.loads(text)
        return {key: said.get(key) for key in ("name", "stack")} | {"message": said["message"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"name": "Error", "message": str(text)[:500], "stack": None}


class Run:
    """One run of a function: its steps' results, and the calls that are still to be made.

    The app runs one step a call and answers 206 with it (`components/execution` of the inngest
    SDK 4.24); it is called again, with the results so far, until it answers 200.
    """

    def __init__(self, function: Json, event: Json, app_id: str = "") -> None:
        step = function["steps"]["step"]
        self.function, self.event, self.id = str(function["id"]), event, ulid()
        self.app_id, self.queued, self.ended = app_id, instant(), ""
        self.status = "RUNNING"
        self.error: Json | None = None
        self.spans: list[Json] = []
        self.url = local(str(step["runtime"]["url"]))
        self.max_attempts = 1 + int((step.get("retries") or {}).get("attempts", 3))
        self.attempt = 0
        self.steps: Json = {}
        self.planned: list[str] = []

    def execute(self) -> None:
        """Call the function until it ends, and log how (a thread's work)."""
        about = {"function": self.function, "run_id": self.id, "url": self.url}
        try:
            log("INFO", "run finished", **about, output=self._result())
            self.status = "COMPLETED"
        except Exception as error:  # noqa: BLE001 - whatever the app answered, it is this run's end
            log("ERROR", "run failed", **about, error=str(error) or repr(error))
            self.status, self.error = "FAILED", self.error or step_error(str(error))
        self.ended = instant()

    def fields(self) -> Json:
        """Return the run as GraphQL knows it (pkg/coreapi/gql.schema.graphql, FunctionRunV2)."""
        about: Json = {"status": self.status, "stepID": None, "stepOp": None}
        root = about | {
            "name": self.function,
            "outputID": f"{self.id}:",
            "childrenSpans": self.spans,
        }
        name = self.function.partition("-")[2] or self.function
        row: Json = {"id": self.id, "appID": self.app_id, "status": self.status, "trace": root}
        row |= {"queuedAt": self.queued, "startedAt": self.queued, "endedAt": self.ended or None}
        row |= {"function": {"id": self.function, "slug": self.function, "name": name}}
        return row | {"eventName": self.event.get("name"), "cronSchedule": None, "output": None}

    def output(self, span: str) -> Json:
        """Return what a step ended with, the whole run for an empty id (RunTraceSpanOutput)."""
        error = next((one["error"] for one in self.spans if one["stepID"] == span), self.error)
        return {"input": None, "data": None, "error": error}

    def _result(self) -> object:
        for _ in range(MAX_CALLS):
            step = self.planned.pop(0) if self.planned else "step"
            status, retriable, body = call("POST", self._step_url(step), self._body(), RUN_TIMEOUT)
            if status == HTTPStatus.OK:  # the function has returned
                return json.loads(body)
            if status == HTTPStatus.PARTIAL_CONTENT:  # it has more to do
                for op in json.loads(body):
                    self._take(op, step)
            elif retriable and self.attempt + 1 < self.max_attempts:
                self._again(step)
            else:
                self.error = step_error(body)
                raise RuntimeError(f"status {status}: {body[:500].decode(errors='replace')}")
        raise RuntimeError(f"given up after {MAX_CALLS} calls")

    def _again(self, step: str) -> None:
        self.attempt += 1
        if step != "step":
            self.planned.insert(0, step)

    def _take(self, op: Json, step: str) -> None:
        match op["op"]:
            case "StepRun" | "Step" | "StepFailed":
                kind = "error" if op["op"] == "StepFailed" else "data"
                self.attempt = 0
                self.steps[op["id"]] = {"type": kind, kind: op.get(kind)}
                span: Json = {"name": op.get("displayName") or op.get("name"), "stepID": op["id"]}
                span |= {"status": "FAILED" if kind == "error" else "COMPLETED", "stepOp": "RUN"}
                error = step_error(json.dumps(op.get("error"))) if kind == "error" else None
                span |= {"outputID": f"{self.id}:{op['id']}", "childrenSpans": [], "error": error}
                self.spans.append(span)
            case "StepPlanned":
                self.planned.append(op["id"])
            case "StepError":  # to be tried again; the last attempt's error is a StepFailed
                self._again(step)
            case unknown:
                raise RuntimeError(f"step op {unknown} is not imitated")

    def _step_url(self, step: str) -> str:
        parts = urlsplit(self.url)
        query = {**dict(parse_qsl(parts.query)), "stepId": step}
        return parts._replace(query=urlencode(query)).geturl()

    def _body(self) -> Json:
        # `ctx.fn_id` is left out on purpose: with it the SDK would report each step to the server
        # in calls of its own ("checkpointing") instead of answering with it.
        stack = {"stack": list(self.steps), "current": len(self.steps)}
        context = {"run_id": self.id, "env": "local", "step_id": "step", "attempt": self.attempt}
        context |= {"max_attempts": self.max_attempts, "stack": stack, "use_api": False}
        context |= {"disable_immediate_execution": False}
        events = {"event": self.event, "events": [self.event]}
        return {**events, "steps": self.steps, "ctx": context, "version": -1, "use_api": False}


class Field(NamedTuple):
    """A field that a query selects."""

    alias: str
    name: str
    arguments: Json
    fields: list[Field]


class QueryError(Exception):
    """A GraphQL query that can't be answered; says why."""


class AppError(Exception):
    """An app that is watched but didn't register; names the error."""


class Query:
    """A reader of what clients send to `/v0/gql`: one operation, without fragments or directives.

    Raises QueryError for anything else.
    """

    TOKENS = re.compile(r'[\s,\ufeff]+|#[^\r\n]*|("(?:[^"\\]|\\.)*"|\w+|-?\d[\d.]*|\S)', re.DOTALL)

    def __init__(self, text: str, variables: Json) -> None:
        self._tokens: list[str] = [token for token in self.TOKENS.findall(text) if token][::-1]
        self._variables = variables
        self.kind = "query" if self._next() == "{" else self._take("query|mutation")
        while self._next() not in {"{", ""}:  # the name, and the variables' definitions
            self._take(".*")
        self.fields = self._selection()

    def _next(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _take(self, pattern: str) -> str:
        token = self._next()
        if not token or not re.fullmatch(pattern, token, re.DOTALL):
            raise QueryError(f"Unexpected {token or '<EOF>'}")
        del self._tokens[-1]
        return token

    def _selection(self) -> list[Field]:
        fields = []
        self._take("{")
        while self._next() != "}":
            alias = name = self._take(r"[A-Za-z_]\w*")
            if self._next() == ":":
                self._take(":")
                name = self._take(r"[A-Za-z_]\w*")
            arguments = self._pairs("[(]", ")") if self._next() == "(" else {}
            below = self._selection() if self._next() == "{" else []
            fields.append(Field(alias, name, arguments, below))
        self._take("}")
        return fields

    def _pairs(self, opening: str, closing: str) -> Json:
        pairs = {}
        self._take(opening)
        while self._next() != closing:
            name = self._take(r"[A-Za-z_]\w*")
            self._take(":")
            pairs[name] = self._value()
        self._take(re.escape(closing))
        return pairs

    def _value(self) -> object:
        if self._next() == "{":
            return self._pairs("{", "}")
        if self._next() == "[":
            items = []
            self._take(r"\[")
            while self._next() != "]":
                items.append(self._value())
            self._take("]")
            return items
        token = self._take(r'[$"\w-].*')
        if token == "$":  # noqa: S105 - no password
            return self._variables.get(self._take(r"\w+"))
        try:
            return json.loads(token)
        except ValueError:
            return token  # the name of an enumeration's value


def select(row: Json, fields: list[Field], type_name: str) -> Json:
    """Return what a query selects from `row`. Raises QueryError for a field that it hasn't got."""
    if not fields:
        raise QueryError(f'Field of type "{type_name}" must have a selection of subfields.')
    result: Json = {}
    for field in fields:
        if field.name not in row:
            raise QueryError(f'Cannot query field "{field.name}" on type "{type_name}".')
        value = row[field.name]
        if isinstance(value, list):
            value = [select(item, field.fields, field.name) for item in value]
        elif isinstance(value, dict):
            value = select(value, field.fields, field.name)
        result[field.alias] = value
    return result


def create_app(apps: Apps, field: Field) -> Json:
    """Watch one more URL and ask it to register (app_mutations.go, CreateApp).

    It is watched from then on even where nothing listens: AppError says so.
    """
    given = field.arguments.get("input")
    url = given.get("url") if isinstance(given, dict) else None
    if not isinstance(url, str) or not url:
        raise QueryError('Argument "input" needs a "url".')
    select(App(url).fields(), field.fields, "App")  # a query with a mistake in it does nothing
    try:
        error = apps.ping(apps.watch(url))
    except ValueError as refusal:
        raise AppError(str(refusal)) from None
    if error is not None:
        raise AppError(error)
    # The row of a URL that has just registered is another one: it is found by its URL.
    return select(apps.watch(url).fields(), field.fields, "App")


def graphql(apps: Apps, request: Json) -> tuple[int, Json]:
    """Answer a GraphQL request with a status and a body; 422 where the query itself is at fault."""
    data: Json = {}
    try:
        query = Query(str(request.get("query")), request.get("variables") or {})
        for field in query.fields:
            match query.kind, field.name:
                case "query", "apps":
                    rows = [row.fields() for row in apps.rows()]
                    data[field.alias] = [select(row, field.fields, "App") for row in rows]
                case "query", "runs":
                    data[field.alias] = select(apps.runs_as(field.arguments), field.fields, "Runs")
                case "query", "run":
                    run = apps.run(str(field.arguments.get("runID")))
                    data[field.alias] = run and select(run.fields(), field.fields, "Run")
                case "query", "runTraceSpanOutputByID":
                    id_, _, span = str(field.arguments.get("outputID")).partition(":")
                    said = found.output(span) if (found := apps.run(id_)) else {}
                    data[field.alias] = said and select(said, field.fields, "Output")
                case "mutation", "createApp":
                    data[field.alias] = create_app(apps, field)
                case _:
                    root = {"__typename": query.kind.capitalize()}
                    data |= select(root, [field], query.kind.capitalize())
    except (QueryError, RecursionError) as error:
        fault = {"message": str(error), "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}
        return 422, {"errors": [fault], "data": None}
    except AppError as error:
        return 200, {"errors": [{"message": str(error), "path": [field.alias]}], "data": None}
    return 200, {"data": data}


class RefusedError(Exception):
    """A request that gets an error for an answer: status, message, and what else it has."""


def refuse(status: int, message: str, **more: str) -> NoReturn:
    """Answer the request that is being read with an error."""
    raise RefusedError(status, message, more)


class Quiet(BaseHTTPRequestHandler):
    """A handler that logs no requests, and has nothing to serve: the connect gateway."""

    protocol_version = "HTTP/1.1"
    server_version = f"inngest-standin/{VERSION}"
    timeout = 60  # seconds that a connection may be idle, or take over one read
    wbufsize = -1  # an answer is one packet: a second small one would wait for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Log nothing: an idle server's log stays almost empty, whoever looks at its health."""


class Handler(Quiet):
    """The dev server's API."""

    options: SimpleNamespace
    apps: Apps

    def do_GET(self) -> None:
        """Answer `/health`, `/dev`, and every other path with the page, as the original's UI."""
        path = urlsplit(self.path).path
        if refusal := self._stranger():
            self._answer(403, {"error": refusal, "status": 403})
        elif path == "/health":
            self._answer(200, {"status": 200, "message": "OK"})
        elif path == "/dev":
            self._answer(200, self._info())
        elif path.startswith(("/v0/", "/v1/", "/e/", "/fn/")):
            self._answer(404, {"error": "not found", "status": 404})
        else:
            self._send(200, "text/html; charset=utf-8", self._page())

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's; `_send` leaves the body out

    def do_POST(self) -> None:
        """Answer events, registrations and GraphQL."""
        path = urlsplit(self.path).path
        routes = {"/fn/register": self._register, "/v0/gql": self._graphql}
        route = self._events if path.startswith("/e/") else routes.get(path)
        try:
            if route is None:
                refuse(404, "not found")
            body = self._json()
            if refusal := self._stranger():
                refuse(403, refusal)
            self._answer(*route(body))
        except RefusedError as refusal:
            self.close_connection = True  # what is left of the body is not the next request
            status, message, more = refusal.args
            self._answer(status, {**more, "error": message, "status": status})

    def _stranger(self) -> str | None:
        """Return what is wrong with a request that a page of another site makes a browser send.

        Such a page names itself in `Origin`, or in `Host` where its name leads here (DNS
        rebinding). An address can't be led anywhere.
        """
        host, headers = self.options.host, self.headers
        names = {"Host": host_of(f"//{headers.get('Host', '')}")}
        if "Origin" in headers:
            names["Origin"] = host_of(headers["Origin"])
        for header, name in names.items():
            exposed = host in EVERY_ADDRESS and ADDRESS.fullmatch(name)
            if not (exposed or name == host.lower() != "" or LOCAL.fullmatch(name)):
                known = "localhost" if host in {"", *EVERY_ADDRESS} else f"localhost or {host}"
                return f"{header} {headers[header]!r} is not this machine: ask for {known}"
        return None

    def _json(self) -> object:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 18:  # noqa: PLR2004 - not a number of bytes
            refuse(411, "a Content-Length is required")
        if int(length) > MAX_BODY:
            # Read on for a while: a client that is still sending would never see the answer.
            for left in range(min(int(length), 10 * MAX_BODY), 0, -65536):
                self.rfile.read(min(left, 65536))
            refuse(413, f"request body is larger than {MAX_BODY} bytes")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            refuse(400, f"invalid JSON: {error}")

    def _graphql(self, request: object) -> tuple[int, Json]:
        if not isinstance(request, dict) or not isinstance(request.get("variables") or {}, dict):
            refuse(400, "json request body could not be decoded")
        return graphql(self.apps, request)

    def _events(self, body: object) -> tuple[int, Json]:
        events: list[Any] = body if isinstance(body, list) else [body]
        for event in events:
            if not isinstance(event, dict) or not isinstance(event.get("name"), str):
                refuse(400, "event name must be a string")
        stamped = [(ulid(), event) for event in events]
        for id_, event in stamped:
            full = {"id": id_, "data": {}, "ts": time.time_ns() // 1_000_000, **event}
            pairs = ((row, function) for row in self.apps.rows() for function in row.functions)
            for row, function in pairs:
                if triggered(function, event["name"]):
                    run = self.apps.keep(Run(function, full, row.id))
                    Thread(target=run.execute, daemon=True).start()
        return 200, {"ids": [id_ for id_, _ in stamped], "status": 200}

    def _register(self, request: object) -> tuple[int, Json]:
        kind = self.headers.get("X-Inngest-Expected-Server-Kind", "dev")
        if kind != "dev":
            refuse(400, f"Expected server kind dev, got {kind}")
        try:
            return 200, self.apps.register(registration(request))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            refuse(400, f"Invalid request: {error!r}")

    def _info(self) -> Json:
        options = self.options
        interval = options.poll_interval
        ports = {"Gateway": {"Port": options.connect_gateway_grpc_port}}
        ports["Executor"] = {"Port": options.connect_executor_grpc_port}
        start: Json = {"urls": options.sdk_url, "autodiscover": not options.no_discovery}
        start |= {"poll": not options.no_poll, "persist": options.persist}
        start |= {"poll_interval": int(interval) if interval.is_integer() else interval}
        start |= {"connectGatewayPort": options.connect_gateway_port, "connectGRPCConfig": ports}
        return {
            "version": VERSION,
            "standIn": True,
            "PORT": os.environ.get("PORT"),  # the original would look there too, and doesn't tell
            "startOpts": start | {"debugAPIPort": options.debug_api_port},
            "functions": [function for row in self.apps.rows() for function in row.functions],
            "handlers": None,  # as from the original: it has a field for them and never fills it
        }

    def _page(self) -> bytes:
        page = "<!doctype html><meta charset=utf-8><title>Inngest stand-in</title>"
        page += "<h1>This is a stand-in for the Inngest dev server</h1><p>It watches:</p><ul>"
        for row in self.apps.rows():
            about = f"{row.url}: {row.name or 'not registered'}, {row.error or 'connected'}"
            page += f"<li>{html.escape(about)}</li>"
        return f"{page}</ul>\n".encode()

    def _answer(self, status: int, body: Json) -> None:
        self._send(status, "application/json", json.dumps(body, separators=(",", ":")).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Inngest-Server-Kind", "dev")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def open_ports(options: SimpleNamespace) -> list[Server]:
    """Open the ports in the original's order, and note in `options` where each one went."""
    wanted = options.set & {"connect-gateway-grpc-port", "connect-executor-grpc-port"}
    wanted |= {"debug-api-port"} if os.environ.get("DEBUG") else set()
    reserved = {options.connect_gateway_port} - {options.port}
    servers: list[Server] = []
    for name in ["port", "connect-gateway-port", *sorted(wanted, key=[*FLAGS].index)]:
        title = "dev server api" if name == "port" else name[:-5].replace("-", " ")
        key = name.replace("-", "_")
        listeners = listen_near(title, options.host, getattr(options, key), reserved)
        setattr(options, key, listeners[0].getsockname()[1])
        reserved = set()  # the others are held
        if name == "connect-executor-grpc-port":
            listeners = open_again(options.host, listeners)
        handler = Quiet if servers else Handler
        servers += [Server(one, handler) for one in listeners]
    return servers


def open_again(host: str, listeners: list[socket.socket]) -> list[socket.socket]:
    """Let go of a port and take it again; if it is lost, only the log says so."""
    port = listeners[0].getsockname()[1]
    for one in listeners:
        one.close()
    try:  # the executor's: pkg/connect/grpc
        return listen(host, port)
    except OSError as error:
        log("ERROR", "could not listen for grpc", err=str(error), addr=f":{port}")
        return []


def main(words: list[str]) -> None:
    """Serve until SIGTERM or SIGINT, which end the process at once with status 0."""
    options = options_of(words)
    for number_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number_, lambda *_: os._exit(0))
    if options.persist:
        os.makedirs(options.sqlite_dir or ".inngest", exist_ok=True)  # noqa: PTH103 - slow to load
        with open(f"{options.sqlite_dir or '.inngest'}/main.db", "ab"):
            pass
    servers = open_ports(options)
    Handler.options, Handler.apps = options, Apps(options.sdk_url)
    log("INFO", "stand-in for the Inngest dev server", port=options.port, urls=options.sdk_url)
    for server in servers[1:]:
        Thread(target=server.serve_forever, daemon=True).start()
    Thread(target=Handler.apps.poll_forever, args=[options], daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
