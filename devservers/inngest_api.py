"""What the running Inngest dev server says of itself over HTTP."""

from typing import Any

from devservers.spec import Recognised

TIMEOUT = 0.7  # seconds for one question


def dev(port: int) -> dict[str, Any] | None:
    """Return what `GET /dev` answers, None unless an Inngest dev server listens on `port`.

    Only an Inngest dev server answers so, which makes this the way to recognise one.
    """
    data = _get_json(port, "/dev")
    if isinstance(data, dict) and "version" in data and isinstance(data.get("startOpts"), dict):
        return data
    return None


def recognise(port: int, _pid: int | None) -> Recognised | None:
    """Return what an Inngest dev server on `port` watches, None if that is something else."""
    data = dev(port)
    if data is None:
        return None
    urls = data["startOpts"].get("urls") or []
    return Recognised(
        tuple(url for url in urls if isinstance(url, str)), data.get("standIn") is True
    )


def _get_json(port: int, path: str) -> object:
    import requests  # noqa: PLC0415 - 70 to 190 ms that a warm call saves

    with requests.Session() as session:
        session.trust_env = False  # a proxy in the environment breaks every call to localhost
        for address in ("127.0.0.1", "[::1]"):
            try:
                answer = session.get(f"http://{address}:{port}{path}", timeout=TIMEOUT)
                return answer.json() if answer.ok else None
            except (requests.ConnectionError, requests.Timeout):
                continue
            except (requests.RequestException, ValueError):
                return None
    return None
