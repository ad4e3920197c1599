"""Company for a benchmark: N idle processes, or N listening sockets, until stdin is closed.

python -I -S crowd.py processes|sockets N
"""

import os
import resource
import signal
import socket
import sys


def main(kind: str, count: int) -> None:
    pids: list[int] = []
    held: list[socket.socket] = []
    try:
        if kind == "processes":
            for _ in range(count):
                pid = os.fork()
                if not pid:
                    signal.pause()
                    os._exit(0)
                pids.append(pid)
        else:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            held += [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        os.write(1, b"there\n")
        sys.stdin.read()
    finally:
        for pid in pids:  # our own children, which nobody else reaps
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
