"""Two-sample tests: right where nothing differs, sharp where something does, silent where there is nothing to test."""

import numpy as np
import pytest
from scipy import stats

from tasks.monitoring.bins import NumberBins
from tasks.monitoring.discovery import Split, adjusted
from tasks.monitoring.two_sample import (
    chi_squared,
    kolmogorov_smirnov,
    mood,
    new_category,
    numbers,
    share,
    terms,
    wilcoxon,
)


def counted(*samples: np.ndarray) -> list[np.ndarray]:
    bins = NumberBins.fit(samples[0], None)
    return [bins.count_values(sample).counts for sample in samples]


def test_wilcoxon_on_counts_is_wilcoxon_on_rows() -> None:
    random = np.random.default_rng(1)
    one, other = random.poisson(3, 400).astype(float), random.poisson(3.3, 150).astype(float)
    expected = stats.mannwhitneyu(other, one, use_continuity=False, method="asymptotic").pvalue
    assert wilcoxon(*counted(one, other)).p_value == pytest.approx(expected, rel=1e-3)


def test_mood_on_counts_is_mood_on_rows() -> None:
    random = np.random.default_rng(1)
    one, other = random.normal(size=400), random.normal(0, 1.2, 150)
    bins = NumberBins.fit(np.concatenate([one, other]), None)
    found = mood(*(bins.count_values(sample).counts for sample in (one, other)))
    assert found.p_value == pytest.approx(stats.mood(other, one).pvalue, rel=0.05)


def test_the_kolmogorov_p_value_is_on_the_safe_side_of_the_exact_one() -> None:
    random = np.random.default_rng(2)
    one, other = random.normal(size=300), random.normal(0.2, 1, 100)
    exact = stats.ks_2samp(one, other, method="exact").pvalue
    assert exact <= kolmogorov_smirnov(*counted(one, other)).p_value <= 1.5 * exact


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x: x + 0.4, "two-sample Wilcoxon"),
        (lambda x: 1.6 * x, "two-sample Mood"),
        (lambda x: np.where(np.abs(x) < 0.4, 0.4, x), "two-sample Kolmogorov-Smirnov"),
    ],
)
def test_each_kind_of_change_is_found_by_its_own_test(change, name) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(3)
    found = numbers(*counted(random.normal(size=5000), change(random.normal(size=2000))))
    assert found is not None
    assert (found.name, found.p_value < 1e-6) == (name, True)


def test_a_column_of_one_value_has_nothing_to_test() -> None:
    assert numbers(*counted(np.full(100, 3.0), np.full(50, 3.0))) is None
    assert chi_squared(np.array([100, 0]), np.array([50, 0])) is None


def test_a_mixture_with_an_atom_is_tested_validly() -> None:
    """Of 300 pairs of samples without drift, about 15 have a p-value below 5 %; three in one are on the safe side."""
    random = np.random.default_rng(4)

    def draw(rows: int) -> np.ndarray:
        return np.where(random.random(rows) < 0.7, 0.0, random.exponential(1, rows))

    bins = NumberBins.fit(draw(2000), None)
    found = [numbers(*(bins.count_values(draw(rows)).counts for rows in (1000, 200))) for _ in range(300)]
    assert sum(one is not None and one.p_value < 0.05 for one in found) <= 22


@pytest.mark.parametrize("levels", [3, 8, 20, 100])
def test_chi_squared_holds_its_rate_whatever_the_levels(levels: int) -> None:
    """A one-sample test would alarm in 24 to 71 % of these."""
    random = np.random.default_rng(levels)
    shares = 1 / np.arange(1, levels + 1)
    draws = [[random.multinomial(rows, shares / shares.sum()) for rows in (1000, 300)] for _ in range(400)]
    found = [chi_squared(*both) for both in draws]
    assert 6 <= sum(one is not None and one.p_value < 0.05 for one in found) <= 34


def test_a_category_that_grew_is_named() -> None:
    found = chi_squared(np.array([500, 300, 200]), np.array([35, 25, 40]))
    assert found is not None
    assert (found.place, found.effect) == (2, pytest.approx(0.2))


def test_missing_values_are_tested_exactly() -> None:
    found = share("missing", (0, 1000), (4, 1000))
    assert found is not None
    assert found.p_value == pytest.approx(stats.fisher_exact([[0, 1000], [4, 996]]).pvalue)
    assert share("missing", (0, 1000), (0, 50)) is None
    assert share("missing", (1000, 1000), (50, 50)) is None


def test_missing_values_of_millions_of_rows_are_tested_too() -> None:
    found = share("missing", (500_000, 10_000_000), (55_000, 1_000_000))
    assert found is not None
    assert found.p_value < 1e-10
    assert found.effect == pytest.approx(0.005)


def test_a_new_category_is_found_by_a_few_rows_beside_a_large_reference() -> None:
    found = new_category(np.array([30_000, 20_000, 0]), np.array([580, 416, 4]))
    assert found is not None
    assert (found.place, found.p_value < 1e-5) == (2, True)


def test_a_category_that_chance_left_out_is_no_news() -> None:
    found = new_category(np.array([600, 400, 0]), np.array([590, 409, 1]))
    assert found is None or found.p_value == 1.0


def test_new_categories_hold_their_rate_where_most_are_rare() -> None:
    random = np.random.default_rng(6)
    shares = np.full(2000, 1 / 2000)
    found = [new_category(random.multinomial(2000, shares), random.multinomial(500, shares)) for _ in range(300)]
    assert sum(one is not None and one.p_value < 0.05 for one in found) <= 22


def test_the_term_that_came_is_named() -> None:
    found = terms((np.array([500, 30, 2]), 1000), (np.array([250, 14, 40]), 500))
    assert found is not None
    assert (found.place, found.p_value < 1e-8) == (2, True)


def test_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    p_values = [0.001, 0.3, 0.012, 0.02, 0.9, 0.012]
    assert adjusted(p_values) == pytest.approx(stats.false_discovery_control(p_values).tolist())
    assert adjusted([]) == []


def test_the_parts_of_a_scan_spend_its_rate_and_no_more() -> None:
    split = Split.of(0.05)
    assert 0.04 < split.columns + split.pairs + split.together <= 0.05
