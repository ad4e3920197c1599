"""A terminal for tests: what a command writes to one, and the frames that it draws there."""

import fcntl
import os
import pty
import re
import select
import struct
import termios

MOVES = re.compile(r"\x1b\[(?:\?\d+[hl]|H|K|J)")


class Terminal:
    """A terminal of a certain size, with what is written to it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.own, self.its = pty.openpty()
        self.text = ""
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, patience: float = 0.02) -> str:
        while select.select([self.own], [], [], patience)[0]:
            try:
                data = os.read(self.own, 65536)
            except OSError:
                break
            self.text += data.decode("utf-8", "backslashreplace")
        return self.text

    def close(self) -> None:
        os.close(self.own)
        os.close(self.its)

    def frames(self) -> list[list[str]]:
        """Return the lines of every whole frame that was drawn."""
        found = re.findall(r"\x1b\[\?2026h(.*?)\x1b\[\?2026l", self.read(), re.DOTALL)
        return [MOVES.sub("", frame).split("\r\n") for frame in found]
