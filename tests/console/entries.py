"""Entries of the log as the wings write them, for a day that is made up."""

from __future__ import annotations

from datetime import UTC, datetime

from kit import event_log
from kit.database import Database
from kit.event_log import NewEvent
from roaming.events import EventType

NOON = datetime(2024, 12, 19, 12, tzinfo=UTC)
OPERATOR = "FR*PD1"


def authorised(
    evse_id: str, *, evsp: str = "NL*ALF", operator: str = OPERATOR, at: datetime = NOON
) -> NewEvent:
    return _decided(evse_id, None, evsp, operator, at)


def refused(
    evse_id: str,
    reason: str,
    *,
    evsp: str | None = None,
    operator: str = OPERATOR,
    at: datetime = NOON,
) -> NewEvent:
    return _decided(evse_id, reason, evsp, operator, at)


def _decided(
    evse_id: str, reason: str | None, evsp: str | None, operator: str, at: datetime
) -> NewEvent:
    body = {
        "evse_id": evse_id,
        "decision": "accepted" if reason is None else "refused",
        "reason": reason,
        "evsp": evsp,
    }
    stream = f"authorisations:{operator}"
    return NewEvent(stream, EventType.AUTHORISATION_DECIDED, operator, body, at)


def started(evse_id: str | None, *, operator: str = OPERATOR, at: datetime = NOON) -> NewEvent:
    """`evse_id` as charge points tell it, FR*PD1*E1; None at a connector that is none."""
    body = {"evse_id": evse_id, "accepted": True}
    return NewEvent(f"station:{operator}:1", EventType.CHARGE_STARTED, operator, body, at)


def stopped(evse_id: str | None, *, operator: str = OPERATOR, at: datetime = NOON) -> NewEvent:
    body = {"evse_id": evse_id, "energy_wh": 20_000}
    return NewEvent(f"station:{operator}:1", EventType.CHARGE_STOPPED, operator, body, at)


def cdr(
    evse_id: str,
    debtor: str,
    amount: str,
    *,
    creditor: str = OPERATOR,
    currency: str = "EUR",
    energy_wh: int = 20_000,
    at: datetime = NOON,
) -> NewEvent:
    body = {
        "evse_id": evse_id,
        "debtor": debtor,
        "creditor": creditor,
        "energy_wh": energy_wh,
        "price": {"currency": currency, "excl_vat": amount},
    }
    return NewEvent(f"cdrs:{creditor}", EventType.CDR_ACCEPTED, creditor, body, at)


def rejected(evse_id: str, *, operator: str = OPERATOR, at: datetime = NOON) -> NewEvent:
    body = {"evse_id": evse_id, "reasons": ["unknown-contract"]}
    return NewEvent(f"cdrs:{operator}", EventType.CDR_REJECTED, operator, body, at)


def delivered(cdrs: int, *, at: datetime = NOON) -> NewEvent:
    body = {"cdrs": cdrs}
    return NewEvent("deliveries:NL*ALF", EventType.CDRS_DELIVERED, "NL*ALF", body, at)


def cleared(
    run_id: str, cdrs: int, *, currency: str = "EUR", strategy: str = "multilateral"
) -> NewEvent:
    body = {"run_id": run_id, "cdrs": cdrs, "currency": currency, "strategy": strategy}
    return NewEvent("clearing-runs", EventType.CLEARING_RUN_RECORDED, "EU*GRD", body, NOON)


async def write(database: Database, *entries: NewEvent) -> None:
    """Put them into the log, in one transaction."""
    async with database.begin() as connection:
        await event_log.append(connection, entries)
