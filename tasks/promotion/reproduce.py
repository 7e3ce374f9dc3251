"""reproduce: rebuild a registered version from what was recorded with it, and say whether it answers the same."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from configs.project import Project
from tasks.adapters import dvc, git
from tasks.adapters.history import History
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import ArtifactAltered, NotReproducible, StoreUnreachable
from tasks.features.artifact import MODEL_FILE
from tasks.files import sha256
from tasks.records import ChampionRef, CodeVersion, Evaluation, Record, Refit

log = logging.getLogger(__name__)

_STAGES = ("validate", "train", "evaluate")


class Reproduction(Record):
    """What came of a rebuild."""

    case: str
    version: str
    revision: str
    data_version: str
    recorded: str
    """Digest of the version's predictions on the rows that judged it, as they were when it was registered."""
    rebuilt: str

    @property
    def identical(self) -> bool:
        return self.recorded == self.rebuilt

    def __str__(self) -> str:
        origin = f"code {self.revision[:12]} and data {self.data_version[:12]}"
        made = f"Version {self.version} of {self.case}, rebuilt from {origin}"
        if self.identical:
            return f"{made}: every prediction is identical, bit for bit ({self.rebuilt[:16]}…)."
        return f"{made}: predictions DIFFER, recorded {self.recorded[:16]}…, rebuilt {self.rebuilt[:16]}…."


def reproduce(project: Project, case: str, version: str) -> Reproduction:
    """Rebuild in a clean checkout of the recorded code, with the recorded data, parameters and locked libraries.

    Raises NotReproducible when a part is gone, naming it, and ArtifactMissing when the run's record is.
    """
    registry = Registry(project)
    found = registry.version(case, version)
    if found is None:
        known = ", ".join(entry.version for entry in registry.versions(case)) or "none"
        raise NotReproducible(case, version, f"there is no such version (known: {known})")
    revision = found.tags["git_revision"]
    if not git.has_revision(project.root, revision):
        why = f"revision {revision} is not in this clone (`git fetch --unshallow` if it is a shallow one)"
        raise NotReproducible(case, version, why)
    with TemporaryDirectory() as folder:
        recorded = registry.download_file(found.run_id, "rebuild", Path(folder))
        # Read as bytes: as text, Python would turn every CRLF of the patch into LF.
        code = CodeVersion(revision=revision, patch=(recorded / "uncommitted.patch").read_bytes().decode())
        _must_be_sealed(project, found, code)
        with git.worktree(project.root, code) as tree:
            _restore(registry, Project(tree, project.place_name), recorded, found)
            dvc.share_stores(project, tree)
            _fetch_data(Project(tree, project.place_name), found)
            rebuilt = _rebuild(project, registry, tree, found)
    return Reproduction(
        case=case,
        version=version,
        revision=revision,
        data_version=found.tags["data_version"],
        recorded=found.tags["predictions_sha256"],
        rebuilt=rebuilt,
    )


def _must_be_sealed(project: Project, version: ModelVersion, code: CodeVersion) -> None:
    """The patch is code that will run here: it must be the one whose digest the history has kept since."""
    events = History(project).events(version.case)
    sealed = [e.patch_sha256 for e in events if e.what == "registered" and e.version == version.version]
    if code.patch_sha256 not in sealed:
        raise ArtifactAltered(f"The patch of version {version.version}", code.patch_sha256, str((sealed or [None])[0]))


def _restore(registry: Registry, there: Project, recorded: Path, version: ModelVersion) -> None:
    """Put the recorded order, lock and champion where the chain of the clean checkout reads them."""
    files = there.files(version.case)
    files.folder.mkdir(parents=True)
    shutil.copy(recorded / "order.json", files.order)
    shutil.copy(recorded / "dvc.lock", there.root / "dvc.lock")
    # The champion of that day says which rows neither model had seen.
    files.champion.mkdir()
    shutil.copy(recorded / files.champion_record.name, files.champion_record)
    champion = ChampionRef.read(files.champion_record)
    then = registry.version(version.case, champion.version) if champion.version else None
    if then:
        with TemporaryDirectory() as folder:
            model = registry.download_model(then.source, Path(folder), champion.model_sha256)
            shutil.copy(model, files.champion / MODEL_FILE)


def _fetch_data(there: Project, version: ModelVersion) -> None:
    try:
        dvc.pull(there, f"ingest@{version.case}")
    except StoreUnreachable as error:
        data = version.tags["data_version"]
        why = f"data version {data} is not in the cache and did not come from the remote ({error})"
        raise NotReproducible(version.case, version.version, why) from error
    dvc.verify_deliveries(there, version.case)


def _rebuild(project: Project, registry: Registry, tree: Path, version: ModelVersion) -> str:
    """Run the chain in the checkout; gives the digest of the predictions of what comes out of it."""
    python, files = _python(project, tree, version), Project(tree).files(version.case)
    for stage in _STAGES:
        _run(python, tree, stage, version)
    found = Evaluation.read(files.evaluation / "evaluation.json").predictions_sha256
    twin = version.tags.get("twin_predictions_sha256")
    if twin is None or found != twin:
        return found
    # What was decided then is taken from the record: a slower machine must not turn down what a faster one let pass.
    with TemporaryDirectory() as folder:
        decided = registry.download_file(version.run_id, "evaluation/evaluation.json", Path(folder))
        shutil.copy(decided, files.evaluation / "evaluation.json")
    _run(python, tree, "refit", version)
    likeness = Refit.read(files.refit / "refit.json").likeness
    return likeness.predictions_sha256 if likeness else "nothing"


def _run(python: list[str], tree: Path, stage: str, version: ModelVersion) -> None:
    log.info("reproduce %s: %s", version.case, stage)
    ended = subprocess.run(
        [*python, "-m", "tasks", stage, version.case],
        cwd=tree,
        env={**os.environ, "EVERGREEN_ROOT": str(tree), "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise NotReproducible(version.case, version.version, f"{stage} failed: {ended.stderr.strip()[-800:]}")


def _python(project: Project, tree: Path, version: ModelVersion) -> list[str]:
    """This interpreter if its libraries are the locked ones of then, else one with those installed."""
    if sha256(tree / "uv.lock") != version.tags["lock_sha256"]:
        raise NotReproducible(version.case, version.version, "the checkout's uv.lock is not the recorded one")
    if sha256(project.root / "uv.lock") == version.tags["lock_sha256"]:
        return [sys.executable]
    uv = shutil.which("uv")
    if uv is None:
        raise NotReproducible(
            version.case, version.version, "it was made with other libraries, and uv, which installs them, is not here"
        )
    log.info("reproduce %s: installing the libraries of version %s", version.case, version.version)
    return [uv, "run", "--frozen", "--no-dev", "--project", str(tree), "python"]
