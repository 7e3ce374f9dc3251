"""When something happens in a replay, and how it goes on after it was killed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.records import Rollout, Stage
from tasks.replay.steps import Plan, is_looked_at, looks_at, next_step
from tasks.replay.told import Happened, Judged, Sent, Step, Steps, steps_done, told
from tasks.verdicts import Answer, Monitor, Verdict

START, END = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 4, 22, tzinfo=UTC)
PLAN = Plan(case="flights", start=START, end=END)
DELAY = timedelta(hours=24)
DAY = timedelta(days=1)


def moments(*, rolling: bool = False) -> list[datetime]:
    found, moment = [], next_step(PLAN, DELAY, START, rolling=rolling)
    while moment is not None:
        found.append(moment)
        moment = next_step(PLAN, DELAY, moment, rolling=rolling)
    return found


def test_the_monitors_look_when_a_weeks_labels_have_just_come_in_and_at_the_end() -> None:
    assert moments() == [START + 8 * DAY, START + 15 * DAY, END]
    assert all(looks_at(PLAN, DELAY, moment) for moment in moments())


def test_a_rollout_is_looked_at_every_day_and_the_looks_stay_where_they_were() -> None:
    found = moments(rolling=True)
    assert found == [START + number * DAY for number in range(1, 22)]
    assert [moment for moment in found if looks_at(PLAN, DELAY, moment)] == moments()


def rollout(number: int) -> Rollout:
    stages = (Stage(name="5 %", kind="canary", share=0.05), Stage(name="25 %", kind="canary", share=0.25))
    plan = (*stages, Stage(name="all", kind="canary", share=1.0), Stage(name="warm", kind="warm"))
    about = {"version": "2", "champion": "1", "strategy": "canary", "began": START, "since": START}
    return Rollout(plan=plan, number=number, evidence_since=START, **about)


def test_a_challenger_is_looked_at_once_it_is_past_its_first_canary_and_if_a_look_is_left_when_it_is_champion() -> None:
    begun = START + 8 * DAY
    assert [is_looked_at(PLAN, rollout(number), begun) for number in range(3)] == [False, True, True]
    assert is_looked_at(PLAN, rollout(1), END - 3 * DAY), "it is champion a day before the last look"
    assert not is_looked_at(PLAN, rollout(1), END - 2 * DAY), "the last look comes before it is champion"


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    path = tmp_path / "steps.jsonl"
    kept = Steps(path)
    kept.keep(Step(at=START, looked=True))
    kept.keep_sent(Sent(at=START + DAY, requests=3, rows=7))
    return path


def test_traffic_that_was_sent_is_not_sent_again(steps: Path) -> None:
    found = Steps(steps)
    assert [step.at for step in found.done] == [START]
    assert found.sent(START + DAY) == Sent(at=START + DAY, requests=3, rows=7)
    assert found.sent(START + 2 * DAY) is None


def test_half_a_line_of_a_replay_that_was_killed_is_no_step(steps: Path) -> None:
    with steps.open("a") as file:
        file.write('{"at": "2013-04-')
    half = steps.read_text()
    assert len(steps_done(steps)) == 1
    assert steps.read_text() == half, "whoever looks on leaves it to the replay to cut it off"
    found = Steps(steps)
    assert len(found.done) == 1
    found.keep(Step(at=START + DAY, looked=False))
    assert [step.at for step in Steps(steps).done] == [START, START + DAY]


def test_two_histories_are_equal_when_only_the_last_digits_of_sums_differ() -> None:
    def verdict(statistic: float) -> Verdict:
        about = {"as_of": START, "start": START, "end": END, "version": "1", "rows": 10, "text": f"{statistic}"}
        return Verdict(case="flights", monitor=Monitor.inputs, answer=Answer.clear, statistic=statistic, **about)

    one, same, other = (told([], [verdict(value)], []) for value in (0.1234567890123, 0.1234567890124, 0.1235))
    assert one == same
    assert one != other
    assert isinstance(one.judged[0], Judged)
    assert Happened(at=START, what="approved", version="1", by="ada") != Happened(
        at=START, what="approved", version="2", by="ada"
    )
