"""Traffic in the prediction log: recorded rows, answered by the champion at the hour they were asked for."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd

from configs.project import Project
from serving.inference import Desk
from serving.ledger.entry import encode_entry
from serving.ledger.header import logged_cases
from serving.ledger.ledger import Ledger
from serving.ledger.places import segments_folder
from serving.records import Asked
from serving.scoring import _as_sent, _champion
from serving.served import Arms
from tasks.ingestion.sources import rows

Change = Callable[[pd.DataFrame], pd.DataFrame]


def answer_recorded(project: Project, case_name: str, start: datetime, end: datetime, change: Change) -> int:
    """Let the champion answer what was recorded in `[start, end)`, changed before it is asked; returns how many."""
    case = project.case(case_name)
    desk, arm = Desk(case), _champion(project, case)
    desk.served.arms = Arms(champion=arm)
    ledger = Ledger(segments_folder(project), "traffic", logged_cases([case]), project.place.gateway.log)
    asked = rows(case, start, end)
    try:
        asyncio.run(_answer(desk, ledger, asked, change))
    finally:
        ledger.close()
        arm.engine.close()
    return len(asked)


async def _answer(desk: Desk, ledger: Ledger, asked: pd.DataFrame, change: Change) -> None:
    case = desk.case
    for hour, frame in asked.groupby(asked[case.contract.event_time].dt.floor("h")):
        sent = change(frame)[[case.contract.entity, case.contract.event_time, *case.contract.features]]
        request = Asked(columns=_as_sent(case, sent), count=len(sent), partial=True)
        checked, _, problems = desk.checker.check(request)
        assert not problems
        moment = (hour.to_pydatetime() + timedelta(minutes=1)).timestamp()
        request_id = f"{hour:%Y%m%d%H}"
        parts = await desk.served.answer(checked, request_id)
        version = case.contract.version
        await ledger.commit(encode_entry(case.name, version, request_id, moment, moment, checked, parts, None))
