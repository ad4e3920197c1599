"""A short torture: see the folder torture, and `inv torture` for as much of it as wanted."""

import random

import pytest

from torture.campaign import run

pytestmark = pytest.mark.usefixtures("real_inv")

SOME = random.SystemRandom().randrange(1, 1_000_000)


@pytest.mark.parametrize("seed", [1, 13, 26])  # of one server, of one each, of declared ones, too
def test_what_must_always_hold_does_so_under_torture(seed: int) -> None:
    run(seed)


def test_it_does_so_under_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f" torture seed {SOME} ", end="")  # noqa: T201
    run(SOME, most=1)
