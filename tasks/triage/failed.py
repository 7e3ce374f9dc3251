"""The verdict of a monitor that failed."""

from datetime import datetime

from tasks.verdicts import Answer, Monitor, Verdict

_MOST_WORDS = 600


def could_not_compute(
    case: str, monitor: Monitor, window: tuple[datetime, datetime], version: str | None, why: str
) -> Verdict:
    """Unknown about the window that ends at the as-of, because of an error: it alerts, and is never taken for clear."""
    said = why if len(why) <= _MOST_WORDS else f"{why[:_MOST_WORDS]} …"
    return Verdict(
        case=case,
        monitor=monitor,
        answer=Answer.unknown,
        as_of=window[1],
        start=window[0],
        end=window[1],
        version=version,
        rows=0,
        text=f"it could not be computed ({said}); see the flow run's log, mend it, and run the flow again",
    )
