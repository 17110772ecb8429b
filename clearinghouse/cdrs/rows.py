"""A record as a row of the table `cdr`, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from clearinghouse.cdrs.life import State
from clearinghouse.cdrs.model import Cdr, Reason, Submission
from clearinghouse.meter_values.model import Check
from clearinghouse.meter_values.model import Outcome as MeterOutcome
from clearinghouse.rating.model import Rated
from clearinghouse.tax.model import AGREED_RATE
from kit.encoding import encode_json
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
INSERT = """
INSERT INTO clearinghouse.cdr (log_position, log_xid, operator, cdr_id, state, reasons, evse_id,
  authorisation_id, told_contract_id, token_uid, evsp, contract_id, started_at, ended_at,
  told_time_zone, energy_wh, periods, signed_meter_values, agreement_id, time_zone, currency,
  excl_vat_minor, vat_minor, price_lines, content, fingerprint, recorded_at, notices, total_cost,
  credit_reference_id, replaces, moved_to, clearing_group, vat_rule, vat_category, vat_percent,
  meter_check)
SELECT log_position, pg_current_xact_id(), operator, cdr_id, state, reasons::jsonb, evse_id,
  authorisation_id, told_contract_id, token_uid, evsp, contract_id, started_at, ended_at,
  told_time_zone, energy_wh, periods::jsonb, signed_meter_values::jsonb, agreement_id, time_zone,
  currency, excl_vat_minor, vat_minor, price_lines::jsonb, content, fingerprint, recorded_at,
  notices::jsonb, total_cost::jsonb, credit_reference_id, replaces, moved_to, clearing_group,
  vat_rule, vat_category, vat_percent, meter_check::jsonb
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[],
  $14::text[], $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],
  $21::bigint[], $22::bigint[], $23::text[], $24::bytea[], $25::bytea[], $26::timestamptz[],
  $27::text[], $28::text[], $29::text[], $30::text[], $31::timestamptz[], $32::text[],
  $33::text[], $34::text[], $35::numeric[], $36::text[])
  AS u (log_position, operator, cdr_id, state, reasons, evse_id, authorisation_id,
    told_contract_id, token_uid, evsp, contract_id, started_at, ended_at, told_time_zone,
    energy_wh, periods, signed_meter_values, agreement_id, time_zone, currency, excl_vat_minor,
    vat_minor, price_lines, content, fingerprint, recorded_at, notices, total_cost,
    credit_reference_id, replaces, moved_to, clearing_group, vat_rule, vat_category, vat_percent,
    meter_check)
"""


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


def columns_of(cdrs: Sequence[Cdr], positions: Sequence[int]) -> list[Sequence[Any]]:
    """The rows of INSERT, turned into its columns."""
    told = [cdr.submission for cdr in cdrs]
    rated = [cdr.rated for cdr in cdrs]
    return [
        positions,
        [one.operator for one in told],
        [one.cdr_id for one in told],
        [cdr.state.value for cdr in cdrs],
        [_json([(one.name, one.says) for one in cdr.reasons]) for cdr in cdrs],
        [one.evse_id for one in told],
        [one.authorisation_id for one in told],
        [one.contract_id for one in told],
        [one.token_uid for one in told],
        [cdr.evsp for cdr in cdrs],
        [cdr.contract_id for cdr in cdrs],
        [one.start for one in told],
        [one.end for one in told],
        [one.time_zone for one in told],
        [one.energy_wh for one in told],
        [_json([(p.start, p.energy_wh, p.parking) for p in one.periods]) for one in told],
        [_json(one.signed_meter_values) for one in told],
        [None if one is None else one.agreement_id for one in rated],
        [None if one is None else one.time_zone for one in rated],
        [None if one is None else one.currency for one in rated],
        [None if one is None else one.excl_vat.minor for one in rated],
        [None if one is None else one.vat.minor for one in rated],
        [_json([] if one is None else one.lines) for one in rated],
        [one.content for one in told],
        [cdr.fingerprint for cdr in cdrs],
        [cdr.recorded_at for cdr in cdrs],
        [_json([(one.name, one.says) for one in cdr.notices]) for cdr in cdrs],
        [None if one.total_cost is None else _json(one.total_cost) for one in told],
        [one.credit_reference_id for one in told],
        [one.replaces for one in told],
        [cdr.moved_to for cdr in cdrs],
        [None if one is None else one.clearing_group for one in rated],
        [None if one is None else one.vat_rule for one in rated],
        [None if one is None else one.vat_category for one in rated],
        [None if one is None else one.vat_percent for one in rated],
        [None if cdr.meter is None else _json(cdr.meter) for cdr in cdrs],
    ]


def _json(value: Any) -> str:
    return encode_json(value).decode()
