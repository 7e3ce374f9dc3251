"""order: say what the chain is asked for, and put beside it the champion it will be compared with."""

import logging
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from configs.project import CaseFiles, Project
from tasks.adapters.registry import ModelVersion, Registry
from tasks.features.artifact import MODEL_FILE
from tasks.files import sha256, write_whole
from tasks.records import Candidate, ChampionRef, Order

log = logging.getLogger(__name__)


def place_order(
    project: Project,
    case_name: str,
    as_of: datetime,
    train_batches: int | None = None,
    train_since: datetime | None = None,
) -> Order:
    """Write the order and the champion's model where the chain reads them; returns the order.

    With `train_batches`, only so many are trained on, whatever `window.train_batches` says; with `train_since`, only
    those of them since then. Raises StoreUnreachable, and ArtifactMissing or ArtifactAltered when the champion's file
    is not what was approved.
    """
    registry = Registry(project)
    files = project.files(case_name)
    champion = registry.holder(case_name, "champion")
    if champion is None:
        _no_champion(files)
    elif not _is_there(files, champion):
        _fetch(registry, champion, files)
    order = Order(case=case_name, as_of=as_of, train_batches=train_batches, train_since=train_since)
    order.write(files.order)
    log.info("order %s: as of %s, champion %s", case_name, as_of.isoformat(), champion.version if champion else "none")
    return order


def _no_champion(files: CaseFiles) -> None:
    (files.champion / MODEL_FILE).unlink(missing_ok=True)
    ChampionRef(version=None).write(files.champion_record)


def _is_there(files: CaseFiles, champion: ModelVersion) -> bool:
    record, model = files.champion_record, files.champion / MODEL_FILE
    if not (record.is_file() and model.is_file()):
        return False
    there = ChampionRef.read(record)
    digest = champion.tags["model_sha256"]
    return there.version == champion.version and there.model_sha256 == digest == sha256(model)


def _fetch(registry: Registry, champion: ModelVersion, files: CaseFiles) -> None:
    digest = champion.tags["model_sha256"]
    with TemporaryDirectory() as folder:
        model = registry.download_model(champion.source, Path(folder), digest)
        candidate = Candidate.read(registry.download_file(champion.run_id, "model/candidate.json", Path(folder)))
        write_whole(files.champion / MODEL_FILE, lambda part: part.write_bytes(model.read_bytes()))
    ChampionRef(version=champion.version, model_sha256=digest, candidate=candidate).write(files.champion_record)
