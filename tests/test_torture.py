"""A short torture: see the folder torture, and `inv torture` for as much of it as wanted."""

import random

import pytest

from torture.campaign import run

pytestmark = [pytest.mark.usefixtures("real_inv"), pytest.mark.timeout(300)]

SOME = random.SystemRandom().randrange(1, 1_000_000)


# Of one server, of one each, of declared ones, too.
@pytest.mark.parametrize(
    "seed", [pytest.param(1, marks=pytest.mark.slow), pytest.param(13, marks=pytest.mark.slow), 26]
)
def test_what_must_always_hold_does_so_under_torture(seed: int) -> None:
    run(seed)


@pytest.mark.slow
def test_it_does_so_under_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f" torture seed {SOME} ", end="")  # noqa: T201
    run(SOME, most=1)
