"""A release: one version, what names it, what CI runs of the README, and who may publish."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from installing import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION: str = PROJECT["version"]


def workflow(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[0] == VERSION
    assert len({*entries}) == len(entries)


def test_the_documents_name_the_version_as_it_is() -> None:
    texts = [file.read_text() for file in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md")]
    assert {rev for text in texts for rev in re.findall(r"rev: (v\S+)", text)} == {f"v{VERSION}"}


def test_the_package_has_no_version_of_its_own() -> None:
    files = (ROOT / "devservers").rglob("*.py")
    assert [file for file in files if f'"{VERSION}"' in file.read_text()] == []


def test_the_pythons_that_are_promised_are_those_that_ci_tries() -> None:
    prefix = "Programming Language :: Python :: "
    named = {one.removeprefix(prefix) for one in PROJECT["classifiers"] if one.startswith(prefix)}
    tried = workflow("ci.yml")["jobs"]["readme"]["strategy"]["matrix"]["python"]
    assert named == {"3 :: Only", *tried}
    assert PROJECT["requires-python"] == f">={tried[0]}"


@pytest.mark.parametrize(("name", "word"), [("try", "inngest.ensure"), ("test", "pytest")])
def test_ci_runs_a_command_as_it_stands_in_the_readme(name: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "bash").write_text('#!/bin/sh\necho "$4"\n')  # instead of running it
    (tmp_path / "bash").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["/bin/bash", ROOT / ".ci" / "readme", name]
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    said, run = done.stdout.splitlines()
    assert said == f"+ {run}"
    assert word in run
    assert f"```sh\n{run}\n```\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("tag", "code"), [(f"v{VERSION}", 0), ("v0.0.9", 1), (VERSION, 1)])
def test_a_tag_that_is_not_the_version_is_not_built(tag: str, code: int) -> None:
    steps = workflow("release.yml")["jobs"]["build"]["steps"]
    (run,) = [step["run"] for step in steps if step.get("name") == "The tag is the version"]
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TAG": tag}
    words = ["bash", "-e", "-c", run]
    done = subprocess.run(words, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout.startswith("::error")) == bool(code)


def test_only_what_publishes_may_say_to_pypi_who_it_is() -> None:
    for name in ("ci.yml", "release.yml"):
        found = workflow(name)
        rights = {job: one["permissions"] for job, one in found["jobs"].items()}
        publish = rights.pop("publish", {"id-token": "write"})
        assert publish == {"id-token": "write"}
        assert found["permissions"] == {}
        assert all(one in ({}, {"contents": "read"}) for one in rights.values()), rights
