"""One clock for all flows."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

from flows import clock

THEN = datetime(2013, 8, 12, 2, tzinfo=UTC)


def test_the_time_is_the_machines_unless_somebody_says_otherwise():
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)


def test_a_replay_sets_the_time_for_every_thread_and_gives_it_back():
    with clock.at(THEN), ThreadPoolExecutor(1) as other:
        assert clock.now() == other.submit(clock.now).result() == THEN
        with clock.at(THEN + timedelta(hours=1)):
            assert clock.now() == THEN + timedelta(hours=1)
        assert clock.now() == THEN
    assert clock.now() > THEN


def test_the_time_is_told_in_utc():
    with clock.at(THEN.astimezone(timezone(timedelta(hours=-5)))):
        assert clock.now().utcoffset() == timedelta(0)
