"""Acceptance: what hooks would execute in a worktree, for a person to look at and to accept."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from devservers import config, kinds
from devservers.errors import CliNotFoundError
from devservers.kind import Assignment
from devservers.spec import ServerSpec
from devservers.trust import gate
from devservers.trust.gate import Claim
from devservers.worktree import Worktree


class Standing(NamedTuple):
    """What this checkout brought along for its servers, and whether a person has accepted it."""

    action: str
    """trusted (by this call), already-trusted, not-trusted or nothing-to-trust."""
    worktree: str
    trusts: tuple[str, ...]
    """Keys of the configuration, and files that git tracks."""
    warnings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether a hook would start the servers here."""
        return self.action != "not-trusted"


def standing(here: Worktree) -> Standing:
    """Return what is true now. Raises ConfigInvalidError, HooksUnusableError."""
    claims, warnings = _each(here, gate.claim_of)
    return _standing(here, claims, warnings, otherwise="not-trusted")


def accept(here: Worktree) -> Standing:
    """Accept it all. Raises ConfigInvalidError, HooksUnusableError, StateUnusableError."""
    claims, warnings = _each(here, gate.add)
    return _standing(here, claims, warnings, otherwise="trusted")


def _standing(
    here: Worktree, claims: list[Claim], warnings: list[str], *, otherwise: str
) -> Standing:
    action = "nothing-to-trust"
    if any(claim.trusts for claim in claims):
        action = "already-trusted" if all(claim.accepted for claim in claims) else otherwise
    names = dict.fromkeys(name for claim in claims for name in claim.trusts)
    return Standing(action, str(here.root), tuple(names), tuple(warnings))


def _each(
    here: Worktree, operation: Callable[[ServerSpec], Claim]
) -> tuple[list[Claim], list[str]]:
    """Return the claim of each server; one without a program would execute nothing."""
    claims, warnings = [], []
    for spec in _specs(here):
        try:
            claims.append(operation(spec))
        except CliNotFoundError as error:
            if spec.brought.keys():
                warnings.append(error.message)
    return claims, warnings


def _specs(here: Worktree) -> Iterator[ServerSpec]:
    settings = config.load(here.root, here.main)
    for kind in kinds.of(settings).values():
        spec = kind.declare(settings, here, Assignment(0))  # whichever port: it decides nothing
        if spec.enabled:
            yield spec
