"""Opened: the board in the user's browser, without its token where others could see it."""

import html
import subprocess
import sys
from pathlib import Path

from devservers.system import files

PATIENCE = 10.0  # seconds; a browser that runs in the terminal may take as long as it likes
OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={}">\n'


def open_(address: str, file: Path) -> bool:
    """Open `address` by way of a page in `file`; return whether there is a browser.

    Arguments of a process can be read by everybody on the machine, that page by its user alone.
    """
    try:
        files.replace(file, PAGE.format(html.escape(address)))
    except OSError:
        return False
    # In a process of its own: a browser may write to stdout, which is for our answer.
    child = subprocess.Popen(  # noqa: S603 - Python itself
        [sys.executable, "-I", "-c", OPEN, file.as_uri()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        child.returncode = 0  # it is the browser; nobody waits for its end
        return True
