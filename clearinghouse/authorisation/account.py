"""A decision explained: step by step, and to each party what is its own to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearinghouse.authorisation.model import Authorisation, Reason, unknown
from clearinghouse.authorisation.rules import RULES
from roaming.party import PartyId


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a decision: passed, failed, or not reached. Details are for the EVSP alone."""

    reason: Reason
    must_be: str
    outcome: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class AskedShown:
    """What one EVSP said, and after how long."""

    evsp: PartyId
    said: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """How it came to a decision, as far as one side may know.

    `outcome_told` is False for an EVSP that was asked in vain: it sees its own part alone.
    `evsps_asked` and `took_ms` are for the operator, `policy` is for the EVSP concerned.
    """

    outcome_told: bool
    decided_by: str | None
    evsps_asked: int | None
    asked: tuple[AskedShown, ...]
    took_ms: int | None
    policy: Mapping[str, Any] | None
    certificate: Mapping[str, Any] | None = None


def account(authorisation: Authorisation, caller: PartyId) -> Account:
    """How it came to a decision, for one side.

    Raises UnknownAuthorisation for whom it is no affair of, as if there were none."""
    details = authorisation.details
    asked = [
        AskedShown(PartyId(one["evsp"]), one["said"], one["took_ms"]) for one in _asked(details)
    ]
    own = tuple(one for one in asked if one.evsp == caller)
    decided_by = details.get("decided_by", None if authorisation.evsp is None else "list")
    certificate = details.get("certificate")
    if caller == authorisation.evsp:
        return Account(True, decided_by, None, own, None, details.get("policy"), certificate)
    if caller == authorisation.question.operator:
        took_ms = details.get("took_ms")
        return Account(True, decided_by, len(asked), (), took_ms, None, certificate)
    if own:
        return Account(False, None, None, own, None, None)
    raise unknown(authorisation.authorisation_id)


def explain(authorisation: Authorisation, caller: PartyId) -> tuple[Step, ...]:
    """Each rule in order, for the operator that asked or the EVSP whose customer it is about; none
    for an EVSP that was asked in vain.

    Raises UnknownAuthorisation for everybody else, as if there were none.
    """
    if not account(authorisation, caller).outcome_told:
        return ()
    details = authorisation.details if caller == authorisation.evsp else {}
    return tuple(_steps(authorisation, details))


def _steps(authorisation: Authorisation, details: Mapping[str, Any]) -> Iterator[Step]:
    outcome = "passed"
    for rule in RULES:
        if rule.reason is authorisation.reason:
            yield Step(rule.reason, rule.must_be, "failed", details.get(rule.reason))
            outcome = "not-reached"
        else:
            told = details.get(rule.reason) if outcome == "passed" else None
            yield Step(rule.reason, rule.must_be, outcome, told)


def _asked(details: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = details.get("asked", ())
    return found
