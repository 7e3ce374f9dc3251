"""`/metrics`: what all workers of this gateway counted, added up and worded for Prometheus."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from configs.case import Problem
from serving.metrics import BATCH_BOUNDS, LATENCY_BOUNDS, NUMBER_BOUNDS, PROBABILITY_BOUNDS, Histogram, quantile
from serving.routes.status import put

QUANTILES = (0.5, 0.95, 0.99)
_SHOWN_LATENCY = range(5, len(LATENCY_BOUNDS), 6)
"""Every sixth bound is enough for a picture; the quantiles are taken from all of them."""
_COUNTERS = {
    "requests": ("evergreen_requests", "HTTP requests.", ("case", "protocol", "status")),
    "refused": ("evergreen_refused", "Requests refused, by the error's code.", ("case", "code")),
    "fields_refused": ("evergreen_rows_refused", "Rows that broke the contract, by column.", ("case", "column")),
    "fallbacks": ("evergreen_fallback_rows", "Rows answered by a fallback, by why.", ("case", "why")),
    "shadow_dropped": ("evergreen_shadow_dropped_rows", "Rows the shadow did not score.", ("case",)),
    "swaps": ("evergreen_models", "Models taken into service, or refused at loading.", ("case", "outcome")),
}
_ARM = ("case", "version", "role")


def publish(folder: Path, worker: str, report: Mapping[str, Any]) -> None:
    """Leave a worker's report where the others find it; it stays when the worker is gone, as its counts must."""
    put(folder / f"{worker}.{os.getpid()}.json", json.dumps(report))


def reports(folder: Path, own: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """This worker's report as it is now, and those the others (living or gone) left."""
    mine = f".{os.getpid()}.json"
    others = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(mine)]
    return [own, *(json.loads(path.read_text(encoding="utf-8")) for path in others)]


@dataclass
class Sums:
    """Reports added up."""

    problems: Mapping[str, Problem]
    counters: dict[str, dict[tuple[str, ...], float]] = field(default_factory=lambda: defaultdict(dict))
    answers: dict[tuple[str, ...], int] = field(default_factory=dict)
    rows: dict[tuple[str, ...], int] = field(default_factory=dict)
    latency: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    predictions: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    batches: dict[tuple[str, ...], Histogram] = field(default_factory=dict)

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add what one worker counted."""
        for name, entries in counts["counters"].items():
            for *labels, count in entries:
                key = tuple(labels)
                self.counters[name][key] = self.counters[name].get(key, 0) + count
        for case, version, role, answers, rows, latency, seconds, predictions, total in counts["arms"]:
            key = (case, version, role)
            self.answers[key] = self.answers.get(key, 0) + answers
            self.rows[key] = self.rows.get(key, 0) + rows
            self.latency.setdefault(key, Histogram(LATENCY_BOUNDS)).merge(latency, seconds)
            bounds = PROBABILITY_BOUNDS if self.problems[case].gives_probabilities else NUMBER_BOUNDS
            self.predictions.setdefault(key, Histogram(bounds)).merge(predictions, total)
        for case, batch, total in counts["batches"]:
            self.batches.setdefault((case,), Histogram(BATCH_BOUNDS)).merge(batch, total)


Families = Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]


Gauge = tuple[str, str, Sequence[str], Sequence[Sequence[Any]]]
"""A name, what it tells, the names of its labels, and entries of label values with the number last."""


class _Page(Collector):
    def __init__(self, found: "Found", sums: Sums) -> None:
        self._sums = sums
        self._found = found

    def collect(self) -> Families:
        yield from self._counters()
        yield from self._arms()
        yield from self._workers()
        for name, text, labels, entries in self._found.gauges:
            yield _gauge(name, text, labels, entries)
        if self._found.price_per_hour is not None:
            yield from self._cost(self._found.price_per_hour)

    def _counters(self) -> Families:
        for name, (metric, text, labels) in _COUNTERS.items():
            family = CounterMetricFamily(metric, text, labels=labels)
            for key, count in self._sums.counters[name].items():
                family.add_metric(key, count)
            yield family

    def _arms(self) -> Families:
        answers = CounterMetricFamily("evergreen_answers", "Requests a version had a part in.", labels=_ARM)
        rows = CounterMetricFamily("evergreen_predictions", "Rows a version answered.", labels=_ARM)
        latency = HistogramMetricFamily("evergreen_latency_seconds", "Head of a request read, to answer.", labels=_ARM)
        quantiles = GaugeMetricFamily(
            "evergreen_latency_quantile_seconds", "Since the workers started.", labels=(*_ARM, "quantile")
        )
        predictions = HistogramMetricFamily("evergreen_prediction", "What was answered.", labels=_ARM)
        for key, histogram in self._sums.latency.items():
            answers.add_metric(key, self._sums.answers[key])
            rows.add_metric(key, self._sums.rows[key])
            latency.add_metric(key, _buckets(histogram, _SHOWN_LATENCY), histogram.total)
            told = self._sums.predictions[key]
            predictions.add_metric(key, _buckets(told, range(len(told.bounds))), told.total)
            for share in QUANTILES:
                value = quantile(histogram.bounds, histogram.counts, share)
                if value is not None:
                    quantiles.add_metric((*key, f"{share:g}"), value)
        yield from (answers, rows, latency, quantiles, predictions)
        batches = HistogramMetricFamily("evergreen_batch_rows", "Rows in a micro-batch.", labels=("case",))
        for key, histogram in self._sums.batches.items():
            batches.add_metric(key, _buckets(histogram, range(len(BATCH_BOUNDS))), histogram.total)
        yield batches

    def _workers(self) -> Families:
        """What each living worker says of itself."""
        told: dict[str, tuple[str, Sequence[str], list[Sequence[Any]]]] = {}
        for report in self._found.reports:
            if _lives(report["pid"]):
                for name, text, labels, entries in report["gauges"]:
                    _, _, all_entries = told.setdefault(name, (text, ("worker", *labels), []))
                    all_entries.extend([report["worker"], *entry] for entry in entries)
        for name, (text, labels, entries) in told.items():
            yield _gauge(name, text, labels, entries)

    def _cost(self, price_per_hour: float) -> Families:
        cost = GaugeMetricFamily(
            "evergreen_cost_per_1000_predictions", "Price of the machine so far, per 1,000 rows answered."
        )
        rows = sum(count for (_, _, role), count in self._sums.rows.items() if role != "shadow")
        hours = (time.time() - min(report["started"] for report in self._found.reports)) / 3600
        if rows:
            cost.add_metric((), price_per_hour * hours / rows * 1000)
        yield cost


@dataclass(frozen=True)
class Found:
    """What a page is made of."""

    reports: Sequence[Mapping[str, Any]]
    """Of all workers, living or gone."""
    gauges: Sequence[Gauge]
    """What is true of the gateway as a whole."""
    problems: Mapping[str, Problem]
    price_per_hour: float | None


def render(found: Found) -> bytes:
    """The page for Prometheus."""
    sums = Sums(found.problems)
    for report in found.reports:
        sums.add(report["counts"])
    registry = CollectorRegistry()
    registry.register(_Page(found, sums))
    return generate_latest(registry)


def _gauge(name: str, text: str, labels: Sequence[str], entries: Sequence[Sequence[Any]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, number in entries:
        family.add_metric([str(value) for value in values], number)
    return family


def _buckets(histogram: Histogram, shown: Iterable[int]) -> list[tuple[str, float]]:
    """Cumulative counts at the shown bounds, and at infinity, as Prometheus wants them."""
    buckets: list[tuple[str, float]] = []
    seen, start = 0, 0
    for index in shown:
        seen += sum(histogram.counts[start : index + 1])
        start = index + 1
        buckets.append((f"{histogram.bounds[index]:.6g}", seen))
    return [*buckets, ("+Inf", sum(histogram.counts))]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
