"""A record as a row of the table `cdr`, there and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Cdr, Reason, Submission
from clearinghouse.meter_values.model import Check
from clearinghouse.meter_values.model import Outcome as MeterOutcome
from clearinghouse.rating.model import Rated
from clearinghouse.tax.model import AGREED_RATE
from roaming.charge import ChargingPeriod
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId
from roaming.token import TokenUid

COLUMNS = (
    "c.log_position, c.log_xid::text::bigint AS log_xid, c.operator, c.cdr_id, c.state, c.reasons,"
    " c.evse_id, c.authorisation_id, c.told_contract_id, c.token_uid, c.evsp, c.contract_id,"
    " c.started_at, c.ended_at, c.told_time_zone, c.energy_wh, c.periods, c.signed_meter_values,"
    " c.agreement_id, c.time_zone, c.currency, c.excl_vat_minor, c.vat_minor, c.price_lines,"
    " c.content, c.fingerprint, c.recorded_at, c.notices, c.total_cost, c.credit_reference_id,"
    " c.replaces, c.moved_to, c.clearing_group, c.vat_rule, c.vat_category, c.vat_percent,"
    " c.meter_check"
)
# What is written, in this order; the transaction's id (log_xid) PostgreSQL puts in itself.
WRITTEN = (
    *("log_position", "operator", "cdr_id", "state", "reasons", "evse_id", "authorisation_id"),
    *("told_contract_id", "token_uid", "evsp", "contract_id", "started_at", "ended_at"),
    *("told_time_zone", "energy_wh", "periods", "signed_meter_values", "content", "fingerprint"),
    *("recorded_at", "notices", "total_cost", "credit_reference_id", "replaces", "moved_to"),
    *("meter_check", "agreement_id", "time_zone", "currency", "excl_vat_minor", "vat_minor"),
    *("price_lines", "clearing_group", "vat_rule", "vat_category", "vat_percent"),
)
_UNRATED = (None, None, None, None, None, (), None, None, None, None)


def to_cdr(row: Any) -> Cdr:
    submission = Submission(
        operator=PartyId(row["operator"]),
        cdr_id=row["cdr_id"],
        evse_id=EvseId(row["evse_id"]),
        authorisation_id=row["authorisation_id"],
        contract_id=contract_of(row["told_contract_id"]),
        token_uid=None if row["token_uid"] is None else TokenUid(row["token_uid"]),
        start=row["started_at"],
        end=row["ended_at"],
        time_zone=row["told_time_zone"],
        energy_wh=row["energy_wh"],
        periods=tuple(
            ChargingPeriod(datetime.fromisoformat(start), energy_wh, parking)
            for start, energy_wh, parking in row["periods"]
        ),
        signed_meter_values=row["signed_meter_values"],
        content=bytes(row["content"]),
        total_cost=_to_money(row["total_cost"]),
        credit_reference_id=row["credit_reference_id"],
        replaces=row["replaces"],
    )
    return Cdr(
        submission=submission,
        state=State(row["state"]),
        reasons=tuple(Reason(name, says) for name, says in row["reasons"]),
        evsp=None if row["evsp"] is None else PartyId(row["evsp"]),
        contract_id=contract_of(row["contract_id"]),
        rated=_to_rated(row),
        fingerprint=None if row["fingerprint"] is None else bytes(row["fingerprint"]),
        recorded_at=row["recorded_at"],
        notices=tuple(Reason(name, says) for name, says in row["notices"]),
        moved_to=row["moved_to"],
        meter=_to_check(row["meter_check"]),
    )


def _to_check(told: Any) -> Check | None:
    if told is None:
        return None
    begin, end = (told[name] for name in ("begin", "end"))
    return Check(
        outcome=MeterOutcome(told["outcome"]),
        says=told["says"],
        signed_wh=told["signed_wh"],
        begin=None if begin is None else datetime.fromisoformat(begin),
        end=None if end is None else datetime.fromisoformat(end),
    )


def _to_money(told: Any) -> Money | None:
    return None if told is None else Money(told["minor"], told["currency"])


def _to_rated(row: Any) -> Rated | None:
    if row["currency"] is None:
        return None
    excl_vat = Money(row["excl_vat_minor"], row["currency"])
    vat = Money(row["vat_minor"], row["currency"])
    return Rated(
        agreement_id=row["agreement_id"],
        time_zone=row["time_zone"],
        excl_vat=excl_vat,
        vat=vat,
        incl_vat=excl_vat + vat,
        lines=row["price_lines"],
        clearing_group=row["clearing_group"] or "",
        vat_rule=row["vat_rule"] or AGREED_RATE,
        vat_category=row["vat_category"],
        vat_percent=row["vat_percent"],
    )


def contract_of(contract_id: str | None) -> ContractId | None:
    return None if contract_id is None else ContractId(contract_id)


def row_of(cdr: Cdr, position: int) -> tuple[Any, ...]:
    """The values of WRITTEN."""
    told, rated = cdr.submission, cdr.rated
    return (
        position,
        told.operator,
        told.cdr_id,
        cdr.state,
        [(one.name, one.says) for one in cdr.reasons],
        told.evse_id,
        told.authorisation_id,
        told.contract_id,
        told.token_uid,
        cdr.evsp,
        cdr.contract_id,
        told.start,
        told.end,
        told.time_zone,
        told.energy_wh,
        [(one.start, one.energy_wh, one.parking) for one in told.periods],
        told.signed_meter_values,
        told.content,
        cdr.fingerprint,
        cdr.recorded_at,
        [(one.name, one.says) for one in cdr.notices],
        told.total_cost,
        told.credit_reference_id,
        told.replaces,
        cdr.moved_to,
        cdr.meter,
        *(_UNRATED if rated is None else _rated(rated)),
    )


def _rated(rated: Rated) -> tuple[Any, ...]:
    return (
        rated.agreement_id,
        rated.time_zone,
        rated.currency,
        rated.excl_vat.minor,
        rated.vat.minor,
        rated.lines,
        rated.clearing_group,
        rated.vat_rule,
        rated.vat_category,
        rated.vat_percent,
    )
