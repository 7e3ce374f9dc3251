"""`example.json`: a few rows and the answers to them, so that a worker can warm and check a model without pandas."""

import json
from array import array
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from serving.engine.engine import Engine
from serving.records import Rows, Scores, Value
from tasks.files import write_text

EXAMPLE_FILE = "example.json"


@dataclass(frozen=True, slots=True)
class Example:
    """Rows, and the answers the candidate gave to them when it was made."""

    rows: Rows
    answers: Scores


def write_example(folder: Path, rows: Rows, answers: Scores) -> None:
    """Keep `rows` and `answers`; every number comes back with its bits."""
    times = [place for place, column in enumerate(rows.columns) if any(isinstance(one, datetime) for one in column)]
    content = {
        "columns": [[_plain(value) for value in column] for column in rows.columns],
        "times": times,
        "entities": rows.entities,
        "event_times": rows.event_times,
        "answers": answers,
    }
    write_text(folder / EXAMPLE_FILE, json.dumps(content))


def read_example(folder: Path) -> Example:
    """The rows, and the answers to them. Raises FileNotFoundError."""
    content = json.loads((folder / EXAMPLE_FILE).read_text(encoding="utf-8"))
    columns: list[list[Value]] = content["columns"]
    for place in content["times"]:
        columns[place] = [None if time is None else datetime.fromisoformat(str(time)) for time in columns[place]]
    rows = Rows(len(content["entities"]), columns, content["entities"], content["event_times"])
    return Example(rows, content["answers"])


async def answers_identically(engine: Engine, example: Example) -> bool:
    """Whether the engine gives the recorded answers, bit for bit."""
    return _bits(await engine.submit(example.rows)) == _bits(example.answers)


def _bits(answers: Scores) -> list[bytes]:
    return [array("d", [one] if isinstance(one, float) else one).tobytes() for one in answers]


def _plain(value: Value) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
