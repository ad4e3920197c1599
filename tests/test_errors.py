"""Errors: each speaks a sentence, and its code and exit status are those that were promised."""

import inspect
import json
from typing import get_type_hints

import pytest

from devservers import errors
from devservers.errors import DevServerError
from devservers.rendering import servers

PROMISED = {
    errors.ConfigInvalidError: ("config-invalid", 10),
    errors.CliNotFoundError: ("cli-not-found", 11),
    errors.PortInUseError: ("port-in-use", 12),
    errors.ServerExitedError: ("server-exited", 13),
    errors.NotReadyError: ("not-ready", 14),
    errors.LockTimeoutError: ("lock-timeout", 15),
    errors.StopFailedError: ("stop-failed", 16),
    errors.StateUnusableError: ("state-unusable", 17),
    errors.NoPortError: ("no-port", 18),
    errors.NotSyncedError: ("not-synced", 19),
    errors.HooksUnusableError: ("hooks-unusable", 20),
    errors.NeedFailedError: ("need-failed", 21),
    # 1 is a defect of ours, or a usage error.
    errors.UsageError: ("usage", 1),
    errors.DevServerError: ("internal", 1),
}


def test_code_and_exit_status_are_those_promised() -> None:
    assert {kind: (kind.code, kind.exit_code) for kind in PROMISED} == PROMISED


def test_every_error_has_a_promised_status() -> None:
    defined = {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, DevServerError)
    }
    assert defined == set(PROMISED)


def test_no_two_failures_have_the_same_code() -> None:
    codes = [code for code, _ in PROMISED.values()]
    assert len(set(codes)) == len(codes)


def test_an_error_speaks_its_sentence() -> None:
    for kind in PROMISED:
        assert str(kind("Port 8288 is held by pid 77.")) == "Port 8288 is held by pid 77."


def test_an_error_with_a_hint_says_it_on_a_line_of_its_own() -> None:
    for kind in PROMISED:
        error = kind("Port 8288 is held by pid 77.", hint="Stop it.")
        assert str(error) == "Port 8288 is held by pid 77.\nStop it."
        assert (error.message, error.hint) == ("Port 8288 is held by pid 77.", "Stop it.")
        assert error.args == ("Port 8288 is held by pid 77.",)


def test_an_error_is_caught_as_the_base_of_all() -> None:
    for kind in PROMISED:
        with pytest.raises(DevServerError):
            raise kind("No.")


def test_an_error_is_rendered_with_its_code_its_data_and_its_status() -> None:
    holders = [{"pid": 77}]
    for kind, (code, exit_code) in PROMISED.items():
        rendered = servers.failed(kind("No.", hint="Do.", details={"holders": holders}))
        assert json.loads(json.dumps(rendered.data)) == {
            "action": "error",
            "error": {"code": code, "message": "No.", "hint": "Do.", "holders": holders},
            "next": [],
        }
        assert rendered.lines == ("error: No.", "Do.")
        assert rendered.exit_code == exit_code


def test_an_error_without_a_hint_has_null_for_it_and_no_line() -> None:
    rendered = servers.failed(errors.NotReadyError("No."))
    assert rendered.data["error"] == {"code": "not-ready", "message": "No.", "hint": None}
    assert rendered.lines == ("error: No.",)


def test_the_details_of_an_error_are_its_own() -> None:
    details = {"port": 1}
    error = DevServerError("No.", details=details)
    details["port"] = 2
    assert error.details == {"port": 1}
    assert DevServerError("No.").details == {}


def test_code_and_exit_status_belong_to_the_class() -> None:
    hints = get_type_hints(DevServerError)
    assert "ClassVar" in str(hints["code"])
    assert "ClassVar" in str(hints["exit_code"])
