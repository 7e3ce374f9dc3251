"""What is counted, and how it is told to Prometheus."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from configs.case import Problem
from serving import exposition
from serving.exposition import Found
from serving.metrics import LATENCY_BOUNDS, Histogram, Metrics, quantile
from serving.records import Part, Role

ROOT = Path(__file__).parents[2]
PROBLEMS = {"flights": Problem.binary, "bikes": Problem.regression, "iris": Problem.multiclass}


def counted(requests: int = 100) -> Metrics:
    metrics = Metrics(PROBLEMS)
    for i in range(requests):
        part = Part(None, "2", Role.champion, [i / requests], (0, 1))
        metrics.answered("flights", [part], 1, 0.001 * (i + 1))
        metrics.requests["flights", "plain", "200"] += 1
    metrics.answered("bikes", [Part(None, "1", Role.champion, [-3.5, 144.0], ())], 2, 0.01)
    metrics.answered("iris", [Part(None, "1", Role.champion, [[0.2, 0.7, 0.1]], ("a", "b", "c"))], 1, 0.01)
    metrics.answered("flights", [Part([0, 2], None, Role.fallback, [0.24, 0.24], (0, 1), "timeout")], 2, 1.0)
    metrics.refused["flights", "contract_broken"] += 3
    metrics.fields_refused["flights", "origin"] += 3
    metrics.batch("bikes", 17)
    return metrics


def report(worker: str, metrics: Metrics, **changes: Any) -> dict[str, Any]:
    gauges = [("evergreen_memory_bytes", "Memory.", (), [[1000]])]
    told = {"worker": worker, "pid": os.getpid(), "started": 0.0, "counts": metrics.snapshot(), "gauges": gauges}
    return json.loads(json.dumps({**told, **changes}))


def samples(*reports: dict[str, Any], **changes: Any) -> dict[tuple[str, ...], float]:
    found = {"reports": reports, "gauges": [], "problems": PROBLEMS, "price_per_hour": None, **changes}
    page = exposition.render(Found(**found)).decode()
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_quantile_is_off_by_at_most_twelve_per_cent(share: float) -> None:
    values = np.random.default_rng(7).lognormal(-6, 1, 20_000)
    histogram = Histogram(LATENCY_BOUNDS)
    histogram.add_all(values.tolist())
    found = quantile(LATENCY_BOUNDS, histogram.counts, share)
    assert found is not None
    assert 1.0 <= found / np.quantile(values, share) <= 1.12 + 1e-9


def test_without_values_there_is_no_quantile() -> None:
    assert quantile(LATENCY_BOUNDS, [0] * (len(LATENCY_BOUNDS) + 1), 0.5) is None


def test_every_answer_is_counted_by_case_version_and_role() -> None:
    found = samples(report("w0", counted()))
    assert found["evergreen_answers_total", "case=flights", "role=champion", "version=2"] == 100
    assert found["evergreen_predictions_total", "case=bikes", "role=champion", "version=1"] == 2
    assert found["evergreen_predictions_total", "case=flights", "role=fallback", "version=none"] == 2
    assert found["evergreen_fallback_rows_total", "case=flights", "why=timeout"] == 2
    assert found["evergreen_rows_refused_total", "case=flights", "column=origin"] == 3


def test_the_counts_of_all_workers_are_added_up_also_of_those_that_are_gone() -> None:
    gone = report("w1", counted(), pid=2**22 + 1)
    found = samples(report("w0", counted()), gone)
    assert found["evergreen_requests_total", "case=flights", "protocol=plain", "status=200"] == 200
    assert found["evergreen_latency_seconds_count", "case=flights", "role=champion", "version=2"] == 200


def test_only_the_living_tell_how_they_are() -> None:
    gone = report("w1", counted(), pid=2**22 + 1)
    found = samples(report("w0", counted()), gone)
    assert ("evergreen_memory_bytes", "worker=w0") in found
    assert ("evergreen_memory_bytes", "worker=w1") not in found


def test_buckets_are_cumulative_and_end_with_all() -> None:
    found = samples(report("w0", counted()))
    buckets = [
        value
        for (name, *labels), value in found.items()
        if name == "evergreen_prediction_bucket" and labels[0] == "case=flights" and "role=champion" in labels
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 100


def test_the_cost_is_the_price_so_far_over_what_was_answered() -> None:
    found = samples(report("w0", counted(), started=__import__("time").time() - 3600), price_per_hour=0.5)
    assert found["evergreen_cost_per_1000_predictions",] == pytest.approx(0.5 / 105 * 1000, rel=0.01)


def test_a_report_is_found_by_the_other_workers(tmp_path: Path) -> None:
    other = {"counts": {}, "pid": 1}
    (tmp_path / "w1.1.json").write_text(json.dumps(other))
    exposition.publish(tmp_path, "w0", {"pid": os.getpid()})
    assert exposition.reports(tmp_path, {"own": True}) == [{"own": True}, other]


def _metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bevergreen_[a-z0-9_]+", text))


def _told() -> set[str]:
    """Every metric the gateway has, as its own source names them."""
    source = "".join((ROOT / "serving" / name).read_text() for name in ("exposition.py", "report.py"))
    names = _metrics_in(source) | {
        f"evergreen_log_{n}" for n in ("backlog_bytes", "oldest_segment_seconds", "corrupt_segments")
    }
    return names | {f"{name}_{end}" for name in names for end in ("total", "bucket", "sum", "count")}


@pytest.mark.parametrize("file", ["grafana/gateway.json", "prometheus/alerts.yml"])
def test_dashboard_and_alerts_ask_only_for_what_is_told(file: str) -> None:
    asked = _metrics_in((ROOT / "deploy" / file).read_text())
    assert len(asked) > 5
    assert asked <= _told()


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    assert all({"summary", "action"} <= set(rule["annotations"]) and rule["labels"]["severity"] for rule in rules)
