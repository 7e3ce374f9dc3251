"""The reference of a version is built beside a replay, before the first look at it."""

import time

import pytest

from configs.project import Project
from flows.replay_reference import references_ahead
from tasks.monitoring.reference import is_whole, kept_at

_PATIENCE = 120


def test_the_reference_of_a_version_is_built_before_it_is_champion(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_ROOT", str(registered.root))
    until = time.monotonic() + _PATIENCE
    with references_ahead(registered, "bikes") as build:
        build(["1"])
        while not is_whole(kept_at(registered, "bikes", "1")):
            assert time.monotonic() < until
            time.sleep(0.05)
