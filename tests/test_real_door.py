"""The front door before real Next.js, in a real browser: hot reload, the switch, sign-in."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser

from next_support import NextWorld, next_world
from real_support import PAGE, installed, make_real
from support import CONFIG, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(900), pytest.mark.usefixtures("real_inv")]
SLOW = 120.0  # seconds
QUIET = {"NEXT_TELEMETRY_DISABLED": "1"}
HYDRATED = "Object.keys(document.querySelector('p')).some(key => key.startsWith('__react'))"
LOGIN = """export function GET(request) {
  const who = new URL(request.url).searchParams.get("who");
  const headers = { "set-cookie": `session=${who}; HttpOnly; Path=/; SameSite=Lax` };
  return new Response(`hello ${who}`, { headers });
}
"""
WHO = """export function GET(request) {
  return new Response(request.cookies.get("session")?.value ?? "nobody");
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    modules = installed()
    with next_world(tmp_path) as world:
        world.leaves_server = True
        make_real(world, modules)
        settings = json.loads(world.config.read_text())
        settings["door"] = {"enabled": True, "port": world.port + 3}
        settings["inngest"]["enabled"] = False
        for tree in (world.main, world.a, world.b):
            (tree / CONFIG).write_text(json.dumps(settings))
        for tree in (world.a, world.b):
            for name, text in (("login", LOGIN), ("who", WHO)):
                (tree / "app" / name).mkdir()
                (tree / "app" / name / "route.js").write_text(text)
        for tree in (world.a, world.b):
            world.call("nextjs.ensure", cwd=tree, env=QUIET, timeout=SLOW)
        yield world


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    try:
        yield browser
    finally:
        browser.close()


def text(page: Browser) -> str:
    return str(page.evaluate("(document.body || {}).innerText || ''")).strip()


def edit(tree: Path, said: str) -> None:
    file = tree / "app/page.jsx"
    half = file.with_suffix(".half")
    half.write_text(PAGE.replace("WHICH", said))
    half.replace(file)


def test_an_edit_shows_by_the_fixed_address_and_by_name_and_a_switch_reloads_the_page(
    place: NextWorld, page: Browser
) -> None:
    before = [place.call("nextjs.status", cwd=tree)["pid"] for tree in (place.a, place.b)]
    used = place.call("dev.use", cwd=place.a)
    for url in (used["nameUrl"], used["url"]):
        page.open(f"{url}/")
        until(lambda: text(page) == "this is a", SLOW)
        until(lambda: page.evaluate(HYDRATED), SLOW)
        page.evaluate("window.stays = true")
        edit(place.a, "edited")
        until(lambda: text(page) == "this is edited", SLOW)
        assert page.evaluate("window.stays === true"), "it was loaded anew, not updated"
        edit(place.a, "a")
        until(lambda: text(page) == "this is a", SLOW)
    place.call("dev.use", "b", cwd=place.a)
    until(lambda: text(page) == "this is b", SLOW)  # by itself: its hot reload connects again
    edit(place.b, "edited")
    until(lambda: text(page) == "this is edited", SLOW)
    now = [place.call("nextjs.status", cwd=tree)["pid"] for tree in (place.a, place.b)]
    assert now == before


def test_each_name_has_a_sign_in_of_its_own_and_the_fixed_address_one_for_all(
    place: NextWorld, page: Browser
) -> None:
    a, b = (place.call("dev.use", name)["nameUrl"] for name in ("a", "b"))
    fixed = place.call("dev.use", "a")["url"]
    for url, who in ((a, "ann"), (b, "bob"), (fixed, "eve")):
        page.open(f"{url}/login?who={who}")
        until(lambda who=who: text(page) == f"hello {who}", SLOW)
    for url, who in ((a, "ann"), (b, "bob"), (fixed, "eve")):
        page.open(f"{url}/who")
        until(lambda who=who: text(page) == who, SLOW)
    place.call("dev.use", "b")
    page.open(f"{fixed}/who?b")
    until(lambda: text(page) == "eve", SLOW)


def test_the_page_of_a_server_that_is_down_loads_again_when_it_is_up(
    place: NextWorld, page: Browser
) -> None:
    used = place.call("dev.use", "a")
    place.call("nextjs.stop", cwd=place.a)
    page.look(360, dark=True)
    page.open(f"{used['url']}/")
    until(lambda: "The Next.js server of a is down" in text(page))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert f"cd {place.a}" in text(page)
    links = "[...document.querySelectorAll('a')].map(one => one.href)"
    assert used["nameUrl"] + "/" in page.evaluate(links)
    place.call("nextjs.ensure", cwd=place.a, env=QUIET, timeout=SLOW)
    until(lambda: text(page) == "this is a", SLOW)
