"""Each problem gets its pictures, with and without a champion."""

from pathlib import Path

import numpy as np
import pytest

from configs.case import Problem
from tasks.evaluation.plots import draw
from tasks.evaluation.predictions import Predictions

PICTURES = {
    Problem.binary: {"roc", "precision_recall", "calibration", "importance"},
    Problem.multiclass: {"confusion", "calibration", "importance"},
    Problem.regression: {"predicted_against_observed", "residuals", "importance"},
}


def _answers(problem: Problem, rows: int = 300) -> tuple[np.ndarray, Predictions]:
    draw_ = np.random.default_rng(0)
    if problem is Problem.multiclass:
        probability = draw_.dirichlet([1, 1, 1], size=rows)
        return draw_.choice(["a", "b", "c"], size=rows).astype(object), Predictions(probability, ("a", "b", "c"))
    chance = draw_.random(rows)
    return (draw_.random(rows) < chance).astype(float), Predictions(chance)


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("with_champion", [True, False])
def test_each_problem_has_its_pictures(problem: Problem, with_champion: bool, tmp_path: Path) -> None:
    labels, answers = _answers(problem)
    pictures = draw(problem, labels, answers, answers if with_champion else None, {"x": 0.1})
    assert set(pictures) == PICTURES[problem]
    for name, picture in pictures.items():
        picture.savefig(tmp_path / name, format="png")
        assert 3_000 < (tmp_path / name).stat().st_size < 80_000


def test_rows_of_one_label_have_no_roc() -> None:
    _, answers = _answers(Problem.binary)
    assert set(draw(Problem.binary, np.ones(300), answers, None, {})) == {"calibration", "importance"}
