"""What the prediction log holds of the requests that a load generator saw answered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.serving.ours import CASE
from configs.project import Project
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.read import read_predictions


@dataclass(frozen=True)
class Compared:
    """Requests by what the client and the log say of them."""

    answered: int
    """Distinct request ids that reached the client."""
    logged: int
    """Distinct request ids in the log, whoever answered them; shadows are not counted."""
    lost: int
    """Answered, and not in the log."""
    twice: int
    """In the log more than once."""
    answered_twice: int
    """Ids that the client saw on more than one answer."""
    unanswered: int
    """In the log, and the client never got the answer: it was on its way when the process died."""
    corrupt: int
    """Segments that the compactor could not read and put aside."""

    @property
    def whole(self) -> bool:
        """Whether the log is what the client saw."""
        return not (self.lost or self.twice or self.answered_twice or self.corrupt)


def compare_with_log(project: Project, ids: Iterable[Path], since: datetime) -> Compared:
    """Single-row requests whose ids the load generator wrote to the files `ids`, against the log since then."""
    answered = Counter(line for file in ids for line in file.read_text().split())
    logged = Counter(logged_ids(project, since))
    return Compared(
        answered=len(answered),
        logged=len(logged),
        lost=sum(1 for one in answered if one not in logged),
        twice=sum(1 for count in logged.values() if count > 1),
        answered_twice=sum(1 for count in answered.values() if count > 1),
        unanswered=sum(1 for one in logged if one not in answered),
        corrupt=len(list((segments_folder(project) / "corrupt").glob("*"))),
    )


def logged_ids(project: Project, since: datetime) -> list[str]:
    """The request id of each row in the log that is not a shadow's, Parquet or not yet."""
    until = datetime.now(UTC) + timedelta(minutes=1)
    columns = ["request_id", "role"]
    table = read_predictions(predictions_url(project), CASE, since, until, columns, fresh=segments_folder(project))
    ids: list[str] = table.filter(pc.field("role") != "shadow")["request_id"].to_pylist()
    return ids
