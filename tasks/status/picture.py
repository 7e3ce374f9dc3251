"""The year as one picture: performance, drift, who answered, and all that happened, on one time axis; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from tasks.status.axis import span
from tasks.status.curves import drift, performance
from tasks.status.frame import NARROW, WIDE, Frame, Part
from tasks.status.happenings import (
    DECISIONS,
    DELIVERIES,
    INCIDENTS,
    ROLLOUTS,
    TRAININGS,
    TRIAGE,
    Happening,
    lane_of,
)
from tasks.status.lanes import marks, ribbon
from tasks.status.story import CaseStory
from tasks.status.svg import element, joined
from tasks.verdicts import Monitor

_AXIS = 24.0
_GAP = 8.0
_LANES = {
    TRAININGS: "trainings",
    ROLLOUTS: "rollouts",
    DECISIONS: "champions",
    TRIAGE: "triage",
    DELIVERIES: "deliveries blocked",
    INCIDENTS: "incidents",
}


Year = tuple[datetime, datetime]


def year_of(story: CaseStory) -> Year | None:
    """The stretch of time that is drawn; None where nothing has happened."""
    figures = (*story.performance.realised, *story.performance.estimated)
    looked = [*story.looks, *(figure.end for figure in figures), *(training.as_of for training in story.trainings)]
    return span(looked, [event.at for event in story.events])


def pictures(story: CaseStory, happened: Sequence[Happening], year: Year) -> tuple[Markup, Markup]:
    """The picture for a desktop, and the one for a phone."""
    wide, narrow = (_picture(Frame.of(width, *year), story, happened) for width in (WIDE, NARROW))
    return wide, narrow


def unseen(happened: Sequence[Happening], year: Year) -> int:
    """How much of what happened lies outside the year that is drawn."""
    return sum(not (one.start <= year[1] and one.end >= year[0]) for one in happened)


def _picture(frame: Frame, story: CaseStory, happened: Sequence[Happening]) -> Markup:
    case = story.case
    lanes: dict[str, list[Happening]] = {}
    for one in happened:
        lanes.setdefault(one.lane, []).append(one)
    champions = [
        entry.start
        for before, entry in zip(story.shares, story.shares[1:], strict=False)
        if before.champion != entry.champion
    ]
    parts = [
        performance(frame, story.performance, champions, f"{case}-windows"),
        ribbon(frame, story.shares, f"{case}-shares"),
        drift(frame, story.drift, f"{case}-verdicts"),
    ]
    parts += [marks(frame, name, lanes.get(lane, ())) for lane, name in _LANES.items()]
    parts += [
        marks(frame, f"{monitor} alarms", lanes[lane_of(monitor)]) for monitor in Monitor if lane_of(monitor) in lanes
    ]
    return _stacked(frame, parts, f"{case}: the year on one time axis")


def _stacked(frame: Frame, parts: Sequence[Part], name: str) -> Markup:
    drawn, y = [], 0.0
    for part in parts:
        drawn.append(element("g", part.drawn, transform=f"translate(0 {y:g})"))
        y += part.height + (_GAP if part.height > 40 else 0)
    body = joined(drawn)
    return element(
        "svg",
        _months(frame, y),
        body,
        viewBox=f"0 0 {frame.width:g} {y + _AXIS:g}",
        class_="narrow" if frame.narrow else "wide",
        role="group",
        aria_label=name,
    )


def _months(frame: Frame, height: float) -> Markup:
    drawn = []
    for moment, words in frame.axis.ticks(26.0 if frame.narrow else 56.0):
        x = frame.axis.x(moment)
        drawn.append(element("line", x1=x, x2=x, y1=0, y2=height, class_="month"))
        drawn.append(element("text", words, x=x + 3, y=height + 15, class_="tick"))
    start, end = frame.axis.start, frame.axis.end
    if end - start < timedelta(days=400) and start.year == end.year and not frame.narrow:
        drawn.append(
            element("text", f"{start:%Y}", x=frame.axis.left - 12, y=height + 15, text_anchor="end", class_="tick")
        )
    return joined(drawn)
