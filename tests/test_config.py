"""The configuration file: what it may hold, where it is looked for, and how a mistake is named."""

import bisect
import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devservers import config
from devservers.config import Config
from devservers.errors import ConfigInvalidError
from devservers.inngest.settings import of as inngest
from devservers.nextjs.settings import of as nextjs

POOL = [5001, 5002, 5003, 5004, 5005]
DEFAULTS = {
    "nextjs.ports": tuple(POOL),
    "nextjs.turbopack": True,
    "nextjs.hostname": "localhost",
    "nextjs.command": None,
    "nextjs.cwd": ".",
    "nextjs.idle": None,
    "inngest.enabled": True,
    "inngest.scope": "machine",
    "inngest.ports": None,
    "inngest.port": 8288,
    "inngest.pidFile": "/tmp/flowt-inngest.pid",  # noqa: S108 - promised
    "inngest.logFile": "inngest-system.log",
    "inngest.logMaxBytes": 10485760,
    "inngest.command": None,
    "inngest.args": (),
    "inngest.path": "/api/inngest",
    "inngest.host": None,
    "board.port": 8299,
    "door.enabled": False,
    "door.port": 3000,
    "worktree.portCacheFile": ".dev-port",
}
NULLABLE = [key for key, default in DEFAULTS.items() if default is None]

PORT = "from 1 to 65535"
FLAG = "true or false"
DURATION = "a duration such as 90s, 45m, 2h or 1d"
TEXT = "a text that is not empty"
WORDS = "a list of texts"
PROGRAM = "begins with a program"
HOST = "a host name or an IP address"
URL_PATH = 'a path that begins with "/"'
FILE_NAME = "a file name inside the worktree"
BYTES = "a whole number of bytes, 0 or more"

# key, value, what of the value is shown, what is said to be allowed
WRONG: list[tuple[str, object, str, str]] = [
    ("nextjs.ports", 5001, "5001", "a list of at least one port"),
    ("nextjs.ports", [], "[]", "a list of at least one port"),
    ("nextjs.ports", {"a": 1}, '{"a": 1}', "a list of at least one port"),
    ("nextjs.ports", [5001, 0], "0", PORT),
    ("nextjs.ports", [5001, 65536], "65536", PORT),
    ("nextjs.ports", [-1], "-1", PORT),
    ("nextjs.ports", ["5001"], '"5001"', PORT),
    ("nextjs.ports", [True], "true", PORT),
    ("nextjs.ports", [5001.0], "5001.0", PORT),
    ("nextjs.ports", [[5001]], "[5001]", PORT),
    ("nextjs.ports", [5001, 5002, 5001], "[5001, 5002, 5001]", "5001 stands in it twice"),
    ("nextjs.idle", 7200, "7200", DURATION),
    ("nextjs.idle", "2", '"2"', DURATION),
    ("nextjs.idle", "0s", '"0s"', DURATION),
    ("nextjs.idle", "1.5h", '"1.5h"', DURATION),
    ("nextjs.idle", "2 h", '"2 h"', DURATION),
    ("nextjs.idle", "99999999999d", '"99999999999d"', DURATION),
    ("nextjs.turbopack", 1, "1", FLAG),
    ("nextjs.turbopack", "true", '"true"', FLAG),
    ("nextjs.hostname", "", '""', HOST),
    ("nextjs.hostname", "   ", '"   "', HOST),
    ("nextjs.hostname", "http://a", '"http://a"', HOST),
    ("nextjs.hostname", "[::1]", '"[::1]"', HOST),
    ("nextjs.hostname", 127, "127", HOST),
    ("nextjs.command", "next dev", '"next dev"', WORDS),
    ("nextjs.command", [], "[]", PROGRAM),
    ("nextjs.command", [" "], '[" "]', PROGRAM),
    ("nextjs.command", ["next", 3], '["next", 3]', WORDS),
    ("nextjs.command", ["next", "a\0b"], '["next", "a\\u0000b"]', "NUL"),
    ("inngest.enabled", 0, "0", FLAG),
    ("inngest.enabled", "no", '"no"', FLAG),
    ("inngest.port", 0, "0", PORT),
    ("inngest.port", 65536, "65536", PORT),
    ("inngest.port", -8288, "-8288", PORT),
    ("inngest.port", 8288.5, "8288.5", PORT),
    ("inngest.port", 8288.0, "8288.0", PORT),
    ("inngest.port", float("nan"), "NaN", PORT),
    ("inngest.port", 10**4000, "10000", PORT),
    ("inngest.port", "8288", '"8288"', PORT),
    ("inngest.port", True, "true", PORT),
    ("inngest.port", [8288], "[8288]", PORT),
    ("inngest.pidFile", "", '""', TEXT),
    ("inngest.pidFile", " \t", '" \\t"', TEXT),
    ("inngest.pidFile", 5, "5", TEXT),
    ("inngest.pidFile", "/run/a\0b", '"/run/a\\u0000b"', TEXT),
    ("inngest.logFile", "", '""', TEXT),
    ("inngest.logFile", False, "false", TEXT),
    ("inngest.logMaxBytes", -1, "-1", BYTES),
    ("inngest.logMaxBytes", 1.5, "1.5", BYTES),
    ("inngest.logMaxBytes", float("inf"), "Infinity", BYTES),
    ("inngest.logMaxBytes", "10M", '"10M"', BYTES),
    ("inngest.logMaxBytes", True, "true", BYTES),
    ("inngest.command", "npx inngest-cli", '"npx inngest-cli"', WORDS),
    ("inngest.command", [], "[]", PROGRAM),
    ("inngest.command", [""], '[""]', PROGRAM),
    ("inngest.command", [1], "[1]", WORDS),
    ("inngest.args", "--persist", '"--persist"', WORDS),
    ("inngest.args", [1], "[1]", WORDS),
    ("inngest.args", ["a\0"], '["a\\u0000"]', "NUL"),
    ("inngest.args", ["--port", "1"], '"--port"', "use inngest.port instead"),
    ("inngest.args", ["--port=1"], '"--port=1"', "use inngest.port instead"),
    ("inngest.args", ["-p", "1"], '"-p"', "use inngest.port instead"),
    ("inngest.args", ["-p1"], '"-p1"', "use inngest.port instead"),
    ("inngest.pidFile", "~nobody-of-this-name/x", '"~nobody-of-this-name/x"', "home folder"),
    ("inngest.args", ["--host=::"], '"--host=::"', "use inngest.host instead"),
    ("inngest.path", "api/inngest", '"api/inngest"', URL_PATH),
    ("inngest.path", "", '""', URL_PATH),
    ("inngest.path", "/a b", '"/a b"', URL_PATH),
    ("inngest.path", "/a\r\nHost: b", '"/a\\r\\nHost: b"', URL_PATH),
    ("inngest.path", 1, "1", URL_PATH),
    ("inngest.host", "", '""', HOST),
    ("inngest.host", "a/b", '"a/b"', HOST),
    ("inngest.host", "a b", '"a b"', HOST),
    ("inngest.host", ["::"], '["::"]', HOST),
    ("worktree.portCacheFile", "", '""', FILE_NAME),
    ("worktree.portCacheFile", "/etc/port", '"/etc/port"', FILE_NAME),
    ("worktree.portCacheFile", "../port", '"../port"', FILE_NAME),
    ("worktree.portCacheFile", "a/../../b", '"a/../../b"', FILE_NAME),
    ("worktree.portCacheFile", 1, "1", FILE_NAME),
]
LONE_SURROGATE = "a\ud800"  # valid JSON, but no file name, argument or URL can hold it


def nested(key: str, value: object) -> dict[str, dict[str, object]]:
    section, _, name = key.partition(".")
    return {section: {name: value}}


def write(folder: Path, data: object) -> Path:
    file = folder / config.RELATIVE_PATH
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
    return file


def values(found: Config) -> dict[str, object]:
    return {key: found.value(key) for key in config.key_names()}


def as_json(found: Config) -> dict[str, dict[str, Any]]:
    data: dict[str, dict[str, Any]] = {}
    for key, value in values(found).items():
        data.setdefault(key.partition(".")[0], {})[key.partition(".")[2]] = value
    return data


def rejected(file: Path) -> str:
    with pytest.raises(ConfigInvalidError) as caught:
        config.read(file, file.parent)
    assert caught.value.details == {"file": str(file)}
    assert caught.value.hint
    assert str(file) in caught.value.message
    return caught.value.message


def case_id(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return text.replace("\0", "NUL")[:24] or "empty"


def test_without_a_file_every_key_has_the_default_of_the_reference(tmp_path: Path) -> None:
    found = config.load(tmp_path, tmp_path, {})
    assert values(found) == DEFAULTS
    assert found.source is None
    assert found.given == frozenset()


def test_an_empty_object_is_a_file_of_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    found = config.load(tmp_path, tmp_path, {})
    assert values(found) == DEFAULTS
    assert found.source == file


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    WRONG,
    ids=[f"{key}={case_id(value)}" for key, value, _, _ in WRONG],
)
def test_a_wrong_value_is_named_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, key: str, value: object, shown: str, allowed: str
) -> None:
    message = rejected(write(tmp_path, nested(key, value)))
    assert f"{key} is {shown}" in message
    assert allowed in message


@pytest.mark.parametrize("key", [key for key in DEFAULTS if key not in NULLABLE])
def test_null_is_an_error_where_there_is_a_default(tmp_path: Path, key: str) -> None:
    assert f"{key} is null" in rejected(write(tmp_path, nested(key, None)))


@pytest.mark.parametrize("key", NULLABLE)
def test_null_means_not_set_where_the_default_is_none(tmp_path: Path, key: str) -> None:
    assert values(config.read(write(tmp_path, nested(key, None)), tmp_path)) == DEFAULTS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nextjs.hostname", LONE_SURROGATE),
        ("nextjs.command", ["next", LONE_SURROGATE]),
        ("inngest.pidFile", f"/{LONE_SURROGATE}"),
        ("inngest.logFile", LONE_SURROGATE),
        ("inngest.command", [LONE_SURROGATE]),
        ("inngest.args", [LONE_SURROGATE]),
        ("inngest.path", f"/{LONE_SURROGATE}"),
        ("inngest.host", LONE_SURROGATE),
        ("worktree.portCacheFile", LONE_SURROGATE),
    ],
    ids=lambda part: part if isinstance(part, str) and "." in part else "",
)
def test_a_text_that_no_file_name_or_argument_can_hold_is_an_error(
    tmp_path: Path, key: str, value: object
) -> None:
    assert f"{key} is " in rejected(write(tmp_path, nested(key, value)))


@pytest.mark.parametrize("value", [None, [], 1, "x", True], ids=json.dumps)
@pytest.mark.parametrize("section", ["nextjs", "inngest", "worktree"])
def test_a_section_that_is_no_object_is_an_error(
    tmp_path: Path, section: str, value: object
) -> None:
    message = rejected(write(tmp_path, {section: value}))
    assert f"{section} is {json.dumps(value)}; it must be an object" in message


@pytest.mark.parametrize("value", [None, [], 1, "x", True, [{}]], ids=json.dumps)
def test_a_file_that_is_no_object_is_an_error(tmp_path: Path, value: object) -> None:
    assert "must be a JSON object" in rejected(write(tmp_path, value))


@pytest.mark.parametrize("key", ["inngest.prot", "inngest.log_file", "worktree.port", "nextjs."])
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(tmp_path: Path, key: str) -> None:
    message = rejected(write(tmp_path, nested(key, 1)))
    assert f"{key} is not a known key" in message
    section = key.partition(".")[0]
    for known in DEFAULTS:
        if known.startswith(f"{section}."):
            assert known.partition(".")[2] in message


def test_an_unknown_section_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    message = rejected(write(tmp_path, {"ingest": {}}))
    assert (
        "ingest is not a known key; allowed are inngest, nextjs, board, door, worktree" in message
    )


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ('{"inngest": {"port": 1, "port": 1}}', "port"),
        ('{"inngest": {"port": 1, "enabled": true, "port": 2}}', "port"),
        ('{"inngest": {}, "inngest": {}}', "inngest"),
    ],
    ids=["same value", "other value", "section"],
)
def test_a_key_that_stands_twice_is_an_error(tmp_path: Path, text: str, twice: str) -> None:
    file = write(tmp_path, {})
    file.write_text(text)
    assert f'the key "{twice}" stands twice' in rejected(file)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"inngest": {"port": 5003}}, "inngest.port"),
        ({"nextjs": {"ports": [8287, 8288]}}, "nextjs.ports"),
        ({"inngest": {"port": 3000}, "nextjs": {"ports": [3000, 3001]}}, "inngest.port"),
    ],
    ids=["moved Inngest port", "moved pool", "both moved"],
)
def test_the_inngest_port_inside_the_nextjs_pool_is_an_error(
    tmp_path: Path, data: dict[str, Any], named: str
) -> None:
    message = rejected(write(tmp_path, data))
    port = data.get("inngest", {}).get("port", 8288)
    section, _, name = named.partition(".")
    given = data.get(section, {})
    other = next(key for key in ("inngest.port", "nextjs.ports") if key != named)
    assert f"{named} is {json.dumps(given.get(name, DEFAULTS[named]))}" in message
    assert f"two servers would share port {port}, which {other} has" in message


@pytest.mark.parametrize(
    "log",
    [
        "x.pid",
        "./x.pid",
        "sub/../x.pid",
        "link/x.pid",
        "X.PID",
        "~/x.pid",
        "x.pid.json",
        "x.pid.lock",
        "x.pid.json.new",
        "x",  # rotated to x.1, which is the pid file in one case
    ],
)
def test_a_log_that_is_a_file_of_the_servers_state_is_an_error_that_names_both(
    tmp_path: Path, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    pid_file = "x.1" if log == "x" else str(tmp_path / "x.pid")
    write(tmp_path, {"inngest": {"pidFile": pid_file, "logFile": log}})
    with pytest.raises(ConfigInvalidError) as caught:
        config.load(tmp_path, tmp_path, {})
    assert all(word in caught.value.message for word in ("inngest.logFile", "inngest.pidFile", log))


@pytest.mark.parametrize("log", ["/dev/null", "x.log", "x.pid.log", "x.pid.json.1", "other/x.pid"])
def test_another_file_may_be_the_log(tmp_path: Path, log: str) -> None:
    write(tmp_path, {"inngest": {"pidFile": "x.pid", "logFile": log}})
    assert inngest(config.load(tmp_path, tmp_path, {})).log_file == log


def test_a_long_wrong_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    message = rejected(write(tmp_path, {"inngest": {"port": "x" * 10_000}}))
    assert "..." in message
    assert len(message) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "{}{}", "{} // no", "1" * 5000, "["])
def test_a_file_that_is_not_json_is_an_error(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, {})
    file.write_text(text)
    assert "not valid JSON" in rejected(file)


def test_json_of_any_depth_loads_or_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, {})

    def is_read(depth: int) -> bool:
        file.write_text('{"inngest": {"port": ' + "[" * depth + "]" * depth + "}}")
        return "not valid JSON" not in rejected(file)

    # What is read has to be shown in the message, from a place a little deeper in the stack.
    deepest = bisect.bisect_left(range(20_000), x=True, key=lambda depth: not is_read(depth))
    assert deepest > 100
    for depth in range(deepest - 20, deepest):
        assert is_read(depth)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    file.write_bytes(codecs.BOM_UTF8 + b'{"inngest": {"port": 9000}}')
    assert inngest(config.read(file, file.parent)).port == 9000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_file_that_is_not_utf_8_is_an_error(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path, {})
    file.write_bytes('{"inngest": {"logFile": "Zählung.log"}}'.encode(encoding))
    assert "not UTF-8" in rejected(file)


def test_a_file_with_other_than_ascii_letters_is_read_as_utf_8(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    file.write_bytes('{"inngest": {"logFile": "Zählung.log"}}'.encode())
    assert inngest(config.read(file, file.parent)).log_file == "Zählung.log"


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / config.RELATIVE_PATH).mkdir(parents=True)
    with pytest.raises(ConfigInvalidError, match="can't be read: Is a directory"):
        config.load(tmp_path, tmp_path, {})


def test_a_broken_link_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    worktree, main = tmp_path / "worktree", tmp_path / "main"
    write(main, {})
    file = worktree / config.RELATIVE_PATH
    file.parent.mkdir(parents=True)
    file.symlink_to("gone.json")
    with pytest.raises(ConfigInvalidError, match="can't be read: No such file") as caught:
        config.load(worktree, main, {})
    assert caught.value.details == {"file": str(file)}


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    real = write(tmp_path / "elsewhere", {"inngest": {"port": 9001}})
    file = tmp_path / config.RELATIVE_PATH
    file.parent.mkdir(parents=True)
    file.symlink_to(real)
    assert inngest(config.load(tmp_path, tmp_path, {})).port == 9001


def test_the_worktrees_own_file_comes_before_the_main_worktrees(tmp_path: Path) -> None:
    worktree, main = tmp_path / "worktree", tmp_path / "main"
    in_main = write(main, {"inngest": {"port": 9001}})
    assert config.load(worktree, main, {}).source == in_main
    assert inngest(config.load(worktree, main, {})).port == 9001
    in_worktree = write(worktree, {"inngest": {"enabled": False}})
    found = config.load(worktree, main, {})
    assert found.source == in_worktree
    assert inngest(found).port == 8288  # one file is the only source; the other adds nothing
    assert inngest(found).enabled is False


def test_the_main_worktree_does_not_see_a_linked_worktrees_file(tmp_path: Path) -> None:
    worktree, main = tmp_path / "worktree", tmp_path / "main"
    write(worktree, {"inngest": {"port": 9001}})
    assert config.load(main, main, {}) == Config()


def test_devservers_config_names_another_file(tmp_path: Path) -> None:
    write(tmp_path, {"inngest": {"port": 9001}})
    other = tmp_path / "other.json"
    other.write_text('{"inngest": {"port": 9002}}')
    found = config.load(tmp_path, tmp_path, {"DEVSERVERS_CONFIG": str(other)})
    assert inngest(found).port == 9002
    assert found.source == other


def test_a_relative_devservers_config_is_relative_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.json").write_text('{"inngest": {"port": 9002}}')
    monkeypatch.chdir(tmp_path)
    found = config.load(Path("/"), Path("/"), {"DEVSERVERS_CONFIG": "other.json"})
    assert found.source == tmp_path / "other.json"


def test_an_empty_devservers_config_counts_as_none(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    assert config.load(tmp_path, tmp_path, {"DEVSERVERS_CONFIG": ""}).source == file


def test_a_devservers_config_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {})
    missing = tmp_path / "missing.json"
    with pytest.raises(ConfigInvalidError, match=r"missing\.json: it can't be read"):
        config.load(tmp_path, tmp_path, {"DEVSERVERS_CONFIG": str(missing)})


def test_given_names_the_keys_that_the_file_sets(tmp_path: Path) -> None:
    file = write(tmp_path, {"inngest": {"port": 8288}, "nextjs": {}})
    assert config.read(file, file.parent).given == {"inngest.port"}


def test_key_names_lists_every_key() -> None:
    assert sorted(config.key_names()) == sorted(DEFAULTS)


ports = st.integers(1, 65535)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)
words = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
hosts = st.from_regex(r"[a-z0-9.:-]{1,20}", fullmatch=True)
commands = st.builds(lambda head, rest: [head, *rest], texts, words)
# Whether somebody is called what follows "~" is up to the machine.
files = texts.map(lambda text: f"~/{text[1:]}" if text.startswith("~") else text)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "nextjs": st.fixed_dictionaries(
            {},
            optional={
                "ports": st.lists(ports, min_size=1, unique=True),
                "turbopack": st.booleans(),
                "hostname": hosts,
                "command": st.none() | commands,
            },
        ),
        "inngest": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "port": ports,
                "pidFile": files.map(lambda text: f"{text}.pid"),
                "logFile": files.map(lambda text: f"{text}.log"),
                "logMaxBytes": st.integers(0),
                "command": st.none() | commands,
                "args": st.lists(texts.filter(lambda word: not word.startswith("-"))),
                "path": texts.map(lambda text: f"/{text}"),
                "host": st.none() | hosts,
            },
        ),
        "worktree": st.fixed_dictionaries(
            {}, optional={"portCacheFile": st.from_regex(r"\.?[a-z-]{1,9}", fullmatch=True)}
        ),
    },
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NEARLY_VALID = st.dictionaries(
    st.sampled_from(["nextjs", "inngest", "worktree", "x"]),
    ANY_JSON
    | st.dictionaries(st.sampled_from([key.partition(".")[2] for key in DEFAULTS]), ANY_JSON),
)
SAME_FILE = settings(
    deadline=None,
    max_examples=150,  # on a busy machine the first alone may be "too slow"
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def loads_or_is_rejected(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        found = config.read(file, file.parent)
    except ConfigInvalidError as error:
        assert str(file) in error.message  # noqa: PT017 - both outcomes are allowed
    else:
        assert found.source == file
        assert inngest(found).port not in nextjs(found).ports


@SAME_FILE
@given(data=VALID)
@example(data={"nextjs": {"ports": [8299]}})
def test_a_valid_configuration_means_what_it_says_and_round_trips(
    tmp_path: Path, data: dict[str, dict[str, Any]]
) -> None:
    pool = data.get("nextjs", {}).get("ports", POOL)
    single = (data.get("inngest", {}).get("port", 8288), DEFAULTS["board.port"])
    if len({*pool, *single}) < len(pool) + len(single):  # two servers would share one
        return
    found = config.read(write(tmp_path, data), tmp_path)
    for section, keys in data.items():
        for key, value in keys.items():
            expected = tuple(value) if isinstance(value, list) else value
            assert values(found)[f"{section}.{key}"] == expected
    assert found.given == {f"{section}.{key}" for section, keys in data.items() for key in keys}
    again = config.read(write(tmp_path, as_json(found)), tmp_path)
    assert again._replace(given=found.given) == found


@SAME_FILE
@given(data=ANY_JSON | NEARLY_VALID)
@example(data={"inngest": {"logFile": "\ud800"}})
@example(data={"\ud800": 1})
def test_any_json_value_loads_or_is_rejected(tmp_path: Path, data: object) -> None:
    loads_or_is_rejected(tmp_path / "config.json", json.dumps(data).encode())


@SAME_FILE
@given(content=st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=codecs.BOM_UTF8)
@example(content=b"\xff\xfe{\0}\0")
@example(content=b"[" * 100_000)
def test_any_bytes_load_or_are_rejected(tmp_path: Path, content: bytes) -> None:
    loads_or_is_rejected(tmp_path / "config.json", content)
