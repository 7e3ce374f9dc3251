"""NVIDIA's own client: its requests are understood, and it understands the answers."""

from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from serving.contract import Checker
from serving.protocols import oip
from serving.records import Asked, Outcome, Reply
from tests.serving.protocols.samples import FLIGHT, FLIGHTS, MAX_ROWS, TOYS, one_part
from tests.serving.protocols.wire import DTYPES, Headers, in_binary, tensors_of

ROWS = [FLIGHT, {**FLIGHT, "wind_gust": 20.5, "destination": "ÖRE", "plane_year": None}]


def infer_inputs(rows: list[dict[str, Any]], *, binary: bool, table: bool = False) -> list[InferInput]:
    found = []
    for name, datatype, values in tensors_of(FLIGHTS, rows):
        if datatype == "BYTES":
            array = np.array([value.encode() for value in values], dtype=np.object_)
        else:
            array = np.array([np.nan if value is None else value for value in values], DTYPES[datatype])
        array = array.reshape(-1, 1) if table else array
        found.append(InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary))
    return found


def sent(inputs: list[InferInput], **options: Any) -> tuple[bytes, Headers]:
    body, size = InferenceServerClient.generate_request_body(inputs, **options)
    return body, {} if size is None else {b"inference-header-content-length": str(size).encode()}


def asked(body: bytes, headers: Headers) -> Asked:
    return oip.decode(body, "", headers, FLIGHTS, max_rows=MAX_ROWS)


def read_back(reply: Reply) -> Any:
    size = dict(reply.headers).get(b"inference-header-content-length")
    return InferenceServerClient.parse_response_body(reply.body, header_length=size and int(size))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("table", [True, False])
def test_its_requests_are_the_rows_they_were_made_of(count: int, binary: bool, table: bool) -> None:
    checker = Checker(FLIGHTS)
    expected, _, _ = checker.check(Asked(records=ROWS[:count], count=count))
    body, headers = sent(infer_inputs(ROWS[:count], binary=binary, table=table))
    assert checker.check(asked(body, headers)) == (expected, None, [])


def test_our_own_bytes_are_those_it_sends() -> None:
    assert in_binary(tensors_of(FLIGHTS, ROWS)) == sent(infer_inputs(ROWS, binary=True))


@pytest.mark.parametrize("binary", [True, False])
def test_it_reads_the_answer_in_the_form_it_asked_for(binary: bool) -> None:
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probability")]
    for outputs in (None, wanted):
        question = asked(*sent(infer_inputs(ROWS, binary=True), outputs=outputs, request_id="mine"))
        answer = read_back(oip.encode(question, one_part([0.25, 0.75]), FLIGHTS))
        assert answer.as_numpy("prediction").tolist() == [0, 1]
        assert answer.as_numpy("prediction").dtype == np.int64
        assert answer.as_numpy("probability").tolist() == [0.25, 0.75]
        assert answer.get_response()["id"] == "mine"


@pytest.mark.parametrize("binary", [True, False])
def test_it_reads_classes_and_their_probabilities(binary: bool) -> None:
    outcome: Outcome = one_part([[0.2, 0.8], [0.6, 0.4]], ("bär", "car"))
    question = Asked(form={"wanted": [("prediction", binary), ("probabilities", binary)], "id": None})
    answer = read_back(oip.encode(question, outcome, TOYS))
    texts = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("prediction")]
    assert texts == ["car", "bär"]
    assert answer.as_numpy("probabilities").tolist() == [[0.2, 0.8], [0.6, 0.4]]
