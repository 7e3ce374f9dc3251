"""Why an answer is as it is: how it would move if one feature had its typical value instead."""

from collections import Counter
from collections.abc import Sequence
from statistics import median_low

from serving.errors import BadRequest
from serving.records import Rows, Scores, Value
from serving.served import Arm

_MOST_ROWS = 100


async def strongest_reasons(
    arm: Arm, rows: Rows, features: Sequence[str], typical: Sequence[Value], count: int
) -> list[list[tuple[str, float]]]:
    """For each row the `count` features that move its answer most, with the answer minus the answer without them.

    The answer is the probability of the positive label, the number, or the probability of the likeliest class; a
    feature is taken away by putting its typical value in its place. Raises BadRequest for too many rows.
    """
    if rows.count > _MOST_ROWS:
        raise BadRequest(f"Reasons are given for at most {_MOST_ROWS} rows of one request, found {rows.count}.")
    told = await _score(arm, rows)
    effects = [
        [_difference(told[row], without[row]) for row in range(rows.count)]
        for without in [await _score(arm, _with_typical(rows, i, value)) for i, value in enumerate(typical)]
    ]
    found = []
    for row in range(rows.count):
        mine = [(name, effect[row]) for name, effect in zip(features, effects, strict=True) if effect[row]]
        found.append(sorted(mine, key=lambda reason: -abs(reason[1]))[:count])
    return found


def typical_values(example: Rows) -> list[Value]:
    """The most frequent text, and the median of the rest, of each column; None where no row has a value."""
    return [_typical([value for value in column if value is not None]) for column in example.columns]


def _typical(values: list[Value]) -> Value:
    if not values:
        return None
    if isinstance(values[0], str | bool):
        return Counter(values).most_common(1)[0][0]
    return median_low(values)  # type: ignore[type-var] # numbers, or times


async def _score(arm: Arm, rows: Rows) -> Scores:
    return arm.engine.score(rows) if arm.engine.immediate else await arm.engine.submit(rows)


def _with_typical(rows: Rows, position: int, value: Value) -> Rows:
    columns = list(rows.columns)
    columns[position] = [value] * rows.count
    return Rows(rows.count, columns, rows.entities, rows.event_times)


def _difference(told: float | Sequence[float], without: float | Sequence[float]) -> float:
    if isinstance(told, float) and isinstance(without, float):
        return told - without
    assert not isinstance(told, float)
    assert not isinstance(without, float)
    likeliest = max(range(len(told)), key=told.__getitem__)
    return told[likeliest] - without[likeliest]
