"""`POST /predict/{case}`: rows as JSON objects in the contract's names and units; for people, scripts and browsers.

One row is an object of columns. Several are a list of them, or `{"rows": [...]}` beside which `reasons` and `partial`
may stand, as they may in the query. The answer takes the form of the question: an object, or a list of predictions.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from configs.case import Case, Problem
from serving.column import shown
from serving.errors import BadRequest, ContractBroken, Refused
from serving.protocols.answers import by_row, prediction
from serving.protocols.body import no_key_twice, read_json
from serving.protocols.rows import must_be_objects
from serving.protocols.wishes import NONE, in_query, wishes
from serving.records import Asked, Outcome, Part, Reply

_SEVERAL = {"several": True}


def decode(  # noqa: PLR0913 - the same for each protocol
    body: bytes,
    content_type: str,
    headers: Mapping[bytes, bytes],
    case: Case,
    *,
    max_rows: int,
    query: bytes = b"",
) -> Asked:
    """What the client asks for. Raises Refused."""
    document = read_json(body, content_type, headers)
    wished = in_query(query) if query else NONE
    if type(document) is dict and type(document.get("rows")) is not list:
        no_key_twice(body, len(document))
        return Asked(records=[document], count=1, reasons=wished.reasons, partial=wished.partial)
    if type(document) not in (dict, list):
        raise BadRequest(f"The body is {shown(document)}, expected an object with the columns of {case.name}.")
    rows, beside = (document.pop("rows"), document) if type(document) is dict else (document, {})
    must_be_objects(rows, max_rows)
    no_key_twice(body, sum(map(len, rows)) + (len(beside) + 1 if rows is not document else 0))
    wished = wishes(beside, wished)
    return Asked(records=rows, count=len(rows), reasons=wished.reasons, partial=wished.partial, form=_SEVERAL)


def encode(asked: Asked, outcome: Outcome, case: Case) -> Reply:
    """The answer in words."""
    said: dict[str, Any] = {"case": case.name, "request_id": outcome.answer.request_id}
    if asked.form is _SEVERAL:
        said["predictions"] = _predictions(asked, outcome, case.problem)
        said["refused"] = outcome.refused
        return Reply(200, orjson.dumps(said))
    part = outcome.answer.parts[0]
    _say(said, part, part.scores[0], case.problem)
    if outcome.reasons is not None:
        said["reasons"] = _reasons(asked, 0, outcome.reasons[0])
    return Reply(200, orjson.dumps(said))


def encode_error(error: Refused) -> Reply:
    """The refusal in words, with each problem if rows break the contract."""
    said: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, ContractBroken):
        said["problems"] = error.problems
    return Reply(error.status, orjson.dumps({"error": said}))


def _predictions(asked: Asked, outcome: Outcome, problem: Problem) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    rows = range(outcome.count) if outcome.positions is None else outcome.positions
    for row, (part, score) in zip(rows, by_row(outcome), strict=True):
        said.append({"row": row})
        _say(said[-1], part, score, problem)
    if outcome.reasons is not None:
        for row, answer, reasons in zip(rows, said, outcome.reasons, strict=True):
            answer["reasons"] = _reasons(asked, row, reasons)
    return said


def _say(said: dict[str, Any], part: Part, score: Any, problem: Problem) -> None:
    said["model_version"] = part.version
    said["role"] = part.role
    said["prediction"] = prediction(problem, score, part.classes)
    if problem is Problem.binary:
        said["probability"] = score
    elif problem is Problem.multiclass:
        said["probabilities"] = dict(zip(map(str, part.classes), score, strict=True))
    said["fallback"] = part.fallback


def _reasons(asked: Asked, row: int, reasons: list[tuple[str, float]]) -> list[dict[str, Any]]:
    given = asked.records[row] if asked.records else {}
    return [{"feature": name, "value": given.get(name), "effect": effect} for name, effect in reasons]
