from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway.topics import metrics
from gateway.topics.metrics import TopicMetrics


def test_topics_past_a_bound_share_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_TOPICS", 1)
    registry = CollectorRegistry()
    figures = TopicMetrics(registry)
    figures.delivered("first", "pull", 3)
    for topic in ("second", "third"):
        figures.failed(topic, "broken")
    figures.lags({"first": 1.0, "second": 2.0, "third": 5.0})
    name = "gridroam_topic_deliveries_total"
    for topic, way, outcome, count in (
        ("first", "pull", "delivered", 1),
        ("other", "webhook", "broken", 2),
    ):
        labels = {"topic": topic, "way": way, "outcome": outcome}
        assert registry.get_sample_value(name, labels) == count
    events = "gridroam_topic_events_delivered_total"
    assert registry.get_sample_value(events, {"topic": "first", "way": "pull"}) == 3
    lag = "gridroam_topic_lag_seconds"
    assert registry.get_sample_value(lag, {"topic": "first"}) == 1.0
    assert registry.get_sample_value(lag, {"topic": "other"}) == 5.0
