"""Loading: what the routes name is taken into service; what leaves them is kept for a while."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving import loading as module
from serving.engine.example import write_example
from serving.engine.frame import frame_of
from serving.engine.pipeline import CANDIDATE_FILE
from serving.inference import Desk
from serving.loading import Loading
from serving.metrics import Metrics
from serving.routes.local import CaseRoutes, LocalCopy, RouteEntry
from serving.served import Arm, Arms
from tasks.features.artifact import MODEL_FILE, save_model, score
from tests.serving.engine.orchard import Ask, fitted

ASK = Ask("hist_gradient_boosting", "binary", (("max_iter", 3), ("min_samples_leaf", 5)))
MODEL = fitted(ASK)


@pytest.fixture
def copy(tmp_path: Path) -> LocalCopy:
    """A local copy in which versions 1 and 2 stand ready."""
    copy = LocalCopy(tmp_path)
    for number in ("1", "2"):
        folder = copy.version(MODEL.case.name, number)
        folder.mkdir(parents=True)
        save_model(MODEL.model, folder / MODEL_FILE)
        MODEL.candidate.write(folder / CANDIDATE_FILE)
        rows = MODEL.rows.take(range(5))
        write_example(folder, rows, score(MODEL.model, frame_of(rows, MODEL.case.contract), MODEL.candidate).tolist())
    return copy


def routes(copy: LocalCopy, generation: int, share: float = 0.0, **roles: str) -> CaseRoutes:
    """Routes in which these versions have these roles."""
    entries = {
        role: RouteEntry(
            version=version,
            engine="plan",
            model_sha256="of no matter",
            plan_sha256=MODEL.compiled().write(copy.version(MODEL.case.name, version)),
        )
        for role, version in roles.items()
    }
    at = datetime.now(UTC)
    return CaseRoutes(
        case=MODEL.case.name, generation=generation, written_at=at, salt="orchard", share=share, **entries
    )


async def champions(copy: LocalCopy, *versions: str, pause: float = 0.0) -> list[Arm | None]:
    """Who answers after each change of champion."""
    desk = Desk(MODEL.case)
    loading = Loading(desk, copy, Metrics({MODEL.case.name: MODEL.case.problem}))
    found = []
    for generation, version in enumerate(versions, 1):
        await loading.follow(routes(copy, generation, champion=version))
        found.append(desk.served.arms.champion)
        await asyncio.sleep(pause)
    return found


def test_a_version_that_left_the_routes_is_back_without_being_loaded_again(copy: LocalCopy) -> None:
    first, second, third = asyncio.run(champions(copy, "1", "2", "1"))
    assert first is not None
    assert second is not None
    assert (first.version, second.version) == ("1", "2")
    assert third is first


def test_it_is_let_go_when_nobody_wanted_it_back(copy: LocalCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_SECONDS", 0.01)
    first, _, third = asyncio.run(champions(copy, "1", "2", "1", pause=0.05))
    assert third is not None
    assert third.version == "1"
    assert third is not first


def test_a_worker_that_starts_answers_nobody_before_the_challengers_users_have_their_version(
    copy: LocalCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    loading = Loading(Desk(MODEL.case), copy, Metrics({MODEL.case.name: MODEL.case.problem}))
    put = loading._put_into_service

    def noted(arms: Arms) -> None:
        assert arms.champion
        seen.append((arms.champion.version, arms.challenger and arms.challenger.version))
        put(arms)

    monkeypatch.setattr(loading, "_put_into_service", noted)
    asyncio.run(loading.follow(routes(copy, 1, 0.5, champion="1", challenger="2")))
    assert seen == [("1", "2")]
