"""The lanes: who answered, as a ribbon; and what happened, as marks that lead to their evidence; pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from markupsafe import Markup

from tasks.rollout.shares import Served
from tasks.status.axis import TimeAxis
from tasks.status.frame import Frame, Part
from tasks.status.happenings import Happening, Shape
from tasks.status.svg import element, joined, path

MOST_MARKS = 40
"""In one lane; with more, neighbours become one mark that says how many it stands for."""
_SIZE = 11.0
_SLIM = {"bar": 5.0, "hollow": 5.0, "stage": 5.0}
"""Pixels that a mark needs, where its shape does not need `_SIZE`."""
_MOST_SHAPES = 8
"""In one group; of more, one stands for all."""
_RIBBON = 30.0
_MOST_WORDS = 160
_COLOURS = 4
_LEAST_SHARE = 3.0
"""Pixels: the smallest share is seen."""


def colours(served: Sequence[Served]) -> dict[str, str]:
    """The class that colours each version: the ones that follow each other differ in hue and lightness."""
    names: dict[str, str] = {}
    for entry in served:
        for version in (entry.champion, entry.challenger):
            if version is not None and version not in names:
                names[version] = f"v{len(names) % _COLOURS}"
    return names


def ribbon(frame: Frame, served: Sequence[Served], anchor: str) -> Part:
    """Which version answered what share; a challenger's share rises from below, a shadow is a line at the bottom."""
    coloured, top = colours(served), frame.top
    visible = _visible(frame.axis, served)
    pieces = [_piece(frame, entries, coloured, top, anchor) for entries in visible]
    for version, run in groupby(visible, key=lambda entries: _answers_most(entries[0])):
        pieces += _word(frame, [entry for entries in run for entry in entries], version, coloured[version])
    if not pieces:
        words = "nobody, in this time"
        pieces = [element("text", words, x=frame.axis.left, y=top + _RIBBON / 2 + 4, class_="tick")]
    named = frame.name("who answered", top + _RIBBON / 2)
    return Part(top + _RIBBON + 6, joined([named, *pieces]))


def _visible(axis: TimeAxis, served: Sequence[Served]) -> list[list[Served]]:
    """The times on the axis; those too short to be seen are put together with their neighbours of one champion."""
    shown: list[list[Served]] = []
    for entry in served:
        if not axis.shows(entry.start, entry.end or axis.end):
            continue
        short = shown and axis.x(_end(entry, axis)) - axis.x(shown[-1][0].start) < _LEAST_SHARE
        if short and shown[-1][0].champion == entry.champion:
            shown[-1].append(entry)
        else:
            shown.append([entry])
    return shown


def _piece(frame: Frame, entries: Sequence[Served], coloured: Mapping[str, str], top: float, anchor: str) -> Markup:
    first, last = entries[0], entries[-1]
    left, right = frame.axis.x(first.start), frame.axis.x(_end(last, frame.axis))
    width = max(right - left, 1.0)
    parts = [element("title", _told(entries))]
    parts.append(element("rect", x=left, y=top, width=width, height=_RIBBON, class_=coloured[first.champion]))
    most = max(entries, key=lambda entry: (entry.share, entry.shadow))
    if most.challenger:
        height = max(_RIBBON * most.share, _LEAST_SHARE)
        colour = f"{coloured[most.challenger]}{'' if most.share else ' shadow'}"
        parts.append(element("rect", x=left, y=top + _RIBBON - height, width=width, height=height, class_=colour))
    return element("a", *parts, href=f"#{anchor}", class_="piece")


def _answers_most(entry: Served) -> str:
    return entry.challenger if entry.challenger and entry.share > 0.5 else entry.champion


def _word(frame: Frame, run: Sequence[Served], version: str, colour: str) -> list[Markup]:
    """The version's name at the beginning of the time in which it answered most, if there is room for it."""
    left, right = frame.axis.x(run[0].start), frame.axis.x(_end(run[-1], frame.axis))
    words = f"v{version}" if right - left < 90 else f"version {version}"
    if right - left <= 7 * len(words) + 12:
        return []
    return [element("text", words, x=left + 6, y=frame.top + _RIBBON / 2 + 4, class_=f"on {colour}")]


def _told(entries: Sequence[Served]) -> str:
    until = f"{entries[-1].end:%Y-%m-%d}" if entries[-1].end else "now"
    changes = f" ({len(entries)} changes of shares)" if len(entries) > 1 else ""
    return _cut(f"{entries[-1]}, {entries[0].start:%Y-%m-%d} to {until}{changes}, decided by {entries[-1].by}")


def _end(entry: Served, axis: TimeAxis) -> datetime:
    return entry.end or axis.end


def marks(frame: Frame, name: str, happened: Sequence[Happening], *, aside: str = "") -> Part:
    """One lane of marks; empty, its line says that nothing happened."""
    height, top = 20.0, frame.top
    middle = top + height / 2
    line = element("line", x1=frame.axis.left, x2=frame.axis.right, y1=middle, y2=middle, class_="base")
    drawn = [_mark(frame, group, middle) for group in grouped(frame.axis, happened)]
    return Part(top + height, joined([frame.name(name, middle, aside), line, *drawn]))


def grouped(axis: TimeAxis, happened: Sequence[Happening], most: int = MOST_MARKS) -> list[list[Happening]]:
    """What is drawn as one mark, the oldest first: at most so many groups, each of what would lie on each other."""
    shown = sorted((one for one in happened if axis.shows(one.start, one.end)), key=lambda one: one.start)
    apart = 1.0
    while len(groups := _groups(axis, shown, apart)) > most:
        apart *= 1.6
    return groups


def _groups(axis: TimeAxis, shown: Sequence[Happening], apart: float) -> list[list[Happening]]:
    groups: list[list[Happening]] = []
    reached = float("-inf")
    for one in shown:
        left, right = _extent(axis, [one])
        if groups and left < reached + apart:
            groups[-1].append(one)
        else:
            groups.append([one])
            reached = right
        reached = max(reached, right)
    return groups


def _extent(axis: TimeAxis, group: Sequence[Happening]) -> tuple[float, float]:
    """From where to where a mark reaches."""
    size = max(_SLIM.get(one.shape, _SIZE) for one in group)
    left, right = min(axis.x(one.start) for one in group), max(axis.x(one.end) for one in group)
    if right - left < size:
        middle = (left + right) / 2
        return middle - size / 2, middle + size / 2
    return left, right


def _mark(frame: Frame, group: Sequence[Happening], middle: float) -> Markup:
    newest = group[-1]
    left, right = _extent(frame.axis, group)
    told = _cut("; ".join(f"{_when(one)} {one.title}" for one in reversed(group[-3:])))
    if len(group) > 3:
        told = f"{len(group)} of them, the last: {told}"
    elif len(group) == 1 and newest.text:
        told = _cut(f"{told}. {newest.text}")
    loudest = max(group, key=lambda one: one.urgent)
    drawn = [element("title", told), _hit(left, right, middle)]
    if len(group) <= _MOST_SHAPES:
        drawn += [
            _shape(one, *place, middle) for one, place in zip(group, _side_by_side(frame.axis, group), strict=True)
        ]
    else:
        drawn.append(_shape(loudest, left, right, middle))
        drawn.append(element("text", str(len(group)), x=right + 1, y=middle - 2, class_="count"))
    href = newest.href if len(group) == 1 else f"#{newest.anchor}"
    return element("a", *drawn, href=href, class_="mark")


def _side_by_side(axis: TimeAxis, group: Sequence[Happening]) -> list[tuple[float, float]]:
    """Where each mark is drawn; of several at one moment, none hides another."""
    places = []
    for number, one in enumerate(group):
        left, right = _extent(axis, [one])
        before = sum(other.start == one.start and other.end == one.end == one.start for other in group[:number])
        places.append((left + before * _SIZE, right + before * _SIZE))
    return places


def _shape(one: Happening, left: float, right: float, middle: float) -> Markup:
    kind = f"mark {one.shape} urgent" if one.urgent else f"mark {one.shape}"
    return element("g", _SHAPES[one.shape](left, right, middle), class_=kind)


def _hit(left: float, right: float, middle: float) -> Markup:
    """What takes the finger: larger than what is seen."""
    grown = max(0.0, (_SIZE + 5 - (right - left)) / 2)
    return element(
        "rect", x=left - grown, y=middle - 10, width=right - left + 2 * grown, height=20.0, class_="hit", rx=3
    )


def _dot(left: float, right: float, middle: float) -> Markup:
    return element("circle", cx=(left + right) / 2, cy=middle, r=4.6)


def _ring(left: float, right: float, middle: float) -> Markup:
    return element("circle", cx=(left + right) / 2, cy=middle, r=4.0)


def _up(left: float, right: float, middle: float) -> Markup:
    x = (left + right) / 2
    return element("path", d=path([(x - 6, middle + 5), (x, middle - 6), (x + 6, middle + 5)], closed=True))


def _down(left: float, right: float, middle: float) -> Markup:
    x = (left + right) / 2
    return element("path", d=path([(x - 6, middle - 5), (x, middle + 6), (x + 6, middle - 5)], closed=True))


def _cross(left: float, right: float, middle: float) -> Markup:
    x = (left + right) / 2
    arms = [path([(x - 4, middle - 4), (x + 4, middle + 4)]), path([(x - 4, middle + 4), (x + 4, middle - 4)])]
    return element("path", d="".join(arms))


def _diamond(left: float, right: float, middle: float) -> Markup:
    x = (left + right) / 2
    corners = [(x - 5.5, middle), (x, middle - 5.5), (x + 5.5, middle), (x, middle + 5.5)]
    return element("path", d=path(corners, closed=True))


def _stage(left: float, right: float, middle: float) -> Markup:
    return element("rect", x=(left + right) / 2 - 1.5, y=middle - 6, width=3.0, height=12.0)


def _bar(left: float, right: float, middle: float) -> Markup:
    return element("rect", x=left, y=middle - 5, width=right - left, height=10.0, rx=2)


_SHAPES: dict[Shape, Callable[[float, float, float], Markup]] = {
    "dot": _dot,
    "ring": _ring,
    "up": _up,
    "down": _down,
    "cross": _cross,
    "diamond": _diamond,
    "held": _diamond,
    "stage": _stage,
    "bar": _bar,
    "hollow": _bar,
}


def _when(one: Happening) -> str:
    end = "" if one.end.date() == one.start.date() else f" to {one.end:%Y-%m-%d}"
    return f"{one.start:%Y-%m-%d}{end}:"


def _cut(words: str) -> str:
    return words if len(words) <= _MOST_WORDS else f"{words[: _MOST_WORDS - 1].rstrip()}…"
