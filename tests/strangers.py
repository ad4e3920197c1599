"""A listener that has nothing to do with us, and answers as it likes.

    python -I -S strangers.py PORT FILE

FILE holds two Python literals, one a line. It sends the first to whatever is asked, then the
second every tenth of a second, for ever; without a second it closes. The first may be a dictionary
instead, of answers by what the question holds: it closes after these, and the second is for all
else. It prints "listens", and "asked" at each question.
"""

import ast
import contextlib
import socket
import sys
import threading
import time


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        question = connection.recv(65536)
        say("asked")
        for part, all_of_it in ANSWERS.items():
            if part in question:
                connection.sendall(all_of_it)
                return
        connection.sendall(b"" if ANSWERS else FIRST)
        while EACH:
            connection.sendall(EACH)
            time.sleep(0.1)


FIRST, EACH = map(ast.literal_eval, open(sys.argv[2]).read().splitlines())
ANSWERS = FIRST if isinstance(FIRST, dict) else {}
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
say("listens")
while True:
    threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()
