"""An app's environment: what leads its SDK to our server, and where that of a running app leads.

Measured: docs/inngest.md, "Where an app registers".
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from devservers.spec import port_of
from devservers.system import process_info, procfs, untrusted_files

# Each names a server to the SDK. An app that we start gets them all, since which of them wins
# differs between versions, and one that it lacks would be taken from a `.env` file.
ADDRESSES = (
    "INNGEST_DEV",
    "INNGEST_BASE_URL",
    "INNGEST_API_BASE_URL",
    "INNGEST_EVENT_API_BASE_URL",
)
DEV, BASE, API = ADDRESSES[:3]
# Where an app says that it is reached. Empty is as good as unset, and no `.env` file fills it.
ORIGINS = ("INNGEST_SERVE_ORIGIN", "INNGEST_SERVE_HOST")
# What Next.js reads in development, what wins first; most other tools read some of them.
FILES = (".env.development.local", ".env.local", ".env.development", ".env")
MOST_OF_A_FILE = 256 * 1024  # bytes
# INNGEST_DEV need not be an address: what it means then; without a server, the cloud is meant.
SWITCHES = {**dict.fromkeys(("1", "true"), "http://localhost:8288"), "0": "", "false": ""}
LOCAL = {"localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"}  # noqa: S104 - compared, not bound
LONGEST = 150  # letters that are shown
ASSIGNMENT = rf"(?m)^[ \t]*(?:export[ \t]+)?({'|'.join(ADDRESSES)})[ \t]*=(.*)$"


class Lead(NamedTuple):
    """A variable that decides where an app registers."""

    name: str
    value: str
    source: str
    """Whose word that is: `its environment`, or the name of a file."""

    @property
    def said(self) -> str:
        """What it says, without a password."""
        scheme, slashes, rest = self.value.partition("://")
        shown = f"{scheme}{slashes}{_bare(rest)}" if slashes else _bare(self.value)
        return f"{self.source} says {self.name}={shown}"[:LONGEST]


def variables(url: str) -> dict[str, str]:
    """Return what makes an app register with the server at `url`, and with that alone.

    All are set: a variable that is set, be it empty, wins over every `.env` file.
    """
    return dict.fromkeys(ADDRESSES, url) | dict.fromkeys(ORIGINS, "")


def astray(pid: int | None, url: str, sdk: str | None) -> Lead | None:
    """Return what leads the app of process `pid` to another server than that at `url`.

    None where nothing does, or nothing is known: what its code says can't be seen from here.
    `sdk` is the name and version that its endpoint gives.
    """
    if pid is None or not procfs.is_within_reach(pid):
        return None
    known: dict[str, Lead] = {}
    for lead in _leads(pid):
        known.setdefault(lead.name, lead)  # also an empty one: it hides what files say
    # An address in INNGEST_DEV is asked last since 4.0, and first before.
    order = (DEV, API, BASE) if (sdk or "").startswith("inngest-js:v3.") else (API, BASE, DEV)
    said = [known[name] for name in order if name in known and known[name].value]
    deciding = next((lead for lead in said if lead.value.lower() not in SWITCHES), None)
    deciding = deciding or next(iter(said), None)
    if deciding is None or "$" in deciding.value:  # Next.js would put another variable there
        return None
    target = SWITCHES.get(deciding.value.lower(), deciding.value)
    return deciding if target and _place(target) != _place(url) else None


def remedy(lead: Lead, url: str) -> str:
    """Return what to start an app with, so that it registers with the server at `url`."""
    return " ".join(f"{name}={url}" for name in dict.fromkeys((DEV, lead.name)))


def _leads(pid: int) -> Iterator[Lead]:
    """Yield what the environment of a process says, then what files add where it says nothing."""
    for entry in procfs.environ(pid):
        name, _, value = entry.decode(errors="replace").partition("=")
        if name in ADDRESSES:
            yield Lead(name, value.strip(), "its environment")
    folder = process_info.folder(pid)
    for file in FILES if folder else ():
        try:
            text = untrusted_files.read(f"{folder}/{file}", MOST_OF_A_FILE)
        except OSError:
            continue
        for name, value in reversed(re.findall(ASSIGNMENT, text.decode(errors="replace"))):
            yield Lead(name, _unquoted(value.strip()), file)  # the last one of a file counts


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote and quote in "\"'`" and quote in value[1:]:
        return value[1:].partition(quote)[0]
    return value.partition(" #")[0].strip()


def _bare(rest: str) -> str:
    authority, slash, path = rest.partition("/")
    return authority.rpartition("@")[2] + slash + path


def _place(url: str) -> tuple[str, int]:
    """Return host and port of an address; its scheme may be missing."""
    full = url if "://" in url else f"http://{url}"
    authority = _bare(full.partition("://")[2]).partition("/")[0].lower()
    host, _, port = authority.rpartition(":")
    host = host if port.isdecimal() else authority
    return "localhost" if host in LOCAL else host, port_of(full)
