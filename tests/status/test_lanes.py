"""The lanes: who answered is named once for the time in which that holds, and no mark hides another."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.rollout.shares import Served
from tasks.status.frame import WIDE, Frame
from tasks.status.happenings import Happening
from tasks.status.lanes import marks, ribbon

BEGAN = datetime(2013, 6, 3, tzinfo=UTC)
DAY = timedelta(days=1)
FRAME = Frame.of(WIDE, BEGAN, BEGAN + 28 * DAY)


def served(first: int, end: int | None, champion: str, **more: Any) -> Served:
    until = None if end is None else BEGAN + end * DAY
    return Served(start=BEGAN + first * DAY, end=until, champion=champion, by="rollout", reason="", **more)


def test_who_answers_most_is_named_once_however_often_shares_change() -> None:
    shares = [served(8 + place, 9 + place, "1", challenger="3", share=share) for place, share in enumerate((0.05, 1.0))]
    drawn = str(ribbon(FRAME, [served(0, 8, "1"), *shares, served(10, None, "3")], "who").drawn)
    assert re.findall(r">(v\d|version \d)</text>", drawn) == ["version 1", "version 3"]


def test_of_two_marks_at_one_moment_none_hides_the_other() -> None:
    both = [
        Happening(anchor=shape, lane="trainings", shape=shape, start=BEGAN, end=BEGAN, title=shape)
        for shape in ("dot", "ring")
    ]
    drawn = str(marks(FRAME, "trainings", both).drawn)
    first, second = map(float, re.findall(r'cx="([\d.]+)"', drawn))
    assert second - first > 8
