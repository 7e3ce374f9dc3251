"""Two folders change names; whoever looks meanwhile finds one or the other."""

import threading
from pathlib import Path

import pytest

from serving.routes import exchange as module
from serving.routes.exchange import exchange


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    return tmp_path / "one", tmp_path / "other"


def test_two_folders_change_names_and_none_is_ever_missing(folders: tuple[Path, Path]) -> None:
    one, other = folders
    stop, missing = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            missing.extend(folder for folder in folders if not folder.exists())

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(501):
        exchange(one, other)
    stop.set()
    looking.join()
    assert ((one / "name").read_text(), (other / "name").read_text()) == ("other", "one")
    assert missing == []


def test_where_the_system_cannot_they_change_names_all_the_same(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EXCHANGE", 1 << 20)  # a flag no kernel knows
    exchange(*folders)
    assert [(folder / "name").read_text() for folder in folders] == ["other", "one"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["one", "other"]


def test_a_folder_that_is_not_there_is_told(folders: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        exchange(folders[0].with_name("none"), folders[1])
