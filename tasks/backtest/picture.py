"""A back-test as one picture: the year, week by week, and what training costs against what is lost."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from configs.policies import ORACLE
from tasks.backtest.result import BackTest, PolicyResult, front

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#994455", "#225555")
"""Tol's bright palette: told apart by colour-blind readers too."""
_SMOOTHED = 3
"""Weeks of a running mean, so that lines can be followed."""


def draw(found: BackTest) -> Figure:
    """The year's lines (losses against the oracle, and trainings), and the Pareto front beside them."""
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.7, 1], height_ratios=[3, 1.2])
    year, marks, costs = (figure.add_subplot(place) for place in (grid[0, 0], grid[1, 0], grid[:, 1]))
    colours = {result.policy: _COLOURS[place % len(_COLOURS)] for place, result in enumerate(found.policies)}
    _year(year, found, colours)
    _trainings(marks, found, colours)
    _costs(costs, found, colours)
    figure.suptitle(f"{found.case}: {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}, what each policy would have done")
    return figure


def _year(axes: Axes, found: BackTest, colours: dict[str, str]) -> None:
    for result in found.policies:
        lost = np.array([np.nan if week.lost is None else week.lost for week in result.weeks])
        axes.plot(_days([week.start for week in result.weeks]), _running(lost), color=colours[result.policy], lw=1.6,
                  label=result.policy)  # fmt: skip
    axes.xaxis_date()
    axes.set_xlim(*_days([found.start, found.end]))
    axes.axhline(0, color="#777777", lw=1, ls="--")
    axes.invert_yaxis()
    axes.set_ylabel(f"{found.metric} lost against the oracle\n(mean of {_SMOOTHED} {found.unit}s)")
    axes.legend(frameon=False, ncols=3, fontsize="small", loc="lower center")
    axes.grid(alpha=0.2)


def _trainings(axes: Axes, found: BackTest, colours: dict[str, str]) -> None:
    """A row of marks for each policy: filled where the candidate took over, open where it was turned away."""
    for place, result in enumerate(found.policies):
        for promoted, face in ((True, colours[result.policy]), (False, "none")):
            when = [week.start for week in result.weeks if week.trained and week.promoted is promoted]
            axes.scatter(_days(when), [place] * len(when), s=22, edgecolors=colours[result.policy], facecolors=face)
    axes.set_yticks(range(len(found.policies)), [result.policy for result in found.policies], fontsize="small")
    axes.set_ylim(len(found.policies) - 0.5, -0.5)
    axes.set_xlim(*_days([found.start, found.end]))
    axes.xaxis_date()
    axes.set_title("trainings (open: turned away by the gate)", fontsize="small", loc="left")


def _costs(axes: Axes, found: BackTest, colours: dict[str, str]) -> None:
    best = front(found.policies)
    axes.plot(
        [result.training_cost for result in best], [_lost(result) for result in best], color="#777777", lw=1, ls="--"
    )
    for place, result in enumerate(found.policies):
        axes.scatter(result.training_cost, _lost(result), color=colours[result.policy], s=50, zorder=3)
        axes.annotate(
            f"{result.policy} ({result.trainings})", (result.training_cost, _lost(result)),
            # Neighbours in the list are often neighbours here.
            xytext=(6, 6 if place % 2 else -12), textcoords="offset points", fontsize="small",
        )  # fmt: skip
    ceiling = found.of(ORACLE)
    axes.axhline(0, color="#777777", lw=1)
    axes.set_title(f"oracle: mean {found.metric} {ceiling.means[found.metric]:.4f}", fontsize="small", loc="right")
    axes.set_xlabel("cost of training (and number of trainings)")
    axes.set_ylabel(f"mean {found.metric} lost against the oracle")
    axes.margins(x=0.25)
    axes.grid(alpha=0.2)


def _days(moments: Sequence[datetime]) -> np.ndarray:
    days: np.ndarray = date2num(list(moments))  # type: ignore[no-untyped-call] # matplotlib
    return days


def _lost(result: PolicyResult) -> float:
    judged = [week.lost for week in result.weeks if week.lost is not None]
    return float(np.mean(judged)) if judged else 0.0


def _running(values: np.ndarray) -> np.ndarray:
    padded = np.concatenate([np.full(_SMOOTHED - 1, np.nan), values])
    stacked = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED)
    known = ~np.isnan(stacked)
    sums: np.ndarray = np.divide(
        np.where(known, stacked, 0).sum(axis=1), known.sum(axis=1), out=np.full(len(stacked), np.nan),
        where=known.any(axis=1),
    )  # fmt: skip
    return sums
