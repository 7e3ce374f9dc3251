"""The scene of `dairy.py`."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .dairy import Dairy


@pytest.fixture(scope="session")
def binary_dairy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Described and delivered once, for the others to be copied from."""
    from .dairy import Dairy  # noqa: PLC0415 - scikit-learn counts its threads when imported: not before they are set

    root = tmp_path_factory.mktemp("dairy")
    (root / "configs" / "places").mkdir(parents=True)
    shipped = Path(__file__).parents[2] / "configs" / "places" / "local.yaml"
    (root / "configs" / "places" / "local.yaml").write_bytes(shipped.read_bytes())
    dairy = Dairy(root)
    dairy.tune()
    dairy.ask("binary")
    return root


@pytest.fixture
def dairy(binary_dairy: Path, tmp_path: Path) -> "Dairy":
    """Asks a binary question: is the milk at 4.5 or above?"""
    from .dairy import Dairy  # noqa: PLC0415

    shutil.copytree(binary_dairy, tmp_path / "dairy")
    return Dairy(tmp_path / "dairy")
