"""The door to git: which code made a model, and how to get that code back."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from configs.errors import EvergreenError
from tasks.records import CodeVersion

_CODE = ("configs", "tasks", "flows", "serving", "params.yaml", "dvc.yaml", "prefect.yaml", "pyproject.toml", "uv.lock")
"""What makes a model. Nothing else of the folder is read: a person's own files are not evidence."""
_MOST_BYTES = 5_000_000
# A person's own settings for reading differences (prefixes, colours, another program) must not reach the record.
_SETTINGS = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")
_DIFF = ("diff", *_SETTINGS, "--cached", "--binary", "HEAD", "--")


def code_version(root: Path) -> CodeVersion:
    """The revision checked out at `root`, with its uncommitted changes, new files included."""
    revision = _git(root, "rev-parse", "HEAD").strip()
    # A second index, so that new files can be part of the patch without touching what the person has staged.
    with TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git(root, "read-tree", "HEAD", environment=index)
        committed = set(_git(root, "ls-tree", "--name-only", "HEAD").splitlines())
        code = [name for name in _CODE if name in committed or (root / name).exists()]
        if not code:
            return CodeVersion(revision=revision)
        _git(root, "add", "--all", "--", *code, environment=index)
        try:
            patch = _git(root, *_DIFF, *code, environment=index)
        except UnicodeDecodeError:
            # A text that is not UTF-8 cannot stand in a record; as a binary file it can.
            attributes = Path(folder) / "attributes"
            attributes.write_text("* -diff\n", encoding="utf-8")
            patch = _git(root, "-c", f"core.attributesFile={attributes}", *_DIFF, *code, environment=index)
    if len(patch) > _MOST_BYTES:
        raise EvergreenError(
            f"The uncommitted changes under {', '.join(code)} are {len(patch) / 1e6:.0f} MB, at most "
            f"{_MOST_BYTES / 1e6:.0f} MB are kept with a model. Commit them, or move data to data/."
        )
    return CodeVersion(revision=revision, patch=patch)


def has_revision(root: Path, revision: str) -> bool:
    """Whether the clone at `root` holds this commit; a shallow or a pruned one may not."""
    try:
        _git(root, "cat-file", "-e", f"{revision}^{{commit}}")
    except EvergreenError:
        return False
    return True


@contextmanager
def worktree(root: Path, code: CodeVersion) -> Iterator[Path]:
    """A clean checkout of `code` in a folder of its own, gone when left."""
    with TemporaryDirectory(prefix="evergreen-reproduce-") as folder:
        path = Path(folder) / "tree"
        _git(root, "worktree", "add", "--detach", str(path), code.revision)
        try:
            if code.dirty:
                _git(path, "apply", "--binary", "--whitespace=nowarn", "-", stdin=code.patch)
            yield path
        finally:
            _git(root, "worktree", "remove", "--force", str(path))


def _git(root: Path, *arguments: str, environment: dict[str, str] | None = None, stdin: str | None = None) -> str:
    ended = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**os.environ, **(environment or {})},
        # Bytes: as text, Python would turn every CRLF of a patch into LF.
        input=None if stdin is None else stdin.encode(),
        capture_output=True,
        check=False,
    )
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip()).decode(errors="replace")
        raise EvergreenError(
            f"git {arguments[0]} failed in {root}: {said}. "
            "Every model records the code it was made with: Evergreen runs inside a git clone with at least one commit."
        )
    return ended.stdout.decode()
