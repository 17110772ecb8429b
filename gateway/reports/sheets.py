"""The columns of the files that reports can be had as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from gateway.reports.model import Amount, Kept, Listed, MonthOfService, Row
from gateway.usage.model import UsageRecord
from kit.sheet import Column, Kind, Sheet
from roaming.money import Money


def _amount(row: Row) -> Amount | None:
    assert len(row.amounts) <= 1, "a contract has one currency"
    return row.amounts[0] if row.amounts else None


def _revenue(row: Row) -> Decimal | None:
    found = _amount(row)
    return None if found is None else Money(found.revenue_minor, found.currency).decimal


def _cost(row: Row) -> Decimal | None:
    found = _amount(row)
    return None if found is None else Money(found.cost_minor, found.currency).decimal


def _currency(row: Row) -> str | None:
    found = _amount(row)
    return None if found is None else found.currency


FIGURES: Sheet[Row] = (
    Column("begins_on", Kind.DAY, lambda row: row.key.begins_on),
    Column("service", Kind.TEXT, lambda row: row.key.service),
    Column("major", Kind.WHOLE, lambda row: row.key.major),
    Column("contract_id", Kind.TEXT, lambda row: row.key.contract_id),
    Column("provider", Kind.TEXT, lambda row: row.key.provider),
    Column("requester", Kind.TEXT, lambda row: row.key.requester),
    Column("calls", Kind.WHOLE, lambda row: row.counts.calls),
    Column("billable_calls", Kind.WHOLE, lambda row: row.counts.billable_calls),
    Column("caller_errors", Kind.WHOLE, lambda row: row.counts.caller_errors),
    Column("provider_errors", Kind.WHOLE, lambda row: row.counts.provider_errors),
    Column("bytes", Kind.WHOLE, lambda row: row.counts.bytes),
    Column("units", Kind.WHOLE, lambda row: row.counts.units),
    Column("p50_us", Kind.WHOLE, lambda row: row.counts.p50_us),
    Column("p95_us", Kind.WHOLE, lambda row: row.counts.p95_us),
    Column("p99_us", Kind.WHOLE, lambda row: row.counts.p99_us),
    Column("currency", Kind.TEXT, _currency),
    Column("revenue", Kind.AMOUNT, _revenue),
    Column("cost", Kind.AMOUNT, _cost),
)

CALLS: Sheet[UsageRecord] = (
    Column("request_id", Kind.TEXT, lambda call: call.request_id),
    Column("at", Kind.INSTANT, lambda call: call.at),
    Column("contract_id", Kind.TEXT, lambda call: call.contract_id),
    Column("requester", Kind.TEXT, lambda call: call.requester),
    Column("provider", Kind.TEXT, lambda call: call.provider),
    Column("service", Kind.TEXT, lambda call: call.service),
    Column("major", Kind.WHOLE, lambda call: call.major),
    Column("operation", Kind.TEXT, lambda call: call.operation),
    Column("method", Kind.TEXT, lambda call: call.method),
    Column("status", Kind.WHOLE, lambda call: call.status),
    Column("duration_us", Kind.WHOLE, lambda call: call.duration_us),
    Column("bytes_in", Kind.WHOLE, lambda call: call.bytes_in),
    Column("bytes_out", Kind.WHOLE, lambda call: call.bytes_out),
    Column("billable", Kind.TRUTH, lambda call: call.billable),
    Column("sandbox", Kind.TRUTH, lambda call: call.sandbox),
    Column("units", Kind.WHOLE, lambda call: call.units),
)

CONTRACTS: Sheet[Listed] = (
    Column("contract_id", Kind.TEXT, lambda one: one.contract_id),
    Column("service", Kind.TEXT, lambda one: one.service),
    Column("major", Kind.WHOLE, lambda one: one.major),
    Column("provider", Kind.TEXT, lambda one: one.provider),
    Column("requester", Kind.TEXT, lambda one: one.requester),
    Column("status", Kind.TEXT, lambda one: one.status),
    Column("valid_from", Kind.INSTANT, lambda one: one.valid_from),
    Column("ends_at", Kind.INSTANT, lambda one: one.ends_at),
    Column("currency", Kind.TEXT, lambda one: one.currency),
    Column("prices", Kind.TEXT, lambda one: one.prices),
    Column("notice_days", Kind.WHOLE, lambda one: one.notice_days),
)


class Promise(NamedTuple):
    """One promise of a month; None: nothing was called."""

    month: MonthOfService
    told: Kept | None


def promises(months: Sequence[MonthOfService]) -> Iterator[Promise]:
    for month in months:
        yield from (Promise(month, one) for one in month.promises or (None,))


LEVELS: Sheet[Promise] = (
    Column("month", Kind.DAY, lambda one: one.month.month),
    Column("contract_id", Kind.TEXT, lambda one: one.month.agreement.contract_id),
    Column("service", Kind.TEXT, lambda one: one.month.agreement.service),
    Column("major", Kind.WHOLE, lambda one: one.month.agreement.major),
    Column("provider", Kind.TEXT, lambda one: one.month.agreement.provider),
    Column("requester", Kind.TEXT, lambda one: one.month.agreement.requester),
    Column("calls", Kind.WHOLE, lambda one: one.month.counts.calls),
    Column("measure", Kind.TEXT, lambda one: one.told and one.told.measure.value),
    Column("agreed", Kind.SHARE, lambda one: one.told and one.told.agreed),
    Column("measured", Kind.SHARE, lambda one: one.told and one.told.measured),
    Column("by", Kind.SHARE, lambda one: one.told and one.told.by),
    Column("kept", Kind.TRUTH, lambda one: one.told and one.told.kept),
)
