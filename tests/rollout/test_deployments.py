"""What `evergreen up` deploys of a rollout."""

import pytest
import yaml

from configs.project import Project
from tests.conftest import ROOT

DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("name", ["rollout", "rollback", "control"])
def test_every_case_has_its_own(name: str) -> None:
    ours = [each for each in DEPLOYED if each["entrypoint"] == f"flows/rollout.py:{name}"]
    assert sorted(each["name"] for each in ours) == Project(ROOT).cases
    assert all(each["parameters"] == {"case": each["name"]} for each in ours)


def test_a_run_that_was_answered_is_never_cancelled_for_another() -> None:
    """Prefect's own limit would cancel it; the lock of the rollout makes one of them end at once instead."""
    ours = [each for each in DEPLOYED if each["entrypoint"] == "flows/rollout.py:rollout"]
    assert all("concurrency_limit" not in each for each in ours)
