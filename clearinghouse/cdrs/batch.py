"""What a batch of records comes to, one after another, beside what is on record.

A record is known already, or its id is taken, or it is a copy under another id; it credits another
record or stands in its place; or it is new. Nothing here asks the books: what they hold is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from clearinghouse.cdrs.life import LIFE, State, Step, after
from clearinghouse.cdrs.model import Cdr, Key, Reason, Submission
from roaming.evse_id import EvseId
from roaming.party import PartyId


def duplicate_of(first_cdr_id: str) -> Reason:
    return Reason("duplicate-content", f"the same charge is booked as cdr {first_cdr_id}")


def with_overlaps(
    candidates: Sequence[Cdr], booked: Mapping[tuple[PartyId, str], str]
) -> list[Cdr]:
    """The candidates of a batch, each told which other charge took place on its EVSE meanwhile.

    `booked` names, by candidate, such a charge that is on record already.
    """
    earlier: dict[EvseId, list[Cdr]] = {}
    noted: list[Cdr] = []
    for cdr in candidates:
        if not cdr.booked or cdr.submission.credit_reference_id is not None:
            noted.append(cdr)
            continue
        beside = earlier.setdefault(cdr.submission.evse_id, [])
        other = booked.get(cdr.key) or next(
            (one.submission.cdr_id for one in beside if _overlap(one, cdr)), None
        )
        beside.append(cdr)
        if other is not None:
            notice = Reason("overlap", f"at the same time as cdr {other} on the same EVSE")
            cdr = replace(cdr, notices=(*cdr.notices, notice))
        noted.append(cdr)
    return noted


def _overlap(one: Cdr, other: Cdr) -> bool:
    if one.key == other.key or one.fingerprint == other.fingerprint:
        return False
    mine, its = one.submission, other.submission
    return mine.start < its.end and its.start < mine.end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission. `known`: it was here already, and nothing was written.

    `reused`: its id belongs to another record (`cdr` is what was booked first).
    """

    cdr: Cdr
    known: bool = False
    reused: bool = False


def outcome_of_known(booked: Cdr, told: Submission) -> Outcome:
    """What to answer to a cdr_id that has been booked: the same again, or that it is taken."""
    return Outcome(booked, known=True, reused=booked.submission.content != told.content)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a batch came to: its outcomes in order, the records to write, and those that a credit or
    a replacement has changed (their state alone)."""

    outcomes: list[Outcome]
    to_write: list[Cdr]
    changed: list[Cdr]


def settle_batch(
    candidates: Sequence[Cdr],
    booked: Mapping[Key, Cdr],
    rejected: Mapping[Key, Cdr],
    fingerprints: Mapping[bytes, str],
) -> Settled:
    """Decide, in order, what each candidate of a batch becomes beside what is on record.

    `booked` and `rejected` are the records now kept under the candidates' keys and those that they
    refer to (of rejected ones the latest), `fingerprints` the ids of booked records by fingerprint.
    A record that was rejected may come again, mended or not; told again unmended, it is known.
    """
    now_booked, now_rejected = dict(booked), dict(rejected)
    now_fingerprints = dict(fingerprints)
    outcomes: list[Outcome] = []
    to_write: list[Cdr] = []
    changed: dict[Key, Cdr] = {}

    def change(cdr: Cdr, step: Step) -> None:
        # Its content may be told again: by the record that stands in its place.
        if cdr.fingerprint is not None:
            now_fingerprints.pop(cdr.fingerprint, None)
        moved = replace(cdr, state=after(cdr.state, step), fingerprint=None)
        now_booked[cdr.key] = changed[cdr.key] = moved

    for candidate in candidates:
        if (earlier := now_booked.get(candidate.key)) is not None:
            outcomes.append(outcome_of_known(earlier, candidate.submission))
            continue
        cdr = candidate
        if cdr.booked and cdr.fingerprint is not None:
            first = now_fingerprints.get(cdr.fingerprint)
            if first is not None and first != cdr.submission.replaces:
                cdr = _rejected(cdr, duplicate_of(first))
        referred = now_booked.get(reference) if (reference := referred_key(cdr)) else None
        if cdr.booked and reference is not None:
            cdr = _corrected(cdr, referred)
        if cdr.booked:
            if referred is not None:
                credits = cdr.submission.credit_reference_id is not None
                change(referred, Step.CREDIT if credits else Step.REVISE)
            now_booked[cdr.key] = cdr
            if cdr.fingerprint is not None:
                now_fingerprints[cdr.fingerprint] = cdr.submission.cdr_id
        else:
            known = now_rejected.get(cdr.key)
            if (
                known is not None
                and known.submission.content == cdr.submission.content
                and known.reasons == cdr.reasons
            ):
                outcomes.append(Outcome(known, known=True))
                continue
            now_rejected[cdr.key] = cdr
        outcomes.append(Outcome(cdr))
        to_write.append(cdr)
    written = {cdr.key: n for n, cdr in enumerate(to_write) if cdr.booked}
    for key in written.keys() & changed.keys():
        # Written and changed by one batch: it is written as it then stands.
        to_write[written[key]] = changed.pop(key)
    return Settled(outcomes, to_write, list(changed.values()))


def referred_key(cdr: Cdr) -> Key | None:
    """The record that this one takes back or stands for, if it does."""
    told = cdr.submission
    reference = told.credit_reference_id or told.replaces
    return None if reference is None else (told.operator, reference)


def _corrected(cdr: Cdr, referred: Cdr | None) -> Cdr:
    """A credit with its amounts, or a replacement as it came; rejected where it cannot be."""
    told = cdr.submission
    reason = _no_credit(told, referred) if told.credit_reference_id else _no_replacement(referred)
    if reason is not None:
        return _rejected(cdr, reason)
    assert referred is not None
    if told.credit_reference_id is None:
        return cdr
    assert referred.rated is not None
    return replace(
        cdr,
        evsp=referred.evsp,
        contract_id=referred.contract_id,
        rated=referred.rated.negated(),
    )


def credit_of(cdr: Cdr, credit_id: str, now: datetime) -> Cdr:
    """The house's own credit of a booked record, as the operator would tell it."""
    assert cdr.rated is not None
    told = replace(
        cdr.submission,
        cdr_id=credit_id,
        credit_reference_id=cdr.submission.cdr_id,
        replaces=None,
        content=hashlib.sha256(b"credit\n" + cdr.submission.content).digest(),
    )
    return replace(
        cdr,
        submission=told,
        state=State.ACCEPTED,
        reasons=(),
        rated=cdr.rated.negated(),
        fingerprint=None,
        recorded_at=now,
        notices=(),
    )


def _no_credit(told: Submission, credited: Cdr | None) -> Reason | None:
    if credited is None:
        return Reason("credit-of-unknown", "no record is booked under credit_reference_id")
    was = credited.submission
    if was.credit_reference_id is not None:
        return Reason("credit-of-credit", "a credit is not credited; hand in a new record")
    if credited.state is State.DECLINED:
        return Reason("in-dispute", "its EVSP has declined it: answer the dispute instead")
    if Step.CREDIT not in LIFE[credited.state]:
        return Reason("credited-already", f"the record is {credited.state} already")
    same = (was.evse_id, was.start, was.end, was.energy_wh) == (
        told.evse_id,
        told.start,
        told.end,
        told.energy_wh,
    )
    if not same:
        return Reason(
            "credit-mismatch", "a credit repeats evse_id, start, end and energy_wh of its record"
        )
    return None


def _no_replacement(replaced: Cdr | None) -> Reason | None:
    if replaced is None:
        return Reason("replaces-unknown", "no record is booked under the id that it replaces")
    if replaced.state is State.REVISED:
        return Reason("replaced-already", "another record stands in its place already")
    if replaced.state is not State.CREDITED:
        return Reason("replaces-uncredited", "a record is credited before it is replaced")
    return None


def _rejected(cdr: Cdr, reason: Reason) -> Cdr:
    return replace(
        cdr, state=State.REJECTED, reasons=(reason, *cdr.reasons), rated=None, fingerprint=None
    )
