"""Whose status reports count, and which of two."""

from __future__ import annotations

from datetime import timedelta

import pytest

from roaming.evse_id import EvseId
from search_evse.availability.model import (
    EvseOfAnother,
    NoSuchEvse,
    Reported,
    Standing,
    StatusInTheFuture,
    judge,
)
from search_evse.sites.model import Status
from tests.search_evse.cuts import FAST, NOW, OTHER

PLEIN = EvseId("NL*FAS*E1")
FREE = Standing(FAST, Status.AVAILABLE, NOW)
HOUR = timedelta(hours=1)


def test_a_newer_report_stands() -> None:
    news = Reported(PLEIN, Status.CHARGING, NOW + timedelta(minutes=1), FAST)
    assert judge(news, FREE, NOW) == Standing(FAST, Status.CHARGING, news.at)


def test_a_report_that_comes_late_changes_nothing() -> None:
    assert judge(Reported(PLEIN, Status.CHARGING, NOW - HOUR, FAST), FREE, NOW) == FREE


def test_only_the_operator_reports() -> None:
    with pytest.raises(EvseOfAnother):
        judge(Reported(PLEIN, Status.CHARGING, NOW, OTHER), FREE, NOW)


def test_an_unknown_evse_has_no_status() -> None:
    with pytest.raises(NoSuchEvse):
        judge(Reported(PLEIN, Status.CHARGING, NOW, FAST), None, NOW)


def test_a_report_of_the_future_is_refused() -> None:
    with pytest.raises(StatusInTheFuture):
        judge(Reported(PLEIN, Status.CHARGING, NOW + HOUR, FAST), FREE, NOW)
