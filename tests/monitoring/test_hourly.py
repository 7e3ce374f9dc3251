"""The watch over every hour: silent without a change, quick with one, exact about which hours it has seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.case import Column, Contract, Problem
from configs.monitoring import HourlyParams
from tasks.monitoring.bets import Bets, normal_scores
from tasks.monitoring.errors import GridDiffers
from tasks.monitoring.grid import Grid
from tasks.monitoring.hourly import HOUR, Watch, Watched
from tasks.monitoring.profile import Profile, profile_of
from tasks.monitoring.wavering import Usual
from tasks.verdicts import Answer

START = datetime(2026, 1, 1, tzinfo=UTC)
CASE = "mill"
CONTRACT = Contract(
    version=1,
    columns={
        "id": Column.model_validate({"type": "string", "role": "entity"}),
        "at": Column.model_validate({"type": "timestamp", "role": "event_time"}),
        "good": Column.model_validate({"type": "boolean", "role": "target"}),
        "heat": Column.model_validate({"type": "number", "role": "feature"}),
        "load": Column.model_validate({"type": "integer", "role": "feature"}),
        "fixed": Column.model_validate({"type": "number", "role": "feature"}),
        "grain": Column.model_validate({"type": "string", "role": "feature", "categories": ["rye", "oat", "corn"]}),
        "free": Column.model_validate({"type": "string", "role": "feature"}),
        "dry": Column.model_validate({"type": "boolean", "role": "feature"}),
        "note": Column.model_validate({"type": "string", "role": "feature"}),
    },
)
NEW = Watched(version="1", reference="r")


def rows(seed: int, count: int, **changes: Any) -> pa.RecordBatch:
    """Some rows; a change is a function of the generator and the column as it would be."""
    draw = np.random.default_rng([2026, seed])
    columns: dict[str, Any] = {
        "heat": draw.normal(80, 5, count),
        "load": draw.poisson(6, count),
        "fixed": np.full(count, 3.5),
        "grain": draw.choice(["rye", "oat", "corn"], count, p=[0.7, 0.25, 0.05]).astype(object),
        "free": draw.choice([f"mill {n}" for n in range(8)], count).astype(object),
        "dry": draw.random(count) < 0.1,
        "note": draw.choice(["all is well", "belt slips", "dust and well"], count).astype(object),
        "score": draw.beta(2, 3, count),
    }
    for name, change in changes.items():
        columns[name] = change(draw, columns[name])
    return pa.record_batch({name: pa.array(values) for name, values in columns.items() if values is not None})


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid.fit(CONTRACT, Problem.binary, [rows(0, 20_000)], 1, text=["note"])


@pytest.fixture(scope="module")
def watch(grid: Grid) -> Watch:
    params = HourlyParams()
    return Watch(Bets.against(profile_of([rows(0, 20_000)], grid), grid, params.tolerance, params.error_rate), params)


def see(watch: Watch, grid: Grid, hours: range, state: Watched = NEW, **changes: Any) -> Watched:
    """The state after these hours of 200 rows."""
    for hour in hours:
        state = watch.take(state, START + hour * HOUR, profile_of([rows(1 + hour, 200, **changes)], grid))
    return state


@pytest.fixture(scope="module")
def quiet(watch: Watch, grid: Grid) -> Watched:
    """Two days without a change."""
    return see(watch, grid, range(48))


def test_hours_like_the_reference_are_clear(watch: Watch, quiet: Watched) -> None:
    verdict = watch.verdict(CASE, quiet, START + 48 * HOUR, START, quiet.rows)

    assert verdict.answer is Answer.clear
    assert (quiet.looks, quiet.rows) == (48, 9600)
    assert verdict.error_rate == 0.05
    assert verdict.statistic is not None
    assert verdict.threshold is not None
    assert verdict.statistic < verdict.threshold / 20
    assert not verdict.subjects


@pytest.mark.parametrize(
    ("column", "change", "within", "said"),
    [
        ("heat", lambda _, x: x + 1.25, 6, "higher"),
        ("heat", lambda _, x: x - 1.25, 6, "lower"),
        ("heat", lambda _, x: 80 + 2 * (x - 80), 4, "wider spread"),
        ("heat", lambda d, x: np.where(d.random(len(x)) < 0.05, None, x), 3, "more values are missing"),
        ("heat", lambda _, x: x + 1e6, 1, "beyond"),
        ("heat", lambda _, x: x.astype(str), 1, "more values are missing"),
        ("heat", lambda _, x: None, 1, "more values are missing"),
        ("heat", lambda _, x: np.full(len(x), np.inf), 1, "more values are missing"),
        ("load", lambda _, x: x + 1, 6, "higher"),
        ("fixed", lambda _, x: x + 0.1, 1, "beyond"),
        ("grain", lambda d, x: d.choice(["rye", "oat", "corn"], len(x), p=[0.5, 0.25, 0.25]).astype(object), 5, "corn"),
        ("grain", lambda d, x: np.where(d.random(len(x)) < 0.1, "spelt", x), 3, "does not have"),
        ("free", lambda d, x: np.where(d.random(len(x)) < 0.3, "mill 3", x), 8, "`mill 3` is more frequent"),
        ("dry", lambda d, x: d.random(len(x)) < 0.3, 4, "`false` is less"),
        ("note", lambda d, x: np.where(d.random(len(x)) < 0.5, "belt slips", x), 6, "belt"),
        ("score", lambda _, x: x * 0.8, 6, "lower"),
    ],
)
def test_a_change_is_found_named_and_dated(  # noqa: PLR0917
    watch: Watch, grid: Grid, quiet: Watched, column: str, change: Any, within: int, said: str
) -> None:
    state = see(watch, grid, range(48, 48 + within), quiet, **{column: change})
    verdict = watch.verdict(CASE, state, START + (48 + within) * HOUR, START + 48 * HOUR, 200 * within)

    assert verdict.answer is Answer.alarm
    assert verdict.cause == verdict.subjects[0] == column
    assert said in verdict.evidence[0].text
    assert "since about 2026-01-0" in verdict.text


def test_the_change_is_dated_to_within_hours(watch: Watch, grid: Grid, quiet: Watched) -> None:
    state = see(watch, grid, range(48, 60), quiet, heat=lambda _, x: x + 1.5)
    verdict = watch.verdict(CASE, state, START + 60 * HOUR, START + 48 * HOUR, 2400)
    began = datetime.strptime(verdict.evidence[0].text.rsplit("about ", 1)[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)

    assert abs(began - (START + 48 * HOUR)) <= 3 * HOUR


def test_an_hour_counts_once(watch: Watch, grid: Grid, quiet: Watched) -> None:
    again = watch.take(quiet, START + 47 * HOUR, profile_of([rows(48, 200, heat=lambda _, x: x + 9)], grid))

    assert again.log_sums == quiet.log_sums
    assert (again.looks, again.skipped) == (48, 1)


def test_an_hour_that_comes_after_a_later_one_is_left_out_and_told(watch: Watch, grid: Grid, quiet: Watched) -> None:
    late = watch.take(quiet, START - HOUR, profile_of([rows(3, 200)], grid))
    verdict = watch.verdict(CASE, late, START + 48 * HOUR, START, 200)

    assert late.until == quiet.until
    assert "1 hours came after a later one" in verdict.text


def test_an_empty_hour_and_a_gap_change_nothing_but_the_time(watch: Watch, grid: Grid, quiet: Watched) -> None:
    empty = watch.take(quiet, START + 48 * HOUR, profile_of([], grid))
    after = see(watch, grid, range(100, 101), empty)

    assert empty.log_sums == quiet.log_sums
    assert empty.until == START + 49 * HOUR
    assert after.until == START + 101 * HOUR
    assert after.looks == 49
    assert watch.verdict(CASE, empty, START + 49 * HOUR, START + 48 * HOUR, 0).answer is Answer.waiting


def test_a_state_that_was_kept_goes_on_as_if_it_had_not(watch: Watch, grid: Grid, quiet: Watched) -> None:
    kept = Watched.model_validate_json(quiet.model_dump_json())

    assert kept == quiet
    assert see(watch, grid, range(48, 50), kept) == see(watch, grid, range(48, 50), quiet)


def test_an_alarm_ends_soon_after_its_cause(watch: Watch, grid: Grid, quiet: Watched) -> None:
    alarmed = see(watch, grid, range(48, 120), quiet, heat=lambda _, x: x + 2.5)
    after = see(watch, grid, range(120, 144), alarmed)

    assert watch.total(alarmed) >= watch.log_threshold
    assert watch.total(after) < watch.log_threshold


def test_an_expected_change_is_shown_and_alarms_nobody(watch: Watch, grid: Grid, quiet: Watched) -> None:
    patient = replace(watch, expected=("heat",))
    state = see(patient, grid, range(48, 60), quiet, heat=lambda _, x: x + 2.5)
    verdict = patient.verdict(CASE, state, START + 60 * HOUR, START + 48 * HOUR, 2400)

    assert verdict.answer is Answer.clear
    assert [entry.subject for entry in verdict.evidence if entry.expected] == ["heat"]
    assert not verdict.subjects


def test_that_values_of_such_a_column_are_missing_is_not_expected(watch: Watch, grid: Grid, quiet: Watched) -> None:
    patient = replace(watch, expected=("heat",))
    state = see(
        patient, grid, range(48, 54), quiet, heat=lambda draw, x: np.where(draw.random(len(x)) < 0.5, np.nan, x)
    )
    verdict = patient.verdict(CASE, state, START + 54 * HOUR, START + 48 * HOUR, 1200)

    assert verdict.answer is Answer.alarm
    assert verdict.subjects == ("heat",)
    assert "missing" in verdict.text


def test_a_small_reference_is_less_sure(grid: Grid) -> None:
    """What a reference of 300 rows may be wrong by is no change."""
    params = HourlyParams()
    bets = Bets.against(profile_of([rows(5000, 300)], grid), grid, params.tolerance, params.error_rate)
    small = Watch(bets, params)
    state = see(small, grid, range(100))

    assert small.total(state) < small.log_threshold


def test_a_shift_within_the_tolerance_is_not_looked_for(grid: Grid) -> None:
    params = HourlyParams(tolerance=0.3)
    bets = Bets.against(profile_of([rows(0, 20_000)], grid), grid, params.tolerance, params.error_rate)
    tolerant = Watch(bets, params)

    assert tolerant.total(see(tolerant, grid, range(60), heat=lambda _, x: x + 1.25)) < tolerant.log_threshold
    assert tolerant.total(see(tolerant, grid, range(60), heat=lambda _, x: x + 2.5)) >= tolerant.log_threshold


def test_no_bet_pays_on_the_reference_itself(watch: Watch, grid: Grid) -> None:
    """The mean of each ratio over the reference's own rows is at most 1."""
    reference = profile_of([rows(0, 20_000)], grid)
    for bet in watch.bets.bets:
        reading = watch.bets.readings[bet.reading]
        found = reference.columns[reading.column]
        if reading.weights is not None:
            shares = found.counts / found.counts.sum()
            mean = float(shares @ np.exp(bet.slope * reading.weights - bet.cost))
        else:
            share = reading.read(found)[0] / max(reading.read(found)[1], 1)
            mean = share * np.exp(bet.slope - bet.cost) + (1 - share) * np.exp(-bet.cost)
        assert mean <= 1 + 1e-9, (reading, bet)


def test_normal_scores_have_no_mean_and_vary_no_more_than_a_normal() -> None:
    counts = np.array([5, 0, 80, 1, 14, 0])
    scores = normal_scores(counts)

    assert counts @ scores == pytest.approx(0, abs=1e-9)
    assert counts @ scores**2 / counts.sum() < 1
    assert (np.diff(scores) > 0).all()


def test_bets_on_another_grid_are_refused(grid: Grid) -> None:
    other = Grid.fit(CONTRACT, Problem.binary, [rows(9, 500)], 1)
    with pytest.raises(GridDiffers, match="The reference was counted"):
        Bets.against(profile_of([rows(0, 500)], other), grid, 0.02, 0.05)


def test_other_bets_have_another_digest(grid: Grid, watch: Watch) -> None:
    def digest(profile: Profile, tolerance: float) -> str:
        return Bets.against(profile, grid, tolerance, 0.05).digest

    same = profile_of([rows(0, 20_000)], grid)
    assert digest(same, 0.02) == watch.bets.digest
    assert digest(same, 0.05) != watch.bets.digest
    assert digest(profile_of([rows(1, 20_000)], grid), 0.02) != watch.bets.digest


def test_the_horizon_and_the_error_rate_make_the_threshold(watch: Watch) -> None:
    longer = replace(watch, params=HourlyParams(horizon_days=280))

    assert np.exp(watch.log_threshold) == pytest.approx(28 * 24 / (0.9 * 0.05))
    assert np.exp(longer.log_threshold - watch.log_threshold) == pytest.approx(10)
    assert timedelta(hours=1) == HOUR


def cycles(seed: int, hours: int, each: int) -> pa.RecordBatch:
    """Hours that differ: it is hotter by day, and oats are milled on some of them."""
    hour = np.arange(hours * each) // each
    oats = np.random.default_rng(seed).random(hours)[hour] < 0.3
    return rows(
        seed,
        hours * each,
        heat=lambda _, x: x + 4 * np.sin(hour / 24 * 2 * np.pi),
        grain=lambda d, x: np.where(oats & (d.random(len(x)) < 0.8), "oat", x),
    )


@pytest.mark.parametrize(("usual", "answer"), [(True, Answer.clear), (False, Answer.alarm)])
def test_hours_that_always_differ_are_no_change(usual: bool, answer: Answer) -> None:
    before = cycles(1, 2000, 10)
    grid = Grid.fit(CONTRACT, Problem.binary, [before], 1)
    params = HourlyParams()
    known = Usual(before.to_pandas(), (np.arange(20_000) // 10, np.arange(20_000) // 2000), params.error_rate)
    bets = Bets.against(profile_of([before], grid), grid, 0.02, 0.05, known if usual else None)
    watch, state = Watch(bets, params), NEW
    now = cycles(2, 72, 200)
    for hour in range(72):
        state = watch.take(state, START + hour * HOUR, profile_of([now.slice(200 * hour, 200)], grid))
    verdict = watch.verdict(CASE, state, START + 72 * HOUR, START, state.rows)

    assert verdict.answer is answer, verdict.text
    broken = profile_of([rows(3, 200, load=lambda _, x: x + 2)], grid)
    for hour in range(72, 76):
        state = watch.take(state, START + hour * HOUR, broken)
    assert "load" in watch.verdict(CASE, state, START + 76 * HOUR, START, state.rows).subjects


def test_the_middle_of_a_cycle_is_no_narrower_spread() -> None:
    def weeks(seed: int, hours: range, each: int) -> pa.RecordBatch:
        hour = np.repeat(np.array(hours) % 168, each)
        return rows(seed, len(hour), heat=lambda d, x: hour + d.random(len(x)))

    before = weeks(1, range(2016), 10)
    grid = Grid.fit(CONTRACT, Problem.binary, [before], 1)
    known = Usual(before.to_pandas(), (np.arange(20_160) // 10,), 0.05)
    watch, state = Watch(Bets.against(profile_of([before], grid), grid, 0.02, 0.05, known), HourlyParams()), NEW
    now = weeks(2, range(60, 108), 200)
    for hour in range(48):
        state = watch.take(state, START + hour * HOUR, profile_of([now.slice(200 * hour, 200)], grid))
    verdict = watch.verdict(CASE, state, START + 48 * HOUR, START, state.rows)
    assert verdict.answer is Answer.clear, verdict.text
