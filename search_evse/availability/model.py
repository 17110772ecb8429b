"""The status of an EVSE, told by the operator that runs it; the newest word counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours, Unknown
from search_evse.sites.model import Status

# How far the clocks of two parties may be apart.
AHEAD_MOST = timedelta(minutes=5)


class NoSuchEvse(Unknown):
    """A status of an EVSE that no operator has told us of."""


class EvseOfAnother(NotYours):
    """Only the operator of an EVSE reports its status."""


class StatusInTheFuture(Malformed):
    """A status is reported once it is so."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What an operator says of one of its EVSEs, and since when it is so."""

    evse_id: EvseId
    status: Status
    at: datetime
    reporter: PartyId


@dataclass(frozen=True, slots=True)
class Standing:
    """The status as it is held."""

    operator: PartyId
    status: Status
    at: datetime


def judge(reported: Reported, standing: Standing | None, now: datetime) -> Standing:
    """The status to be held from now on; the standing one where the report is older than it."""
    if standing is None:
        raise NoSuchEvse(
            f"{reported.evse_id.display} is not known here",
            field="evse_id",
            value=reported.evse_id.display,
            rule="provide the location first",
        )
    if standing.operator != reported.reporter:
        raise EvseOfAnother(
            f"{reported.evse_id.display} is not run by {reported.reporter}",
            field="evse_id",
            value=reported.evse_id.display,
            rule="an EVSE of the caller",
        )
    if reported.at > now + AHEAD_MOST:
        raise StatusInTheFuture(
            "the status is of the future", field="at", value=reported.at, rule="not after now"
        )
    if reported.at < standing.at:
        return standing
    return Standing(standing.operator, reported.status, reported.at)
