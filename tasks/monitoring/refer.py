"""refer: the champion's reference, built once: what it was accepted on, scored by models that had not seen it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.case import Case, Problem
from configs.params import Params
from configs.project import Project
from tasks.adapters.locks import exclusive
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import ArtifactAltered
from tasks.evaluation.predictions import Floats
from tasks.features.artifact import MODEL_FILE, TWIN_FOLDER, load_model
from tasks.features.labels import labels
from tasks.files import sha256, write_whole
from tasks.ingestion.batches import read_batch
from tasks.monitoring.errors import ContractDiffers, DeliveriesMissing, TooLittleReference
from tasks.monitoring.grid import PREDICTION, SCORE, Grid
from tasks.monitoring.profile import profile_of
from tasks.monitoring.reference import (
    FOLDER,
    GRID,
    MOST_SCORES,
    About,
    Reference,
    ScoredBatch,
    copy_reference,
    digest_of,
    is_whole,
    kept_at,
    monitoring_folder,
)
from tasks.monitoring.terms import TermBins
from tasks.monitoring.unseen import Fit, answer, out_of_fold
from tasks.records import Batch, Candidate, Windows

log = logging.getLogger(__name__)

_TAG = "reference_sha256"
"""Of the champion's run, set when all files are there."""
_ROWS_AT_ONCE = 100_000


def refer(project: Project, case_name: str, version: str | None = None) -> Reference | None:
    """The champion's reference: from here, else from its run, else built and kept at both. None without a champion.

    With `version`, that of a version which may become it. Building fits the champion's pipeline five more times. One
    process builds, others wait for it; killed in the middle, it is built again. Raises DeliveriesMissing,
    TooLittleReference, ContractDiffers, and what the registry raises.
    """
    registry = Registry(project)
    champion = registry.version(case_name, version) if version else registry.holder(case_name, "champion")
    if champion is None:
        return None
    folder = kept_at(project, case_name, champion.version)
    # A lock for each: the looks at a champion go on while the reference of its challenger is built.
    with exclusive(folder.parent / "reference.lock"):
        _keep_model(registry, champion, folder.parent)
        logged = registry.read_run(champion.run_id).data.tags.get(_TAG)
        if logged is None:
            if not _is_of(champion, folder):
                _build(project, registry, champion).write(folder)
            registry.log_files(champion.run_id, [folder])
            registry.log(champion.run_id, {}, {}, {_TAG: digest_of(folder)})
        elif not (is_whole(folder) and digest_of(folder) == logged):
            _fetch(registry, champion, folder, logged)
    return Reference.read(folder)


def _is_of(champion: ModelVersion, folder: Path) -> bool:
    """Whether a whole reference of this very model is here."""
    return is_whole(folder) and Reference.read(folder).about.model_sha256 == champion.tags["model_sha256"]


def _fetch(registry: Registry, champion: ModelVersion, folder: Path, logged: str) -> None:
    with TemporaryDirectory() as scratch:
        fetched = registry.download_file(champion.run_id, FOLDER, Path(scratch))
        if digest_of(fetched) != logged:
            raise ArtifactAltered(f"The reference of version {champion.version}", digest_of(fetched), logged)
        copy_reference(fetched, folder)


def _keep_model(registry: Registry, champion: ModelVersion, folder: Path) -> None:
    """The champion's model beside its reference, for whoever has to score with it."""
    path, digest = folder / MODEL_FILE, champion.tags["model_sha256"]
    if path.is_file() and sha256(path) == digest:
        return
    with TemporaryDirectory() as scratch:
        fetched = registry.download_model(champion.source, Path(scratch), digest)
        write_whole(path, lambda part: part.write_bytes(fetched.read_bytes()))


def _build(project: Project, registry: Registry, champion: ModelVersion) -> Reference:
    case, params = project.case(champion.case), project.params(champion.case)
    with TemporaryDirectory() as scratch:
        candidate = Candidate.read(registry.download_file(champion.run_id, "model/candidate.json", Path(scratch)))
        windows = Windows.read(registry.download_file(champion.run_id, "rebuild/windows.json", Path(scratch)))
    if candidate.contract_version != case.contract.version:
        raise ContractDiffers(_name(champion), candidate.contract_version, case.contract.version)
    deliveries = project.files(case.name).deliveries
    trained = [batch for batch in windows.train.batches if batch.batch_id in candidate.batches]
    _must_be_there(champion, deliveries, [*trained, *windows.evaluate.batches])
    log.info("refer %s: building the reference of version %s", case.name, champion.version)
    judged = _judged(project, registry, champion, candidate)
    scored = [
        *_unseen(case, params, judged, _read(deliveries, trained)),
        *_later(case, judged, _read(deliveries, windows.evaluate.batches)),
    ]
    if not scored:
        raise TooLittleReference(
            _name(champion), f"the champion was trained on {len(trained)} batch and judged on none"
        )
    return _reference(project, registry, champion, candidate, scored)


@dataclass(frozen=True)
class Judged:
    """The model that the gate judged, and its record: the champion, or its twin if it was fitted again since."""

    model: Any
    record: Candidate


def _judged(project: Project, registry: Registry, champion: ModelVersion, candidate: Candidate) -> Judged:
    """The champion as it was judged. One that was fitted again has seen the rows that judged it: its twin has not."""
    twin = champion.tags.get("twin_sha256")
    if twin is None:
        path = kept_at(project, champion.case, champion.version).parent / MODEL_FILE
        return Judged(load_model(path, champion.tags["model_sha256"]), candidate)
    with TemporaryDirectory() as scratch:
        folder = registry.download_file(champion.run_id, TWIN_FOLDER, Path(scratch))
        return Judged(load_model(folder / MODEL_FILE, twin), Candidate.read(folder / "candidate.json"))


def _name(champion: ModelVersion) -> str:
    return f"The reference of version {champion.version} of `{champion.case}`"


def _must_be_there(champion: ModelVersion, deliveries: Path, batches: Sequence[Batch]) -> None:
    missing = [batch.file for batch in batches if not (deliveries / batch.file).is_file()]
    if missing:
        raise DeliveriesMissing(_name(champion), str(deliveries), missing)


def _read(deliveries: Path, batches: Sequence[Batch]) -> list[tuple[Batch, pd.DataFrame]]:
    return [(batch, read_batch(deliveries, batch)) for batch in batches]


@dataclass(frozen=True)
class Scored:
    """A batch, its rows, what a model answered that had not seen it, and what happened."""

    batch: Batch
    frame: pd.DataFrame
    answers: Floats
    label: pd.Series
    out_of_fold: bool


def _unseen(
    case: Case, params: Params, judged: Judged, delivered: Sequence[tuple[Batch, pd.DataFrame]]
) -> list[Scored]:
    """The training window, out of fold; nothing of a window that is one batch."""
    if len(delivered) < 2:
        return []
    whole = pd.concat([frame for _, frame in delivered], ignore_index=True)
    label = labels(case, whole)
    number = np.repeat(np.arange(len(delivered)), [len(frame) for _, frame in delivered])
    fit = Fit(case.problem, judged.model, judged.record, params.training.calibration_batches)
    answers = out_of_fold(fit, whole, label, number)
    return [
        Scored(batch, whole[number == i], answers[number == i], label[number == i], out_of_fold=True)
        for i, (batch, _) in enumerate(delivered)
    ]


def _later(case: Case, judged: Judged, delivered: Sequence[tuple[Batch, pd.DataFrame]]) -> list[Scored]:
    """The window that judged it, scored by the model that was judged on it."""
    time, model, record = case.contract.event_time, judged.model, judged.record
    late = [(batch, frame[frame[time] >= record.train_end]) for batch, frame in delivered]
    return [
        Scored(batch, frame, answer(case.problem, model, record, frame), labels(case, frame), out_of_fold=False)
        for batch, frame in late
        if len(frame)
    ]


def _reference(
    project: Project, registry: Registry, champion: ModelVersion, candidate: Candidate, scored: Sequence[Scored]
) -> Reference:
    case, params = project.case(champion.case), project.params(champion.case)
    rows = sum(len(one.frame) for one in scored)
    draw = np.random.default_rng(params.seed)
    kept = np.zeros(rows, dtype=bool)
    kept[draw.choice(rows, min(rows, MOST_SCORES), replace=False)] = True
    sampled = np.zeros(rows, dtype=bool)
    sampled[draw.choice(np.flatnonzero(kept), min(kept.sum(), params.monitoring.inputs.sample_rows), replace=False)] = (
        True
    )
    watched = pd.concat([_watched(case, candidate, one) for one in scored], ignore_index=True)
    scores = pd.concat([_scores(case, one) for one in scored], ignore_index=True).assign(sampled=sampled)
    grid = _grid(project, registry, champion, watched)
    about = About(
        case=case.name,
        version=champion.version,
        contract_version=candidate.contract_version,
        problem=case.problem,
        classes=tuple(str(one) for one in candidate.classes) if case.problem is Problem.multiclass else (),
        features=case.contract.features,
        used=candidate.features,
        model_sha256=champion.tags["model_sha256"],
        rows=rows,
        batches=tuple(_described(one) for one in scored),
    )
    profile = profile_of(_record_batches(watched), grid)
    return Reference(about, grid, profile, watched[sampled].reset_index(drop=True), scores[kept].reset_index(drop=True))


def _watched(case: Case, candidate: Candidate, one: Scored) -> pd.DataFrame:
    """The columns the monitors count: features, and the champion's answer."""
    features = one.frame.loc[:, list(case.contract.features)]
    if case.problem is not Problem.multiclass:
        return features.assign(**{SCORE: one.answers})
    top = np.array([str(name) for name in candidate.classes], dtype=object)[one.answers.argmax(axis=1)]
    return features.assign(**{SCORE: one.answers.max(axis=1), PREDICTION: top})


def _scores(case: Case, one: Scored) -> pd.DataFrame:
    each = (
        {SCORE: one.answers}
        if one.answers.ndim == 1
        else {f"{SCORE}_{number}": column for number, column in enumerate(one.answers.T)}
    )
    return pd.DataFrame(
        {
            "batch_id": one.batch.batch_id,
            "event_time": one.frame[case.contract.event_time].to_numpy(),
            **each,
            "label": one.label.to_numpy(),
        }
    )


def _described(one: Scored) -> ScoredBatch:
    batch = one.batch
    return ScoredBatch(
        batch_id=batch.batch_id,
        start=batch.start,
        end=batch.end,
        rows=len(one.frame),
        labelled=int(one.label.notna().sum()),
        out_of_fold=one.out_of_fold,
    )


def _grid(project: Project, registry: Registry, champion: ModelVersion, watched: pd.DataFrame) -> Grid:
    """The grid of the case: that of an earlier reference if it still fits, so that counts can be added to its."""
    case, text = project.case(champion.case), project.params(champion.case).monitoring.inputs.text
    path = monitoring_folder(project, case.name) / GRID
    with exclusive(path.with_suffix(".lock")):
        if not path.is_file():
            _fetch_grid(registry, champion, path)
        if path.is_file():
            grid = Grid.read(path)
            if grid.contract_version == case.contract.version and set(text) == _texts(grid):
                return grid
        grid = Grid.fit(case.contract, case.problem, _record_batches(watched), int(champion.version), text)
        grid.write(path)
        return grid


def _texts(grid: Grid) -> set[str]:
    return {name for name, bins in grid.columns.items() if isinstance(bins, TermBins)}


def _fetch_grid(registry: Registry, champion: ModelVersion, path: Path) -> None:
    """Take the grid from the newest version that has a reference."""
    for version in registry.versions(champion.case):
        if _TAG in registry.read_run(version.run_id).data.tags:
            with TemporaryDirectory() as scratch:
                fetched = registry.download_file(version.run_id, f"{FOLDER}/{GRID}", Path(scratch))
                Grid.read(fetched).write(path)
            return


def _record_batches(frame: pd.DataFrame) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    yield from table.to_batches(max_chunksize=_ROWS_AT_ONCE)
