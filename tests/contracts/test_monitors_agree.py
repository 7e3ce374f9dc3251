"""The monitors' flows, schedules and words agree with the cases and with one another."""

from pathlib import Path

import pytest
import yaml

from configs.read import case_names, read_case
from tasks.verdicts import Monitor

ROOT = Path(__file__).parents[2]
CASES = case_names(ROOT)
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize(
    ("entrypoint", "slug"), [("flows/drift.py:drift", "hourly"), ("flows/ground_truth.py:ground_truth", "daily")]
)
def test_every_case_is_watched_on_a_schedule(entrypoint: str, slug: str) -> None:
    found = [each for each in DEPLOYMENTS if each["entrypoint"] == entrypoint]
    assert sorted(each["parameters"]["case"] for each in found) == CASES
    assert [each["name"] for each in found] == [each["parameters"]["case"] for each in found]
    assert {schedule["slug"] for each in found for schedule in each["schedules"]} == {slug}
    assert all(each["concurrency_limit"]["limit"] == 1 for each in found)


@pytest.mark.parametrize("name", CASES)
def test_every_monitor_has_a_rule_that_heeds_its_alarm(name: str) -> None:
    rules = read_case(ROOT, name).triage.rules
    heeded = {monitor for rule in rules for line in rule.when for monitor, said in line.items() if "alarm" in said}
    assert {monitor.value for monitor in Monitor} == heeded


@pytest.mark.parametrize("name", CASES)
def test_every_case_alerts_when_a_monitor_could_not_compute(name: str) -> None:
    rules = read_case(ROOT, name).triage.rules
    assert any(rule.action == "alert" and "unknown" in line.get("any", ()) for rule in rules for line in rule.when)
