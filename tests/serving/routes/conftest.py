"""What the tests of the routes look at."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def imported_by() -> Callable[[str], set[str]]:
    """The packages that a process has imported after it imported some modules of this project."""

    def ask(modules: str) -> set[str]:
        code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
        return set(ended.stdout.split())

    return ask
