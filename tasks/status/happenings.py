"""What happened, as rows of a table and marks of the picture: one list, so that every mark has its row; pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime

from tasks.records import Event, Record, Ruling
from tasks.status.story import Addresses, CaseStory, Spell
from tasks.verdicts import Action, Answer, Monitor

Shape = Literal["dot", "ring", "up", "down", "cross", "diamond", "held", "stage", "bar", "hollow"]

TRAININGS, ROLLOUTS, DECISIONS, TRIAGE = "trainings", "rollouts", "decisions", "triage"
DELIVERIES, INCIDENTS = "deliveries", "incidents"
_QUIET = frozenset({Action.none, Action.note, Action.wait})
_MARKERS = frozenset({"registered", "approving", "rolling back"})
"""Events that say what is about to be, or what a training says too."""
_WORDS: dict[str, tuple[Shape, str]] = {
    "approved": ("up", "Version {} became champion"),
    "rejected": ("cross", "Version {} was turned down"),
    "rolled back": ("down", "Back to version {}"),
    "traffic": ("stage", "Traffic shared anew for version {}"),
}


class Link(Record):
    """Somewhere else that proves or explains."""

    words: str
    href: str


class Happening(Record):
    """One thing that happened, or went on from `start` to `end`."""

    anchor: str
    """What a mark leads to where there is no other evidence: the id of the row."""
    lane: str
    shape: Shape
    start: AwareDatetime
    end: AwareDatetime
    title: str
    text: str = ""
    by: str = ""
    links: tuple[Link, ...] = ()
    urgent: bool = False
    """It stands out: an incident that is open, a monitor that alarms."""

    @property
    def href(self) -> str:
        return self.links[0].href if self.links else f"#{self.anchor}"


def happenings(story: CaseStory, addresses: Addresses) -> tuple[Happening, ...]:
    """Everything that happened to a case, the newest first."""
    found = sorted(_all(story, addresses), key=lambda each: (each.start, each.lane, each.title), reverse=True)
    names = range(len(found), 0, -1)
    return tuple(
        each.model_copy(update={"anchor": f"{story.case}-{name}"}) for each, name in zip(found, names, strict=True)
    )


def _all(story: CaseStory, addresses: Addresses) -> Iterator[Happening]:
    yield from _trainings(story, addresses)
    yield from (_decision(event, addresses) for event in story.events if event.what not in _MARKERS)
    yield from _triage(story, addresses)
    yield from _deliveries(story)
    yield from (_spell(spell) for spell in story.spells)
    yield from _incidents(story, addresses)


def _trainings(story: CaseStory, addresses: Addresses) -> Iterator[Happening]:
    for training in story.trainings:
        accepted = training.ruling is Ruling.promote
        became = f"passed the gate: version {training.version}" if accepted else f"turned away: {training.ruling}"
        links = {
            "Prefect run": addresses.run(training.run),
            "MLflow": addresses.version(story.case, training.version),
        }
        title = f"Training {became}"
        yield _at(training.as_of, TRAININGS, "dot" if accepted else "ring", title=title, links=_links(links))


def _decision(event: Event, addresses: Addresses) -> Happening:
    links = _links({"MLflow": addresses.version(event.case, event.version)})
    why: dict[str, Any] = {"text": event.reason, "by": event.by, "links": links}
    if event.what == "rollout" and event.rollout:
        state = event.rollout
        shapes: dict[str, Shape] = {"stopped": "cross", "held": "held"}
        title = f"Version {event.version} rolls out: {state}"
        return _at(event.at, ROLLOUTS, shapes.get(state.standing, "stage"), title=title, **why)
    shape, words = _WORDS.get(event.what, ("stage", f"Version {{}}: {event.what}"))
    instead = f" instead of version {event.before}" if event.before and event.before != event.version else ""
    return _at(event.at, DECISIONS, shape, title=words.format(event.version) + instead, **why)


def _triage(story: CaseStory, addresses: Addresses) -> Iterator[Happening]:
    for taken in story.taken:
        triaged = taken.triaged
        if triaged.action in _QUIET and triaged.held_back is None:
            continue
        held = f", held back: {triaged.held_back}" if triaged.held_back else ""
        links = _links({"Prefect run": addresses.run(taken.run)})
        title = f"Triage: {in_words(triaged.action)}{held}"
        text = f"{triaged.rule}: {'; '.join(triaged.reasons)}"
        shape: Shape = "held" if triaged.held_back else "diamond"
        yield _at(triaged.as_of, TRIAGE, shape, title=title, text=text, links=links)


def _deliveries(story: CaseStory) -> Iterator[Happening]:
    for blocked in story.blocked:
        links = _links({"validation page": blocked.page})
        title = f"Delivery {blocked.batch_id} blocked"
        yield _at(blocked.end, DELIVERIES, "cross", title=title, text=blocked.why, links=links, urgent=True)


def _spell(spell: Spell) -> Happening:
    unknown = spell.answer is Answer.unknown
    times = f" ({spell.looks} looks in a row)" if spell.looks > 1 else ""
    said = "could not compute" if unknown else f"alarm{f' about {spell.cause}' if spell.cause else ''}"
    return Happening(
        anchor="",
        lane=lane_of(spell.monitor),
        shape="hollow" if unknown else "bar",
        start=spell.start,
        end=spell.end,
        title=f"{spell.monitor}: {said}{times}",
        text=spell.text,
        links=_links({"pictures": spell.report}),
        urgent=not unknown,
    )


def _incidents(story: CaseStory, addresses: Addresses) -> Iterator[Happening]:
    newest = max([*story.looks, *(incident.seen_at for incident in story.incidents)], default=None)
    for incident in story.incidents:
        is_open = incident.closed_at is None
        taken = f", taken by {incident.acknowledged_by}" if incident.acknowledged_by else ""
        yield Happening(
            anchor="",
            lane=INCIDENTS,
            shape="bar",
            start=incident.opened_at,
            end=incident.closed_at or newest or incident.seen_at,
            title=f"Incident {incident.id}, {'open' if is_open else 'closed'}{taken}: {incident.cause}",
            text=f"{in_words(incident.action)} ({incident.rule}): {'; '.join(incident.reasons)}",
            links=_links({"Prefect run": addresses.run(incident.run)}),
            urgent=is_open,
        )


def lane_of(monitor: Monitor) -> str:
    """The lane a monitor's alarms are drawn in."""
    return f"monitor {monitor}"


def in_words(action: Action) -> str:
    """An action, for people."""
    return action.value.replace("_", " ")


def _at(moment: datetime, lane: str, shape: Shape, **more: Any) -> Happening:
    return Happening(anchor="", lane=lane, shape=shape, start=moment, end=moment, **more)


def _links(named: dict[str, str | None]) -> tuple[Link, ...]:
    return tuple(Link(words=words, href=href) for words, href in named.items() if href)
