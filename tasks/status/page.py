"""The status page: a story in, one HTML file out that needs nothing from the network; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from tasks.records import Event
from tasks.rollout.shares import Served
from tasks.status.assets import policy, script, style
from tasks.status.curves import name_of
from tasks.status.happenings import Happening, happenings, in_words
from tasks.status.lanes import colours
from tasks.status.picture import pictures, unseen, year_of
from tasks.status.story import Addresses, CaseStory, Story
from tasks.verdicts import Answer, Figure, Monitor

_HERE = Path(__file__).parent
_MOST_ROWS = 150
_MOST_WINDOWS = 60
_MOST_SHARES = 60
_MOST_TAKEN = 20
_TICKED = re.compile("`([^`]+)`")
_ORDER = {Answer.alarm: 0, Answer.unknown: 1, Answer.waiting: 2, Answer.clear: 3}
_DECISIONS = frozenset({"approved", "rejected", "rolled back", "rollout", "traffic"})
_BECAME = {"approved": "became champion", "rolled back": "was put back", "rejected": "was turned down"}


@dataclass(frozen=True)
class Judged:
    """One window: what was promised before its labels came, what they showed, and how many of them were in."""

    start: datetime
    end: datetime
    version: str | None
    estimated: Figure | None
    realised: Figure | None
    labels: Figure | None


def draw(story: Story) -> str:
    """The page as HTML."""
    # First the cases that answer somebody; what has not begun yet comes last.
    cases = sorted(story.cases, key=lambda case: (not (case.shares or case.holders.champion), case.empty))
    shown = [_Shown(case, story.addresses) for case in cases]
    own = {"style": Markup(style()), "script": Markup(script()), "policy": policy()}  # noqa: S704 - files of ours
    return _template().render(story=story, cases=shown, **own)


class _Shown:
    """A case as the template takes it."""

    def __init__(self, story: CaseStory, addresses: Addresses) -> None:
        self.story = story
        self.name = story.case
        self.addresses = addresses
        listed = happenings(story, addresses)
        older = {"anchor": f"{story.case}-happened"}
        every = (*listed[:_MOST_ROWS], *(one.model_copy(update=older) for one in listed[_MOST_ROWS:]))
        self.happened: Sequence[Happening] = listed[:_MOST_ROWS]
        self.happened_in_all = len(every)
        seen = every or story.performance.realised or story.performance.estimated
        year = year_of(story) if seen else None
        self.pictures = pictures(story, every, year) if year else None
        self.year = year
        self.unseen = unseen(every, year) if year else 0
        self.colours = colours(story.shares)
        self.metric = name_of(story.performance.metric)
        self.verdicts = sorted(
            story.standing, key=lambda each: (_ORDER[each.answer], list(Monitor).index(each.monitor))
        )
        self.incidents = sorted(story.incidents, key=lambda each: (each.closed_at is not None, -each.id))
        self.taken = story.taken[:_MOST_TAKEN]
        self.shares = story.shares[::-1][:_MOST_SHARES]
        self.windows = _windows(story)[:_MOST_WINDOWS]

    @property
    def now(self) -> Served | None:
        """How traffic has been shared since the last change."""
        return self.story.shares[-1] if self.story.shares else None

    @property
    def champion_since(self) -> datetime | None:
        """When the version that is champion began to be."""
        since = None
        for entry in reversed(self.story.shares):
            if entry.champion != self.story.shares[-1].champion:
                break
            since = entry.start
        return since

    @property
    def latest(self) -> list[Event]:
        """The decisions that led here: the last, the champion's, and the one its rollout began with."""
        decided = [event for event in self.story.events if event.what in _DECISIONS]
        became = next((event for event in reversed(decided) if event.what in {"approved", "rolled back"}), None)
        begun = [event for event in decided if became and event.version == became.version and _begins(event)]
        found = [*begun[-1:], *([became] if became else []), *decided[-1:]]
        return [event for place, event in enumerate(found) if event not in found[:place]][::-1]

    def model(self, version: str | None) -> str:
        """What a version was trained on, in words."""
        found = next((model for model in self.story.models if model.version == version), None)
        return f"trained on {found.trained_on}" if found and found.trained_on else ""

    def trouble(self, *parts: str) -> list[str]:
        """Why one of these parts could not be read."""
        return [trouble.why for trouble in self.story.troubles if trouble.part in parts]

    @property
    def alarms(self) -> int:
        return sum(verdict.answer is Answer.alarm for verdict in self.verdicts)


def _windows(story: CaseStory) -> list[Judged]:
    """Every window that was judged or is waited for, the newest first."""
    told: dict[tuple[datetime, datetime], dict[str, Figure]] = {}
    named = {
        "estimated": story.performance.estimated,
        "realised": story.performance.realised,
        "labels": story.labels,
    }
    for name, figures in named.items():
        for figure in figures:
            told.setdefault((figure.end, figure.start), {})[name] = figure
    return [
        Judged(
            start,
            end,
            next((each.version for each in found.values() if each.version), None),
            *(found.get(name) for name in named),
        )
        for (end, start), found in sorted(told.items(), reverse=True)
    ]


def _begins(event: Event) -> bool:
    return event.what == "rollout" and event.rollout is not None and event.rollout.number == 0


def _decided(event: Event) -> str:
    """What an event did with its version."""
    state = event.rollout
    if event.what != "rollout" or state is None:
        return _BECAME.get(event.what, "has another share")
    if _begins(event):
        return "was approved to roll out"
    if state.standing == "done":
        return "has rolled out"
    return f"enters {state.stage.name}" if state.standing == "going" else f"{state.standing} in {state.stage.name}"


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M}"


def _day(value: datetime) -> str:
    return f"{value:%Y-%m-%d}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _ticked(words: str) -> Markup:
    """Text in which what stands in backticks is shown as code."""
    return Markup(_TICKED.sub(r"<code>\1</code>", str(escape(words))))  # noqa: S704 - escaped


def _interval(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"  # noqa: RUF001 - as typographers write a gap
    if figure.low is None or figure.high is None:
        return _number(figure.value)
    return f"{_number(figure.value)} ({_number(figure.low)} to {_number(figure.high)})"


@cache
def _template() -> Template:
    # Reasons, causes and names come from people and from data: without autoescape they could write into the page.
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "moment": _moment,
        "day": _day,
        "percent": _percent,
        "number": _number,
        "interval": _interval,
        "decided": _decided,
        "ticked": _ticked,
        "words": in_words,
    }
    return environment.get_template("page.html.j2")
