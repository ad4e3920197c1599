"""Pages: what the door itself answers: which worktrees there are, and whose server is down."""

import html
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from devservers import terminal

STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:44rem;margin:8vh auto;padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.4rem;font-weight:600}
code{font:.95em ui-monospace,monospace;background:#8882;padding:.15em .4em;border-radius:.3em}
ul{list-style:none;padding:0}
li{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:.5rem 0;border-top:1px solid #8884}
a{font-weight:600}
small{opacity:.75}
.up::before{content:"\\25CF ";color:#2a2}
.down::before{content:"\\25CB "}
"""
# Any answer that isn't the door's own means that the server is there.
SCRIPT = """
setInterval(async () => {
  try {
    const answer = await fetch(location.href, {method: "HEAD", cache: "no-store"});
    if (!answer.headers.has("X-Devservers-Door")) location.reload();
  } catch {}
}, 1000);
"""


class Entry(NamedTuple):
    """A worktree as a page lists it."""

    label: str
    url: str
    branch: str
    runs: bool
    used: bool


def listing(title: str, text: Iterable[str], entries: Iterable[Entry], *, waits: bool) -> str:
    """Return a page: a sentence or two, and the worktrees with their links.

    Each of `text` may have commands between backticks. With `waits` the page loads itself again as
    soon as somebody else answers at its address.
    """
    rows = "".join(map(_row, entries))
    script = f'<script nonce="NONCE">{SCRIPT}</script>' if waits else ""
    paragraphs = "".join(f"<p>{_marked(line)}</p>" for line in text)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_safe(title)}</title>"
        f'<style nonce="NONCE">{STYLE}</style></head><body><h1>{_safe(title)}</h1>'
        f"{paragraphs}<ul>{rows}</ul>{script}</body></html>"
    )


def plain(title: str, text: Iterable[str], entries: Iterable[Entry]) -> str:
    """Return the same for a program."""
    lines = [title, *text]
    lines += [
        f"  {entry.url}  {entry.branch}  {'running' if entry.runs else 'down'}" for entry in entries
    ]
    return "".join(f"{terminal.line(line)}\n" for line in lines)


def sealed(page: str) -> tuple[bytes, str]:
    """Return a page as bytes, and the header that lets nothing run but what is ours in it."""
    nonce = secrets.token_urlsafe(12)
    policy = (
        f"Content-Security-Policy: default-src 'none'; style-src 'nonce-{nonce}'; "
        f"script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    )
    return page.replace('nonce="NONCE"', f'nonce="{nonce}"').encode("utf-8", "replace"), policy


def _row(entry: Entry) -> str:
    used = "<small>in use</small>" if entry.used else ""
    state = "running" if entry.runs else "down"
    kind = "up" if entry.runs else "down"
    return (
        f'<li><a href="{_safe(entry.url)}">{_safe(entry.label)}</a>'
        f'<span>{_safe(entry.branch)}</span><span class="{kind}">{state}</span>{used}</li>'
    )


def _marked(line: str) -> str:
    parts = line.split("`")
    return "".join(
        f"<code>{_safe(part)}</code>" if number % 2 else _safe(part)
        for number, part in enumerate(parts)
    )


def _safe(text: str) -> str:
    return html.escape(terminal.line(text))
