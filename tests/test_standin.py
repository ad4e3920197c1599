"""The stand-in behaves as docs/inngest.md says the real Inngest dev server does."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGINT, SIGTERM
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., "StandIn"]
    Fakes = Callable[..., "FakeApp"]

STANDIN = Path(__file__).parents[1] / "devservers" / "inngest" / "standin.py"
FAKE = Path(__file__).with_name("fake_cli.py")
DEADLINE = 10.0  # seconds; what is awaited takes tens of milliseconds on an idle machine
APPS = "{apps{id externalID name url connected error functionCount}}"

ELSEWHERE = [
    *(
        "http://192.0.2.1/x",
        "http://example.test/x",
        "https://[2001:db8::1]/",
        "http://localhost@a",
    ),
    *("http://[", "://", "http://", "http://127.0.0.1.example.test/x", "http://xlocalhost:1/"),
]
ANY = "0.0.0.0"  # noqa: S104 - every interface is what is tested
HAS_IPV6 = socket.has_dualstack_ipv6()

pytestmark = pytest.mark.timeout(60)
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


def until(condition: Callable[[], Any]) -> Any:
    """Return the first truthy answer of `condition`."""
    deadline = time.monotonic() + DEADLINE
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
    return answer


def plain_env(home: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing configures a server but `more`."""
    own = ("INNGEST_", "PORT", "DEBUG", "LOG_LEVEL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**env, "HOME": str(home), **(more or {})}


def bound(host: str, port: int) -> socket.socket:
    """Return a listener; IPv6 ones leave IPv4 alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def free_ports(count: int = 4) -> int:
    """Return the first of `count` neighbouring ports that are free, below the ephemeral ones."""
    for _ in range(200):
        first = random.randrange(10_000, 32_000)  # noqa: S311 - no secret
        try:
            with ExitStack() as stack:
                for port in range(first, first + count):
                    stack.enter_context(bound(ANY, port))
                    if HAS_IPV6:
                        stack.enter_context(bound("::", port))
        except OSError:
            continue
        return first
    pytest.fail("no free ports")


class StandIn:
    """A running stand-in, and what it has logged."""

    address = "127.0.0.1"

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.process, self.log, self.port = process, log, port
        self.http = requests.Session()
        self.http.trust_env = False

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = f"http://{self.address}:{self.port}{path}"
        return self.http.request(method, url, timeout=DEADLINE, **arguments)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.request("GET", "/health").ok
        except requests.ConnectionError:
            return False

    def gql(self, query: str, **variables: object) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer: dict[str, Any] = self.request("POST", "/v0/gql", json=body).json()
        return answer

    def apps(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.gql(APPS)["data"]["apps"]
        return rows

    def served(self) -> list[str]:
        return [row["url"] for row in self.apps() if row["connected"]]

    def start_opts(self) -> dict[str, Any]:
        options: dict[str, Any] = self.request("GET", "/dev").json()["startOpts"]
        return options

    def moves(self) -> list[tuple[str, int, int]]:
        lines = [line for line in self.lines() if line["msg"] == "Port conflict, using new port"]
        return [(line["name"], line["from"], line["to"]) for line in lines]

    def configs(self) -> list[str]:
        return [line["file"] for line in self.lines() if line["msg"] == "using config"]

    def ports(self) -> set[int]:
        listening = psutil.Process(self.process.pid).net_connections("tcp")
        return {one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN}

    def add(self, url: str) -> dict[str, Any]:
        return self.gql(f'mutation{{createApp(input:{{url:"{url}"}}){{id url}}}}')


@contextmanager
def starting(folder: Path) -> Iterator[Callable[..., StandIn]]:
    """Start stand-ins, and end them whatever happens."""
    running: list[StandIn] = []

    def run(  # noqa: PLR0913 - what a user can vary
        *words: str,
        port: int | None = None,
        serves_on: int | None = None,
        answers_on: str = StandIn.address,
        program: tuple[str, ...] = (str(STANDIN),),
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> StandIn:
        configured = "INNGEST_PORT" in (env or {})
        port = free_ports() if port is None else port
        log = folder / f"standin-{len(running)}.log"
        argv = [sys.executable, "-I", "-S", *program, "dev", *words]
        argv += [] if configured else ["--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd or folder,
                env=plain_env(folder / "home", env),
            )
        standin = StandIn(process, log, serves_on or port)
        standin.address = answers_on
        running.append(standin)
        until(standin.answers)
        return standin

    yield run
    for standin in running:
        standin.http.close()
        standin.process.kill()
        standin.process.wait()
        assert "Traceback" not in standin.log.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., StandIn]]:
    """Start stand-ins of this test's own."""
    with starting(tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Start a stand-in that watches one app, for all tests that change nothing in it."""
    with starting(tmp_path_factory.mktemp("one")) as run:
        yield run("-u", "http://localhost:1/x")


@pytest.fixture
def shared(one: StandIn) -> Iterator[StandIn]:
    """The one that tests share; it must go on as it was."""
    yield one
    assert one.answers()
    assert [row["url"] for row in one.apps()] == ["http://localhost:1/x"]
    assert "Traceback" not in one.log.read_text()


class FakeApp(ThreadingHTTPServer):
    """An app with the part of the SDK's behaviour that the server sees.

    `answers` maps a call of its function, counted from 0, to a status and a body.
    """

    daemon_threads = True

    def __init__(self, server_port: int, app_id: str = "flowt") -> None:
        super().__init__(("127.0.0.1", 0), AppHandler)
        self.inngest, self.app_id = f"http://127.0.0.1:{server_port}", app_id
        self.url = f"http://localhost:{self.server_port}/api/inngest"
        self.puts = 0
        self.put_status = 200
        self.calls: list[dict[str, Any]] = []
        self.answers: list[tuple[int, Any]] = [(200, "done")]
        self.trigger: dict[str, str] = {"event": "demo/hello"}
        Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    def registration(self) -> dict[str, Any]:
        runtime = {"type": "http", "url": f"{self.url}?fnId={self.app_id}-hello&stepId=step"}
        function = {
            "id": f"{self.app_id}-hello",
            "name": "hello",
            "triggers": [self.trigger],
            "steps": {"step": {"id": "step", "runtime": runtime, "retries": {"attempts": 1}}},
        }
        body = {"url": self.url, "appName": self.app_id, "sdk": "js:v4.24.0", "v": "0.1"}
        return {**body, "deployType": "ping", "functions": [function]}

    def register(self) -> dict[str, Any]:
        """Do what the SDK does on PUT."""
        with requests.Session() as http:
            http.trust_env = False
            answer = http.post(f"{self.inngest}/fn/register", json=self.registration(), timeout=9)
        reply: dict[str, Any] = answer.json()
        return {"message": "Successfully registered", "modified": reply["modified"]}


class AppHandler(BaseHTTPRequestHandler):
    server: FakeApp

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        self.body()
        self.server.puts += 1
        status = self.server.put_status
        self.answer(status, self.server.register() if status == 200 else {"message": "no"})

    def do_POST(self) -> None:
        app = self.server
        app.calls.append({"path": self.path, **self.body()})
        self.answer(*app.answers[min(len(app.calls), len(app.answers)) - 1])

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.send_header("x-inngest-sdk", "inngest-js:v4.24.0")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def fake() -> Iterator[Callable[..., FakeApp]]:
    """Make fake apps, and end them."""
    apps: list[FakeApp] = []

    def make(server_port: int, app_id: str = "flowt") -> FakeApp:
        apps.append(FakeApp(server_port, app_id))
        return apps[-1]

    yield make
    for app in apps:
        app.shutdown()
        app.server_close()


# The process


def test_it_answers_health_dev_and_a_page_that_says_what_it_is(start: Start) -> None:
    url = "http://localhost:1/api/inngest"
    standin = start("--sdk-url", url, "--no-discovery")
    health = standin.request("GET", "/health")
    assert (health.status_code, health.json()) == (200, {"status": 200, "message": "OK"})
    info = standin.request("GET", "/dev").json()
    assert info["version"].startswith("1.45.1-standin")
    assert info["standIn"] is True
    assert info["startOpts"]["urls"] == [url]
    assert info["startOpts"]["autodiscover"] is False
    assert info["startOpts"]["poll_interval"] == 5
    assert info["functions"] == []
    assert "handlers" in info
    page = standin.request("GET", "/")
    assert page.status_code == 200
    assert "stand-in" in page.text
    assert url in page.text


def test_autodiscover_is_reported_as_the_flags_say(start: Start) -> None:
    assert start().request("GET", "/dev").json()["startOpts"]["autodiscover"] is True


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        ANY,
        *(pytest.param(host, marks=needs_ipv6) for host in ("::1", "::")),
    ],
)
def test_a_taken_port_is_no_error_and_it_moves_past_its_own_next_one(
    start: Start, host: str
) -> None:
    port = free_ports()
    with bound(host, port):
        standin = start(port=port, serves_on=port + 2)
        first = standin.lines()[0]
    assert first.pop("time")
    assert first == {
        "level": "INFO",
        "msg": "Port conflict, using new port",
        "name": "dev server api",
        "from": port,
        "to": port + 2,
    }
    line = standin.log.read_text().splitlines()[0]
    assert '"level":"INFO","msg":"Port conflict, using new port","name":"dev server api",' in line


def test_a_second_one_moves_both_of_its_ports(start: Start) -> None:
    port = free_ports()
    start(port=port)
    assert start(port=port, serves_on=port + 2).moves() == [
        ("dev server api", port, port + 2),
        ("connect gateway", port + 1, port + 3),
    ]


OTHER = "127.0.0.2"  # reaches what listens on every interface, and not what does on 127.0.0.1


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True


@needs_ipv6
@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        ((), {"127.0.0.1", "::1"}),
        (("--host", "127.0.0.1"), {"127.0.0.1"}),
        (("--host", "::1"), {"::1"}),
        (("--host", ANY), {"127.0.0.1", "::1", OTHER}),
        (("--host", "::"), {"127.0.0.1", "::1", OTHER}),
    ],
)
def test_it_listens_on_loopback_unless_it_is_told_otherwise(
    start: Start, words: tuple[str, ...], hosts: set[str]
) -> None:
    standin = start(*words, answers_on="[::1]" if "::1" in words else "127.0.0.1")
    for port in (standin.port, standin.port + 1):
        assert {host for host in ("127.0.0.1", "::1", OTHER) if listens(host, port)} == hosts


def test_without_ipv6_it_listens_on_ipv4(start: Start) -> None:
    code = (
        "import runpy, socket; socket.has_dualstack_ipv6 = lambda: False; "
        f"runpy.run_path({str(STANDIN)!r}, run_name='__main__')"
    )
    standin = start(program=("-c", code))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", standin.port), timeout=DEADLINE)


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_ends_it_at_once_with_status_0(start: Start, number: int) -> None:
    standin = start()
    with socket.create_connection(("127.0.0.1", standin.port)):
        standin.process.send_signal(number)
        assert standin.process.wait(2) == 0  # some 2 ms; the bound is for a busy machine
    bound(ANY, standin.port).close()


def test_an_idle_one_logs_json_lines_and_almost_none(start: Start) -> None:
    standin = start("--poll-interval", "0.05", "-u", "http://localhost:1/api/inngest")
    for _ in range(20):
        standin.request("GET", "/health")
    lines = standin.lines()
    assert len(lines) == 1
    assert {"time", "level", "msg"} <= lines[0].keys()


def test_persist_writes_into_the_working_directory(start: Start, tmp_path: Path) -> None:
    start("--persist")
    assert (tmp_path / ".inngest" / "main.db").is_file()


@pytest.mark.parametrize(
    ("words", "status", "output"),
    [
        (["dev", "--nonsense=1"], 1, "flag provided but not defined: -nonsense\n"),
        (["dev", "--port"], 1, "Incorrect Usage: "),
        (["dev", "--port", "x"], 1, "Incorrect Usage: "),
        (["dev", "--port", "99999"], 1, "dev server api: invalid port 99999\n"),
        *((["dev", "-u", url], 1, f"invalid --sdk-url: '{url}'") for url in ELSEWHERE),
        (["--version"], 0, "inngest version 1.45.1-standin"),
    ],
)
def test_the_command_line_answers_as_the_originals(
    tmp_path: Path, words: list[str], status: int, output: str
) -> None:
    done = ended(tmp_path, *words)
    assert done.returncode == status
    assert output in done.stdout + done.stderr


def ended(
    home: Path, *words: str, program: tuple[str, ...] = (str(STANDIN),), **more: str
) -> subprocess.CompletedProcess[str]:
    """Run what ends by itself."""
    return subprocess.run(
        [sys.executable, "-I", "-S", *program, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd=home,
        env=plain_env(home, more),
    )


CONNECT = ["connect-gateway-port", "connect-gateway-grpc-port", "connect-executor-grpc-port"]


def test_help_names_every_flag(tmp_path: Path) -> None:
    done = ended(tmp_path, "dev", "--help")
    assert done.returncode == 0
    named = set(re.findall(r"^ +--([\w-]+)", done.stdout, re.MULTILINE))
    assert {*CONNECT, "sdk-url", "no-discovery", "no-poll", "config", "host", "port"} <= named
    for default in ("8288", "8289", "50052", "50053"):
        assert default in done.stdout


def test_an_unknown_flag_is_told_twice_with_all_flags_in_between(tmp_path: Path) -> None:
    done = ended(tmp_path, "dev", "--port", "1", "--nonsense", "2", "--other")
    mistake = "flag provided but not defined: -nonsense\n"
    assert done.stderr == f"Incorrect Usage: {mistake}\n"
    assert done.stdout.endswith(f"\n{mistake}")
    assert "--no-discovery" in done.stdout


@pytest.mark.parametrize(
    ("version", "unknown"), [("old", CONNECT), ("old=1.12", CONNECT[1:]), ("name=new", [])]
)
def test_an_old_cli_knows_no_flag_for_the_ports_of_connect(
    tmp_path: Path, version: str, unknown: list[str]
) -> None:
    program = (str(FAKE), version)
    usage = ended(tmp_path, "dev", "--help", program=program)
    assert usage.returncode == 0
    assert [flag for flag in CONNECT if f"--{flag} " not in usage.stdout] == unknown
    for flag in unknown:
        done = ended(tmp_path, "dev", "--port", "0", f"--{flag}", "1", program=program)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (
            1,
            f"flag provided but not defined: -{flag}",
        )


@pytest.mark.parametrize("version", ["old", "old=1.12"])
def test_an_old_cli_serves(start: Start, version: str) -> None:
    standin = start(program=(str(FAKE), version), env={"INNGEST_CONNECT_GATEWAY_GRPC_PORT": "1"})
    assert standin.ports() == {standin.port, standin.port + 1}


def test_it_takes_the_flags_in_each_of_their_forms(start: Start) -> None:
    urls = [f"http://localhost:1/{name}" for name in "abc"]
    standin = start("-u", urls[0], f"--sdk-url={urls[1]}", "--sdk-url", urls[2])
    assert [row["url"] for row in standin.apps()] == urls


# Configuration


def write(file: Path, **settings: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name.replace("_", "-"): it for name, it in settings.items()}))
    return file


URLS = [f"http://localhost:1/{name}" for name in "abc"]


def test_a_flag_wins_over_a_variable_and_that_over_a_file(start: Start, tmp_path: Path) -> None:
    write(tmp_path / "inngest.json", sdk_url=URLS[:1], no_poll=True, poll_interval=9)
    by_file = start().start_opts()
    assert (by_file["urls"], by_file["poll"], by_file["poll_interval"]) == (URLS[:1], False, 9)
    env = {"INNGEST_SDK_URL": ",".join(URLS[1:]), "INNGEST_POLL_INTERVAL": "8"}
    by_both = start(env=env).start_opts()
    assert (by_both["urls"], by_both["poll"], by_both["poll_interval"]) == (URLS[1:], False, 8)
    standin = start("--poll-interval", "7", "-u", URLS[2], env=env)
    by_all = standin.start_opts()
    assert (by_all["urls"], by_all["poll"], by_all["poll_interval"]) == (URLS[2:], False, 7)
    assert [row["url"] for row in standin.apps()] == URLS[2:]
    assert standin.configs() == [str(tmp_path / "inngest.json")]


@pytest.mark.parametrize(
    ("variable", "value", "option", "effect"),
    [
        ("INNGEST_SDK_URL", URLS[0], "urls", URLS[:1]),
        ("INNGEST_NO_DISCOVERY", "true", "autodiscover", False),
        ("INNGEST_NO_DISCOVERY", "0", "autodiscover", True),
        ("INNGEST_NO_POLL", "1", "poll", False),
        ("INNGEST_POLL_INTERVAL", "60", "poll_interval", 60),
        ("INNGEST_POLL_INTERVAL", "", "poll_interval", 5),
        ("INNGEST_PERSIST", "T", "persist", True),
        ("INNGEST_DEBUG_API_PORT", "nonsense", "debugAPIPort", 0),
    ],
)
def test_a_variable_reconfigures_it(
    start: Start, variable: str, value: str, option: str, effect: object
) -> None:
    assert start(env={variable: value}).start_opts()[option] == effect


def test_a_variable_that_is_empty_is_set_all_the_same(start: Start, tmp_path: Path) -> None:
    write(tmp_path / "inngest.json", no_discovery=True)
    assert start().start_opts()["autodiscover"] is False
    assert start(env={"INNGEST_NO_DISCOVERY": ""}).start_opts()["autodiscover"] is True


def test_a_variable_says_where_it_listens_and_a_flag_overrules_it(start: Start) -> None:
    port = free_ports()
    env = {"INNGEST_HOST": "127.0.0.2", "INNGEST_PORT": str(port)}
    env["INNGEST_CONNECT_GATEWAY_PORT"] = str(port + 3)
    standin = start(port=port, env=env, answers_on="127.0.0.2")
    assert standin.ports() == {port, port + 3}
    assert standin.start_opts()["connectGatewayPort"] == port + 3
    assert not listens("127.0.0.1", port)
    del env["INNGEST_PORT"]
    words = ("--host", "127.0.0.1", "--connect-gateway-port", str(port + 1))
    standin.process.terminate()
    standin.process.wait()
    assert start(*words, port=port, env=env).ports() == {port, port + 1}


@pytest.mark.parametrize("name", ["inngest.json", "inngest.yaml", "inngest.yml"])
@pytest.mark.parametrize("place", ["tree/a/b", "tree/a", "tree", ".", "home/.config/inngest"])
def test_it_reads_a_file_of_a_folder_above_or_at_home(
    start: Start, tmp_path: Path, place: str, name: str
) -> None:
    (here := tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    file = write(tmp_path / place / name, sdk_url=URLS)
    standin = start(cwd=here)
    assert standin.configs() == [str(file)]
    assert standin.start_opts()["urls"] == URLS


def test_the_nearest_file_is_read_and_no_other(start: Start, tmp_path: Path) -> None:
    (here := tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path / "home" / ".config" / "inngest" / "inngest.json", sdk_url=URLS[:1])
    write(tmp_path / "inngest.json", sdk_url=URLS[:1], no_poll=True)
    write(tmp_path / "a" / "inngest.yaml", sdk_url=URLS[:1])
    write(tmp_path / "a" / "inngest.json", sdk_url=URLS[1:])
    standin = start(cwd=here)
    assert standin.configs() == [str(tmp_path / "a" / "inngest.json")]
    assert standin.start_opts()["urls"] == URLS[1:]
    assert standin.start_opts()["poll"] is True


@pytest.mark.parametrize("broken", ["{", "[]", ""])
def test_a_file_that_makes_no_sense_is_passed_over_for_one_further_up(
    start: Start, tmp_path: Path, broken: str
) -> None:
    write(tmp_path / "inngest.json", sdk_url=URLS)
    file = write(tmp_path / "a" / "inngest.json")
    file.write_text(broken)
    standin = start(cwd=file.parent)
    assert standin.start_opts()["urls"] == URLS
    (warning,) = (line for line in standin.lines() if line["level"] == "WARN")
    assert (warning["msg"], warning["file"]) == ("error reading config file", str(file))


def test_real_yaml_is_found_and_not_read(start: Start, tmp_path: Path) -> None:
    (file := tmp_path / "inngest.yaml").write_text("sdk-url:\n  - http://localhost:1/a\n")
    standin = start()
    assert standin.configs() == [str(file)]
    assert standin.start_opts()["urls"] == []
    assert any("reads no YAML" in line["msg"] for line in standin.lines())


def test_a_url_that_is_not_in_a_list_is_none(start: Start, tmp_path: Path) -> None:
    write(tmp_path / "inngest.json", sdk_url=URLS[0])
    assert start().start_opts()["urls"] == []


@pytest.mark.parametrize("how", ["--config", "INNGEST_CONFIG"])
@pytest.mark.parametrize("name", ["empty.json", "empty.yaml", os.devnull])
def test_a_file_that_is_named_is_the_only_one_even_if_it_is_empty(
    start: Start, tmp_path: Path, how: str, name: str
) -> None:
    write(tmp_path / "inngest.json", sdk_url=URLS)
    file = tmp_path / name
    if name != os.devnull:
        write(file)
    named = {how: str(file)}
    standin = start(*(f"{how}={file}" for how in named if how.startswith("-")), env=named)
    assert standin.configs() == [str(file)]
    assert standin.start_opts()["urls"] == []
    assert not [line for line in standin.lines() if line["level"] == "WARN"]


def test_an_empty_name_of_a_file_is_none(start: Start, tmp_path: Path) -> None:
    file = write(tmp_path / "inngest.json", sdk_url=URLS)
    standin = start("--config", "", env={"INNGEST_CONFIG": ""})
    assert standin.configs() == [str(file)]


@pytest.mark.parametrize("text", [None, "{", "[1]", ""])
def test_it_does_not_start_where_the_named_file_cannot_be_read(
    tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "named.json"
    if text is not None:
        file.write_text(text)
    done = ended(tmp_path, "dev", "--port", "0", "--config", str(file))
    assert done.returncode == 1
    assert done.stdout.startswith(f"error reading config file {file}: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INNGEST_TICK", "often"),
        ("INNGEST_CONNECT_GATEWAY_PORT", "8289.5"),
        ("INNGEST_NO_POLL", "yes"),
        ("INNGEST_PROD", "yes"),  # for other commands
        ("INNGEST_API_PORT", "x"),
    ],
)
def test_a_variable_that_makes_no_sense_ends_the_start(
    tmp_path: Path, variable: str, value: str
) -> None:
    done = ended(tmp_path, "dev", "--port", "0", **{variable: value})
    assert done.returncode == 1
    assert done.stdout.startswith("error unmarshaling config: ")


def test_it_starts_in_a_folder_that_was_removed_and_without_a_home(start: Start) -> None:
    code = "import os, runpy; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); "
    code += f"del os.environ['HOME']; runpy.run_path({str(STANDIN)!r}, run_name='__main__')"
    assert start(program=("-c", code)).configs() == []


@pytest.mark.parametrize(
    ("words", "env", "logged"),
    [
        ((), {}, True),
        (("--log-level", "warn"), {}, False),
        (("--log-level", "info"), {"LOG_LEVEL": "error"}, False),
        (("--log-level", "error"), {"LOG_LEVEL": "DEBUG"}, True),
        ((), {"LOG_LEVEL": "nonsense"}, True),
        ((), {"INNGEST_LOG_LEVEL": "error"}, True),
    ],
)
def test_the_level_of_the_log_can_hide_that_it_moved(
    start: Start, words: tuple[str, ...], env: dict[str, str], *, logged: bool
) -> None:
    port = free_ports()
    with bound(ANY, port):
        standin = start(*words, port=port, serves_on=port + 2, env=env)
    assert [name for name, *_ in standin.moves()] == (["dev server api"] if logged else [])


def test_debug_opens_one_more_port(start: Start) -> None:
    port = free_ports(5)
    words = ("--debug-api-port", str(port + 3))
    with bound(ANY, port + 3):
        standin = start(*words, port=port, env={"DEBUG": "vite:*"})
    assert standin.ports() == {port, port + 1, port + 4}
    assert standin.moves() == [("debug api", port + 3, port + 4)]
    assert standin.start_opts()["debugAPIPort"] == port + 4
    for env in ({"DEBUG": ""}, {}):
        port = free_ports()
        standin = start("--debug-api-port", str(port + 3), port=port, env=env)
        assert standin.ports() == {port, port + 1}


def test_it_tells_which_port_it_would_scan_besides(start: Start) -> None:
    assert start(env={"PORT": "5001"}).request("GET", "/dev").json()["PORT"] == "5001"
    assert start().request("GET", "/dev").json()["PORT"] is None


# Its other ports


def connect_ports(*ports: int) -> list[str]:
    return [f"--{flag}={port}" for flag, port in zip(CONNECT, ports, strict=False)]


def test_the_ports_of_connect_are_opened_where_they_are_given(start: Start, tmp_path: Path) -> None:
    port = free_ports()
    standin = start(*connect_ports(port + 3, port + 2, port + 1), port=port)
    assert standin.ports() == {port, port + 1, port + 2, port + 3}
    assert standin.moves() == []
    options = standin.start_opts()
    assert options["connectGatewayPort"] == port + 3
    grpc = {"Gateway": {"Port": port + 2}, "Executor": {"Port": port + 1}}
    assert options["connectGRPCConfig"] == grpc
    port = free_ports()
    write(tmp_path / "inngest.json", connect_executor_grpc_port=port + 2)
    env = {"INNGEST_CONNECT_GATEWAY_GRPC_PORT": str(port + 3)}
    assert start(port=port, env=env).ports() == {port, port + 1, port + 2, port + 3}


def test_the_ports_of_grpc_are_left_alone_where_they_are_not_given(start: Start) -> None:
    standin = start()
    assert standin.ports() == {standin.port, standin.port + 1}
    grpc = {"Gateway": {"Port": 50052}, "Executor": {"Port": 50053}}
    assert standin.start_opts()["connectGRPCConfig"] == grpc


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_each_of_them_moves_on_its_own(start: Start, taken: int) -> None:
    port = free_ports(5)
    with bound(ANY, port + taken):
        standin = start(*connect_ports(port + 1, port + 2, port + 3), port=port)
    names = ["connect gateway", "connect gateway grpc", "connect executor grpc"]
    moved = [(name, port + n, port + n + 1) for n, name in enumerate(names, 1) if n >= taken]
    assert standin.moves() == moved
    assert standin.ports() == set(range(port, port + 5)) - {port + taken}


def test_one_port_for_all_is_the_apis_and_the_others_move(start: Start) -> None:
    port = free_ports()
    standin = start(*connect_ports(port, port, port), port=port)
    assert standin.moves() == [
        ("connect gateway", port, port + 1),
        ("connect gateway grpc", port, port + 2),
        ("connect executor grpc", port, port + 3),
    ]
    assert standin.ports() == {port, port + 1, port + 2, port + 3}


def test_an_executors_port_that_is_lost_is_only_logged(start: Start) -> None:
    code = f"import socket, sys; sys.path.insert(0, {str(STANDIN.parent)!r}); import standin\n"
    code += """
listen, found = standin.listen, []
def late(host, port):
    found.append(port)
    if found.count(port) == 2:
        held.append(socket.create_server(("127.0.0.1", port)))
    return listen(host, port)
held, standin.listen = [], late
standin.main(sys.argv[1:])
"""
    port = free_ports()
    standin = start(*connect_ports(port + 1, port + 2, port + 3), port=port, program=("-c", code))
    (error,) = (line for line in standin.lines() if line["level"] == "ERROR")
    assert (error["msg"], error["addr"]) == ("could not listen for grpc", f":{port + 3}")
    assert standin.start_opts()["connectGRPCConfig"]["Executor"]["Port"] == port + 3


# Apps


def test_a_watched_url_where_nothing_listens_is_an_app_that_is_unreachable(start: Start) -> None:
    (app,) = start("-u", "http://localhost:1/api/inngest").apps()
    assert app.pop("id")
    assert app == {
        "externalID": "",
        "name": "",
        "url": "http://localhost:1/api/inngest",
        "connected": False,
        "error": "unreachable",
        "functionCount": 0,
    }


def test_it_polls_a_watched_app_which_registers_itself(start: Start, fake: Fakes) -> None:
    port = free_ports()
    app = fake(port)
    standin = start("-u", app.url, "--poll-interval", "0.05", port=port)
    until(lambda: app.puts >= 3)
    (row,) = standin.apps()
    assert (row["externalID"], row["url"], row["functionCount"]) == ("flowt", app.url, 1)
    assert (row["connected"], row["error"]) == (True, None)
    assert len(standin.request("GET", "/dev").json()["functions"]) == 1
    assert app.register()["modified"] is False


def test_the_urls_it_starts_with_are_asked_at_once_in_turn_each_in_its_own_time(
    start: Start, fake: Fakes
) -> None:
    """Until a URL's turn has come it is listed as one that was asked and didn't answer."""
    code = f"import sys; sys.path.insert(0, {str(STANDIN.parent)!r}); import standin\n"
    code += "standin.PING_TIMEOUT = 1; standin.main(sys.argv[1:])"
    port = free_ports()
    last = fake(port)
    with bound("127.0.0.1", 0) as one, bound("127.0.0.1", 0) as two:  # take calls, never answer
        urls = [f"http://localhost:{mute.getsockname()[1]}/x" for mute in (one, two)]
        words = [word for url in (*urls, last.url) for word in ("-u", url)]
        standin = start(*words, "--poll-interval", "600", port=port, program=("-c", code))
        before = standin.apps()
        assert last.puts == 0
        assert [(row["url"], row["externalID"], row["error"]) for row in before] == [
            (url, "", "unreachable") for url in (*urls, last.url)
        ]
        until(standin.served)
    rows = [(row["url"], row["externalID"], row["error"]) for row in standin.apps()]
    assert rows == [
        *((url, "", "unreachable") for url in urls),
        (last.url, "flowt", None),
    ]
    assert last.puts == 1


def test_the_last_registrant_of_an_app_id_wins_and_the_other_is_not_polled(
    start: Start, fake: Fakes
) -> None:
    port = free_ports()
    one, two = fake(port), fake(port)
    standin = start("-u", one.url, "-u", two.url, "--poll-interval", "0.05", port=port)
    until(lambda: two.puts >= 2)
    assert [row["url"] for row in standin.apps()] == [two.url]
    puts = one.puts
    until(lambda: two.puts >= 5)
    assert one.puts == puts == 1


def test_a_put_to_the_other_app_makes_it_the_served_one_and_back(start: Start, fake: Fakes) -> None:
    standin = start()
    one, two = fake(standin.port), fake(standin.port)
    for app in (one, two, one):
        answer = standin.http.put(app.url, json={}, timeout=DEADLINE)
        assert answer.json() == {"message": "Successfully registered", "modified": True}
        assert standin.served() == [app.url]
    assert standin.http.put(one.url, json={}, timeout=DEADLINE).json()["modified"] is False


def test_apps_with_ids_of_their_own_are_both_served(start: Start, fake: Fakes) -> None:
    standin = start()
    one, two = fake(standin.port, "one"), fake(standin.port, "two")
    one.register()
    two.register()
    assert standin.served() == [one.url, two.url]
    standin.request("POST", "/e/key", json={"name": "demo/hello", "data": {}})
    until(lambda: one.calls and two.calls)


@pytest.mark.parametrize(
    ("sdk", "status"),
    [
        *(("js:v3.21.2", 200), ("js:v3.22.0", 400), ("js:v3.52.7", 400), ("js:3.53.1", 400)),
        *(("js:v3.53.2", 200), ("js:v3.54.0", 200), ("js:v4.24.0", 200), ("py:v3.30.0", 200)),
    ],
)
def test_an_sdk_with_a_known_vulnerability_is_refused(
    start: Start, fake: Fakes, sdk: str, status: int
) -> None:
    standin = start()
    body = {**fake(standin.port).registration(), "sdk": sdk}
    answer = standin.request("POST", "/fn/register", json=body)
    assert answer.status_code == status
    (row,) = standin.apps()
    refused = status == 400
    assert (row["externalID"], row["connected"]) == ("flowt", not refused)
    assert row["error"] == ("sdk_version_denied" if refused else None)
    assert row["functionCount"] == (0 if refused else 1)
    if refused:
        found = answer.json()
        assert (found["code"], found["status"]) == ("sdk_version_denied", 400)
        assert "App sync was blocked" in found["error"]


def test_one_that_is_refused_takes_the_place_of_its_namesake_all_the_same(
    start: Start, fake: Fakes
) -> None:
    standin = start()
    one, two = fake(standin.port), fake(standin.port)
    one.register()
    body = {**two.registration(), "sdk": "js:v3.30.0"}
    assert standin.request("POST", "/fn/register", json=body).status_code == 400
    (row,) = standin.apps()
    assert (row["url"], row["error"]) == (two.url, "sdk_version_denied")
    standin.request("POST", "/e/key", json={"name": "demo/hello", "data": {}})
    until(lambda: one.calls)  # the functions that it had before stay
    assert one.register()["modified"] is True
    assert standin.served() == [one.url]


def test_an_app_that_fails_is_listed_with_its_error(start: Start, fake: Fakes) -> None:
    standin = start("--poll-interval", "0.05")
    app = fake(standin.port)
    app.register()
    app.put_status = 500
    until(lambda: standin.apps()[0]["error"] == "internal_server_error")
    assert standin.apps()[0]["externalID"] == "flowt"
    app.put_status = 200
    until(lambda: standin.apps()[0]["connected"])


def test_an_app_is_asked_directly_whatever_the_environment_says(start: Start, fake: Fakes) -> None:
    port = free_ports()
    app = fake(port)
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    standin = start("-u", app.url, port=port, env=proxy)
    until(standin.served)


def test_create_app_watches_a_url_also_where_nothing_listens(start: Start, fake: Fakes) -> None:
    standin = start("--poll-interval", "0.05")
    with bound("127.0.0.1", 0) as reserved:
        url = f"http://localhost:{reserved.getsockname()[1]}/api/inngest"
    for _ in range(2):
        answer = standin.add(url)
        assert [error["message"] for error in answer["errors"]] == ["unreachable"]
        assert [row["url"] for row in standin.apps()] == [url]
    app = fake(standin.port)
    assert standin.add(app.url)["data"]["createApp"]["url"] == app.url
    before = standin.apps()
    standin.add(app.url)
    assert standin.apps() == before


def test_graphql_takes_aliases_variables_comments_and_any_selection(start: Start) -> None:
    standin = start()
    mutation = """
      mutation Add($input: CreateAppInput!) {  # a comment { with } braces
        createApp(input: $input) { url, id }
      }"""
    assert "errors" in standin.gql(mutation, input={"url": "localhost:1/api/inngest"})
    answer = standin.gql("query Q { __typename list: apps { u:url\n,functions{name} } }")
    url = "http://localhost:1/api/inngest"
    assert answer == {"data": {"__typename": "Query", "list": [{"u": url, "functions": []}]}}


@pytest.mark.parametrize(
    "query",
    [
        *("", "{", "{apps}", "{apps{nonsense}}", "{runs{id}}", "nonsense", "{apps{id}", "\x00"),
        'mutation{createApp(input:{url:"http://localhost:2/x"}){nonsense}}',
        *("mutation{createApp{id}}", "mutation{createApp(input:{url:1}){id}}", "{a" * 9000),
    ],
)
def test_a_query_it_does_not_know_gets_errors_in_graphqls_form(shared: StandIn, query: str) -> None:
    answer = shared.request("POST", "/v0/gql", json={"query": query})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"]
    assert len(shared.apps()) == 1


@pytest.mark.parametrize("url", ["http://localhost:b/", "ftp://localhost/"])
def test_a_url_that_is_none_is_watched_and_has_an_error(start: Start, url: str) -> None:
    standin = start("-u", url, "--poll-interval", "0.05")
    assert standin.add(url)["errors"]
    assert until(lambda: [row["error"] for row in standin.apps()]) == ["unsupported_protocol"]


# Strangers


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_other_machine_is_asked_whoever_names_it(start: Start, fake: Fakes, url: str) -> None:
    standin = start()
    (error,) = standin.add(url)["errors"]
    assert "is not on this machine" in error["message"]
    good = fake(standin.port).registration()
    for place in (good, good["functions"][0]["steps"]["step"]["runtime"]):
        own, place["url"] = place["url"], url
        answer = standin.request("POST", "/fn/register", json=good)
        assert answer.status_code == 400
        assert "is not on this machine" in answer.json()["error"]
        place["url"] = own
    assert standin.apps() == []
    assert standin.request("POST", "/fn/register", json=good).status_code == 200


@pytest.mark.parametrize("name", ["app.localhost", "127.0.0.1", "LOCALHOST", "0.0.0.0"])  # noqa: S104
def test_every_name_of_loopback_is_this_machine(start: Start, fake: Fakes, name: str) -> None:
    standin = start()
    url = fake(standin.port).url.replace("localhost", name)
    assert "errors" not in standin.add(url)


def test_a_redirect_is_not_followed(start: Start, fake: Fakes) -> None:
    standin = start()
    there = fake(standin.port, "there")
    with replies(
        f"HTTP/1.1 307 Moved\r\nLocation: {there.url}\r\nContent-Length: 0\r\n\r\n"
    ) as url:
        standin.add(url)
        assert [row["url"] for row in standin.apps()] == [url]
    assert there.puts == 0


@pytest.mark.parametrize(
    ("start_of_answer", "drop"),
    [("HTTP/1.1 200 OK\r\nX: ", "x"), ("HTTP/1.1 200 OK\r\n\r\n", "x"), ("", "x")],
)
def test_an_app_that_drips_is_unreachable_after_one_time_limit(
    start: Start, start_of_answer: str, drop: str
) -> None:
    code = f"import sys; sys.path.insert(0, {str(STANDIN.parent)!r}); import standin\n"
    code += "standin.PING_TIMEOUT = 0.5; standin.main(sys.argv[1:])"
    standin = start(program=("-c", code))
    with replies(start_of_answer, drop) as url:
        (error,) = standin.add(url)["errors"]
    assert error["message"] == "unreachable"


def test_an_answer_without_end_is_cut_off(start: Start) -> None:
    standin = start()
    with replies("HTTP/1.1 200 OK\r\n\r\n", "x" * 100_000, pause=0) as url:
        (error,) = standin.add(url)["errors"]
    assert error["message"] == "unreachable"


EVIL = ["evil.test", "localhost.evil.test", "evil.test:{port}", "192.0.2.1", "[2001:db8::1]", ""]
GOOD = ["localhost:{port}", "127.0.0.1", "127.9.9.9:1", "[::1]:{port}", "a.localhost", "LocalHost"]


@pytest.mark.parametrize(
    ("header", "value", "verdict"),
    [
        *(("Host", host, "refused") for host in EVIL),
        *(("Host", host, "heard") for host in GOOD),
        *(("Origin", f"http://{host}", "refused") for host in EVIL),
        *(("Origin", f"https://{host}", "heard") for host in GOOD),
        ("Origin", "null", "refused"),
        ("Origin", "file://", "refused"),
    ],
)
def test_a_page_of_another_site_is_refused(
    shared: StandIn, header: str, value: str, verdict: str
) -> None:
    headers = {header: value.format(port=shared.port)}
    for method, path, body in (
        ("POST", "/e/key", {"name": "demo/hello"}),
        ("POST", "/v0/gql", {"query": "{apps{id}}"}),
        ("POST", "/fn/register", []),
        ("GET", "/dev", None),
    ):
        answer = shared.request(method, path, json=body, headers=headers)
        assert (answer.status_code == 403) == (verdict == "refused")
        if verdict == "refused":
            assert f"{header} " in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "good", "bad"),
    [
        (ANY, ["127.0.0.2", "192.0.2.1", "[2001:db8::1]", "localhost"], ["evil.test"]),
        ("127.0.0.2", ["127.0.0.2", "localhost"], ["192.0.2.1", "evil.test"]),
        ("localhost", ["localhost"], ["evil.test"]),
    ],
)
def test_a_host_that_it_was_given_is_a_good_name(
    start: Start, host: str, good: list[str], bad: list[str]
) -> None:
    standin = start("--host", host, answers_on="127.0.0.1" if host == "localhost" else "127.0.0.2")
    for name in (*good, *bad):
        answer = standin.request("GET", "/dev", headers={"Host": name})
        assert (name, answer.status_code) == (name, 403 if name in bad else 200)


def test_a_python_without_ssl_runs_it(start: Start, fake: Fakes) -> None:
    code = (
        "import runpy, sys; sys.modules['ssl'] = None; "
        f"runpy.run_path({str(STANDIN)!r}, run_name='__main__')"
    )
    standin = start(program=("-c", code))
    assert "errors" not in standin.add(fake(standin.port).url)
    (error,) = standin.add("https://localhost:1/x")["errors"]
    assert error["message"] == "unsupported_protocol"


@contextmanager
def replies(head: str, more: str = "", pause: float = 0.05) -> Iterator[str]:
    """Yield the URL of something that answers so, and goes on with `more` for as long as it may."""
    stopped = Event()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(head.encode())
            while more and not stopped.wait(pause):
                client.sendall(more.encode())

    def serve() -> None:
        with suppress(OSError):  # it was closed
            while True:
                Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()

    with bound("127.0.0.1", 0) as listener:
        Thread(target=serve, daemon=True).start()
        yield f"http://localhost:{listener.getsockname()[1]}/api/inngest"
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)


# Events


@pytest.mark.parametrize("count", [1, 2])
def test_an_event_or_a_list_of_them_gets_an_id_each(start: Start, count: int) -> None:
    event = {"name": "demo/hello", "data": {}}
    answer = start().request("POST", "/e/key", json=event if count == 1 else [event] * count)
    assert (answer.status_code, answer.json()["status"]) == (200, 200)
    assert len(set(answer.json()["ids"])) == count


def test_an_event_runs_the_function_in_the_served_app_only(start: Start, fake: Fakes) -> None:
    standin = start()
    one, two = fake(standin.port), fake(standin.port)
    one.register()
    two.register()
    two.answers = [
        (206, [{"id": "s1", "op": "StepRun", "data": 1}]),
        (206, [{"id": "s2", "op": "StepPlanned"}, {"id": "s3", "op": "StepPlanned"}]),
        (206, [{"id": "s2", "op": "StepRun", "data": 2}]),
        (206, [{"id": "s3", "op": "StepError", "error": {"message": "no"}}]),
        (206, [{"id": "s3", "op": "StepFailed", "error": {"message": "no"}}]),
        (200, "sum"),
    ]
    standin.request("POST", "/e/key", json={"name": "demo/hello", "data": {"n": 1}})
    end = until(lambda: [line for line in standin.lines() if line["msg"].startswith("run ")])[0]
    assert (end["msg"], end["output"], end["function"]) == ("run finished", "sum", "flowt-hello")
    asked = [call["path"].partition("stepId=")[2] for call in two.calls]
    assert asked == ["step", "step", "s2", "s3", "s3", "step"]
    assert two.calls[0]["event"]["data"] == {"n": 1}
    assert [call["ctx"]["attempt"] for call in two.calls] == [0, 0, 0, 0, 1, 0]
    assert two.calls[-1]["steps"] == {
        "s1": {"type": "data", "data": 1},
        "s2": {"type": "data", "data": 2},
        "s3": {"type": "error", "error": {"message": "no"}},
    }
    assert one.calls == []


@pytest.mark.parametrize(
    ("answers", "calls", "reason"),
    [
        ([(206, [{"id": "s", "op": "Sleep"}])], 1, "Sleep is not imitated"),
        ([(500, {"message": "broken"})], 2, "broken"),
        ([(206, "nonsense")], 1, ""),
    ],
)
def test_a_run_that_cannot_go_on_fails_in_the_log(
    start: Start, fake: Fakes, answers: list[Any], calls: int, reason: str
) -> None:
    standin = start()
    app = fake(standin.port)
    app.register()
    app.answers = answers
    standin.request("POST", "/e/key", json={"name": "demo/hello"})
    end = until(lambda: [line for line in standin.lines() if line["msg"].startswith("run ")])[0]
    assert end["msg"] == "run failed"
    assert reason in end["error"]
    assert len(app.calls) == calls


def test_only_functions_whose_trigger_has_the_events_name_run(start: Start, fake: Fakes) -> None:
    standin = start()
    wild, other = fake(standin.port, "wild"), fake(standin.port, "other")
    wild.trigger, other.trigger = {"event": "demo/*"}, {"event": "demo/other"}
    wild.register()
    other.register()
    standin.request("POST", "/e/key", json={"name": "demo/hello"})
    until(lambda: wild.calls)
    assert other.calls == []


# Bad clients


@pytest.mark.parametrize("path", ["/e/key", "/fn/register", "/v0/gql"])
@pytest.mark.parametrize("body", ["nonsense", "", "[" * 100_000, "3", "[3]", "\xff"])
def test_a_body_that_makes_no_sense_is_a_400(shared: StandIn, path: str, body: str) -> None:
    answer = shared.request("POST", path, data=body.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("part", [{"steps": {}}, {"triggers": [3]}, {"id": None, "steps": 3}])
def test_a_registration_with_a_broken_function_is_a_400(
    start: Start, fake: Fakes, part: dict[str, Any]
) -> None:
    standin = start()
    body = fake(standin.port).registration()
    body["functions"][0] |= part
    assert standin.request("POST", "/fn/register", json=body).status_code == 400
    assert standin.apps() == []


def test_a_body_of_more_than_3_mb_is_a_413(start: Start) -> None:
    standin = start()
    assert standin.request("POST", "/e/key", data=b"x" * 4_000_000).status_code == 413
    assert standin.answers()


@pytest.mark.parametrize(
    "line", [b"nonsense\r\n\r\n", b"\0\0\r\n\r\n", b"POST /e/k HTTP/1.1\r\n\r\n"]
)
def test_a_malformed_request_gets_a_4xx(shared: StandIn, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), timeout=DEADLINE) as client:
        client.sendall(line)
        assert b"4" in client.recv(1000)


def test_clients_that_connect_and_hang_block_nobody(start: Start) -> None:
    standin = start()
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", standin.port)))
            client.sendall(b"POST /e/k HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
        assert standin.answers()
