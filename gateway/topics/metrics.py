"""Topics' figures: what was delivered, what failed, how far subscribers are behind."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from kit.metrics import Counters, Gauge, Gauges

# Providers name topics: so many have a label of their own, and the rest share one.
MOST_TOPICS = 500
OTHER = "other"


class TopicMetrics:
    """Labels are topics, ways and outcomes; never subscribers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._topics: set[str] = set()
        self._lags: Mapping[str, float] = {}
        self.streams = 0
        self._deliveries = Counters(
            registry,
            "gridroam_topic_deliveries",
            "Deliveries of events by topic, way and outcome",
            ("topic", "way", "outcome"),
        )
        self._events = Counters(
            registry,
            "gridroam_topic_events_delivered",
            "Events delivered by topic and way",
            ("topic", "way"),
        )
        Gauges(
            registry,
            "gridroam_topic_lag_seconds",
            "Age of the oldest event that a subscription of the topic has yet to get",
            ("topic",),
            lambda: {(topic,): lag_s for topic, lag_s in self._lags.items()},
        )
        Gauge(
            registry,
            "gridroam_topic_streams",
            "Server-sent streams that are open",
            lambda: float(self.streams),
        )

    def delivered(self, topic: str, way: str, events: int) -> None:
        label = self._label(topic)
        self._deliveries.at(label, way, "delivered").value += 1
        self._events.at(label, way).value += events

    def failed(self, topic: str, outcome: str) -> None:
        self._deliveries.at(self._label(topic), "webhook", outcome).value += 1

    def lags(self, seconds: Mapping[str, float]) -> None:
        """By topic, the subscription that is furthest behind."""
        told: dict[str, float] = {}
        for topic, lag_s in seconds.items():
            label = self._label(topic)
            told[label] = max(told.get(label, 0.0), lag_s)
        self._lags = told

    def _label(self, topic: str) -> str:
        if topic not in self._topics:
            if len(self._topics) >= MOST_TOPICS:
                return OTHER
            self._topics.add(topic)
        return topic
