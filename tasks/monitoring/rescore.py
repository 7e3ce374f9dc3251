"""rescore: a sample of logged requests scored again offline, and their features taken from the source again."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from configs.case import Case, Problem
from configs.errors import EvergreenError
from configs.project import Project
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError, ArtifactMissing, SourceUnreadable
from tasks.features.artifact import load_model, score
from tasks.ingestion.sources import rows
from tasks.monitoring.answers import Answers
from tasks.monitoring.skew import beside, differing, draw, feature_differences, frame_of, said, span_of
from tasks.records import Candidate
from tasks.verdicts import Answer, Evidence, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

_AROUND = timedelta(days=31)
"""Where an event is looked for that a request said no time of: so far around the answer."""
_LINEAR = "linear"


@dataclass
class _Told:
    """What was found so far."""

    evidence: list[Evidence] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """What could not be checked, although it should have been."""
    waiting: list[str] = field(default_factory=list)
    rows: int = 0


def rescore(project: Project, case_name: str, as_of: datetime, answers: Answers) -> Findings:
    """The verdict `skew` on the window that ends at `as_of`: alarm if one answer differs by a bit, or features do.

    What cannot be checked (a column that the log hashes or drops, a model that is gone, a source that cannot be read)
    is unknown, never clear. Turned off, it gives no verdict. Raises what reading the prediction log raises, and
    StoreUnreachable.
    """
    case, params = project.case(case_name), project.params(case_name).monitoring
    registry = Registry(project)
    champion = registry.holder(case.name, "champion")
    start = as_of - params.window

    def verdict(answer: Answer, text: str, told: _Told) -> Findings:
        evidence = tuple(sorted(told.evidence, key=lambda one: (not one.alarm, -(one.effect or 0.0))))
        found = Verdict(
            case=case.name,
            monitor=Monitor.skew,
            answer=answer,
            as_of=as_of,
            start=start,
            end=as_of,
            version=champion.version if champion else None,
            rows=told.rows,
            statistic=max((one.effect or 0.0 for one in evidence), default=0.0),
            threshold=0.0,
            text=text,
            evidence=evidence,
            cause=next((one.subject for one in evidence if one.alarm), ""),
        )
        log.info("rescore %s: skew is %s: %s", case.name, answer, text)
        return Findings(verdicts=(found,))

    told = _Told()
    if params.skew.rows == 0:
        return Findings(verdicts=())
    sample = draw(_logged(case, answers, start, as_of), params.skew.rows)
    if sample is None:
        return verdict(
            Answer.waiting, f"No answer of a model was logged from {start:%Y-%m-%d %H:%M}: one is needed.", told
        )
    told.rows = sample.num_rows
    _score_again(case, registry, sample, told)
    _take_again(case, sample, told)
    return verdict(_answer(told), " ".join([*told.sentences, *told.waiting, *told.unknown]), told)


def _answer(told: _Told) -> Answer:
    if any(one.alarm for one in told.evidence):
        return Answer.alarm
    if told.unknown:
        return Answer.unknown
    return Answer.waiting if told.waiting else Answer.clear


def _logged(case: Case, answers: Answers, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
    """The answers of models, checked against the contract of today, in the columns that are looked at."""
    columns = ["request_id", "row", "entity", "event_time", "answered_at", *_kept(case)]
    columns += ["prediction", "probability", "model_version", "role", "contract_version"]
    columns += ["probabilities"] if case.problem is Problem.multiclass else []
    for batch in answers.batches(start, end, columns):
        known = [
            version is not None and contract == case.contract.version
            for version, contract in zip(
                batch.column("model_version").to_pylist(), batch.column("contract_version").to_pylist(), strict=True
            )
        ]
        yield batch.filter(pa.array(known, pa.bool_()))


def _kept(case: Case) -> list[str]:
    """The features that the log keeps as they are."""
    kept = case.serving.log
    return [name for name in case.contract.features if name not in (*kept.hashed, *kept.dropped)]


# Scored again


def _score_again(case: Case, registry: Registry, sample: pa.Table, told: _Told) -> None:
    for version in sorted(set(sample.column("model_version").to_pylist())):
        of_it = sample.filter(pc.equal(sample.column("model_version"), version))
        try:
            _judge(case, registry, version, of_it, told)
        except (ArtifactError, _Unfit) as error:
            told.unknown.append(f"Version {version} cannot be scored again: {error}")


class _Unfit(EvergreenError):
    """A version that the log does not keep enough for."""


def _judge(case: Case, registry: Registry, version: str, logged: pa.Table, told: _Told) -> None:
    model, candidate = _fetched(case, registry, version)
    hidden = [name for name in candidate.features if name not in _kept(case)]
    if hidden:
        raise _Unfit(f"it takes `{hidden[0]}`, which the prediction log hashes or leaves out (`serving.log`).")
    frame = frame_of(logged, case.contract, candidate.features)
    with threadpool_limits(1), np.errstate(all="ignore"):
        again = score(model, frame, candidate)
    places = differing(said(logged), again, exact=candidate.estimator != _LINEAR)
    told.sentences.append(f"{logged.num_rows:,} answers of version {version} scored again, {len(places):,} differ.")
    if len(places):
        first = int(places[0])
        request, row = (logged.column(name)[first].as_py() for name in ("request_id", "row"))
        told.evidence.append(
            Evidence(
                subject=f"version {version}",
                test="logged answers scored again offline, share of rows that differ",
                statistic=float(len(places)),
                effect=len(places) / logged.num_rows,
                alarm=True,
                text=f"{len(places):,} of {logged.num_rows:,} rows differ (request {request}, row {row}: answered "
                f"{said(logged)[first]!r}, now {again[first]!r})",
            )
        )


def _fetched(case: Case, registry: Registry, version: str) -> tuple[object, Candidate]:
    entry = registry.version(case.name, version)
    if entry is None or "model_sha256" not in entry.tags:
        raise ArtifactMissing(f"Version {version} of `{case.name}`", "the registry")
    digest = entry.tags["model_sha256"]
    with TemporaryDirectory() as folder:
        path = registry.download_model(entry.source, Path(folder), digest)
        candidate = Candidate.read(registry.download_file(entry.run_id, "model/candidate.json", Path(folder)))
        return load_model(path, digest), candidate


# Taken again


def _take_again(case: Case, sample: pa.Table, told: _Told) -> None:
    kept = _kept(case)
    hidden = [name for name in case.contract.features if name not in kept]
    if hidden:
        told.sentences.append(f"Not compared with the source, because the log hides them: {', '.join(hidden)}.")
    if "entity" in (*case.serving.log.hashed, *case.serving.log.dropped):
        told.unknown.append("Features cannot be compared with the source: the log hides the entity.")
        return
    try:
        source = rows(case, *_bounds(sample))
    except SourceUnreadable as error:
        told.unknown.append(f"Features cannot be compared with the source: {error}")
        return
    compared = beside(sample, source, case.contract, kept)
    found = len(compared.logged)
    if not found:
        told.waiting.append(
            f"The source does not have the {sample.num_rows:,} rows (yet), so features were not compared."
        )
        return
    evidence = feature_differences(compared, case.contract)
    told.evidence += evidence
    worst = "; ".join(f"`{one.subject}` {one.text}" for one in evidence[:3])
    missing = f", {compared.not_found:,} are not there (yet)" if compared.not_found else ""
    told.sentences.append(f"{found:,} rows compared with the source{missing}: {worst or 'all features are the same'}.")


def _bounds(sample: pa.Table) -> tuple[datetime, datetime]:
    """Of the event times that the rows may have."""
    events = span_of(sample, "event_time")
    first, last = span_of(sample, "answered_at") or (None, None)
    assert first is not None
    assert last is not None
    spans = [events] if events else []
    if sample.column("event_time").null_count:
        spans.append((first - _AROUND, last + _AROUND))
    ends = [one.to_pydatetime() for one in (min(s[0] for s in spans), max(s[1] for s in spans))]
    return ends[0], ends[1] + timedelta(microseconds=1)
