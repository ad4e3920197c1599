"""Formats: the files that tools for agents read, what of ours is in each, and how it gets there.

Their keys were looked up in the tools' own documents in November 2026.
"""

from collections.abc import Callable
from typing import NamedTuple

from devservers.agents import marked, objects, text
from devservers.agents.marked import Marks
from devservers.agents.objects import Object
from devservers.config import Config
from devservers.errors import StateUnusableError
from devservers.worktree import Worktree

Wanted = Callable[[Config, Worktree], str]


class Format(NamedTuple):
    """One file: where it lies in a worktree, and the three things to be done with it."""

    only: str
    """What `--only=` calls it."""
    path: str
    put_in: Callable[[str, Config, Worktree], str]
    """Given what is in the file (nothing: empty): return it with our part as it is to be."""
    take_out: Callable[[str], str]
    """Return it without our part; empty: nothing else is in it."""
    is_in: Callable[[str], bool]
    """Whether anything of ours is in it."""
    by_default: bool = True
    own: bool = False
    """It differs from worktree to worktree, so it is not for committing."""


def _marked(only: str, path: str, marks: Marks, wanted: Wanted, **more: bool) -> Format:
    """Return a text in which our part stands between marks."""
    return Format(
        only,
        path,
        lambda there, settings, here: marked.put_in(there, wanted(settings, here), marks, path),
        lambda there: marked.take_out(there, marks, path),
        lambda there: marked.part(there, marks, path) is not None,
        **more,
    )


def _object(only: str, its: Object, **more: bool) -> Format:
    return Format(only, its.path, its.put_in, its.take_out, its.is_in, **more)


def _skill(there: str, settings: Config, here: Worktree) -> str:
    """Return the skill. Its front matter has to come first, so the marks stand below that."""
    whole = text.skill(settings, here)
    front, _, rest = whole.partition("---\n\n")
    if there and not _is_our_skill(there):
        raise StateUnusableError(
            f"{SKILL} was left as it is: somebody else wrote it.",
            hint="Rename its folder, and run this again.",
            details={"file": SKILL},
        )
    return f"{front}---\n\n{marked.put_in('', rest, marked.MARKDOWN, SKILL)}"


def _is_our_skill(there: str) -> bool:
    return marked.part(there, marked.MARKDOWN, SKILL) is not None


SKILL = f".claude/skills/{text.SKILL_NAME}/SKILL.md"


# Codex: actions of its local environment


def _codex(settings: Config, here: Worktree) -> str:
    actions = {
        "Dev servers": objects.RUN(here),
        "Dev servers: logs": f"{text.program(here)} dev.logs --follow",
        "Dev servers: stop": objects.TEAR_DOWN(here),
    }
    del settings
    tables = (
        f'[[actions]]\nname = "{name}"\nicon = "run"\ncommand = "{command}"\n'
        for name, command in actions.items()
    )
    return "\n".join(tables)


CODEX = ".codex/environments/environment.toml"


def _codex_file(there: str, settings: Config, here: Worktree) -> str:
    head = there or f'version = 1\nname = "{here.main.name}"\n'.replace("\\", "")
    return marked.put_in(head, _codex(settings, here), marked.TOML, CODEX)


def _without_codex(there: str) -> str:
    left = marked.take_out(there, marked.TOML, CODEX)
    lines = [line for line in left.splitlines() if line.strip()]
    only_head = len(lines) == 2 and lines[0] == "version = 1" and lines[1].startswith("name = ")  # noqa: PLR2004 - as `_codex_file` makes it
    return "" if only_head else left


EVERY = (
    Format("claude", SKILL, _skill, lambda _: "", _is_our_skill),
    _marked("agents-md", "AGENTS.md", marked.MARKDOWN, text.section),
    _object("launch", objects.LAUNCHES, own=True),
    Format(
        "codex",
        CODEX,
        _codex_file,
        _without_codex,
        lambda there: marked.part(there, marked.TOML, CODEX) is not None,
        by_default=False,
    ),
    _object("cursor", objects.CURSORS, by_default=False),
    _object("conductor", objects.CONDUCTORS, by_default=False),
)
CLAUDE_MD = _marked("agents-md", "CLAUDE.md", marked.MARKDOWN, text.section)
ONLY = tuple(dict.fromkeys(one.only for one in EVERY))
