"""Figures for Prometheus that cost a few nanoseconds to count and are put together when asked for.

prometheus-client's own counters take a lock and look labels up at every step, several microseconds
a call. Here a caller binds its labels once and counts on a plain attribute: one event loop a
process, so no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Count:
    """One bound counter: `count.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counters:
    """A counter with labels, exported as `<name>_total`."""

    def __init__(
        self, registry: CollectorRegistry, name: str, about: str, labels: Sequence[str] = ()
    ) -> None:
        self._name, self._about, self._labels = name, about, tuple(labels)
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def at(self, *values: str) -> Count:
        """The counter of these label values; keep it."""
        count = self._counts.get(values)
        if count is None:
            assert len(values) == len(self._labels), f"{self._name} has labels {self._labels}"
            count = self._counts[values] = Count()
        return count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class Spread:
    """One bound histogram."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histograms:
    """A histogram with labels; a value on a bound counts below it."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        about: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = LATENCY_S,
    ) -> None:
        self._name, self._about, self._labels = name, about, tuple(labels)
        self._bounds = tuple(bounds)
        self._spreads: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def at(self, *values: str) -> Spread:
        """The histogram of these label values; keep it."""
        spread = self._spreads.get(values)
        if spread is None:
            assert len(values) == len(self._labels), f"{self._name} has labels {self._labels}"
            spread = self._spreads[values] = Spread(self._bounds)
        return spread

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        for values, spread in self._spreads.items():
            buckets, below = [], 0
            for bound, count in zip((*self._bounds, None), spread.counts, strict=True):
                below += count
                buckets.append(("+Inf" if bound is None else str(bound), float(below)))
            family.add_metric(values, buckets, spread.sum)
        yield family


class Gauge:
    """A figure that is asked for when the figures are collected, and costs nothing before."""

    def __init__(
        self, registry: CollectorRegistry, name: str, about: str, read: Callable[[], float]
    ) -> None:
        self._name, self._about, self._read = name, about, read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._about, value=self._read())


class Gauges:
    """As `Gauge`, one figure for each of some labels."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        about: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._name, self._about, self._labels, self._read = name, about, tuple(labels), read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._about, labels=self._labels)
        for values, figure in self._read().items():
            family.add_metric(values, figure)
        yield family


def exposition(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The text that Prometheus reads, and its media type."""
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4
