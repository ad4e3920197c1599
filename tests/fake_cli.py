"""A fake inngest-cli, as awkward as the real one and its launchers can be.

    python -I -S fake_cli.py BEHAVIOUR… dev --port 8288 …

What follows `dev` goes to the stand-in. The behaviours before it:

hidden          be npm exec: start the rest behind `sh -c`, and die without taking it along
setsid          listen in a session of its own
unmarked        have the listener lose parent and mark; only the session shows whose it is
deaf            ignore SIGTERM and SIGINT
exit=N          end at once with that status; `say=TEXT` comes first
say=TEXT        print a line to stderr
stub            be the package whose install script was not run
hang            never listen
mute            listen, accept, never answer
late=SECONDS    listen at once, answer only then
slow=SECONDS    listen only then
gate=FILE       create FILE.waiting, and go on once FILE is there
ponders=SECONDS take so long over each question about its apps
early=SECONDS   answer on another port that much earlier than on its own
moves           serve on another port, as if its own had been taken
moves-once=FILE the same, but only where FILE isn't there yet; creates it
noise           print bytes that are no UTF-8
fork-on-term    on SIGTERM start another process before ending
dump=FILE       write cwd, argv, session and open descriptors there as JSON
opens=FOLDER    on GET /open-in-editor open a program that leaves tree and session, and there notes
                signals
old             be a CLI before 1.5.0: it knows no flag for any of the connect ports
old=1.12        be a CLI before 1.13.0: it knows none for those of gRPC
name=NAME       say in the log under which name it was started, and with which words
"""

import json
import os
import signal
import sys
import time

# It is started some thousand times: what only a few behaviours need is imported there, and what
# the standard library's http imports for https isn't at all.
sys.modules["ssl"] = None
TESTS = os.path.dirname(os.path.abspath(__file__))
STAND_IN = os.path.join(os.path.dirname(TESTS), "devservers", "inngest")


def main(words: list[str]) -> None:
    if words[-1:] == ["version"]:
        speak(dict(word.partition("=")[::2] for word in words))
        old = [word.partition("=")[2] or "1.4" for word in words if word.startswith("old")]
        sys.stdout.write(f"{old[0]}.0\n" if old else "1.45.1-fake\n")
        raise SystemExit
    split = words.index("dev") if "dev" in words else len(words)
    behaviours = dict(word.partition("=")[::2] for word in words[:split])
    rest = words[split:]
    say(json.dumps({"msg": "fake", "name": behaviours.get("name"), "words": words}))
    if "hidden" in behaviours:
        hide([word for word in words[:split] if word != "hidden"], rest)
    before(behaviours)
    serve(behaviours, rest)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def hide(behaviours: list[str], rest: list[str]) -> None:
    import subprocess

    program = [sys.executable, "-I", "-S", __file__, *behaviours, *rest]
    done = subprocess.run(["/bin/sh", "-c", '"$@"; exit $?', "sh", *program], check=False)
    raise SystemExit(done.returncode)


def before(behaviours: dict[str, str]) -> None:
    speak(behaviours)
    if "setsid" in behaviours:
        if os.getsid(0) == os.getpid() and os.fork():  # its leader can't leave a session
            while True:
                signal.pause()
        os.setsid()
    if "unmarked" in behaviours:
        unmark([word for word in sys.argv[1:] if word != "unmarked"])
    if "dump" in behaviours:
        dump(behaviours["dump"])
    if "hang" in behaviours:
        ignore_signals(behaviours)
        while True:
            signal.pause()
    if "gate" in behaviours:
        gate = behaviours["gate"]
        touch(f"{gate}.waiting")
        while not os.path.exists(gate):
            time.sleep(0.005)
    time.sleep(float(behaviours.get("slow", 0)))


def unmark(words: list[str]) -> None:
    if os.fork():
        while True:
            signal.pause()
    if os.fork():
        os._exit(0)
    env = {name: value for name, value in os.environ.items() if name != "DEVSERVERS_SERVER"}
    os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, *words], env)  # noqa: S606 - no shell is what it is about


def touch(file: str) -> None:
    with open(file, "a"):
        pass


def open_program(folder: str) -> None:
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(3, 256)  # the sockets stay the server's
    env = {**os.environ, "TORTURE_WITNESS": "opened"}
    words = [sys.executable, "-I", "-S", "-c", OPENED, folder]
    os.execve(sys.executable, words, env)  # noqa: S606 - no shell is what it is about


OPENED = """
import contextlib, os, signal, sys
file = f"{sys.argv[1]}/opened-{os.getpid()}"
def note(number, frame):
    with open(file, "a") as stream:
        stream.write(f"{number} ")
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, note)
open(file, "w").close()
while True:
    signal.pause()
"""


def speak(behaviours: dict[str, str]) -> None:
    if "stub" in behaviours:
        say("Error: Inngest CLI binary not found.")
        raise SystemExit(1)
    if "say" in behaviours:
        say(behaviours["say"])
    if "noise" in behaviours:
        sys.stdout.buffer.write(b"caf\xe9 \xff\xfe\x00\n")
        sys.stdout.flush()
    if "exit" in behaviours:
        raise SystemExit(int(behaviours["exit"]))


def dump(file: str) -> None:
    descriptors = {}
    for number in sorted(map(int, os.listdir("/dev/fd"))):
        try:
            found = os.fstat(number)
        except OSError:  # the one that listed the folder
            continue
        descriptors[number] = [found.st_dev, found.st_ino]
    facts = {"cwd": os.getcwd(), "argv": sys.argv, "pid": os.getpid(), "sid": os.getsid(0)}
    with open(f"{file}.new", "w") as stream:
        json.dump({**facts, "descriptors": descriptors, "environ": dict(os.environ)}, stream)
    os.replace(f"{file}.new", file)


def ignore_signals(behaviours: dict[str, str]) -> None:
    if "deaf" in behaviours:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)


def serve(behaviours: dict[str, str], rest: list[str]) -> None:
    port = rest.index("--port") + 1 if "--port" in rest else 0
    ignore_signals(behaviours)
    if "mute" in behaviours:
        import socket

        listener = socket.create_server(("", int(rest[port])))
        held = []
        while True:
            held.append(listener.accept())
    stand_in = load_stand_in()
    forget_flags(stand_in, behaviours)
    if "deaf" in behaviours:
        stand_in.signal.signal = lambda *_: None
    if "fork-on-term" in behaviours:
        fork_on_term(stand_in)
    if "opens" in behaviours:
        opens(stand_in, behaviours["opens"])
    if "late" in behaviours:
        answers_late(stand_in, float(behaviours["late"]))
    ponder(stand_in, float(behaviours.get("ponders", 0)))
    if "early" in behaviours:
        answer_elsewhere(int(rest[port]) + 2)
        time.sleep(float(behaviours["early"]))
    once = behaviours.get("moves-once")
    if "moves" in behaviours or (once and not os.path.exists(once)):
        if once:
            touch(once)
        rest[port] = str(int(rest[port]) + 2)
    stand_in.main(rest)


def load_stand_in():  # noqa: ANN201
    sys.path.insert(0, STAND_IN)
    import standin

    del sys.path[0]
    return standin


def forget_flags(stand_in, behaviours: dict[str, str]) -> None:  # noqa: ANN001
    if "old" in behaviours:
        del stand_in.FLAGS["connect-gateway-grpc-port"]
        del stand_in.FLAGS["connect-executor-grpc-port"]
        if not behaviours["old"]:
            del stand_in.FLAGS["connect-gateway-port"]


def answers_late(stand_in, seconds: float) -> None:  # noqa: ANN001
    serve_forever = stand_in.Server.serve_forever

    def later(self) -> None:  # noqa: ANN001
        time.sleep(seconds)
        serve_forever(self)

    stand_in.Server.serve_forever = later


def ponder(stand_in, seconds: float) -> None:  # noqa: ANN001
    graphql = stand_in.graphql

    def later(*words):  # noqa: ANN002, ANN202
        time.sleep(seconds)
        return graphql(*words)

    stand_in.graphql = later


def answer_elsewhere(port: int) -> None:
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def opens(stand_in, folder: str) -> None:  # noqa: ANN001
    answer = stand_in.Handler.do_GET

    def do_get(self) -> None:  # noqa: ANN001
        if self.path == "/open-in-editor":
            open_program(folder)
        answer(self)

    stand_in.Handler.do_GET = do_get


def fork_on_term(stand_in) -> None:  # noqa: ANN001
    def fork(*_) -> None:  # noqa: ANN002
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork():
            os._exit(0)
        time.sleep(600)

    signal.signal(signal.SIGTERM, fork)
    stand_in.signal.signal = lambda *_: None


if __name__ == "__main__":
    main(sys.argv[1:])
