"""What calibration is worth on flights: none against sigmoid and isotonic, on the rows that come later.

    python benchmarks/calibration.py

Seven times, four weeks apart, the case's own stages train on all earlier weeks and judge on the four that follow. A
calibrated model keeps the newest of its training weeks back to calibrate on. The uncalibrated one is the champion that
the others are compared with, row by row. Seven minutes.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean

import yaml

from configs.project import Project
from tasks.evaluation.evaluate import evaluate
from tasks.ingestion.ingest import ingest
from tasks.records import ChampionRef, Evaluation, Order
from tasks.training.train import train
from tasks.validation.validate import validate

ROOT = Path(__file__).resolve().parents[1]
CASE = "flights"
MOMENTS = [datetime(2013, 6, 24, 2, tzinfo=UTC) + n * timedelta(weeks=4) for n in range(7)]
KINDS = [("none", 1), *((method, weeks) for method in ("sigmoid", "isotonic") for weeks in (1, 4, 8))]
METRICS = ("auc", "brier", "ece", "log_loss")


def main() -> None:
    found: dict[tuple[str, int], list[Evaluation]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "configs", Path(folder) / "configs")
        shutil.copy(ROOT / "params.yaml", folder)
        for moment in MOMENTS:
            for kind, evaluation in judged(Project(Path(folder)), moment):
                found[kind].append(evaluation)
                print(f"{moment:%Y-%m-%d} {kind}: {said(evaluation)}", flush=True)
    print(f"\n| calibration | weeks kept back | {' | '.join(METRICS)} | Brier against none: better, worse, undecided |")
    print("|---|---|" + "---|" * (len(METRICS) + 1))
    for (method, weeks), evaluations in found.items():
        values = " | ".join(f"{mean(e.metrics[name].value for e in evaluations):.4f}" for name in METRICS)
        print(f"| {method} | {weeks if method != 'none' else ''} | {values} | {against_none(evaluations)} |")


def judged(project: Project, moment: datetime) -> Iterator[tuple[tuple[str, int], Evaluation]]:
    """Each kind of calibration, trained and judged as of a moment; the uncalibrated one first."""
    files = project.files(CASE)
    Order(case=CASE, as_of=moment).write(files.order)
    ChampionRef(version=None).write(files.champion_record)
    ingest(project, CASE)
    validate(project, CASE)
    for method, weeks in KINDS:
        calibrate(project, method, weeks)
        candidate = train(project, CASE)
        yield (method, weeks), evaluate(project, CASE)
        if method == "none":
            shutil.copytree(files.model, files.champion, dirs_exist_ok=True)
            ref = ChampionRef(version="none", model_sha256=candidate.model_sha256, candidate=candidate)
            ref.write(files.champion_record)


def calibrate(project: Project, method: str, weeks: int) -> None:
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[CASE]["training"] |= {"calibration": method, "calibration_batches": weeks}
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def said(evaluation: Evaluation) -> str:
    return ", ".join(f"{name} {evaluation.metrics[name].value:.4f}" for name in METRICS)


def against_none(evaluations: list[Evaluation]) -> str:
    differences = [e.differences["brier"] for e in evaluations if "brier" in e.differences]
    if not differences:
        return ""
    better, worse = sum(d.high < 0 for d in differences), sum(d.low > 0 for d in differences)
    return f"{better}, {worse}, {len(differences) - better - worse}"


if __name__ == "__main__":
    main()
