"""Loopback: HTTP questions to servers on this machine, bounded in time and size, past any proxy."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LARGEST_ANSWER = 4 << 20  # bytes
LOOPBACKS = ("127.0.0.1", "::1")


class Answer(NamedTuple):
    """An HTTP answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Return the body as JSON, None if it is something else."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class NoAnswerError(Exception):
    """Nothing listens, or it did not answer in time; the text says which."""


def ask(  # noqa: PLR0913 - the parts of one HTTP question
    method: str,
    port: int,
    path: str,
    *,
    timeout: float,
    data: object = None,
    addresses: Sequence[str] = LOOPBACKS,
) -> Answer:
    """Return what the first of `addresses` that answers says within `timeout` seconds in all.

    Always under the name `localhost`: the inngest SDK registers itself under the host it was asked
    by. Redirects are not followed. Raises NoAnswerError.
    """
    import requests  # noqa: PLC0415 - 70 to 190 ms that a warm call saves

    deadline = time.monotonic() + timeout
    problem = "nothing listens there"
    with requests.Session() as session:
        session.trust_env = False  # a proxy in the environment breaks every call to localhost
        for address in addresses:
            patience = max(deadline - time.monotonic(), 0.001)
            try:
                with session.request(
                    method,
                    f"http://{_host(address)}:{port}{path}",
                    json=data,
                    headers={"Host": f"localhost:{port}"},
                    timeout=patience,
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    body = b""
                    for chunk in answer.iter_content(64 * 1024):
                        body += chunk
                        if len(body) > LARGEST_ANSWER or time.monotonic() > deadline:
                            raise NoAnswerError("its answer is too long, or too slow")
                    headers = {name.lower(): value for name, value in answer.headers.items()}
                    return Answer(answer.status_code, headers, body)
            except requests.Timeout:
                problem = f"it did not answer within {timeout:g} s"
            except requests.ConnectionError as error:
                if "refused" not in str(error) and "unreachable" not in str(error):
                    problem = "it closed the connection without an answer"
            except requests.RequestException as error:
                raise NoAnswerError(f"its answer is no HTTP: {error}") from error
    raise NoAnswerError(problem)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
