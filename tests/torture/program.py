"""A program that a configuration may declare, as awkward as servers can be.

    python -I -S program.py MANNER… [port=PORT]

It forks two: one outlives its parent and stays in the session, one leaves the session. Then it
listens, if it has a port, and says "Ready!". The manners:

unmarked        what stays in the session loses its mark: only the session shows whose it is
slow=SECONDS    all of that only then
deaf            ignore SIGTERM, children too
exit=N          end at once with that status
hang            never listen, and never be ready
"""

import contextlib
import os
import signal
import socket
import sys
import time

LEFT = "TORTURE_LEFT"  # in the environment of what has left the session
SLEEP = "import time; time.sleep(600)"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def main(words: list[str]) -> None:
    manners = dict(word.partition("=")[::2] for word in words)
    if "exit" in manners:
        sys.exit(int(manners["exit"]))
    if "deaf" in manners:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(manners.get("slow", 0)))
    marks = {"DEVSERVERS_SERVER", "DEVSERVERS_SESSION"} if "unmarked" in manners else set()
    if (pid := os.fork()) == 0:
        spawn({name: value for name, value in os.environ.items() if name not in marks})
        os._exit(0)
    os.waitpid(pid, 0)
    spawn({**os.environ, LEFT: "1"}, setsid=True)
    if "hang" in manners:
        time.sleep(600)
    listener = listen(int(manners["port"])) if "port" in manners else None
    sys.stdout.write("Ready!\n")
    sys.stdout.flush()
    while listener:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1)
            connection.recv(65536)
            connection.sendall(ANSWER)
    time.sleep(600)


def listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def spawn(env: dict[str, str], *, setsid: bool = False) -> None:
    words = [sys.executable, "-I", "-S", "-c", SLEEP]
    os.posix_spawn(sys.executable, words, env, setsid=setsid)


if __name__ == "__main__":
    main(sys.argv[1:])
