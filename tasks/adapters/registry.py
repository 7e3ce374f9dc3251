"""The door to MLflow: runs, models, versions, aliases and the evidence that goes with them."""

import importlib.metadata
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, ParamSpec, TypeVar, get_args

import mlflow
import mlflow.sklearn
import pandas as pd
import sqlalchemy as sql
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from configs.frozen import Frozen
from configs.project import Project
from tasks.adapters.addresses import absolute
from tasks.adapters.locks import exclusive
from tasks.errors import ArtifactAltered, ArtifactMissing, StoreUnreachable
from tasks.features.artifact import MODEL_FILE, TRUSTED_TYPES
from tasks.files import sha256
from tasks.records import Traffic

log = logging.getLogger(__name__)

Alias = Literal["champion", "challenger", "retired"]
Answer = TypeVar("Answer")
Asked = ParamSpec("Asked")

_NOT_FOUND = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
_MODEL = "model"
_TRAFFIC = "traffic"
_CREDENTIALS = re.compile(r"://[^/\s]*@")


class LoggedCandidate(Frozen):
    """A candidate in MLflow: its run, and the model as it is stored there."""

    run_id: str
    model_id: str
    model_sha256: str
    """Digest of the stored `model.skops`; skops writes other bytes at each dump, so it is not the chain's digest."""


class ModelVersion(Frozen):
    """A registered version of a case's model."""

    case: str
    version: str
    run_id: str
    source: str
    tags: dict[str, str]

    @property
    def status(self) -> str:
        return self.tags.get("status", "unknown")

    @property
    def fingerprint(self) -> str:
        return self.tags.get("fingerprint", "")

    def was_judged_against(self, champion: "ModelVersion | None") -> bool:
        """Whether the gate compared this version with the one that is champion now (or with none, if there is none)."""
        return self.tags.get("champion_then") == (champion.version if champion else "none")


class Standing(Frozen):
    """Who holds which alias of a case's model, and how traffic is shared: what answers are routed by."""

    case: str
    champion: str | None
    challenger: str | None
    retired: str | None
    traffic: Traffic
    """As it was decided for this challenger; none of the share, if it was decided for another."""
    problem: str | None = None
    """Why what the registry says of the shares cannot be read; the challenger has none then."""

    def __str__(self) -> str:
        holders = [f"{alias}: {getattr(self, alias) or 'nobody'}" for alias in get_args(Alias)]
        return "; ".join([*holders, str(self.traffic), *([self.problem] if self.problem else [])])


class Registry:
    """The models of a project, and what is known about each."""

    def __init__(self, project: Project) -> None:
        self._uri = absolute(project, project.place.stores.mlflow)
        self._artifacts = project.place.stores.artifacts and str(project.root / project.place.stores.artifacts)
        self._client = _opened(os.getpid(), self._uri, _file_number(self._uri), project.stores / "mlflow.lock")
        mlflow.set_tracking_uri(self._uri)

    @property
    def uri(self) -> str:
        return self._uri

    def versions(self, case: str) -> list[ModelVersion]:
        """Every version of the case's model, newest first."""
        found = self._ask(self._client.search_model_versions, f"name = '{case}'")
        return sorted((_version(entry) for entry in found), key=lambda entry: -int(entry.version))

    def version(self, case: str, version: str) -> ModelVersion | None:
        """One version, or None if it does not exist."""
        return next((entry for entry in self.versions(case) if entry.version == version), None)

    def page(self, run_id: str, server: str | None = None) -> str | None:
        """Where people see a run: on this registry's server, or on `server` if the registry is only a database."""
        server = self._uri if self._uri.startswith("http") else server
        experiment = self.read_run(run_id).info.experiment_id
        return f"{_without_password(server)}/#/experiments/{experiment}/runs/{run_id}" if server else None

    def description(self, case: str, version: str) -> str:
        """What was written about a version when it was registered, in Markdown."""
        return str(self._ask(self._client.get_model_version, case, version).description or "")

    def holder(self, case: str, alias: Alias) -> ModelVersion | None:
        """The version an alias points to, or None."""
        try:
            entry = self._ask(self._client.get_model_version_by_alias, case, alias)
        except MlflowException as error:
            if error.error_code in {_NOT_FOUND, "INVALID_PARAMETER_VALUE"}:
                return None
            raise
        return _version(entry)

    def move_alias(self, case: str, alias: Alias, version: str | None) -> None:
        """Point `alias` to `version` in one write, or remove it."""
        if version is None:
            self._ask(self._client.delete_registered_model_alias, case, alias)
        else:
            self._ask(self._client.set_registered_model_alias, case, alias, version)

    def tag(self, case: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._ask(self._client.set_model_version_tag, case, version, key, value)

    def standing(self, case: str) -> Standing | None:
        """Aliases and shares of the case's model in one question; None if there is no such model."""
        try:
            model = self._ask(self._client.get_registered_model, case)
        except MlflowException as error:
            if error.error_code != _NOT_FOUND:
                raise
            return None
        held = {alias: str(model.aliases[alias]) if alias in model.aliases else None for alias in get_args(Alias)}
        try:
            traffic, problem = _traffic(case, model.tags.get(_TRAFFIC), held["challenger"]), None
        except ValidationError as error:
            traffic, problem = (
                Traffic(salt=case),
                f"the tag `{_TRAFFIC}` of the model `{case}`: {error.errors()[0]['msg']}",
            )
        return Standing(case=case, traffic=traffic, problem=problem, **held)

    def traffic(self, case: str) -> Traffic:
        """How traffic is shared now; without a decision for this challenger, it has no share."""
        standing = self.standing(case)
        return standing.traffic if standing else Traffic(salt=case)

    def set_traffic(self, case: str, traffic: Traffic) -> None:
        """Share traffic like this from now on, in one write."""
        self._ask(self._client.set_registered_model_tag, case, _TRAFFIC, traffic.model_dump_json())

    def finished_run(self, case: str, tags: Mapping[str, str]) -> Run | None:
        """A finished run with these tags. What an interrupted run left under them is deleted."""
        experiment = self._experiment(case)
        wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
        finished = None
        for run in self._ask(self._client.search_runs, [experiment], wanted):
            # MLflow calls a run finished as soon as its model is stored; its own tags come last.
            if run.info.status == "FINISHED" and "model_sha256" in run.data.tags:
                finished = run
            else:
                log.info("registry: run %s was interrupted and is logged anew", run.info.run_id)
                self._ask(self._client.delete_run, run.info.run_id)
        return finished

    def start_run(self, case: str, name: str, tags: Mapping[str, str]) -> str:
        """A new run in the case's experiment; returns its id."""
        run = self._ask(self._client.create_run, self._experiment(case), tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def log(
        self, run_id: str, params: Mapping[str, object], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Parameters, metrics and tags of a run, in one write."""
        self._ask(
            self._client.log_batch,
            run_id,
            metrics=[Metric(key, value, 0, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def log_files(self, run_id: str, files: Sequence[Path], folder: str | None = None) -> None:
        """Copy files, or whole folders, into a run's artifacts."""
        for path in files:
            if path.is_dir():
                self._ask(self._client.log_artifacts, run_id, str(path), path.name)
            else:
                self._ask(self._client.log_artifact, run_id, str(path), folder)

    def log_model(
        self, run_id: str, model: Any, example: pd.DataFrame, answers: Any, data_version: str
    ) -> LoggedCandidate:
        """Store the model with signature, input example and data version; returns what was stored."""

        def store() -> Any:
            with mlflow.start_run(run_id=run_id):
                # MLflow's own digest is made from a sample of the rows; DVC's names the data exactly.
                dataset = mlflow.data.from_pandas(_as_floats(example), digest=data_version[:36], name="deliveries")
                mlflow.log_input(dataset, context="training")
                return mlflow.sklearn.log_model(
                    model,
                    name=_MODEL,
                    signature=infer_signature(_as_floats(example), answers),
                    input_example=_as_floats(example),
                    pip_requirements=_requirements(),
                    skops_trusted_types=list(TRUSTED_TYPES),
                )

        info = self._ask(store)
        with TemporaryDirectory() as folder:
            digest = sha256(self.download_model(f"models:/{info.model_id}", Path(folder)))
        return LoggedCandidate(run_id=run_id, model_id=info.model_id, model_sha256=digest)

    def end_run(self, run_id: str) -> None:
        """Mark a run as finished."""
        self._ask(self._client.set_terminated, run_id, "FINISHED")

    def read_run(self, run_id: str) -> Run:
        return self._ask(self._client.get_run, run_id)

    def download_file(self, run_id: str, path: str, folder: Path) -> Path:
        """Fetch one of a run's files into `folder`. Raises ArtifactMissing."""
        try:
            return Path(self._ask(self._client.download_artifacts, run_id, path, str(folder)))
        except (MlflowException, OSError) as error:
            raise ArtifactMissing(f"{path} of run {run_id}", _without_password(f"{self._uri} ({error})")) from error

    def download_model(self, source: str, folder: Path, expected_sha256: str | None = None) -> Path:
        """Fetch a model's `model.skops` into `folder`. Raises ArtifactMissing, or ArtifactAltered by its digest."""
        try:
            fetched = self._ask(mlflow.artifacts.download_artifacts, source, dst_path=str(folder))
        except (MlflowException, OSError) as error:
            raise ArtifactMissing(f"The model {source}", _without_password(f"{self._uri} ({error})")) from error
        path = Path(fetched) / MODEL_FILE
        if not path.is_file():
            raise ArtifactMissing(f"The model {source}", str(path))
        if expected_sha256 and (found := sha256(path)) != expected_sha256:
            raise ArtifactAltered(f"The model {source}", found, expected_sha256)
        return path

    def register(self, case: str, logged: LoggedCandidate, description: str, tags: Mapping[str, str]) -> ModelVersion:
        """A new version of the case's model, unless this run already has one."""
        existing = next((entry for entry in self.versions(case) if entry.run_id == logged.run_id), None)
        if existing:
            return existing
        self._ensure_model(case)
        entry = self._ask(
            self._client.create_model_version,
            case,
            f"models:/{logged.model_id}",
            run_id=logged.run_id,
            tags=dict(tags),
            description=description,
            model_id=logged.model_id,
        )
        return _version(entry)

    def _ensure_model(self, case: str) -> None:
        try:
            self._ask(self._client.get_registered_model, case)
        except MlflowException as error:
            if error.error_code != _NOT_FOUND:
                raise
            self._ask(self._client.create_registered_model, case)

    def _experiment(self, case: str) -> str:
        found = self._ask(self._client.get_experiment_by_name, case)
        if found:
            return str(found.experiment_id)
        # Without an explicit place MLflow keeps artifacts wherever the first caller happened to stand.
        where = self._artifacts and Path(self._artifacts, case).as_uri()
        return str(self._ask(self._client.create_experiment, case, artifact_location=where))

    def _ask(self, call: Callable[Asked, Answer], *arguments: Asked.args, **named: Asked.kwargs) -> Answer:
        try:
            return call(*arguments, **named)
        except MlflowException as error:
            if error.error_code in {_NOT_FOUND, "INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"}:
                raise
            raise _unreachable(self._uri, error) from error
        except (SQLAlchemyError, ConnectionError) as error:
            raise _unreachable(self._uri, error) from error


@lru_cache(maxsize=8)
def _opened(process: int, uri: str, file_number: int | None, lock: Path) -> MlflowClient:  # noqa: ARG001 - of each one
    """The client of a store that answers, opened once while process and file are these. Raises StoreUnreachable."""
    # Four processes that open a new database at once leave it broken for good: the first one in makes the tables.
    with exclusive(lock):
        try:
            if uri.startswith(("postgresql", "mysql", "mssql")):
                # MLflow itself tries for minutes before it says that a database is not there.
                sql.create_engine(uri, poolclass=sql.NullPool).connect().close()
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            raise _unreachable(uri, error) from error
    return client


def _file_number(uri: str) -> int | None:
    """Of the file of a SQLite database, if it is there: a file that was removed and made again has another."""
    path = Path(uri.removeprefix("sqlite:///"))
    return path.stat().st_ino if uri.startswith("sqlite:///") and path.is_file() else None


def _unreachable(uri: str, error: Exception) -> StoreUnreachable:
    return StoreUnreachable(
        "MLflow",
        _without_password(uri),
        _without_password(str(error).strip().splitlines()[0])[:300],
        "Start it, or check `stores.mlflow` of this place, and run the same again: what was begun is finished, and "
        "finished stages are not repeated.",
    )


def _without_password(text: str) -> str:
    """`text` with nothing between the `://` and the `@` of the addresses in it."""
    return _CREDENTIALS.sub("://", text)


def _version(entry: Any) -> ModelVersion:
    # MLflow gives version numbers as integers over SQL and as strings over REST.
    return ModelVersion(
        case=entry.name,
        version=str(entry.version),
        run_id=entry.run_id or "",
        source=entry.source,
        tags={key: str(value) for key, value in entry.tags.items()},
    )


def _traffic(case: str, tag: str | None, challenger: str | None) -> Traffic:
    decided = Traffic.model_validate_json(tag) if tag else None
    return decided if decided and decided.challenger == challenger else Traffic(salt=case)


def _as_floats(example: pd.DataFrame) -> pd.DataFrame:
    """Integers as floats: a signature of integers would refuse the row in which one is missing."""
    return example.astype(dict.fromkeys(example.select_dtypes("integer"), "float64"))


def _requirements() -> list[str]:
    return [f"{name}=={importlib.metadata.version(name)}" for name in ("scikit-learn", "skops", "pandas", "numpy")]
