"""A week of flights, and what goes wrong in the days after it.

It is not the next week: from 2013-04-21 on, air traffic controllers were sent on leave by turns, and what happens
changes with nothing planted.
"""

from datetime import UTC, datetime, timedelta

from configs.faults import read_faults
from tasks.replay.steps import Plan

DAY = timedelta(days=1)
START, PLANTED, END, SHOWN = (datetime(2013, 4, day, tzinfo=UTC) for day in (8, 15, 20, 22))
"""A fault lasts from PLANTED to END; others, who look at whole weeks, are shown two days more."""
LOOK_HOURS = 12
"""Between two looks of the monitors from PLANTED on; before, they look once a day."""
FAULTS = {
    "units": "units:distance=1.609",
    "nulls": "nulls:temperature=0.5",
    "stale": "stale",
    "outage": "outage",
    "shift": "shift:scheduled_arrival_minute=0.5",
    "concept": "concept:origin=JFK",
    "late_labels": "late_labels=240",
    "bad_candidate": "bad_candidate",
    "bad_challenger": "bad_challenger",
}
OF_MODELS = ("bad_candidate", "bad_challenger")
"""For the gate and the rollout to notice; no row differs."""


def beginning() -> Plan:
    """The week that all have in common."""
    return Plan(case="flights", start=START, end=PLANTED, look_hours=24, in_process=True)


def days_with(kind: str, end: datetime = END) -> Plan:
    """The beginning, and days with a fault of this kind; without any, if it is empty."""
    faults = read_faults([f"{FAULTS[kind]}@{PLANTED:%Y-%m-%d}..{END:%Y-%m-%d}"]) if kind else ()
    return Plan(case="flights", start=START, end=end, faults=faults, look_hours=LOOK_HOURS, in_process=True)
