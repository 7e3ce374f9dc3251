"""What the compactor says about itself, for metrics: `status.json` beside the segments."""

from pathlib import Path

from pydantic import AwareDatetime

from serving.ledger.segment import SEALED
from tasks.records import Record

STATUS_FILE = "status.json"


class Status(Record):
    """How far behind compaction is."""

    at: AwareDatetime
    backlog_bytes: int
    """Of sealed segments that are not Parquet yet."""
    backlog_segments: int
    oldest_segment_seconds: float
    """Since the last entry of the sealed segment that waits longest; 0 if none waits."""
    rows: int
    """Written as Parquet since the compactor started."""
    corrupt_segments: int
    """Kept in `corrupt/` for a person to look at."""
    failing: str | None
    """Why nothing can be written as Parquet now."""


def backlog(folder: Path, now: float) -> tuple[int, int, float]:
    """Bytes and number of the sealed segments, and how old the oldest is."""
    stats = [path.stat() for path in folder.glob(f"*{SEALED}")]
    oldest = min((stat.st_mtime for stat in stats), default=now)
    return sum(stat.st_size for stat in stats), len(stats), max(0.0, now - oldest)
