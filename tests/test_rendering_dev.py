"""Rendering of ports.* and dev.prune: the promised keys, and nothing unknown shown to people."""

import json
from pathlib import Path

import pytest

from devservers.ports.assignment import Assigned
from devservers.ports.pool import Entry
from devservers.rendering import ports as rendering_ports
from devservers.rendering import worktrees as rendering_worktrees
from devservers.rendering.servers import Rendered
from devservers.worktrees.prune import Finding, Pruned

ASSIGNED = Assigned(5002, "cached", True, "http://localhost:5002", "/repo/wt-a", "feat")  # noqa: FBT003
OURS = Entry(5002, "/repo/wt-a", "feat", True, 77, "node", "ours")  # noqa: FBT003
FREE = Entry(5003, None, None, False, None, None, "free")  # noqa: FBT003
HOLDER: dict[str, object] = {
    "pid": 77,
    "name": "python3",
    "cmdline": ["python3", "-m", "http.server"],
    "user": "ann",
    "cwd": "/",
    "since": "2026-11-22T14:00:00Z",
    "worktree": "/repo/wt-a",
}


def parsed(rendered: Rendered) -> dict[str, object]:
    data: dict[str, object] = json.loads(json.dumps(rendered.data))
    return data


def said(rendered: Rendered) -> str:
    return "\n".join(rendered.lines)


def test_assign_answers_with_the_values_of_the_reference() -> None:
    assert parsed(rendering_ports.assigned(ASSIGNED)) == {
        "port": 5002,
        "method": "cached",
        "available": True,
        "baseUrl": "http://localhost:5002",
        "worktree": "/repo/wt-a",
        "branch": "feat",
        "exports": {},
        "warnings": [],
    }


@pytest.mark.parametrize("method", ["env", "cached", "hash", "first-available"])
def test_people_are_told_their_port_and_its_url(method: str) -> None:
    text = said(rendering_ports.assigned(ASSIGNED._replace(method=method)))
    assert "Port 5002" in text
    assert "http://localhost:5002" in text
    assert "ports.who" not in text


def test_people_whose_port_is_taken_are_told_how_to_learn_by_whom() -> None:
    text = said(rendering_ports.assigned(ASSIGNED._replace(available=False)))
    assert "`inv ports.who --port=5002`" in text


def test_list_answers_with_the_values_of_the_reference() -> None:
    rendered = rendering_ports.port_list([OURS, FREE], "/repo/wt-a")
    assert parsed(rendered) == {
        "ports": [
            {
                "port": 5002,
                "worktree": "/repo/wt-a",
                "branch": "feat",
                "listening": True,
                "pid": 77,
                "name": "node",
                "state": "ours",
            },
            {
                "port": 5003,
                "worktree": None,
                "branch": None,
                "listening": False,
                "pid": None,
                "name": None,
                "state": "free",
            },
        ]
    }
    text = said(rendered)
    assert "node (pid 77)" in text
    assert "None" not in text


def test_who_answers_with_the_values_of_the_reference() -> None:
    rendered = rendering_ports.holders(5002, [HOLDER])
    assert parsed(rendered) == {"port": 5002, "holders": [HOLDER]}
    assert rendered.lines == (
        "Port 5002: python3 (pid 77)",
        "  command: python3 -m http.server",
        "  user: ann",
        "  cwd: /",
        "  worktree: /repo/wt-a",
        "  since: 2026-11-22T14:00:00Z",
    )


def test_of_a_holder_that_may_not_be_known_nothing_is_made_up() -> None:
    text = said(rendering_ports.holders(5002, [dict.fromkeys(HOLDER)]))
    assert "a process of another user" in text
    assert "None" not in text


def test_a_port_without_a_holder_is_said_to_have_none() -> None:
    rendered = rendering_ports.holders(5002, [])
    assert rendered.lines == ("Nobody listens on port 5002.",)
    assert parsed(rendered)["holders"] == []


@pytest.mark.parametrize(
    ("dry_run", "words"), [(True, "would remove claim"), (False, "removed claim")]
)
def test_prune_answers_with_the_values_of_the_reference(words: str, *, dry_run: bool) -> None:
    gone = Finding("claim", "port 5002", "its worktree is gone", files=(Path("/x"),))
    rendered = rendering_worktrees.pruned(Pruned((gone,), dry_run))
    assert parsed(rendered) == {
        "pruned": [{"kind": "claim", "what": "port 5002", "why": "its worktree is gone"}],
        "dryRun": dry_run,
        "warnings": [],
    }
    assert words in said(rendered)


def test_where_there_is_nothing_to_prune_people_are_told_so() -> None:
    assert rendering_worktrees.pruned(Pruned((), dry_run=False)).lines == ("Nothing to prune.",)


def test_of_a_large_pool_people_read_the_beginning_and_programs_all() -> None:
    entries = [FREE._replace(port=port) for port in range(5001, 5301)]
    rendered = rendering_ports.port_list(entries, "/repo")
    assert len(rendered.lines) == 1 + 20 + 1
    assert "280 more" in rendered.lines[-1]
    assert len(json.loads(json.dumps(rendered.data))["ports"]) == 300


def test_of_many_findings_people_read_the_beginning_and_programs_all() -> None:
    gone = Finding("claim", "port 5002", "its worktree is gone", files=(Path("/x"),))
    rendered = rendering_worktrees.pruned(Pruned((gone,) * 30, dry_run=True))
    assert len(rendered.lines) == 20 + 1
    assert len(rendered.data["pruned"]) == 30  # type: ignore[arg-type]
