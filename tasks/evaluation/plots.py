"""Pictures of an evaluation, candidate and champion in one; small enough for an approval form."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from configs.case import Problem
from tasks.evaluation.metrics import calibration_bins
from tasks.evaluation.predictions import Floats, Predictions

_COLOURS = {"candidate": "#1f6fb4", "champion": "#8a8a8a"}
_POINTS = 400
_DOTS = 2000
_MOST_FEATURES = 15
_MOST_CLASSES = 12

Contenders = dict[str, Predictions]


def draw(
    problem: Problem,
    labels: np.ndarray,
    candidate: Predictions,
    champion: Predictions | None,
    importance: dict[str, float],
) -> dict[str, Figure]:
    """The pictures this problem calls for, by file name; those that need both labels only where both occur."""
    both: Contenders = ({"champion": champion} if champion else {}) | {"candidate": candidate}
    match problem:
        case Problem.binary:
            pictures = _binary(labels.astype(np.float64), both)
        case Problem.multiclass:
            pictures = {"confusion": _confusion(labels, candidate), "calibration": _top_calibration(labels, both)}
        case Problem.regression:
            pictures = _regression(labels.astype(np.float64), both)
    return pictures | {"importance": _importance(importance)}


def _binary(labels: Floats, both: Contenders) -> dict[str, Figure]:
    calibration = {name: (labels, contender.answers) for name, contender in both.items()}
    pictures = {"calibration": _calibration(calibration, "predicted probability")}
    if 0 < labels.mean() < 1:
        pictures |= {"roc": _roc(labels, both), "precision_recall": _precision_recall(labels, both)}
    return pictures


def _regression(labels: Floats, both: Contenders) -> dict[str, Figure]:
    return {"predicted_against_observed": _against_observed(labels, both), "residuals": _residuals(labels, both)}


def _picture(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 3.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def _roc(labels: Floats, both: Contenders) -> Figure:
    figure, axes = _picture("false positive rate", "true positive rate", "ROC")
    axes.plot([0, 1], [0, 1], ":", color="black", linewidth=0.8)
    for name, contender in both.items():
        false, true, _ = roc_curve(labels, contender.answers)
        grid = np.linspace(0, 1, _POINTS)
        axes.plot(grid, np.interp(grid, false, true), color=_COLOURS[name], label=name)
    axes.legend(loc="lower right")
    return figure


def _precision_recall(labels: Floats, both: Contenders) -> Figure:
    figure, axes = _picture("recall", "precision", "Precision and recall")
    axes.axhline(labels.mean(), linestyle=":", color="black", linewidth=0.8)
    for name, contender in both.items():
        precision, recall, _ = precision_recall_curve(labels, contender.answers)
        kept = _spread(len(recall), _POINTS)
        axes.plot(recall[kept], precision[kept], color=_COLOURS[name], label=name)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="upper right")
    return figure


def _calibration(both: dict[str, tuple[Floats, Floats]], said: str) -> Figure:
    figure, axes = _picture(said, "observed frequency", "Calibration")
    most = 0.0
    for name, (observed, probability) in both.items():
        x, y, _ = calibration_bins(observed, probability)
        axes.plot(x, y, "o-", markersize=4, color=_COLOURS[name], label=name)
        most = max(most, x.max(), y.max())
    axes.plot([0, most], [0, most], ":", color="black", linewidth=0.8)
    axes.legend(loc="upper left")
    return figure


def _top_calibration(labels: np.ndarray, both: Contenders) -> Figure:
    hits = {
        name: ((_answers(contender) == labels).astype(np.float64), contender.answers.max(axis=1))
        for name, contender in both.items()
    }
    return _calibration(hits, "probability of the answer given")


def _confusion(labels: np.ndarray, candidate: Predictions) -> Figure:
    """Each row sums to 1: of the rows observed as this class, the share answered as that one."""
    names = pd.Series(labels).value_counts().index[:_MOST_CLASSES].astype(str).sort_values()
    table = pd.crosstab(pd.Series(labels).astype(str), pd.Series(_answers(candidate)).astype(str), normalize="index")
    shares = table.reindex(index=names, columns=names, fill_value=0).to_numpy()
    figure, axes = _picture("answered", "observed", "Confusion of the candidate")
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=7)
    return figure


def _against_observed(labels: Floats, both: Contenders) -> Figure:
    figure, axes = _picture("predicted", "observed", "Predicted against observed")
    kept = _spread(len(labels), _DOTS)
    for name, contender in both.items():
        axes.plot(contender.answers[kept], labels[kept], ".", markersize=2, alpha=0.5, color=_COLOURS[name], label=name)
    ends = [float(labels[kept].min()), float(labels[kept].max())]
    axes.plot(ends, ends, ":", color="black", linewidth=0.8)
    axes.legend(loc="upper left", markerscale=4)
    return figure


def _residuals(labels: Floats, both: Contenders) -> Figure:
    figure, axes = _picture("observed - predicted", "rows", "Residuals")
    errors = {name: labels - contender.answers for name, contender in both.items()}
    reach = max(float(np.quantile(np.abs(error), 0.99)) for error in errors.values()) or 1.0
    for name, error in errors.items():
        axes.hist(np.clip(error, -reach, reach), bins=60, histtype="step", color=_COLOURS[name], label=name)
    axes.legend(loc="upper right")
    return figure


def _importance(importance: dict[str, float]) -> Figure:
    figure, axes = _picture("loss of quality when shuffled", "", "Importance")
    largest = list(importance.items())[:_MOST_FEATURES][::-1]
    axes.barh([name for name, _ in largest], [lost for _, lost in largest], color=_COLOURS["candidate"])
    return figure


def _answers(contender: Predictions) -> np.ndarray:
    given: np.ndarray = np.array(contender.classes, dtype=object)[contender.answers.argmax(axis=1)]
    return given


def _spread(rows: int, most: int) -> np.ndarray:
    """At most `most` positions, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))
