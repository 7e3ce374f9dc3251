"""Profiles: adding them is exact; what is broken in a column is counted, not raised."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.case import Case, Problem
from tasks.monitoring.errors import ContractDiffers, GridDiffers, ProfileUnreadable
from tasks.monitoring.grid import Grid
from tasks.monitoring.profile import Profile, profile_of, total
from tests.monitoring.conftest import batch


def test_a_month_is_the_sum_of_its_hours_in_any_order(grid: Grid) -> None:
    rows = batch(5000, weight=np.where(np.arange(5000) % 7, np.random.default_rng(5).normal(20, 4, 5000), np.nan))
    hours = [profile_of([rows.slice(at, 137)], grid) for at in range(0, 5000, 137)]
    assert total(hours, grid) == total(reversed(hours), grid) == profile_of([rows], grid)


def test_rows_come_in_batches_of_any_size(grid: Grid) -> None:
    rows = batch(3000)
    assert profile_of([rows.slice(0, 1), rows.slice(1)], grid) == profile_of([rows], grid)


def test_a_profile_is_small_and_reads_back_equal(grid: Grid, reference: Profile, tmp_path: Path) -> None:
    reference.write(tmp_path / "profile.parquet")
    assert Profile.read(tmp_path / "profile.parquet") == reference
    assert (tmp_path / "profile.parquet").stat().st_size < 15_000 * len(grid.columns)


def test_a_file_that_is_no_profile_is_named(tmp_path: Path) -> None:
    (tmp_path / "profile.parquet").write_bytes(b"no profile")
    with pytest.raises(ProfileUnreadable, match=r"profile\.parquet cannot be read"):
        Profile.read(tmp_path / "profile.parquet")


def test_profiles_of_two_grids_are_not_added(case: Case, reference: Profile) -> None:
    other = Grid.fit(case.contract, case.problem, [batch(500, 9)], 2)
    with pytest.raises(GridDiffers, match="cannot be added or compared"):
        reference + profile_of([batch(10)], other)


def test_profiles_of_two_contracts_are_not_added(case: Case, reference: Profile) -> None:
    later = case.contract.model_copy(update={"version": 2})
    other = profile_of([batch(10)], Grid.fit(later, case.problem, [batch(500)], 2))
    with pytest.raises(ContractDiffers, match="counted for contract version 1, and version 2 is asked for"):
        reference + other


def column(grid: Grid, name: str, values: Any) -> Any:
    """The profile of one column with these values."""
    rows = len(values) if values is not None else 10
    return profile_of([batch(rows, **{name: values})], grid).columns[name]


def test_no_rows_are_no_rows(grid: Grid) -> None:
    assert profile_of([], grid).rows == profile_of([batch(0)], grid).rows == 0


def test_one_row_is_counted(grid: Grid) -> None:
    weight = profile_of([batch(1)], grid).columns["weight"]
    assert (weight.rows, weight.present, weight.counts.sum()) == (1, 1, 1)


def test_missing_infinite_and_finite_values_are_told_apart(grid: Grid) -> None:
    weight = column(grid, "weight", pa.array([1.0, None, float("nan"), float("inf"), float("-inf"), 2.0]))
    assert (weight.nulls, weight.infinite, weight.present, weight.low, weight.high) == (2, 2, 2, 1.0, 2.0)


def test_a_column_that_is_not_there_is_absent(grid: Grid) -> None:
    for name in ("weight", "species", "ringed", "seen"):
        gone = column(grid, name, None)
        assert (gone.absent, gone.present, gone.nulls) == (10, 0, 0)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("weight", ["12", "13", None]),
        ("weight", [True, False, None]),
        ("species", [1, 2, None]),
        ("ringed", ["yes", "no", None]),
        ("seen", ["2026-03-01", "never", None]),
    ],
)
def test_values_of_another_type_are_counted_as_wrong(grid: Grid, name: str, values: list[Any]) -> None:
    wrong = column(grid, name, pa.array(values))
    assert (wrong.wrong, wrong.nulls, wrong.present) == (2, 1, 0)


def test_a_type_that_changes_between_batches_is_counted_batch_by_batch(grid: Grid) -> None:
    mixed = profile_of([batch(10), batch(10, weight=np.array(["a"] * 10, dtype=object))], grid).columns["weight"]
    assert (mixed.wrong, mixed.present) == (10, 10)


def test_categories_nobody_knew_are_counted_by_name(grid: Grid) -> None:
    species = column(grid, "species", ["robin", "owl", "owl", "eagle"])
    assert sorted(name for name in species.names if name) == ["eagle", "owl"]
    assert grid.columns["species"].unlisted(species.counts) == 3  # type: ignore[union-attr]


def test_dictionaries_and_plain_strings_are_counted_alike(grid: Grid) -> None:
    plain = pa.array(["robin", None, "owl", "robin"])
    assert column(grid, "species", plain) == column(grid, "species", plain.dictionary_encode())


def test_the_first_and_last_answer_are_kept(grid: Grid) -> None:
    moments = pd.date_range("2026-03-02T12:00", periods=5, freq="min", tz="UTC")
    rows = batch(5, answered_at=pa.array(moments, pa.timestamp("us", "UTC")))
    both = profile_of([rows.slice(3)], grid) + profile_of([rows.slice(0, 3)], grid)
    assert (both.first, both.last) == (moments[0], moments[-1])


def test_free_text_is_counted_by_the_rows_that_have_a_term(case: Case) -> None:
    texts = pa.array(["A red, red bird", "a BLUE bird", None])
    grid = Grid.fit(case.contract, Problem.binary, [batch(3, species=texts)], 1, text=("species",))
    bins, counted = grid.columns["species"], profile_of([batch(3, species=texts)], grid).columns["species"]
    told = dict(zip(bins.terms, counted.counts.tolist(), strict=False))  # type: ignore[union-attr]
    assert told == {"a": 2, "bird": 2, "red": 1, "blue": 1}
    assert counted.nulls == 1
