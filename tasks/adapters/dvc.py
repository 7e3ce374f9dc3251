"""The door to DVC: runs a stage of the chain, names data versions, and keeps copies where they are safe."""

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from configs.project import Project
from tasks.adapters.dvc_standby import Ended, Standby, follow
from tasks.adapters.locks import exclusive
from tasks.errors import ArtifactAltered, ArtifactMissing, StageFailed, StoreUnreachable

log = logging.getLogger(__name__)

_OUR_ERROR = re.compile(r"^[A-Z][A-Za-z]*[a-z][A-Za-z]*: .")
_DVC_ERROR = "ERROR: "
# libyaml, where it was built in: ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_standbys: dict[Path, Standby] = {}
_kept_for: Counter[Path] = Counter()


def reproduce_stage(project: Project, stage: str, case: str) -> bool:
    """Run one stage of the chain if anything it depends on has changed; says whether it ran.

    Raises StageFailed with the stage's own words. Waits for any other DVC command on this clone.
    Before anything is taken from the source, what was delivered must be as it was: ArtifactAltered, ArtifactMissing.
    """
    if stage == "ingest":
        _refuse_altered(project, case)
    target = f"{stage}@{case}"
    log.info("%s %s …", stage, case)
    output = _dvc(project, "repro", "--quiet", "--single-item", target, target=target)
    return bool(output.strip())  # a stage that ran has said what it did; DVC itself keeps quiet


@contextmanager
def kept_ready(project: Project) -> Iterator[None]:
    """Have one waiting DVC for all runs of this block, instead of one for each."""
    keep_ready(project)
    try:
        yield
    finally:
        stand_down(project)


def keep_ready(project: Project) -> None:
    """Have a DVC imported and waiting for this project's commands.

    It waits until `stand_down` was called as often as this, or this process ends.
    """
    _kept_for[project.root] += 1
    if project.root not in _standbys:
        project.stores.mkdir(parents=True, exist_ok=True)
        # Relative to the root, where stages run: an address of a socket may have a hundred letters.
        address = (project.stores / f"stages-{os.getpid()}.socket").relative_to(project.root)
        _standbys[project.root] = Standby(project.root, _environment(project), address)


def stand_down(project: Project) -> None:
    """Let the waiting DVC go, if nobody else wants it."""
    _kept_for[project.root] -= 1
    if not _kept_for[project.root]:
        _let_go(project.root)


def _let_go(root: Path) -> None:
    standby = _standbys.pop(root, None)
    if standby:
        standby.end()


def push(project: Project, cases: Sequence[str]) -> None:
    """Copy every delivery to the place's remote. Raises StoreUnreachable; nothing local is lost."""
    remote = project.place.stores.dvc_remote
    try:
        _dvc(project, "push", "--remote", remote, *(f"ingest@{case}" for case in cases))
    except StageFailed as error:
        raise StoreUnreachable(
            "The DVC remote",
            f"`{remote}`",
            str(error),
            f"Deliveries are safe on this machine. Mend it (`dvc remote modify {remote} url …`), and run again.",
        ) from error


def pull(project: Project, target: str) -> None:
    """Fetch what `target` of dvc.lock names from the cache or the remote. Raises StoreUnreachable."""
    try:
        _dvc(project, "pull", "--remote", project.place.stores.dvc_remote, target)
    except StageFailed as error:
        raise StoreUnreachable("The DVC remote", f"`{target}`", str(error), "Restore the data there.") from error


def share_stores(project: Project, root: Path) -> None:
    """Let the checkout at `root` use the cache and the remotes of `project`, wherever those are configured."""
    from dvc.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - all else asks DVC's command

    with Config(str(root / ".dvc")).edit("local") as settings:
        settings["remote"] = Config(str(project.root / ".dvc"))["remote"]
        settings["cache"] = {"dir": str(_cache(project))}


def lock_entry(root: Path, stage: str, case: str) -> dict[str, Any]:
    """What dvc.lock says about a stage: its command, dependencies, parameters and outputs."""
    content = yaml.load((root / "dvc.lock").read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a SafeLoader
    entry: dict[str, Any] = content["stages"][f"{stage}@{case}"]
    return entry


def data_version(root: Path, case: str) -> str:
    """DVC's md5 of the deliveries as the chain last saw them (`….dir`)."""
    return str(lock_entry(root, "ingest", case)["outs"][0]["md5"])


def fingerprint(root: Path, case: str) -> str:
    """Names a candidate by everything that made it: data, code, parameters, locked libraries. Hex, 64 digits."""
    entry = lock_entry(root, "train", case)
    inputs = {key: entry.get(key) for key in ("cmd", "deps", "params")}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def verify_deliveries(project: Project, case: str) -> None:
    """Compare the delivered files with their recorded digest; DVC itself skips files it thinks unchanged.

    Raises ArtifactAltered or ArtifactMissing, naming the file.
    """
    version = data_version(project.root, case)
    found = _found_files(project, case)
    if _digest(found) == version:
        return
    recorded = _recorded_files(project, version)
    _compare(project, case, found, recorded)
    never = next(name for name in found if name not in recorded)
    raise ArtifactAltered(f"Delivery {never}, which was never taken from the source,", found[never], "none")


def _refuse_altered(project: Project, case: str) -> None:
    """An altered delivery makes DVC run ingest again, which would record it as if it had been delivered so."""
    try:
        version = data_version(project.root, case)
    except (FileNotFoundError, KeyError):
        return  # nothing was delivered yet
    found = _found_files(project, case)
    if _digest(found) != version:
        _compare(project, case, found, _recorded_files(project, version))


def _compare(project: Project, case: str, found: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    for name, expected in recorded.items():
        if name not in found:
            raise ArtifactMissing(f"Delivery {name}", str(project.files(case).deliveries))
        if found[name] != expected:
            raise ArtifactAltered(f"Delivery {name}", found[name], expected)


def _found_files(project: Project, case: str) -> dict[str, str]:
    """Digests of the delivered files by name; `.part`, the unfinished file of a killed run, is none (.dvcignore)."""
    paths = sorted(project.files(case).deliveries.glob("*"))
    return {path.name: _md5(path) for path in paths if path.suffix != ".part"}


def _digest(files: Mapping[str, str]) -> str:
    """DVC's digest of a folder, from those of its files."""
    listing = json.dumps([{"md5": digest, "relpath": name} for name, digest in files.items()], sort_keys=True)
    return f"{hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()}.dir"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _recorded_files(project: Project, version: str) -> dict[str, str]:
    listing = _cache(project) / "files" / "md5" / version[:2] / version[2:]
    if not listing.is_file():
        raise ArtifactMissing(f"Data version {version}", str(listing))
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}


def _cache(project: Project) -> Path:
    return Path(_dvc(project, "cache", "dir").strip().splitlines()[-1])


def _dvc(project: Project, *arguments: str, target: str = "") -> str:
    say = log.info if target else log.debug
    with exclusive(project.stores / "dvc.lock") as lock:
        ended = _by_standby(project, arguments, lock, say) or _by_itself(project, arguments, lock, say)
    if ended.code:
        by_hand = f"`dvc {' '.join(arguments)}` failed and said nothing; run it by hand, without --quiet"
        raise StageFailed(target or arguments[0], _what_it_said(ended.output) or by_hand)
    return ended.output


def _by_standby(project: Project, arguments: Sequence[str], lock: int, say: Callable[[str], None]) -> Ended | None:
    standby = _standbys.get(project.root)
    if standby is None:
        return None
    try:
        ended = standby.run(arguments, lock, say)
    except BaseException:
        del _standbys[project.root]
        raise
    if ended is None:
        log.warning("the DVC that was kept ready is gone; going on without it")
        _let_go(project.root)
    return ended


def _by_itself(project: Project, arguments: Sequence[str], lock: int, say: Callable[[str], None]) -> Ended:
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project.root,
        env=_environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A session of its own, because DVC's stages outlive DVC: only killing the group stops them. The lock's
        # descriptor goes along, so that if this process is killed the next one waits for what is still running.
        start_new_session=True,
        pass_fds=[lock],
    )
    try:
        with process.stdout or nullcontext(()) as said:
            output = follow(said, say)
        return Ended(process.wait(), output)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _what_it_said(output: str) -> str:
    """The stage's own error if it gave one, else DVC's, else the end of what was printed."""
    lines = [line for line in output.splitlines() if line.strip()]
    own = [number for number, line in enumerate(lines) if _OUR_ERROR.match(line)]
    if own:
        return "\n".join(lines[own[-1] :])[:3000]
    dvc = [line.removeprefix(_DVC_ERROR) for line in lines if line.startswith(_DVC_ERROR)]
    return "; ".join(dvc) or " ".join(lines[-8:])[-1500:]


def _environment(project: Project) -> dict[str, str]:
    # dvc.yaml says `python`: the interpreter that runs this must be the one found first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "EVERGREEN_ROOT": str(project.root)}
