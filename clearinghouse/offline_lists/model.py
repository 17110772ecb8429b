"""Offline lists: whose cards an operator may keep at its charge points, in numbered versions.

Law: whoever holds version N and takes the difference to version M holds the full list of M, but for
entries whose own end has come: each entry says when it ends, so its end needs no further word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roaming.contract_id import ContractId
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed
from roaming.token import TokenUid

ALL = "*"
# An older version than so many is answered by the full list.
VERSIONS_KEPT = 200
# OCPP 1.6, IdToken: CiString20.
OCPP16_LONGEST = 20


class BadCursor(Malformed):
    """A cursor that no page of this list has named."""


class ListMovedOn(Clash):
    """The version that the cursor is about is not kept any more."""


class UpdateType(StrEnum):
    FULL = "full"
    DIFFERENTIAL = "differential"


class Stage(StrEnum):
    """What of one EVSP's cards is read."""

    ALL = "all"
    CHANGED = "changed"
    BEGUN = "begun"
    GIVEN_UP = "given-up"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether an EVSP lets an operator (None: each that it has an agreement with) have its list."""

    operator: PartyId | None
    given: bool


Shares = Mapping[PartyId, datetime | None]
"""The EVSPs that share their customers with an operator, each with its agreement's end."""


@dataclass(frozen=True, slots=True)
class Version:
    """A moment of one operator's list: what the database had seen by then, and who shared."""

    number: int
    snapshot: str
    made_at: datetime
    shares: Shares


@dataclass(frozen=True, slots=True)
class Part:
    """What is read of one EVSP, stage by stage. `listed`: it shares its customers now."""

    evsp: PartyId
    listed: bool
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has come: behind `key` in a stage of an EVSP's part."""

    evsp: PartyId
    stage: Stage
    key: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One card that may be accepted, until its end."""

    token_uid: TokenUid
    contract_id: ContractId
    evsp: PartyId
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a list. `after` is where the next one begins, None at the end."""

    version: Version
    since: Version | None
    entries: Sequence[Entry]
    removed: Sequence[TokenUid]
    after: Place | None

    @property
    def update_type(self) -> UpdateType:
        return UpdateType.FULL if self.since is None else UpdateType.DIFFERENTIAL


def parts(now: Shares, since: Shares | None) -> list[Part]:
    """What has to be read of whom, so that nothing is read that cannot matter."""
    if since is None:
        return [Part(evsp, True, (Stage.ALL,)) for evsp in sorted(now)]
    return [Part(evsp, evsp in now, _stages(evsp, now, since)) for evsp in sorted({*now, *since})]


def _stages(evsp: PartyId, now: Shares, since: Shares) -> tuple[Stage, ...]:
    if evsp not in now:
        return Stage.GONE, Stage.GIVEN_UP
    if evsp not in since:
        return (Stage.ALL,)
    if now[evsp] != since[evsp]:
        # The end of every entry is another one.
        return Stage.ALL, Stage.CHANGED, Stage.GIVEN_UP
    return Stage.CHANGED, Stage.BEGUN, Stage.GIVEN_UP


def places(parts: Sequence[Part], after: Place | None) -> Iterator[tuple[Part, Place]]:
    """Every stage that is still to be read, in order, the first from where the reader is."""
    for part in parts:
        for number, stage in enumerate(part.stages):
            place = Place(part.evsp, stage)
            if after is not None:
                if part.evsp < after.evsp:
                    continue
                if part.evsp == after.evsp:
                    if after.stage not in part.stages or number < part.stages.index(after.stage):
                        continue
                    if stage is after.stage:
                        place = after
            yield part, place


def ends(valid_until: datetime | None, agreement_until: datetime | None) -> datetime | None:
    """When an entry ends: with the customer's contract or the partners' agreement."""
    known = [one for one in (valid_until, agreement_until) if one is not None]
    return min(known, default=None)


def fits_ocpp16(token_uid: TokenUid) -> bool:
    return len(token_uid) <= OCPP16_LONGEST
