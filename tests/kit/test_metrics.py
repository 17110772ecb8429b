"""Figures come out as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kit.metrics import Counters, Gauge, Gauges, Histograms, exposition


def test_gauges_with_labels_are_read_when_they_are_asked_for() -> None:
    registry = CollectorRegistry()
    levels: dict[tuple[str, ...], float] = {}
    Gauges(registry, "level", "Level", ("tank",), lambda: levels)
    assert registry.get_sample_value("level", {"tank": "a"}) is None
    levels[("a",)] = 2.5
    assert registry.get_sample_value("level", {"tank": "a"}) == 2.5


def test_counts_histograms_and_gauges_are_told() -> None:
    registry = CollectorRegistry()
    calls = Counters(registry, "calls", "Calls", ("service", "outcome"))
    seconds = Histograms(registry, "seconds", "Time", ("service",), bounds=(0.1, 1.0))
    level = [3.0]
    Gauge(registry, "level", "Level", lambda: level[0])
    one = calls.at("a", "200")
    one.value += 2
    assert calls.at("a", "200") is one
    calls.at("b", "500").value += 1
    spread = seconds.at("a")
    for took in (0.05, 0.1, 0.5, 7.0):
        spread.observe(took)
    level[0] = 4.5
    value = registry.get_sample_value
    assert value("calls_total", {"service": "a", "outcome": "200"}) == 2
    assert value("calls_total", {"service": "b", "outcome": "500"}) == 1
    assert [value("seconds_bucket", {"service": "a", "le": le}) for le in ("0.1", "1.0")] == [2, 3]
    assert value("seconds_bucket", {"service": "a", "le": "+Inf"}) == 4
    assert value("seconds_count", {"service": "a"}) == 4
    assert value("seconds_sum", {"service": "a"}) == pytest.approx(7.65)
    assert value("level") == 4.5


def test_the_text_can_be_read_back() -> None:
    registry = CollectorRegistry()
    Counters(registry, "calls", "Calls", ("service",)).at('with "quotes"').value += 1
    text, media_type = exposition(registry)
    assert media_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert families["calls"].samples[0].labels == {"service": 'with "quotes"'}


def test_a_wrong_number_of_labels_is_a_bug() -> None:
    calls = Counters(CollectorRegistry(), "calls", "Calls", ("service",))
    with pytest.raises(AssertionError, match="calls has labels"):
        calls.at("a", "b")
