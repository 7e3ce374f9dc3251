"""`/predict/{case}`: JSON rows in, words out."""

from typing import Any

import orjson
import pytest

from serving.errors import BadRequest, ContractBroken, NotFound, TooLarge, Unavailable
from serving.protocols import plain
from serving.records import Asked, Outcome, RowProblem
from tests.serving.protocols.samples import (
    BIKES,
    FLIGHT,
    FLIGHTS,
    MAX_ROWS,
    TOYS,
    mixed_parts,
    one_part,
)


def asked(document: Any, query: bytes = b"") -> Asked:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return plain.decode(body, "application/json", {}, FLIGHTS, max_rows=MAX_ROWS, query=query)


def said(question: Asked, outcome: Outcome, case: Any = FLIGHTS) -> Any:
    reply = plain.encode(question, outcome, case)
    assert (reply.status, reply.content_type, reply.headers) == (200, b"application/json", ())
    return orjson.loads(reply.body)


def test_an_object_is_one_row() -> None:
    found = asked(FLIGHT)
    assert (found.records, found.count, found.reasons, found.partial) == ([FLIGHT], 1, 0, False)


@pytest.mark.parametrize("document", [[FLIGHT, FLIGHT], {"rows": [FLIGHT, FLIGHT]}])
def test_a_list_is_several_rows_with_or_without_a_name(document: Any) -> None:
    found = asked(document)
    assert (found.records, found.count) == ([FLIGHT, FLIGHT], 2)


def test_wishes_stand_beside_the_rows_or_in_the_address() -> None:
    for found in (
        asked({"rows": [FLIGHT], "reasons": 3, "partial": True}),
        asked([FLIGHT], b"reasons=3&partial=true"),
        asked({"rows": [FLIGHT], "partial": True}, b"reasons=3&partial=false"),
    ):
        assert (found.reasons, found.partial) == (3, True)
    assert asked(FLIGHT, b"reasons=2").reasons == 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"reason=3", "'reason' cannot be asked for, did you mean `reasons`"),
        (b"x=3", "'x' cannot be asked for, expected reasons or partial"),
        (b"reasons=21", "`reasons` is 21, expected a whole number from 0 to 20"),
        (b"reasons=-1", "`reasons` is '-1'"),
        (b"reasons=", "`reasons` is ''"),
        (b"reasons=" + b"9" * 5000, "`reasons` is '9999"),
        (b"partial=yes", "`partial` is 'yes', expected true or false"),
        (b"reasons=1&reasons=2", "gives a name twice"),
        (b"\xff=1", "cannot be read"),
        (b"%ff=1", "cannot be read"),
        (b"&".join([b"a=1"] * 20), "cannot be read"),
    ],
)
def test_an_unknown_wish_is_refused(query: bytes, message: str) -> None:
    for document in (FLIGHT, {"rows": [FLIGHT], "reasons": 1, "partial": True}):
        with pytest.raises(BadRequest, match=message):
            asked(document, query)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (5, "The body is 5, expected an object with the columns of flights"),
        (None, "The body is missing, expected an object"),
        ("x", "The body is 'x', expected an object"),
        ([FLIGHT, 5], "Row 1 is 5, expected an object"),
        ({"rows": [[1]]}, "Row 0 is a list, expected an object"),
        ({"rows": [FLIGHT], "partal": True}, "'partal' cannot be asked for, did you mean `partial`"),
        ({"rows": [FLIGHT], "partial": 1}, "`partial` is 1, expected true or false"),
        ({"rows": [FLIGHT], "reasons": True}, "`reasons` is true, expected a whole number"),
        (b'{"a":1,"a":2}', "The key 'a' is given twice"),
        (b'[{"a":1},{"a":1,"a":2}]', "The key 'a' is given twice"),
        (b'{"rows":[],"rows":[{"a":1}]}', "The key 'rows' is given twice"),
    ],
)
def test_what_are_no_rows_is_refused(document: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        asked(document)


def test_more_rows_than_allowed_are_refused() -> None:
    assert asked([FLIGHT] * MAX_ROWS).count == MAX_ROWS
    with pytest.raises(TooLarge, match="has 51 rows, expected at most 50"):
        asked([FLIGHT] * (MAX_ROWS + 1))


def test_the_answer_to_one_row_is_one_object() -> None:
    assert said(asked(FLIGHT), one_part([0.75])) == {
        "case": "flights",
        "request_id": "req-1",
        "model_version": "3",
        "role": "champion",
        "prediction": 1,
        "probability": 0.75,
        "fallback": None,
    }


def test_one_half_is_not_yet_positive() -> None:
    assert said(asked(FLIGHT), one_part([0.5]))["prediction"] == 0
    assert said(asked(FLIGHT), one_part([0.5000000000000001]))["prediction"] == 1


def test_a_probability_keeps_all_its_digits() -> None:
    assert said(asked(FLIGHT), one_part([0.1 + 0.2]))["probability"] == 0.1 + 0.2


def test_a_regression_answers_with_a_number_alone() -> None:
    answer = said(asked({}), one_part([144.25], ()), BIKES)
    assert answer["prediction"] == 144.25
    assert "probability" not in answer


def test_a_multiclass_answer_gives_the_likeliest_class_and_all_probabilities() -> None:
    answer = said(asked({}), one_part([[0.2, 0.5, 0.3]], ("bear", "car", "kite")), TOYS)
    assert answer["prediction"] == "car"
    assert answer["probabilities"] == {"bear": 0.2, "car": 0.5, "kite": 0.3}


def test_the_answer_to_several_rows_tells_for_each_who_answered() -> None:
    answer = said(asked([FLIGHT] * 3), mixed_parts())
    assert answer["predictions"] == [
        {"row": 0, "model_version": "4", "role": "challenger", "prediction": 0, "probability": 0.25, "fallback": None},
        {"row": 1, "model_version": "3", "role": "champion", "prediction": 1, "probability": 0.75, "fallback": None},
        {
            "row": 2,
            "model_version": None,
            "role": "fallback",
            "prediction": 0,
            "probability": 0.5,
            "fallback": "timeout",
        },
    ]
    assert answer["refused"] == []


def test_one_row_in_a_list_is_answered_with_a_list() -> None:
    assert [row["row"] for row in said(asked([FLIGHT]), one_part([0.75]))["predictions"]] == [0]


def test_a_partial_answer_says_which_rows_it_is_about_and_what_was_wrong_with_the_others() -> None:
    outcome = one_part([0.25, 0.75])
    outcome.positions, outcome.refused = [0, 2], [RowProblem(1, "distance", "`distance` is 9, expected more", "value")]
    answer = said(asked([FLIGHT] * 3, b"partial=true"), outcome)
    assert [(row["row"], row["prediction"]) for row in answer["predictions"]] == [(0, 0), (2, 1)]
    assert answer["refused"] == [
        {"row": 1, "field": "distance", "message": "`distance` is 9, expected more", "reason": "value"}
    ]


def test_reasons_tell_the_value_that_was_sent_and_its_effect() -> None:
    outcome = one_part([0.25])
    outcome.reasons = [[("distance", 0.1), ("wind_gust", -0.05)]]
    expected = [
        {"feature": "distance", "value": 1400, "effect": 0.1},
        {"feature": "wind_gust", "value": None, "effect": -0.05},
    ]
    assert said(asked(FLIGHT), outcome)["reasons"] == expected
    outcome.positions = [1]
    assert said(asked([{}, FLIGHT]), outcome)["predictions"][0]["reasons"] == expected


def test_a_refusal_has_a_word_for_programs_and_one_for_people() -> None:
    reply = plain.encode_error(NotFound("There is no case `x`."))
    assert (reply.status, reply.body) == (404, b'{"error":{"code":"not_found","message":"There is no case `x`."}}')
    assert plain.encode_error(Unavailable("Come back.")).status == 503


def test_a_broken_contract_is_told_row_by_row() -> None:
    reply = plain.encode_error(ContractBroken([RowProblem(2, "distance", "`distance` is 9, expected more", "value")]))
    assert reply.status == 422
    assert orjson.loads(reply.body)["error"] == {
        "code": "contract_broken",
        "message": "row 2: `distance` is 9, expected more",
        "problems": [{"row": 2, "field": "distance", "message": "`distance` is 9, expected more", "reason": "value"}],
    }
