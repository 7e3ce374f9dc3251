"""What a smoke test makes of a gateway that refuses before it asks any version."""

from collections.abc import Iterator
from typing import Any

import pytest

from configs.project import Project
from flows.smoke import smoke
from serving.access import Keys
from tasks.records import Reason
from tests.conftest import ASKED
from tests.serving.conftest import RunningGateway, bike

__all__ = ["bike"]

pytestmark = pytest.mark.slow


@pytest.fixture
def locked(clone: Project) -> Iterator[tuple[RunningGateway, str]]:
    """A gateway that wants a key, lets a client ask seldom, and has no model yet; and its key."""
    place = clone.root / "configs/places/local.yaml"
    place.write_text(place.read_text() + "  keys: data/keys.json\n  limits: {requests_per_second: 0.01}\n")
    keys, key = Keys().with_new("rollouts", ("predict",), ASKED)
    keys.write(clone.root / "data/keys.json")
    gateway = RunningGateway(clone).start()
    try:
        gateway.wait_for(lambda: gateway.get("/v2/health/live").status_code == 200, "life")
        yield gateway, key
    finally:
        gateway.stop()


def test_a_gateway_that_asks_nobody_says_nothing_about_the_challenger(
    locked: tuple[RunningGateway, str], bike: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, key = locked
    case = gateway.project.case("bikes")
    row = {name: bike[name] for name in case.contract.features}

    def smoked() -> Reason:
        return smoke(gateway.url, case, [row], "3", pinned=True)

    found = [smoked()]
    assert "answers 401" in found[0].text
    assert "set EVERGREEN_GATEWAY_KEY to a key of the gateway" in found[0].text
    monkeypatch.setenv("EVERGREEN_GATEWAY_KEY", key)
    found += [smoked(), smoked()]
    assert "answers 503" in found[1].text
    assert "answers 429" in found[2].text
    assert {(reason.rule, reason.passed, reason.inconclusive) for reason in found} == {("smoke test", False, True)}
