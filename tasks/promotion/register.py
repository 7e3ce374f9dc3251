"""register: keep every candidate with its evidence; the one that passed the gate becomes the challenger."""

import hashlib
import json
import logging
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from configs.project import CaseFiles, Project
from tasks.adapters import dvc, git
from tasks.adapters.history import History
from tasks.adapters.registry import LoggedCandidate, ModelVersion, Registry
from tasks.adapters.turns import alone
from tasks.features.artifact import MODEL_FILE, TWIN_FOLDER, load_model
from tasks.features.example import RECORDED_WITH_MODEL, answers_identically, read_example
from tasks.files import sha256
from tasks.promotion.evidence import Evidence, description
from tasks.records import (
    Candidate,
    Decision,
    Evaluation,
    Event,
    Order,
    Reason,
    Refit,
    Registered,
    Ruling,
    Status,
    Traffic,
    Windows,
)

log = logging.getLogger(__name__)

_NOBODY_SAID_NO = frozenset({Status.expired, Status.superseded})


def known_version(project: Project, case: str) -> Registered | None:
    """The version that was made from exactly the same data, code, parameters and libraries, if there is one.

    One whose registration was interrupted is not known yet: registering it again finishes it. Nor is one that waits,
    but was compared with a champion that has left since: it must be judged again. Nor is one that expired or was
    superseded before a person had decided: it is asked about again.
    """
    fingerprint = _fingerprint(project, case)
    registry = Registry(project)
    same = next((v for v in registry.versions(case) if v.fingerprint == fingerprint), None)
    if same is None or same.status in _NOBODY_SAID_NO or not _is_in_history(project, same):
        return None
    if same.status == Status.awaiting and not same.was_judged_against(registry.holder(case, "champion")):
        return None
    return _registered(same, known=True)


def register(project: Project, order: Order, at: datetime) -> Registered:
    """Log the candidate to MLflow; if the gate let it pass, register it as challenger, to be approved.

    Run again after an interruption it finishes what was begun: the same candidate never gets a second version. If its
    version expired or was superseded before a person had decided, that one is asked about again.
    """
    evidence = _gather(project, order)
    registry = Registry(project)
    logged = _logged_before(registry, evidence) or _log(project, registry, evidence)
    decision = _with_artifact_rule(registry, logged, project.files(order.case), evidence)
    if not decision.promote:
        registry.log(logged.run_id, {}, {}, {"decision": decision.ruling.value, "reasons": _against(decision)})
        log.info("register %s: %s, kept as run %s", order.case, decision.ruling, logged.run_id)
        return Registered(case=order.case, ruling=decision.ruling, run_id=logged.run_id, reasons=decision.reasons)
    tags = {
        **evidence.tags,
        "model_sha256": logged.model_sha256,
        "status": Status.awaiting.value,
        "asked_at": at.isoformat(),
    }
    number = registry.register(order.case, logged, description(evidence), tags).version
    # Nobody may decide on a version while it is superseded.
    with alone(project, f"{order.case}.decision"):
        version = _challenge(project, registry, _version(registry, order.case, number), at)
    _write_history(project, version, at, evidence)
    log.info("register %s: version %s is %s", order.case, version.version, version.status)
    return _registered(version).model_copy(update={"reasons": decision.reasons})


def _fingerprint(project: Project, case: str) -> str:
    """The candidate's; one that is fitted again if it is accepted is made by the window that judges it too."""
    made, gate = dvc.fingerprint(project.root, case), project.params(case).gate
    if not gate.refit:
        return made
    judges = Windows.read(project.files(case).windows).evaluate.model_dump_json()
    return hashlib.sha256(f"{made} {gate.refit_change} {judges}".encode()).hexdigest()


def _gather(project: Project, order: Order) -> Evidence:
    files = project.files(order.case)
    judged = json.dumps(dvc.lock_entry(project.root, "evaluate", order.case)["deps"], sort_keys=True)
    rules = project.params(order.case).gate.model_dump_json()
    code = git.code_version(project.root)
    refit = Refit.read(files.refit / "refit.json")
    made = f"{judged}{rules}{code.model_dump_json()}{refit.stands}"
    return Evidence(
        order=order,
        candidate=Candidate.read(files.model / "candidate.json"),
        windows=Windows.read(files.windows),
        evaluation=Evaluation.read(files.evaluation / "evaluation.json"),
        refit=refit,
        code=code,
        data_version=dvc.data_version(project.root, order.case),
        lock_sha256=sha256(project.root / "uv.lock"),
        fingerprint=_fingerprint(project, order.case),
        judged_by=hashlib.sha256(made.encode()).hexdigest(),
    )


def _kept(files: CaseFiles, evidence: Evidence) -> Path:
    """The folder of the model that is kept: the one that was judged, or the same fitted again."""
    return files.refit if evidence.refit.stands else files.model


def _logged_before(registry: Registry, evidence: Evidence) -> LoggedCandidate | None:
    keys = {"fingerprint": evidence.fingerprint, "judged_by": evidence.judged_by}
    run = registry.finished_run(evidence.order.case, keys)
    if run is None:
        return None
    tags = run.data.tags
    return LoggedCandidate(run_id=run.info.run_id, model_id=tags["model_id"], model_sha256=tags["model_sha256"])


def _log(project: Project, registry: Registry, evidence: Evidence) -> LoggedCandidate:
    folder = _kept(project.files(evidence.order.case), evidence)
    tags = {**evidence.tags, "mlflow.note.content": description(evidence)}
    run_id = registry.start_run(evidence.order.case, f"{evidence.kept.train_end:%Y-%m-%d}", tags)
    registry.log(run_id, evidence.params, evidence.metrics, {})
    model = load_model(folder / MODEL_FILE, evidence.kept.model_sha256)
    example, answers = read_example(folder)
    logged = registry.log_model(run_id, model, example, answers, evidence.data_version)
    _log_files(project, registry, run_id, evidence)
    registry.log(run_id, {}, {}, {"model_id": logged.model_id, "model_sha256": logged.model_sha256})
    registry.end_run(run_id)
    return logged


def _log_files(project: Project, registry: Registry, run_id: str, evidence: Evidence) -> None:
    files = project.files(evidence.order.case)
    kept = _kept(files, evidence)
    registry.log_files(run_id, [files.evaluation])
    registry.log_files(run_id, [kept / name for name in RECORDED_WITH_MODEL], "model")
    registry.log_files(run_id, [files.refit / "refit.json"], "refit")
    if evidence.refit.stands:
        registry.log_files(run_id, [files.refit / "predictions.parquet"], "refit")
        registry.log_files(run_id, [files.model / MODEL_FILE, files.model / "candidate.json"], TWIN_FOLDER)
    newest = evidence.windows.evaluate.batches[-1].batch_id
    registry.log_files(run_id, sorted(files.validation.glob(f"{newest}.*")), "validation")
    with TemporaryDirectory() as folder:
        patch = Path(folder) / "uncommitted.patch"
        patch.write_text(evidence.code.patch, encoding="utf-8")
        rebuild = [
            files.order,
            files.windows,
            files.champion_record,
            project.root / "params.yaml",
            project.root / "dvc.lock",
            patch,
        ]
        registry.log_files(run_id, rebuild, "rebuild")


def _with_artifact_rule(registry: Registry, logged: LoggedCandidate, files: CaseFiles, evidence: Evidence) -> Decision:
    """The gate's decision and one more rule, which needs the stored artifact: it loads and answers identically."""
    decision = evidence.evaluation.decision
    with TemporaryDirectory() as folder:
        path = registry.download_model(f"models:/{logged.model_id}", Path(folder), logged.model_sha256)
        stored = load_model(path, logged.model_sha256)
    same = answers_identically(stored, _kept(files, evidence))
    text = "the model stored in MLflow answers its input example " + (
        "bit for bit" if same else "otherwise than trained"
    )
    reasons = (*decision.reasons, Reason(rule="stored artifact", passed=same, text=text))
    return Decision(ruling=decision.ruling if same else Ruling.reject, reasons=reasons)


def _against(decision: Decision) -> str:
    return "; ".join(reason.text for reason in decision.against)[:4000]


def _challenge(project: Project, registry: Registry, version: ModelVersion, at: datetime) -> ModelVersion:
    """Make the version the challenger, unless it was decided on before this could be finished."""
    if version.status in _NOBODY_SAID_NO:
        version = _ask_again(project, registry, version, at)
    if version.status == Status.awaiting:
        _supersede(registry, version)
        holder = registry.holder(version.case, "challenger")
        # A challenger on its way to users keeps its place; this one takes it when it is approved.
        if holder is None or holder.status != Status.rolling_out:
            registry.move_alias(version.case, "challenger", version.version)
    return version


def _ask_again(project: Project, registry: Registry, version: ModelVersion, at: datetime) -> ModelVersion:
    # A share it had as challenger was given by a person then; as a new challenger it has none.
    none = Traffic(challenger=version.version, salt=f"{version.case}/{version.version}")
    reason = f"asked about again; it was {version.status}"
    event = Event(
        case=version.case, at=at, what="registered", version=version.version, by="gate", reason=reason, traffic=none
    )
    History(project).append(event)
    registry.set_traffic(version.case, none)
    # The status comes last: until then it is as it was, and the next try begins anew.
    registry.tag(version.case, version.version, {"asked_at": at.isoformat(), "status": Status.awaiting.value})
    return _version(registry, version.case, version.version)


def _version(registry: Registry, case: str, number: str) -> ModelVersion:
    found = registry.version(case, number)
    assert found is not None, "it was registered a moment ago"
    return found


def _supersede(registry: Registry, newest: ModelVersion) -> None:
    for version in registry.versions(newest.case):
        if version.status == Status.awaiting and version.version != newest.version:
            registry.tag(version.case, version.version, {"status": Status.superseded.value})


def _write_history(project: Project, version: ModelVersion, at: datetime, evidence: Evidence) -> None:
    if _is_in_history(project, version):
        return
    reasons = evidence.evaluation.decision.reasons
    judged = [r.text for r in reasons if r.rule == "comparison" or r.rule.startswith("limit")]
    History(project).append(
        Event(
            case=version.case,
            at=at,
            what="registered",
            version=version.version,
            by="gate",
            reason="; ".join(judged),
            patch_sha256=evidence.code.patch_sha256,
        )
    )


def _is_in_history(project: Project, version: ModelVersion) -> bool:
    events = History(project).events(version.case)
    return any(event.what == "registered" and event.version == version.version for event in events)


def _registered(version: ModelVersion, *, known: bool = False) -> Registered:
    return Registered(
        case=version.case,
        ruling=Ruling.promote,
        run_id=version.run_id,
        version=version.version,
        status=Status(version.status),
        known=known,
    )
