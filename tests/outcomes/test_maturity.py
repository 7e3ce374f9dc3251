"""How labels come in: learnt from young and old days alike, late when they are, and different when they are."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tasks.outcomes.maturity import Maturity, curve, lateness, missing_at_random

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
DAYS = 40


def counted(  # noqa: PLR0917
    seed: int, days: int = DAYS, rows: int = 2000, ever: float = 0.9, mean_hours: float = 60.0, fewer: float = 1.0
) -> pd.DataFrame:
    """What `count_labels` gives for days whose labels come after exponential delays, as of AS_OF."""
    draw = np.random.default_rng(seed)
    found = []
    for back in range(days, 0, -1):
        start = AS_OF - timedelta(days=back)
        answered = draw.uniform(0, 24, rows)
        delay = draw.exponential(mean_hours, rows)
        seen = (draw.random(rows) < ever * fewer) & (answered + delay < back * 24)
        hours = np.where(seen, np.floor(delay), np.nan)
        each = pd.Series(hours).value_counts(dropna=False).rename_axis("hours").reset_index(name="rows")
        found.append(each.assign(day=pd.Timestamp(start).tz_localize(None)))
    return pd.concat(found, ignore_index=True)


def test_the_curve_is_the_share_of_labels_by_age() -> None:
    learnt = curve(counted(1), AS_OF)
    ages = np.array([24.0, 60.0, 120.0])
    assert learnt.at(ages) == pytest.approx(0.9 * (1 - np.exp(-ages / 60)), abs=0.02)
    assert learnt.ever == pytest.approx(0.9, abs=0.02)


def test_days_that_are_too_young_do_not_bend_the_curve() -> None:
    whole, young = counted(2), counted(3, days=5, rows=20_000)
    assert curve(pd.concat([whole, young]), AS_OF).ever == pytest.approx(0.9, abs=0.02)


def test_without_labels_the_curve_is_zero() -> None:
    assert curve(counted(4, ever=0.0), AS_OF).ever == 0
    assert curve(counted(4).iloc[:0], AS_OF).ever == 0


def test_maturity_is_the_share_of_the_labels_that_will_ever_come() -> None:
    assert Maturity(rows=1000, labelled=450, ever=0.5).share == 0.9
    assert Maturity(rows=1000, labelled=400, ever=0.5).more(0.9) == 50
    assert Maturity(rows=1000, labelled=450, ever=0.5).more(0.9) == 0
    assert Maturity(rows=0, labelled=0, ever=0.5).share == 0


def _split(counts: pd.DataFrame, days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    recent = pd.to_datetime(counts["day"], utc=True) >= AS_OF - timedelta(days=days)
    return counts[~recent], counts[recent]


def test_labels_as_usual_are_not_late() -> None:
    alarms = 0
    for seed in range(40):
        judged = lateness(*_split(counted(seed, days=28, rows=300), 7), AS_OF)
        assert judged is not None
        alarms += judged.p_value < 0.05
    assert alarms <= 6


def test_fewer_labels_than_at_the_same_age_before_are_late() -> None:
    before, now = _split(counted(5), 7)
    _, fewer = _split(counted(5, fewer=0.6), 7)
    judged = lateness(before, fewer, AS_OF)
    assert judged is not None
    assert judged.p_value < 1e-6
    assert judged.share == pytest.approx(0.6 * judged.expected, rel=0.1)
    assert lateness(before.head(2), now, AS_OF) is None


def test_missing_at_random_is_left_alone() -> None:
    alarms = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        columns = pd.DataFrame({name: draw.normal(size=1000) for name in ("score", "a", "b")})
        columns["region"] = draw.choice(["n", "s", "e"], 1000)
        found = missing_at_random(draw.random(1000) < 0.8, columns, ["score", "a", "b"], 0.05)
        alarms += any(one.alarm for one in found)
    assert alarms <= 6


@pytest.mark.parametrize("column", ["score", "region", "gap"])
def test_missing_for_a_reason_is_named(column: str) -> None:
    draw = np.random.default_rng(7)
    columns = pd.DataFrame({"score": draw.normal(size=4000), "other": draw.normal(size=4000)})
    columns["region"] = draw.choice(["n", "s"], 4000)
    columns["gap"] = np.where(draw.random(4000) < 0.3, np.nan, 0.0)
    sign = {"score": columns["score"] > 0, "region": columns["region"] == "n", "gap": columns["gap"].isna()}[column]
    labelled = draw.random(4000) < np.where(sign, 0.7, 0.9)
    found = missing_at_random(labelled, columns, ["score", "other", "gap"], 0.05)
    named = [one.subject for one in found if one.alarm]
    assert named == [column]


def test_a_handful_without_labels_says_nothing() -> None:
    labelled = np.array([True] * 100 + [False] * 5)
    assert missing_at_random(labelled, pd.DataFrame({"score": np.arange(105.0)}), ["score"], 0.05) == ()
