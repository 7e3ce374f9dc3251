"""Verdicts in one line."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.triage.rules import Facts
from tasks.verdicts import Evidence, Monitor, Verdict

NOW = datetime(2011, 4, 11, 2, tzinfo=UTC)
WEEK = timedelta(days=7)


def verdict(monitor: str, answer: str = "alarm", at: datetime = NOW, **changes: Any) -> Verdict:
    """What a monitor says at a moment about the week before it."""
    plain = {"version": "1", "rows": 1000, "text": f"{monitor} as it was found", "cause": "temperature"}
    return Verdict(
        case="bikes", monitor=monitor, answer=answer, as_of=at, start=at - WEEK, end=at, **{**plain, **changes}
    )


def facts(answers: dict[str, str] | None = None, **others: Any) -> Facts:
    """What the rules look at, from `{monitor: answer}`."""
    standing = {Monitor(monitor): verdict(monitor, answer) for monitor, answer in (answers or {}).items()}
    return Facts(standing=others.pop("standing", standing), **others)


def found(subject: str, *, alarm: bool = False, expected: bool = False) -> Evidence:
    return Evidence(subject=subject, test="two-sample Kolmogorov-Smirnov", alarm=alarm, expected=expected)
