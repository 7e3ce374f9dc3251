"""The page for people: our verdicts above Evidently's pictures, whatever the columns are like."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tasks.monitoring.report import Sides, drawable, page
from tasks.verdicts import Answer, Evidence, Monitor, Verdict

END = datetime(2026, 3, 9, tzinfo=UTC)
VERDICT = Verdict(
    case="birds",
    monitor=Monitor.score,
    answer=Answer.alarm,
    as_of=END,
    start=END - timedelta(weeks=1),
    end=END,
    version="3",
    rows=300,
    text="The score moved <far>.",
    evidence=(Evidence(subject="weight", test="share", text="80% of it", alarm=True),),
)


def birds(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"weight": random.normal(20, 4, rows), "kind": random.choice(["wren", "tit"], rows)})


def sides(current: pd.DataFrame, rows: int | None = None) -> Sides:
    return Sides(birds(400, 1), current, {"weight": "number", "kind": "category"}, 90_000, rows or len(current))


def test_a_page_without_enough_rows_has_verdicts_and_says_so() -> None:
    for rows in (0, 1):
        written = page("birds", [VERDICT], sides(birds(rows, 2)))
        assert "The score moved &lt;far&gt;." in written
        assert "weight: 80% of it" in written
        assert "No pictures: fewer than 20 rows on one side" in written


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weight": np.nan}, "no number in the window"),
        ({"weight": "heavy"}, "no number in the window"),
        ({"weight": np.inf}, "no number in the window"),
        ({"weight": None}, "no number in the window"),
    ],
)
def test_a_column_that_cannot_be_drawn_is_named(change: dict[str, object], why: str) -> None:
    shown = drawable(sides(birds(300, 2).assign(**change)))
    assert shown.left_out == {"weight": why}
    assert list(shown.kinds) == list(shown.reference) == list(shown.current) == ["kind"]


def test_a_missing_a_constant_and_a_crowded_column_are_named() -> None:
    current = birds(300, 2).drop(columns="weight")
    assert drawable(sides(current)).left_out == {"weight": "not in the window"}
    same = Sides(birds(300, 1).assign(kind="wren"), birds(300, 2).assign(kind="wren"), {"kind": "category"}, 300, 300)
    assert drawable(same).left_out == {"kind": "one value only, the same on both sides"}
    crowded = birds(300, 2).assign(kind=[f"bird {number}" for number in range(300)])
    assert drawable(sides(crowded)).left_out == {"kind": "more than 200 categories"}


@pytest.mark.slow
def test_evidently_draws_what_is_left_on_one_page_of_its_own() -> None:
    written = page("birds", [VERDICT], sides(birds(300, 2).assign(weight=np.nan), rows=5_000_000))
    assert written.index("The score moved") < written.index("plotly")
    assert "a sample of 300 of 5,000,000 rows" in written
    assert "<script src" not in written
    assert 'src="http' not in written
    assert 'rel="stylesheet" href="http' not in written
