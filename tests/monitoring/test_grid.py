"""The grid: bins fine enough for the test of the distribution, whatever comes; the same when it is read back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from configs.case import Case, Column, ColumnType, Problem, Role
from tasks.monitoring.bins import NumberBins
from tasks.monitoring.errors import NameTaken, ProfileUnreadable
from tasks.monitoring.grid import Grid
from tasks.monitoring.two_sample import largest_gap
from tests.monitoring.conftest import batch

SHAPES = {
    "normal": lambda random, rows: random.normal(5, 2, rows),
    "far from zero": lambda random, rows: 1e9 + random.normal(0, 1e-3, rows),
    "powers of ten": lambda random, rows: random.lognormal(0, 4, rows),
    "counts": lambda random, rows: random.poisson(3, rows).astype(float),
    "mostly zero": lambda random, rows: np.where(random.random(rows) < 0.7, 0, random.exponential(1, rows)),
    "many values": lambda random, rows: random.integers(0, 20_000, rows).astype(float),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "others"), [(300, 90), (60_000, 20_000)])
def test_the_gap_on_counts_is_the_exact_one_to_a_5000th(shape: str, rows: int, others: int) -> None:
    random = np.random.default_rng(7)
    reference, current = SHAPES[shape](random, rows), 1.02 * SHAPES[shape](random, others)
    bins = NumberBins.fit(reference, None)
    found = largest_gap(bins.count_values(reference).counts, bins.count_values(current).counts)
    assert found == pytest.approx(stats.ks_2samp(reference, current).statistic, abs=2e-4)


def test_values_far_outside_are_still_told_apart() -> None:
    bins = NumberBins.fit(np.random.default_rng(1).normal(size=1000), None)
    counts = bins.count_values(np.array([50.0, 5000.0, -50.0, 1e300])).counts
    assert counts[counts > 0].tolist() == [1, 1, 1, 1]


def test_rows_outside_the_contract_are_counted_to_the_last_one() -> None:
    column = Column(type=ColumnType.number, role=Role.feature, range=(0, 10))
    bins = NumberBins.fit(np.random.default_rng(1).normal(5, 1, 1000), column)
    counted = bins.count_values(np.array([-0.001, 0.0, 10.0, np.nextafter(10, 11), 4.0]))
    assert bins.outside(counted.counts) == 2


def test_rank_scores_follow_the_ranks_of_the_reference_even_over_powers_of_ten() -> None:
    values = np.random.default_rng(3).lognormal(0, 4, 5000)
    scores = NumberBins.fit(values, None).rank_scores(values) / 127
    ranks = 2 * stats.rankdata(values) / len(values) - 1
    assert np.abs(scores - ranks).mean() < 0.02


def test_a_missing_value_has_the_score_of_no_opinion() -> None:
    values = np.random.default_rng(3).normal(size=500)
    bins = NumberBins.fit(values, None)
    none, lowest, highest = bins.rank_scores(np.array([np.nan, -9.0, 9.0]))
    assert none == 0
    assert -lowest == highest == pytest.approx(127, abs=2)


def test_a_moment_counts_by_its_place_in_the_week(grid: Grid) -> None:
    seen = grid.numbers["seen"]
    monday = pa.array(np.array(["2026-03-02T00:00", "2031-03-03T00:00"], "datetime64[us]"))
    assert seen.values(monday).tolist() == [0, 0]


def test_a_grid_that_is_read_back_counts_the_same(grid: Grid, tmp_path: Path) -> None:
    grid.write(tmp_path / "grid.json")
    again = Grid.read(tmp_path / "grid.json")
    assert again.digest == grid.digest
    values = np.random.default_rng(2).normal(20, 6, 500)
    assert np.array_equal(again.numbers["weight"].rank_scores(values), grid.numbers["weight"].rank_scores(values))


def test_a_file_that_is_no_grid_is_named(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(ProfileUnreadable, match=r"grid\.json cannot be read: it is no grid"):
        Grid.read(tmp_path / "grid.json")


def test_a_large_reference_is_drawn_from_evenly(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.monitoring.grid._MOST_SAMPLED", 4000)
    parts = [batch(2000, seed, weight=np.full(2000, float(seed)) + np.arange(2000) / 1e4) for seed in range(10)]
    bins = Grid.fit(case.contract, case.problem, parts, 1).numbers["weight"]
    shares = np.histogram(bins.edges, bins=np.arange(11))[0] / ((bins.edges >= 0) & (bins.edges < 10)).sum()
    assert shares == pytest.approx([0.1] * 10, abs=0.03)


def test_a_feature_called_as_the_champions_answer_is_refused(case: Case) -> None:
    columns = {**case.contract.columns, "score": case.contract.columns["weight"]}
    taken = case.contract.model_copy(update={"columns": columns})
    with pytest.raises(NameTaken, match="has a feature `score`"):
        Grid.fit(taken, Problem.binary, [], 1)


def test_a_case_of_several_classes_has_the_predicted_class_as_a_column(case: Case) -> None:
    rows = batch(100, prediction=np.array(["a", "b"] * 50, dtype=object))
    grid = Grid.fit(case.contract, Problem.multiclass, [rows], 1)
    assert grid.columns["prediction"].count(rows.column("prediction")).counts[:2].tolist() == [50, 50]
