"""How a report is made: counted from roll-ups and records, rated, and put together step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import date

from gateway.reports.model import (
    DAY,
    Agreement,
    By,
    Counts,
    Every,
    Key,
    MonthOfService,
    Question,
    Row,
    Spending,
    amounts,
    checked,
    compare,
    money,
    months,
    next_month,
)
from gateway.reports.ports import Agreements, Records


async def report(
    question: Question, *, records: Records, agreements: Agreements
) -> AsyncIterator[Sequence[Row]]:
    """The rows of a report, in order, so many steps at a time that memory stays bounded.

    BadQuestion, TooMuchToReckon.
    """
    for part in parts(checked(question)):
        yield await _rows(part, records, agreements)


def parts(question: Question) -> Iterator[Question]:
    """The question in pieces that are answered by themselves: a party's month, everybody's day."""
    if question.every is Every.WHOLE:
        yield question
        return
    first = question.first
    while first <= question.last:
        last = next_month(first) - DAY
        if question.every is Every.DAY and question.party is None:
            last = first
        yield replace(question, first=first, last=min(last, question.last))
        first = last + DAY


async def _rows(question: Question, records: Records, agreements: Agreements) -> Sequence[Row]:
    found = {key: Row(key, counts) for key, counts in await records.counted(question)}
    priced = [one for one in await agreements.concerning(question) if one.currency is not None]
    if priced:
        costs: dict[Key, list[tuple[Agreement, int]]] = {}
        by_quarter = {one.contract_id for one in priced if one.plan and one.plan.by_quarter}
        spent = await records.spent(
            question, by_quarter=by_quarter, packs={one.contract_id for one in priced}
        )
        for one in priced:
            spending = spent.get(one.contract_id, Spending())
            for step, minor in money(one, spending, question).items():
                costs.setdefault(_key(one, question, step), []).append((one, minor))
        for key, several in costs.items():
            row = found.get(key, Row(key))
            found[key] = replace(row, amounts=amounts(question.party, several))
    return sorted(found.values(), key=lambda row: row.key.order)


def _key(agreement: Agreement, question: Question, begins_on: date) -> Key:
    if question.by is By.TOTAL:
        return Key(begins_on)
    if question.by is By.PARTNER:
        return Key(begins_on, provider=agreement.provider, requester=agreement.requester)
    key = Key(begins_on, agreement.service, agreement.major, provider=agreement.provider)
    if question.by is By.SERVICE:
        return key
    return key._replace(contract_id=agreement.contract_id, requester=agreement.requester)


async def levels(
    question: Question, *, records: Records, agreements: Agreements
) -> Sequence[MonthOfService]:
    """What was agreed of each contract's service and what came of it, month by month.

    Months that have not ended are told as they stand. BadQuestion, TooMuchToReckon.
    """
    asked = replace(checked(question), by=By.CONTRACT, every=Every.MONTH)
    told: list[MonthOfService] = []
    for month in months(asked.first, asked.last):
        part = replace(asked, first=month, last=next_month(month) - DAY)
        found = [one for one in await agreements.concerning(part) if one.level is not None]
        if not found:
            continue
        counted = {key.contract_id: counts for key, counts in await records.counted(part)}
        for one in sorted(found, key=lambda one: one.contract_id):
            counts = counted.get(one.contract_id, Counts())
            assert one.level is not None
            told.append(MonthOfService(month, one, counts, compare(one.level, counts)))
    return told
