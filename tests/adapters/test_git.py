"""Which code made a model: the revision, and everything that was not committed on top of it."""

from pathlib import Path

import pytest

from configs.errors import EvergreenError
from configs.project import Project
from tasks.adapters.git import code_version, worktree
from tests.conftest import commit, git


def test_a_clean_tree_is_its_revision_and_no_more(checkout: Project) -> None:
    code = code_version(checkout.root)
    assert code.revision == git(checkout.root, "rev-parse", "HEAD").strip()
    assert (code.patch, code.dirty) == ("", False)


def test_changed_new_and_deleted_files_are_in_the_patch(checkout: Project) -> None:
    root = checkout.root
    (root / "params.yaml").write_text("bikes: {}\n")
    (root / "tasks/new.py").write_text("NEW = 1\n")
    (root / "prefect.yaml").unlink()
    code = code_version(root)
    assert code.dirty
    with worktree(root, code) as tree:
        assert (tree / "params.yaml").read_text() == "bikes: {}\n"
        assert (tree / "tasks/new.py").read_text() == "NEW = 1\n"
        assert not (tree / "prefect.yaml").exists()


def test_what_git_ignores_is_not_code(checkout: Project) -> None:
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    assert not code_version(checkout.root).dirty


@pytest.mark.parametrize("name", ["dvc.lock", "data/bikes/windows.json"])
def test_data_and_the_lock_of_the_chain_are_not_code(checkout: Project, name: str) -> None:
    path = checkout.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one\n")
    git(checkout.root, "add", "--force", name)
    commit(checkout.root, "kept in git")
    path.write_text("two\n")
    assert not code_version(checkout.root).dirty


@pytest.mark.parametrize("name", ["key.pem", "orders.csv", "notes/todo.md"])
def test_a_persons_own_files_are_not_evidence(checkout: Project, name: str) -> None:
    path = checkout.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("secret\n")
    assert not code_version(checkout.root).dirty


def test_uncommitted_changes_too_large_to_keep_are_refused(checkout: Project) -> None:
    (checkout.root / "tasks/table.csv").write_text("1,2,3\n" * 1_000_000)
    with pytest.raises(EvergreenError, match="at most 5 MB are kept with a model"):
        code_version(checkout.root)


def test_what_a_person_has_staged_stays_as_it_was(checkout: Project) -> None:
    root = checkout.root
    (root / "tasks/staged.py").write_text("A = 1\n")
    git(root, "add", "tasks/staged.py")
    (root / "tasks/staged.py").write_text("A = 2\n")
    (root / "tasks/untracked.py").write_text("B = 1\n")
    before = git(root, "status", "--porcelain"), git(root, "diff", "--cached")
    code = code_version(root)
    assert (git(root, "status", "--porcelain"), git(root, "diff", "--cached")) == before
    with worktree(root, code) as tree:
        assert (tree / "tasks/staged.py").read_text() == "A = 2\n"  # what would have run, not what is staged


@pytest.mark.parametrize(
    "content",
    [
        b"line\r\nline\r\n",
        b"old mac\rline\r",
        "Gr\xf6\xdfe\n".encode("latin-1"),
        "Größe, 大きさ\n".encode(),
        bytes(range(256)),
        b"no newline at the end",
        b"page\x0cbreak \xe2\x80\xa8 line separator\n",
    ],
    ids=["CRLF", "CR", "latin-1", "UTF-8", "binary", "no newline", "odd separators"],
)
def test_the_patch_brings_back_every_byte(checkout: Project, content: bytes) -> None:
    root = checkout.root
    (root / "params.yaml").write_bytes(content)
    (root / "tasks/new file.txt").write_bytes(content)
    code = code_version(root)
    with worktree(root, code) as tree:
        assert (tree / "params.yaml").read_bytes() == content
        assert (tree / "tasks/new file.txt").read_bytes() == content


def test_a_persons_own_git_settings_do_not_change_the_patch(checkout: Project) -> None:
    root = checkout.root
    (root / "params.yaml").write_bytes(b"trailing blanks  \nand more\t\n")
    expected = code_version(root)
    settings = {
        "diff.noprefix": "true",
        "diff.external": "/bin/false",
        "color.ui": "always",
        "apply.whitespace": "fix",
    }
    for name, value in settings.items():
        git(root, "config", name, value)
    assert code_version(root) == expected
    with worktree(root, expected) as tree:
        assert (tree / "params.yaml").read_bytes() == b"trailing blanks  \nand more\t\n"


def test_a_text_file_is_readable_in_the_patch(checkout: Project) -> None:
    (checkout.root / "tasks/new.py").write_text("GRÖSSE = 1\n")
    assert "+GRÖSSE = 1\n" in code_version(checkout.root).patch


def test_a_worktree_is_clean_whatever_lies_in_the_clone(checkout: Project) -> None:
    code = code_version(checkout.root)
    (checkout.root / "params.yaml").write_text("changed since\n")
    (checkout.root / "new.py").write_text("since = 1\n")
    with worktree(checkout.root, code) as tree:
        assert git(tree, "status", "--porcelain") == ""
        assert git(tree, "rev-parse", "HEAD").strip() == code.revision
        assert not (tree / "new.py").exists()
    assert (checkout.root / "params.yaml").read_text() == "changed since\n"


def test_a_worktree_is_gone_afterwards_even_if_the_work_in_it_failed(checkout: Project) -> None:
    places: list[Path] = []

    def fail() -> None:
        with worktree(checkout.root, code_version(checkout.root)) as tree:
            places.append(tree)
            (tree / "left.txt").write_text("over")
            raise InterruptedError("in the middle")

    with pytest.raises(InterruptedError, match="in the middle"):
        fail()
    assert not places[0].exists()
    assert len(git(checkout.root, "worktree", "list").splitlines()) == 1


def test_an_older_revision_comes_back(checkout: Project) -> None:
    old = code_version(checkout.root)
    (checkout.root / "params.yaml").write_text("later\n")
    commit(checkout.root, "later")
    with worktree(checkout.root, old) as tree:
        assert (tree / "params.yaml").read_text() != "later\n"


def test_outside_a_git_clone_the_error_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match=r"not a git repository.*inside a git clone with at least one commit"):
        code_version(tmp_path)


def test_without_a_commit_the_error_says_what_is_needed(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(EvergreenError, match="at least one commit"):
        code_version(tmp_path)


def test_no_file_is_left_behind_in_the_clone(checkout: Project) -> None:
    folders = (checkout.root, checkout.root / ".git")
    before = [sorted(folder.iterdir()) for folder in folders]
    code_version(checkout.root)
    assert [sorted(folder.iterdir()) for folder in folders] == before
