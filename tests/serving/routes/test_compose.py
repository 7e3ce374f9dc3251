"""Who answers, for everything a registry can say and every way versions can be late."""

from datetime import UTC, datetime
from typing import Any

from serving.routes.compose import compose, still_answering
from serving.routes.local import CaseRoutes, RouteEntry
from tasks.adapters.registry import Standing
from tasks.records import Traffic

HALF = Traffic(challenger="3", share=0.5, shadow=True, salt="bikes/3")


def entry(version: str) -> RouteEntry:
    return RouteEntry(version=version, engine="plan", model_sha256=version * 8, plan_sha256="b" * 64)


def ready(*versions: str) -> dict[str, RouteEntry]:
    return {version: entry(version) for version in versions}


def standing(champion: str | None, challenger: str | None, retired: str | None, traffic: Traffic = HALF) -> Standing:
    return Standing(case="bikes", champion=champion, challenger=challenger, retired=retired, traffic=traffic)


def before(champion: str | None, challenger: str | None = None, retired: str | None = None) -> CaseRoutes:
    named = {"champion": champion, "challenger": challenger, "retired": retired}
    entries = {role: entry(version) for role, version in named.items() if version}
    return CaseRoutes(case="bikes", generation=4, written_at=datetime(2026, 1, 1, tzinfo=UTC), salt="bikes", **entries)


def roles(composed: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(one and one.version for one in (composed[r] for r in ("champion", "challenger", "retired")))


def test_everybody_who_is_ready_takes_the_role_the_registry_names() -> None:
    composed = compose(standing("2", "3", "1"), ready("1", "2", "3"), None)
    assert roles(composed) == ("2", "3", "1")
    assert (composed["share"], composed["shadow"], composed["salt"]) == (0.5, True, "bikes/3")
    assert CaseRoutes(generation=1, written_at=datetime(2026, 1, 1, tzinfo=UTC), **composed).champion == entry("2")


def test_until_the_champion_is_ready_the_former_one_goes_on_with_who_stood_behind() -> None:
    composed = compose(standing("3", None, "2"), ready("1", "2"), before("2", retired="1"))
    assert roles(composed) == ("2", None, "1")


def test_a_first_champion_that_is_not_ready_leaves_nobody() -> None:
    assert roles(compose(standing("1", None, None), {}, None)) == (None, None, None)


def test_a_challenger_that_is_not_ready_answers_nobody() -> None:
    composed = compose(standing("2", "3", "1"), ready("1", "2"), before("2", "1"))
    assert roles(composed) == ("2", None, "1")
    assert (composed["share"], composed["shadow"]) == (0.0, False)


def test_a_challenger_the_registry_no_longer_names_answers_nobody() -> None:
    composed = compose(standing("2", None, "1", Traffic(salt="bikes")), ready("1", "2", "3"), before("2", "3"))
    assert roles(composed) == ("2", None, "1")


def test_a_champion_is_taken_away_when_the_registry_says_so() -> None:
    assert roles(compose(standing(None, None, "1"), ready("1", "2"), before("2"))) == (None, None, "1")


def test_between_the_writes_of_a_promotion_nobody_has_two_roles() -> None:
    composed = compose(standing("3", "3", "1"), ready("1", "2", "3"), before("2", "3", "1"))
    assert roles(composed) == ("3", None, "1")
    assert (composed["share"], composed["shadow"]) == (0.0, False)


def test_between_the_writes_of_a_rollback_nobody_has_two_roles() -> None:
    assert roles(compose(standing("1", "3", "1"), ready("1", "2", "3"), before("2", "3", "1"))) == ("1", "3", None)


def test_a_champion_that_is_late_is_not_its_own_challenger_meanwhile() -> None:
    composed = compose(standing("3", "2", None), ready("1", "2"), before("2", retired="1"))
    assert roles(composed) == ("2", None, "1")
    assert composed["share"] == 0


def test_who_answers_already_goes_on_while_it_is_proven_again() -> None:
    going_on = still_answering(standing("2", "3", "1"), {"2": "22222222", "3": "33333333"}, before("2", "3", "1"))
    assert set(going_on) == {"2", "3"}
    composed = compose(standing("2", "3", "1"), going_on | ready("1"), before("2", "3", "1"))
    assert (roles(composed), composed["share"]) == (("2", "3", "1"), 0.5)


def test_a_number_that_means_another_model_now_does_not_go_on() -> None:
    assert still_answering(standing("2", "3", "1"), {"3": "another"}, before("2", "3", "1")) == {}


def test_a_version_in_another_role_has_to_stand_ready_first() -> None:
    assert still_answering(standing("3", "2", None), {"2": "22222222", "3": "33333333"}, before("2", "3")) == {}


def test_a_version_that_could_not_be_proven_does_not_go_on() -> None:
    assert still_answering(standing("2", "3", "1"), {}, before("2", "3", "1")) == {}


def test_where_nobody_answered_nobody_goes_on() -> None:
    assert still_answering(standing("2", "3", "1"), {"2": "22222222"}, None) == {}
