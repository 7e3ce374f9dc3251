"""The curves of the picture: performance, realised and estimated, with their intervals; and drift; pure."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median

from markupsafe import Markup

from tasks.status.axis import TimeAxis, ValueAxis, value_axis
from tasks.status.frame import Frame, Part
from tasks.status.story import Drift, Performance
from tasks.status.svg import element, joined, path
from tasks.verdicts import Figure

_MOST_POINTS = {False: 150, True: 70}
"""Of a curve, in a wide picture and in a narrow one."""
_GAP = 3.5
"""Points further apart than so many times their usual distance are not joined."""
_LINE = 13.0
"""Pixels between two lines of text."""

_POINTS = {"realised": "realised", "estimated": "estimated", "above": "score drift"}
"""What a kind of point tells."""


def performance(frame: Frame, told: Performance, changes: Sequence[datetime], anchor: str) -> Part:
    """Realised and estimated performance; at each of `changes` another champion began to answer."""
    height = 178.0 if frame.narrow else 216.0
    top, bottom = frame.top + 10, height - 10
    realised, estimated = (thinned(frame, _on(frame.axis, each)) for each in (told.realised, told.estimated))
    if not (realised or estimated):
        return _nothing(frame, name_of(told.metric), "no window has been judged yet")
    axis = value_axis(_values([*realised, *estimated]), top, bottom)
    drawn = [_grid(frame, axis)]
    drawn += [
        element("line", x1=frame.axis.x(at), x2=frame.axis.x(at), y1=top - 6, y2=bottom, class_="change")
        for at in changes
        if frame.axis.shows(at, at)
    ]
    drawn += [_curve(frame, axis, estimated, "estimated", anchor), _curve(frame, axis, realised, "realised", anchor)]
    drawn.append(_ends(frame, axis, {"realised": realised, "estimated": estimated}))
    better = "lower is better" if told.lower_is_better else "higher is better"
    drawn.append(frame.name(name_of(told.metric), (top + bottom) / 2, better))
    return Part(height, joined(drawn))


def drift(frame: Frame, told: Drift, anchor: str) -> Part:
    """How far the score moved, and from where on that is an alarm."""
    distance, threshold = (thinned(frame, _on(frame.axis, each)) for each in (told.distance, told.threshold))
    if not distance:
        return _nothing(frame, "score drift", "not measured yet")
    height = frame.top + 62.0
    top, bottom = frame.top + 4, height - 8
    axis = value_axis([0.0, *_values(distance), *_values(threshold)], top, bottom, 2)
    axis = ValueAxis(0.0, axis.high, top, bottom, axis.step)
    limits = {figure.end: _value(figure) for figure in threshold}
    drawn = [frame.name("score drift", (top + bottom) / 2, "of the champion"), _grid(frame, axis)]
    for piece in _pieces(distance):
        points = [(frame.axis.x(figure.end), axis.y(_value(figure))) for figure in piece]
        area = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
        drawn += [element("path", d=path(area, closed=True), class_="area"), _line(points, "drift")]
    drawn += [
        _line([(frame.axis.x(figure.end), axis.y(_value(figure))) for figure in piece], "threshold")
        for piece in _pieces(threshold)
    ]
    if threshold and not frame.narrow:
        at = axis.y(_value(threshold[-1])) + 4
        drawn.append(element("text", "alarm from here", x=frame.axis.right + 8, y=at, class_="end threshold"))
    above = [figure for figure in distance if _value(figure) > limits.get(figure.end, float("inf"))]
    drawn += [_point(frame, axis, figure, "above") for figure in above]
    return Part(height, element("a", *drawn, href=f"#{anchor}"))


def thinned(frame: Frame, figures: Sequence[Figure]) -> list[Figure]:
    """At most as many figures as can be told apart: the last of each stretch, its interval as wide as any there."""
    wide = (frame.axis.right - frame.axis.left) / _MOST_POINTS[frame.narrow]
    stretches: dict[int, list[Figure]] = {}
    for figure in figures:
        stretches.setdefault(int((frame.axis.x(figure.end) - frame.axis.left) / wide), []).append(figure)
    return [_widest(stretches[number]) for number in sorted(stretches)]


def name_of(metric: str) -> str:
    """A metric, as people write it."""
    return {"auc": "AUC", "mae": "MAE", "rmse": "RMSE"}.get(metric, metric)


def _on(axis: TimeAxis, figures: Sequence[Figure]) -> list[Figure]:
    """The figures on the axis, one for each window: that of the version with the most rows."""
    windows: dict[tuple[datetime, datetime], Figure] = {}
    for figure in figures:
        if figure.value is None or not axis.shows(figure.end, figure.end):
            continue
        before = windows.get((figure.end, figure.start))
        if before is None or figure.rows > before.rows:
            windows[figure.end, figure.start] = figure
    return [windows[window] for window in sorted(windows)]


def _widest(figures: Sequence[Figure]) -> Figure:
    lows = [figure.low for figure in figures if figure.low is not None]
    highs = [figure.high for figure in figures if figure.high is not None]
    update = {"low": min(lows, default=None), "high": max(highs, default=None)}
    return figures[-1] if len(figures) == 1 else figures[-1].model_copy(update=update)


def _curve(frame: Frame, axis: ValueAxis, figures: Sequence[Figure], kind: str, anchor: str) -> Markup:
    bands, lines = [], []
    for piece in _pieces(figures):
        points = [(frame.axis.x(figure.end), axis.y(_value(figure))) for figure in piece]
        known = [figure for figure in piece if figure.low is not None and figure.high is not None]
        low = [(frame.axis.x(figure.end), axis.y(figure.low or 0.0)) for figure in known]
        high = [(frame.axis.x(figure.end), axis.y(figure.high or 0.0)) for figure in known]
        if len(known) > 1:
            bands.append(element("path", d=path([*high, *reversed(low)], closed=True), class_=f"band {kind}"))
        lines.append(_line(points, kind))
    dots = [_point(frame, axis, figure, kind) for figure in figures]
    return element("a", *bands, *lines, *dots, href=f"#{anchor}")


def _pieces(figures: Sequence[Figure]) -> list[list[Figure]]:
    """The figures in pieces without a gap."""
    between = [(later.end - earlier.end).total_seconds() for earlier, later in pairwise(figures)]
    usual = median(between) if between else 0.0
    pieces: list[list[Figure]] = []
    for figure in figures:
        if pieces and (figure.end - pieces[-1][-1].end).total_seconds() <= _GAP * usual:
            pieces[-1].append(figure)
        else:
            pieces.append([figure])
    return pieces


def _point(frame: Frame, axis: ValueAxis, figure: Figure, kind: str) -> Markup:
    interval = f" ({figure.low:.4g} to {figure.high:.4g})" if figure.low is not None and figure.high is not None else ""
    about = f", version {figure.version}" if figure.version else ""
    window = f"{figure.start:%Y-%m-%d} to {figure.end:%Y-%m-%d}"
    told = f"{_POINTS[kind]} {_value(figure):.4g}{interval}, {window}{about}, {figure.rows:,} rows"
    at = {"cx": frame.axis.x(figure.end), "cy": axis.y(_value(figure))}
    return element("circle", element("title", told), **at, r=1.8 if frame.narrow else 2.6, class_=f"point {kind}")


def _line(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return element("path", d=path(points), class_=f"curve {kind}")


def _grid(frame: Frame, axis: ValueAxis) -> Markup:
    drawn = []
    for value, words in axis.ticks():
        y = axis.y(value)
        drawn.append(element("line", x1=frame.axis.left, x2=frame.axis.right, y1=y, y2=y, class_="grid"))
        # Beside the names of the lanes there is no room: the numbers stand on the lines' right ends.
        x, above = (frame.axis.right + 4, 4.0) if frame.narrow else (frame.axis.left + 2, -3.0)
        drawn.append(element("text", words, x=x, y=y + above, class_="tick"))
    return joined(drawn)


def _ends(frame: Frame, axis: ValueAxis, curves: dict[str, Sequence[Figure]]) -> Markup:
    """The name of each curve where it ends, or above, where there is no room."""
    drawn = {kind: figures[-1] for kind, figures in curves.items() if figures}
    if frame.narrow:
        at, words = frame.axis.right, Markup("")
        for number, kind in enumerate(drawn):
            at_x = at - 66 * (len(drawn) - 1 - number)
            words += element("text", kind, x=at_x, y=11.0, text_anchor="end", class_=f"end {kind}")
        return words
    heights = {kind: axis.y(_value(figure)) for kind, figure in drawn.items()}
    ordered = sorted(heights, key=heights.__getitem__)
    for above, below in pairwise(ordered):
        heights[below] = max(heights[below], heights[above] + 2 * _LINE)
    return joined(
        element(
            "text",
            element("tspan", kind, x=frame.axis.right + 8, dy=-1),
            element("tspan", f"{_value(figure):.3f}", x=frame.axis.right + 8, dy=_LINE, class_="figure"),
            y=heights[kind],
            class_=f"end {kind}",
        )
        for kind, figure in drawn.items()
    )


def _nothing(frame: Frame, name: str, why: str) -> Part:
    words = element("text", why, x=frame.axis.left, y=frame.top + 16, class_="tick")
    return Part(frame.top + 26, joined([frame.name(name, frame.top + 12), words]))


def _values(figures: Sequence[Figure]) -> list[float]:
    return [value for each in figures for value in (each.value, each.low, each.high) if value is not None]


def _value(figure: Figure) -> float:
    assert figure.value is not None, "those without were left out"
    return figure.value
