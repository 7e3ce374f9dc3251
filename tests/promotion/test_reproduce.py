"""A registered version can be rebuilt from what was recorded with it, or the missing part is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.project import Project
from tasks.adapters.registry import Registry
from tasks.errors import NotReproducible
from tasks.promotion.register import register
from tasks.promotion.reproduce import reproduce
from tests.conftest import ASKED, change_params, git, move_in, run_chain

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]


def worktrees(project: Project) -> int:
    return len(git(project.root, "worktree", "list").splitlines())


def test_a_version_of_a_committed_tree_is_rebuilt_bit_for_bit(
    tmp_path: Path, bikes_in_succession: Path, at_home: Callable[[Project], Project]
) -> None:
    # A deep folder with spaces in its name, as people have them.
    project = at_home(move_in(bikes_in_succession, tmp_path / "All my projects of this year" / "Evergreen, my clone"))
    before = git(project.root, "status", "--porcelain")
    found = reproduce(project, "bikes", "3")
    assert found.identical
    assert str(found).endswith(f"every prediction is identical, bit for bit ({found.rebuilt[:16]}…).")
    assert found.revision == git(project.root, "rev-parse", "HEAD").strip()
    assert worktrees(project) == 1
    assert git(project.root, "status", "--porcelain") == before


def test_a_version_of_a_dirty_tree_is_rebuilt_bit_for_bit(registered: Project) -> None:
    change_params(registered.root, "bikes", {"training.settings.max_iter": 9})
    tracked = registered.root / "tasks/training/pipeline.py"
    tracked.write_bytes(tracked.read_bytes().replace(b"\n", b"\r\n"))
    (registered.root / "notes.txt").write_bytes("Gr\xf6\xdfe".encode("latin-1"))
    done = register(registered, run_chain(registered), ASKED)
    assert done.version == "2"
    entry = Registry(registered).version("bikes", "2")
    assert entry
    assert entry.tags["git_dirty"] == "true"
    git(registered.root, "checkout", "--quiet", "--", "params.yaml", "tasks")
    (registered.root / "notes.txt").unlink()
    assert reproduce(registered, "bikes", "2").identical


def test_a_rebuild_with_other_predictions_says_that_they_differ(registered: Project) -> None:
    Registry(registered).tag("bikes", "1", {"predictions_sha256": "0" * 64})
    found = reproduce(registered, "bikes", "1")
    assert not found.identical
    assert str(found).endswith(f"predictions DIFFER, recorded {'0' * 16}…, rebuilt {found.rebuilt[:16]}….")


def test_an_unknown_version_cannot_be_rebuilt(succession: Project) -> None:
    with pytest.raises(NotReproducible, match=r"Version 9 of `bikes` .*there is no such version \(known: 3, 2, 1\)"):
        reproduce(succession, "bikes", "9")


def test_a_version_whose_data_are_gone_from_cache_and_remote_names_them(registered: Project) -> None:
    shutil.rmtree(registered.root / ".dvc/cache")
    shutil.rmtree(registered.stores / "dvc-remote", ignore_errors=True)
    version = Registry(registered).version("bikes", "1")
    assert version
    with pytest.raises(NotReproducible, match=rf"data version {version.tags['data_version']} .*remote"):
        reproduce(registered, "bikes", "1")
    assert worktrees(registered) == 1


def test_a_version_whose_revision_is_gone_names_it(registered: Project) -> None:
    Registry(registered).tag("bikes", "1", {"git_revision": "c0ffee" + "0" * 34})
    with pytest.raises(NotReproducible, match="revision c0ffee0000"):
        reproduce(registered, "bikes", "1")
    assert worktrees(registered) == 1


def test_a_version_made_with_another_lock_file_than_its_checkouts_is_refused(registered: Project) -> None:
    Registry(registered).tag("bikes", "1", {"lock_sha256": "0" * 64})
    with pytest.raises(NotReproducible, match=r"the checkout's uv\.lock is not the recorded one"):
        reproduce(registered, "bikes", "1")
