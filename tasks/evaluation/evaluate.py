"""evaluate: judge candidate and champion on the same fresh rows, and write the decision down."""

import json
import logging
import shutil
from datetime import datetime
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from configs.case import Case, Problem
from configs.errors import ConfigError
from configs.params import Params
from configs.project import Project
from tasks.errors import ArtifactMissing
from tasks.evaluation.contender import Contender
from tasks.evaluation.fresh import read_fresh
from tasks.evaluation.judgement import Judgement, judge
from tasks.evaluation.plots import draw
from tasks.evaluation.predictions import columns_of, digest, unusable
from tasks.files import write_text, write_whole
from tasks.records import Candidate, ChampionRef, Evaluation, Windows

log = logging.getLogger(__name__)


def evaluate(project: Project, case_name: str) -> Evaluation:
    """Judge the trained candidate, and keep the evidence in the case's evaluation folder.

    Too few fresh rows make the decision inconclusive. Raises ArtifactMissing or ArtifactAltered for a model's file.
    """
    case, params, files = project.case(case_name), project.params(case_name), project.files(case_name)
    windows = Windows.read(files.windows)
    candidate = _candidate(case, files.model)
    champion = _champion(case, files.champion)
    contenders = [candidate, champion] if champion else [candidate]
    cutoff = max(contender.record.train_end for contender in contenders)
    rows = read_fresh(case, files.deliveries, windows.evaluate, cutoff, _columns(case, params, contenders))
    judgement = judge(case, params, rows, candidate, champion)
    evaluation = _evaluation(case, windows, judgement, cutoff)
    _write(case, files.evaluation, evaluation, judgement)
    _report(evaluation)
    return evaluation


def _candidate(case: Case, folder: Path) -> Contender:
    path = folder / "candidate.json"
    if not path.is_file():
        raise ArtifactMissing("The candidate", str(path))
    return Contender.load(case.problem, Candidate.read(path), folder)


def _champion(case: Case, folder: Path) -> Contender | None:
    ref = ChampionRef.read(folder / "champion.json")
    if ref.version is None:
        return None
    if ref.candidate is None:
        raise ArtifactMissing(f"The training record of champion {ref.version}", str(folder / "champion.json"))
    record = ref.candidate.model_copy(update={"model_sha256": ref.model_sha256 or ref.candidate.model_sha256})
    return Contender.load(case.problem, record, folder, ref.version)


def _columns(case: Case, params: Params, contenders: list[Contender]) -> list[str]:
    """What to keep of the deliveries. Raises ConfigError for a slice column the contract does not have."""
    sliced = params.gate.slices.columns
    unknown = [name for name in sliced if name not in case.contract.columns]
    if unknown:
        raise ConfigError(f"params.yaml: {case.name}.gate.slices.columns names `{unknown[0]}`, which no contract has.")
    features = [name for contender in contenders for name in contender.record.features]
    return list(dict.fromkeys([case.contract.entity, case.contract.event_time, *sliced, *features]))


def _evaluation(case: Case, windows: Windows, judgement: Judgement, cutoff: datetime) -> Evaluation:
    measured = judgement.measured
    return Evaluation(
        case=case.name,
        as_of=windows.as_of,
        champion_version=measured.champion_version,
        start=max(windows.evaluate.start, cutoff),
        end=max(windows.evaluate.end, cutoff),
        rows=measured.rows,
        rows_without_label=judgement.rows.without_label,
        blocks=measured.blocks,
        metrics=measured.metrics,
        champion_metrics=judgement.comparison.champion_metrics,
        differences=measured.differences,
        slices=measured.slices,
        importance=measured.importance,
        latency_ms=round(measured.latency_ms, 3),
        model_mb=round(measured.model_mb, 3),
        predictions_sha256=digest(judgement.candidate.answers),
        decision=judgement.decision,
    )


def _write(case: Case, folder: Path, evaluation: Evaluation, judgement: Judgement) -> None:
    """The evaluation folder, made afresh; `evaluation.json` comes last, so that it vouches for the rest."""
    shutil.rmtree(folder, ignore_errors=True)
    table = _table(case, judgement)
    write_whole(folder / "predictions.parquet", lambda part: table.to_parquet(part, index=False))
    write_text(folder / "metrics.json", json.dumps(_flat(evaluation), indent=2) + "\n")
    for name, picture in _pictures(case.problem, judgement).items():
        _save(picture, folder / "plots" / f"{name}.png")
    evaluation.write(folder / "evaluation.json")


def _save(picture: Figure, path: Path) -> None:
    write_whole(path, lambda part: picture.savefig(part, format="png"))


def _table(case: Case, judgement: Judgement) -> pd.DataFrame:
    frame = judgement.rows.frame
    known = {
        "entity": frame[case.contract.entity],
        "event_time": frame[case.contract.event_time],
        "label": judgement.rows.labels,
    }
    theirs = columns_of("champion", judgement.champion) if judgement.champion else {}
    return pd.DataFrame({**known, **columns_of("candidate", judgement.candidate), **theirs})


def _flat(evaluation: Evaluation) -> dict[str, float]:
    """Names and values for `dvc metrics`: `auc`, `champion_auc`, `difference_auc`."""
    groups = {"": evaluation.metrics, "champion_": evaluation.champion_metrics, "difference_": evaluation.differences}
    return {f"{prefix}{name}": found.value for prefix, group in groups.items() for name, found in group.items()}


def _pictures(problem: Problem, judgement: Judgement) -> dict[str, Figure]:
    if not judgement.measured.metrics:
        return {}
    champion = judgement.champion
    if champion and unusable(problem, champion.answers):
        champion = None
    return draw(problem, judgement.rows.labels, judgement.candidate, champion, judgement.measured.importance)


def _report(evaluation: Evaluation) -> None:
    decision = evaluation.decision
    why = "; ".join(reason.text for reason in decision.against) or "every rule passed"
    log.info("evaluate %s: %s on %d fresh rows: %s", evaluation.case, decision.ruling, evaluation.rows, why)
