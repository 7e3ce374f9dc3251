"""One clock for all flows."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from configs.project import Project
from flows import clock
from flows.errors import AsOfAhead
from flows.monitoring_steps import look
from flows.steps import moment_of
from tests.command import evergreen

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


def test_no_run_is_about_a_moment_that_has_not_come(checkout: Project):
    flights = checkout.case("flights")
    with clock.at(THEN):
        for ahead in (timedelta(0), timedelta(minutes=5)):
            assert moment_of(flights, THEN + ahead) == look.fn("flights", THEN + ahead).as_of == THEN + ahead
        for step in (lambda moment: moment_of(flights, moment), lambda moment: look.fn("flights", moment)):
            with pytest.raises(
                AsOfAhead, match=r"The as-of 2013-08-12 02:06Z has not come yet: it is 2013-08-12 02:00Z"
            ):
                step(THEN + timedelta(minutes=6))


def test_a_moment_without_a_zone_is_in_utc(checkout: Project):
    assert moment_of(checkout.case("flights"), THEN.replace(tzinfo=None)) == THEN


def test_a_typo_in_an_as_of_is_refused_before_anything_begins(checkout: Project):
    for command in ("train", "drift", "truth"):
        ended = evergreen(checkout, command, "flights", "--as-of", "2999-08-19")
        assert ended.returncode == 1
        assert "The as-of 2999-08-19 00:00Z has not come yet" in " ".join(ended.stderr.split())
    assert not list(checkout.stores.glob("*.lock"))
    assert not checkout.files("flights").order.exists()
