"""Every way an engine can fail.

EvergreenError                (configs.errors)
└── EngineError
    ├── KernelMissing         the C library was not compiled, or is another version's
    ├── NotRecognised         a pipeline has a part that no plan knows
    ├── PlanCorrupt           a plan's files do not hold what a plan holds
    └── CannotScore           a row has a value this model takes from nobody; the pipeline refuses it too
"""

from pathlib import Path

from configs.errors import EvergreenError

_REBUILD = (
    "Compile it with `uv sync --reinstall-package evergreen -v` (a C compiler, or the package ziglang, is needed)."
)


class EngineError(EvergreenError):
    """An engine cannot be used."""


class KernelMissing(EngineError):
    def __init__(self, library: Path, why: str) -> None:
        super().__init__(f"The compiled scorer {library.name} cannot be used: {why}. {_REBUILD}")


class NotRecognised(EngineError):
    """The message says which part; the pipeline itself answers then."""


class PlanCorrupt(EngineError):
    def __init__(self, what: str) -> None:
        super().__init__(f"The plan cannot be used: {what}. Remove the version's folder; the keeper compiles it anew.")


class CannotScore(EngineError):
    def __init__(self, row: int) -> None:
        self.row = row
        super().__init__(
            f"Row {row} has a number this model cannot take (too large for its arithmetic, or missing where the model "
            "has never seen a missing one); the pipeline refuses it too."
        )
