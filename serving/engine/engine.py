"""What answers rows: a compiled plan, at once, or the pipeline itself, in batches."""

from collections.abc import Callable, Sequence
from typing import Protocol

from serving.records import Rows, Scores


class Engine(Protocol):
    """A loaded model. `immediate` ones may be asked with `score`; every one with `submit`."""

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """As `Candidate.classes`."""

    @property
    def kind(self) -> str:
        """`plan` or `pipeline`."""

    @property
    def immediate(self) -> bool: ...

    @property
    def waiting(self) -> int:
        """Rows that were submitted and have no answer yet."""

    on_batch: Callable[[int], None] | None
    """Told the number of rows of each micro-batch; a plan makes none."""

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Scores:
        """Scores of the rows, or of those at `positions`; only an immediate engine."""

    async def submit(self, rows: Rows, *, patient: bool = False) -> Scores:
        """Scores of the rows, in their turn; patient ones let others go first. Raises Unavailable if too many wait."""

    def close(self) -> None:
        """Let go of threads and memory."""
