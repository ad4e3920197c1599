"""agents.*: what coding agents read, ours only, kept current; and every command that it names."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from next_support import NextWorld, next_world
from support import DEVSERVERS

SKILL = ".claude/skills/dev-servers/SKILL.md"
ALL = "claude,agents-md,launch,codex,cursor,conductor"
NOT_RUNNING = 3


class Place(NextWorld):
    """A repository with a tasks.py, and what agents read in it."""

    def states(self, task: str = "agents.status", *words: str, **options: Any) -> dict[str, str]:
        found = self.call(task, *words, **options)["files"]
        root = options.get("cwd", self.main)
        return {str(Path(one["path"]).relative_to(root)): one["state"] for one in found}

    def read(self, name: str) -> str:
        return (self.main / name).read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with next_world(tmp_path, "fork", "lock", "app=flowt", size=4, make=Place) as made:
        assert isinstance(made, Place)
        made.leaves_server = True
        made.behave()
        yield made


def test_install_writes_what_every_agent_reads_and_shows_it(place: Place) -> None:
    done = place.run("agents.install")
    assert done.code == 0
    assert "+- Before you open a browser" in done.out
    assert "Commit them" in done.out
    assert f"/{'.claude/launch.json'}` to .gitignore" in done.err
    text = place.read("AGENTS.md")
    assert "`inv dev.up --json`" in text
    assert "dev.up --json" in place.read(SKILL)
    assert place.read(SKILL).startswith("---\nname: dev-servers\ndescription: ")
    assert place.states() == {
        SKILL: "current",
        "AGENTS.md": "current",
        ".claude/launch.json": "current",
        ".codex/environments/environment.toml": "absent",
        ".cursor/worktrees.json": "absent",
        "conductor.json": "absent",
    }
    assert set(place.states("agents.install").values()) == {"kept"}


def test_the_text_is_short_and_what_the_repository_has(place: Place) -> None:
    data = json.loads(place.config.read_text())
    data["servers"] = {"mail": {"command": ["true"], "port": 8025, "scope": "machine"}}
    place.config.write_text(json.dumps(data))
    text = place.call("agents.show")["text"]
    assert "`inngest` (one for all worktrees); `nextjs`; `mail` (one for all worktrees)" in text
    (place.main / "tasks.py").unlink()
    assert "`devservers dev.up --json`" in place.run("agents.show", program=DEVSERVERS).out
    assert len(text.split()) < 260
    (place.main / "tasks.py").symlink_to(place.a / "tasks.py")
    place.behave(scope="worktree", ports=[place.port + step for step in (0, 2, 3, 5)])
    data = json.loads(place.config.read_text())
    del data["inngest"]["pidFile"]
    place.config.write_text(json.dumps(data))
    assert "inngest.sync" not in place.call("agents.show")["text"]


def test_with_a_door_the_text_says_that_a_switch_is_for_everybody(place: Place) -> None:
    assert "dev.use" not in place.run("agents.show").out
    settings = json.loads(place.config.read_text())
    settings["door"] = {"enabled": True, "port": place.port + 3}
    place.config.write_text(json.dumps(settings))
    assert "`inv dev.use` makes this worktree the one" in place.run("agents.show").out


def test_what_others_wrote_stays_as_it_is_to_the_byte(place: Place) -> None:
    before, after = "# Rules\r\n\r\nBe kind.\r\n", "\r\n## More\r\nno newline at the end"
    (place.main / "AGENTS.md").write_bytes(before.encode())
    place.call("agents.install", "--only=agents-md")
    with (place.main / "AGENTS.md").open("ab") as file:
        file.write(after.encode())
    written = (place.main / "AGENTS.md").read_bytes().decode()
    assert written.startswith(before)
    assert written.endswith(after)
    assert "\n" not in written.replace("\r\n", "")
    stale = re.sub(r"- Servers:.*?\r\n", "- Servers: none.\r\n", written)
    (place.main / "AGENTS.md").write_bytes(stale.encode())
    assert place.states()["AGENTS.md"] == "outdated"
    assert place.states("agents.install", "--only=agents-md")["AGENTS.md"] == "written"
    assert (place.main / "AGENTS.md").read_bytes().decode() == written
    assert place.states("agents.uninstall")["AGENTS.md"] == "written"
    assert (place.main / "AGENTS.md").read_bytes().decode() == before + "\r\n" + after


def test_uninstall_leaves_a_repository_as_it_was(place: Place) -> None:
    (place.main / "AGENTS.md").write_text("# Rules\n")
    before = place.git("status", "--porcelain", "--ignored", cwd=place.main)
    place.call("agents.install", f"--only={ALL}")
    (place.main / ".dev-port").unlink()
    found = place.states("agents.uninstall")
    assert found["AGENTS.md"] == "written"
    assert set(found.values()) == {"written", "removed"}
    assert place.git("status", "--porcelain", "--ignored", cwd=place.main) == before
    assert place.read("AGENTS.md") == "# Rules\n"
    assert set(place.states("agents.uninstall").values()) == {"kept", "absent"}


def test_the_section_stands_in_claude_md_where_that_is_what_there_is(place: Place) -> None:
    (place.main / "CLAUDE.md").write_text("# Claude\n")
    assert place.states("agents.install")["CLAUDE.md"] == "written"
    assert not (place.main / "AGENTS.md").exists()
    assert "dev.up --json" in place.read("CLAUDE.md")


def test_a_link_to_claude_md_stays_one(place: Place) -> None:
    (place.main / "CLAUDE.md").write_text("# Claude\n")
    (place.main / "AGENTS.md").symlink_to("CLAUDE.md")
    place.call("agents.install", "--only=agents-md")
    assert (place.main / "AGENTS.md").is_symlink()
    assert "dev.up --json" in place.read("CLAUDE.md")


def test_nothing_is_written_through_a_link_that_leads_out(place: Place) -> None:
    outside = place.folder / "outside.md"
    outside.write_text("mine\n")
    (place.main / "AGENTS.md").symlink_to(outside)
    error = place.refused("agents.install", code=17)
    assert "leads out of the worktree" in error["message"]
    assert outside.read_text() == "mine\n"
    assert not (place.main / SKILL).exists()  # all or none


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("AGENTS.md", "<!-- devservers: begin (x) -->\nno end\n", "can't be told which part"),
        ("AGENTS.md", "<!-- devservers: end -->\n", "can't be told which part"),
        (SKILL, "---\nname: dev-servers\n---\nmy own\n", "somebody else wrote it"),
        (".claude/launch.json", "// comments\n{}", "it is no JSON"),
        (".claude/launch.json", "[]", "it is no JSON object"),
    ],
)
def test_what_can_not_be_told_apart_is_left_alone(
    place: Place, name: str, text: str, says: str
) -> None:
    (place.main / name).parent.mkdir(parents=True, exist_ok=True)
    (place.main / name).write_text(text)
    for task in ("agents.install", "agents.status", "agents.uninstall"):
        done = place.run(task, "--json")
        if task != "agents.install" and name == SKILL:
            assert done.code == 0
            continue
        assert done.code == 17
        assert says in done.error["message"]
    assert (place.main / name).read_text() == text


def test_of_objects_that_others_write_too_only_our_keys_change(place: Place) -> None:
    files: dict[str, Any] = {
        ".claude/launch.json": {"version": "0.0.1", "configurations": [{"name": "api", "port": 1}]},
        ".cursor/worktrees.json": {"setup-worktree-unix": ["npm ci"], "other": 1},
        "conductor.json": {"scripts": {"setup": "npm ci"}, "runScriptMode": "concurrent"},
    }
    for name, data in files.items():
        (place.main / name).parent.mkdir(parents=True, exist_ok=True)
        (place.main / name).write_text(f"{json.dumps(data, indent=2)}\n")
    place.call("agents.install", f"--only={ALL}")
    launch, cursor, conductor = (json.loads(place.read(name)) for name in files)
    port = int(place.claim(place.main))
    ours = {"runtimeExecutable": "inv", "runtimeArgs": ["nextjs.run"], "port": port}
    assert launch["configurations"] == [
        {"name": "api", "port": 1},
        {"name": "devservers: nextjs", **ours},
    ]
    assert cursor == {"setup-worktree-unix": ["npm ci", "inv ports.assign"], "other": 1}
    assert conductor["scripts"] == {
        "setup": "npm ci",  # somebody's own stays
        "run": "inv dev.up",
        "archive": "inv dev.down",
    }
    actions = tomllib.loads(place.read(".codex/environments/environment.toml"))["actions"]
    assert [one["command"] for one in actions] == [
        "inv dev.up",
        "inv dev.logs --follow",
        "inv dev.down",
    ]
    place.call("agents.uninstall")
    for name, data in files.items():
        assert json.loads(place.read(name)) == data


def test_a_cursor_script_is_left_to_its_owner(place: Place) -> None:
    file = place.main / ".cursor/worktrees.json"
    file.parent.mkdir()
    file.write_text('{"setup-worktree": "setup.sh"}')
    error = place.refused("agents.install", "--only=cursor", code=17)
    assert "`inv ports.assign`" in error["hint"]


def test_check_fails_where_something_is_out_of_date_or_nothing_is_there(place: Place) -> None:
    done = place.run("agents.check")
    assert (done.code, "agents.install" in done.out) == (1, True)
    place.call("agents.install")
    assert place.run("agents.check").code == 0
    data = json.loads(place.config.read_text())
    data["servers"] = {"mail": {"command": ["true"], "port": 8025}}
    place.config.write_text(json.dumps(data))
    found = place.call("agents.check", code=1)
    assert found["ok"] is False
    assert "outdated" in {one["state"] for one in found["files"]}


def test_a_port_of_another_worktree_is_not_out_of_date(place: Place) -> None:
    place.call("agents.install")
    place.git("add", "-f", ".claude", "AGENTS.md", cwd=place.main)
    place.git("commit", "-q", "-m", "agents", cwd=place.main)
    place.git("merge", "-q", "main", cwd=place.b)
    place.call("ports.assign", cwd=place.b)
    assert place.states(cwd=place.b)[".claude/launch.json"] == "current"


def test_a_question_claims_no_port(place: Place) -> None:
    place.call("agents.status", cwd=place.a)
    place.call("agents.check", cwd=place.a, code=1)
    assert not (place.a / ".dev-port").exists()


def test_an_unknown_part_is_refused(place: Place) -> None:
    error = place.refused("agents.install", "--only=copilot", code=1)
    assert "'copilot'" in error["message"]
    assert "claude, agents-md" in error["message"]


def test_an_agent_that_follows_the_text_literally_gets_it_right(place: Place) -> None:
    """Each command that the text names, as it stands there, in three worktrees."""
    text = place.call("agents.show")["text"]
    named = re.findall(r"`(inv [^`]+)`", text)
    assert len(named) > 8
    allowed = {"nextjs.errors": {0}, "inngest.runs": {0, 19}}
    urls = set()
    for folder in (place.main, place.a, place.b):
        for line in named:
            if "dev.down" in line:
                continue
            words = line.replace("NAME", "nextjs").replace("COMMAND", "env").split()[1:]
            done = place.run(*words, cwd=folder, timeout=60, real="--" in words)
            assert done.code in allowed.get(words[0], {0}), (line, done)
            if words[:2] == ["dev.up", "--json"]:
                urls.add(done.json["url"])
                assert next(iter(done.json)) == "url"
            if words[0] == "dev.exec":
                assert f"PORT={place.claim(folder).strip()}" in done.out.splitlines()
    assert len(urls) == 3
    rows = place.call("dev.status")["worktrees"]
    assert [row["served"] for row in rows] == [False, False, True]  # each synced in turn
    for folder in (place.main, place.a, place.b):
        assert place.run("dev.down", cwd=folder).code == 0
    assert place.call("nextjs.status", code=NOT_RUNNING)["next"] == ["inv nextjs.ensure"]


def test_an_errors_next_step_never_ends_what_is_somebody_elses(place: Place) -> None:
    place.listener()
    done = place.run("inngest.ensure", "--json")
    assert done.code == 12
    assert "--force" in done.error["hint"]
    assert not any("--force" in command for command in done.json["next"])
