"""Which version answered what share from when to when, who decided it, and why: read off the history; pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from tasks.records import Event, Record, Rollout
from tasks.rollout.evidence import Period


class Served(Record):
    """A time in which nothing changed in who answered."""

    start: datetime
    end: datetime | None
    """None for now."""
    champion: str
    challenger: str | None = None
    share: float = 0.0
    shadow: float = 0.0
    """Of what the champion answers, scored by the challenger too."""
    by: str
    reason: str

    def __str__(self) -> str:
        arms = ((self.champion, 1 - self.share), (self.challenger, self.share))
        answered = ", ".join(f"{version}: {100 * share:g} %" for version, share in arms if share)
        of = "" if self.shadow == 1 else f" of {100 * self.shadow:g} %"
        return f"{answered}; {self.challenger} in the shadow{of}" if self.shadow else answered


def served(events: Sequence[Event]) -> list[Served]:
    """Every such time of a case, oldest first; an event that changed nothing for users begins none."""
    found: list[Served] = []
    for entry in _changes(events):
        if found and _same(found[-1], entry):
            continue
        if found:
            found[-1] = found[-1].model_copy(update={"end": entry.start})
        found.append(entry)
    return found


def periods(events: Sequence[Event], state: Rollout, now: datetime) -> list[Period]:
    """The stages of a rollout in which the challenger was asked so far, up to this one."""
    stages: dict[int, Rollout] = {}
    for rollout in (event.rollout for event in events if event.rollout):
        if (rollout.version, rollout.began) == (state.version, state.began):
            stages.setdefault(rollout.number, rollout)
    stages.setdefault(state.number, state)
    entered = sorted(stages.values(), key=lambda rollout: rollout.number)
    ends = [*(later.since for later in entered[1:]), now]
    spans = [Period(rollout.stage, rollout.since, end) for rollout, end in zip(entered, ends, strict=True)]
    return [span for span in spans if span.stage.kind != "load"]


def _changes(events: Sequence[Event]) -> Iterator[Served]:
    champion: str | None = None
    for event in events:
        if event.what in {"approved", "rolled back"}:
            champion = event.version
            yield Served(start=event.at, end=None, champion=champion, by=event.by, reason=event.reason)
        elif event.traffic and champion and event.what != "registered":
            given = event.traffic
            asked = given.share > 0 or given.shadow
            yield Served(
                start=event.at,
                end=None,
                champion=champion,
                challenger=given.challenger if asked else None,
                share=given.share,
                shadow=given.shadow,
                by=event.by,
                reason=event.reason,
            )


def _same(one: Served, other: Served) -> bool:
    names = ("champion", "challenger", "share", "shadow")
    return all(getattr(one, name) == getattr(other, name) for name in names)
