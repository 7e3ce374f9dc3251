"""The Open Inference Protocol v2: tensors in JSON or raw bytes, one for each column."""

import struct
from typing import Any

import orjson
import pytest

from configs.case import Case
from serving.errors import BadRequest, ContractBroken, Refused, TooLarge, WrongType
from serving.protocols import oip
from serving.records import Asked, Outcome, RowProblem
from tests.serving.protocols.samples import (
    BIKES,
    EVERYTHING,
    FLIGHT,
    FLIGHTS,
    MAX_ROWS,
    TOYS,
    mixed_parts,
    one_part,
)
from tests.serving.protocols.wire import Headers, in_binary, in_json, outputs_of, raw, tensors_of

WEIGHT = ("weight", "FP64", [1.5, 2.5])
COLOUR = ("colour", "BYTES", ["red", "grün"])


def asked(body: bytes, headers: Headers | None = None, case: Case = TOYS, content_type: str = "") -> Asked:
    return oip.decode(body, content_type, headers or {}, case, max_rows=MAX_ROWS)


def json_asked(case: Case = TOYS, **document: Any) -> Asked:
    return asked(orjson.dumps(document), case=case)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "weight", "shape": [2], "datatype": "FP64", "data": [1.5, 2.5]} | changes


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream"])
def test_raw_and_json_tensors_say_the_same(content_type: str) -> None:
    expected = {"weight": [1.5, 2.5], "colour": ["red", "grün"]}
    for body, headers in (in_binary([WEIGHT, COLOUR]), in_json([WEIGHT, COLOUR])):
        found = asked(body, headers, content_type=content_type)
        assert found.columns is not None
        assert {name: list(values) for name, values in found.columns.items()} == expected
        assert found.count == 2


def test_the_bytes_of_a_raw_request_are_those_of_the_protocol() -> None:
    text = (
        b'{"inputs":[{"name":"colour","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":17}},'
        b'{"name":"weight","shape":[2,1],"datatype":"FP32","parameters":{"binary_data_size":8}}]}'
    )
    body = text + b"\x03\x00\x00\x00red\x06\x00\x00\x00yellow" + b"\x00\x00\xc0?\x00\x00 @"
    found = asked(body, {b"inference-header-content-length": str(len(text)).encode()})
    assert found.columns is not None
    assert list(found.columns["colour"]) == ["red", "yellow"]
    assert list(found.columns["weight"]) == [1.5, 2.5]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("data", [[1.5, 2.5], [[1.5], [2.5]]])
def test_data_may_be_flat_or_nested(shape: list[int], data: list[Any]) -> None:
    assert json_asked(inputs=[tensor(shape=shape, data=data)]).columns == {"weight": [1.5, 2.5]}


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16"])
@pytest.mark.parametrize("rows", [1, 3])
def test_every_number_type_is_read(datatype: str, rows: int) -> None:
    letter = dict(zip(["INT8", "INT16", "INT32", "INT64"], "bhiq", strict=True)) | {"FP16": "e"}
    letter |= {f"U{name}": sign.upper() for name, sign in letter.items() if name != "FP16"}
    part = struct.pack(f"<{rows}{letter[datatype]}", *range(rows))
    inputs = [{"name": "weight", "shape": [rows], "datatype": datatype, "parameters": {"binary_data_size": len(part)}}]
    text = orjson.dumps({"inputs": inputs})
    found = asked(text + part, {b"inference-header-content-length": str(len(text)).encode()})
    assert found.columns is not None
    assert list(found.columns["weight"]) == list(range(rows))


@pytest.mark.parametrize("count", [1, 3])
def test_nan_null_and_empty_bytes_are_missing_values(count: int) -> None:
    tensors = [("weight", "FP64", [None] * count), ("colour", "BYTES", [None] * count)]
    body = orjson.dumps({"inputs": [tensor(shape=[count], data=["?"] * count)]}).replace(b'"?"', b"NaN")
    for found in (asked(*in_binary(tensors)), asked(*in_json(tensors)), asked(body)):
        for values in (found.columns or {}).values():
            assert all(value is None or value != value for value in values)  # noqa: PLR0124 - NaN
    assert json_asked(inputs=[tensor(datatype="BYTES", data=["", "a"])]).columns == {"weight": [None, "a"]}


def test_ones_and_zeros_are_truth_values_where_the_contract_has_them() -> None:
    inputs = [tensor(name="truth", datatype="INT64", data=[1, 0]), tensor(name="whole", datatype="INT64", data=[1, 0])]
    assert json_asked(EVERYTHING, inputs=inputs).columns == {"truth": [True, False], "whole": [1, 0]}


def test_entity_and_event_time_may_come_as_parameters_of_the_request() -> None:
    document = {"inputs": [tensor()], "parameters": {"id": "toy-7", "at": "2013-07-22T05:00:00Z", "other": 1}}
    found = json_asked(**document)
    assert found.columns is not None
    assert (found.columns["id"], found.columns["at"]) == (["toy-7"] * 2, ["2013-07-22T05:00:00Z"] * 2)
    assert "other" not in found.columns


def test_the_id_of_a_request_names_it() -> None:
    assert json_asked(inputs=[tensor()], id="mine").request_id == "mine"
    assert json_asked(inputs=[tensor()]).request_id is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "The request is a list, expected an object with `inputs`"),
        ({}, "`inputs` is missing, expected a list"),
        ({"inputs": []}, "`inputs` is a list, expected a list with a tensor for each column"),
        ({"inputs": [5]}, "An input is 5, expected an object"),
        ({"inputs": [{}]}, "An input has the name missing, expected a column"),
        ({"inputs": [tensor(), tensor()]}, "An input has the name 'weight', expected a column, each of them once"),
        ({"inputs": [tensor(datatype="FP8")]}, "Input 'weight' has datatype 'FP8', expected one of BOOL, INT8"),
        ({"inputs": [tensor(datatype=["FP64"])]}, "Input 'weight' has datatype a list"),
        ({"inputs": [tensor(shape=2)]}, "Input 'weight' has shape 2, expected"),
        ({"inputs": [tensor(shape=[])]}, r"Input 'weight' has shape \[\], expected \[rows\]"),
        ({"inputs": [tensor(shape=[-2])]}, r"has shape \[-2\], expected"),
        ({"inputs": [tensor(shape=[True])]}, r"has shape \[true\], expected"),
        ({"inputs": [tensor(shape=[2.0])]}, r"has shape \[2.0\], expected"),
        ({"inputs": [tensor(shape=[1, 2])]}, r"has shape \[1, 2\], expected"),
        ({"inputs": [tensor(shape=[2, 1, 1])]}, r"has shape \[2, 1, 1\], expected"),
        ({"inputs": [tensor(shape=[-1, -2])]}, r"has shape \[-1, -2\], expected"),
        ({"inputs": [tensor(shape=[3])]}, "Input 'weight' has 2 values, expected 3 as its shape says"),
        ({"inputs": [tensor(), tensor(name="b", shape=[1])]}, "Input 'b' has 1 rows, expected 2 as the inputs before"),
        ({"inputs": [tensor(data=None)]}, "has as data missing, expected a list of 2 values"),
        ({"inputs": [tensor(data="ab")]}, "has as data 'ab', expected a list of 2 values"),
        ({"inputs": [tensor(data=[1.5, "x"])]}, "Input 'weight' of datatype FP64 holds 'x'"),
        ({"inputs": [tensor(data=[1.5, True])]}, "of datatype FP64 holds true"),
        ({"inputs": [tensor(data=[[1.5], 2.5])]}, "has nested data, expected one value in each row"),
        ({"inputs": [tensor(data=[[1.5], [2.5, 3.5]])]}, "has nested data, expected one value in each row"),
        ({"inputs": [tensor(data=[[[1.5]], [[2.5]]])]}, "of datatype FP64 holds a list"),
        ({"inputs": [tensor(datatype="INT64")]}, "of datatype INT64 holds 1.5"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 128])]}, "Input 'weight' holds 128, which is no INT8"),
        ({"inputs": [tensor(datatype="UINT8", data=[1, -1])]}, "holds -1, which is no UINT8"),
        ({"inputs": [tensor(datatype="BOOL", data=[1, 0])]}, "of datatype BOOL holds 1"),
        ({"inputs": [tensor(datatype="BYTES", data=[1, "a"])]}, "of datatype BYTES holds 1"),
        ({"inputs": [tensor(parameters=[1])]}, "has as parameters a list, expected an object"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "x"})]}, "lies in shared memory, which is not read"),
        ({"inputs": [tensor(parameters={"binary_data_size": 16})]}, "has both `data` and `binary_data_size`"),
        ({"inputs": [tensor()], "parameters": []}, "`parameters` is a list, expected an object"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "`binary_data_output` is 1, expected true"),
        ({"inputs": [tensor()], "id": 5}, "`id` is 5, expected text"),
        ({"inputs": [tensor()], "outputs": {}}, "`outputs` is an object, expected a list"),
        ({"inputs": [tensor()], "outputs": ["prediction"]}, "Output 'prediction' cannot be given"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "x"}]},
            "Output 'x' cannot be given, expected prediction and prob",
        ),
        ({"inputs": [tensor()], "outputs": [{"name": ["x"]}]}, "Output a list cannot be given"),
        ({"inputs": [tensor()], "outputs": [{"name": "prediction"}] * 2}, "Output 'prediction' cannot be given"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "prediction", "parameters": {"classification": 2}}]},
            "Output `prediction` asks for what is not given here",
        ),
        (
            {"inputs": [tensor()], "outputs": [{"name": "prediction", "parameters": {"binary_data": "yes"}}]},
            "`binary_data` is 'yes', expected true or false",
        ),
    ],
)
def test_what_is_no_request_is_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        asked(orjson.dumps(document))


def test_a_key_given_twice_is_refused_wherever_it_is() -> None:
    body = orjson.dumps({"inputs": [tensor(parameters={"content_type": "np"})], "outputs": [{"name": "prediction"}]})
    assert asked(body).count == 2
    for key in (b'"name"', b'"content_type"', b'"outputs"'):
        with pytest.raises(BadRequest, match="is given twice"):
            asked(body.replace(key, key + b":0," + key))


@pytest.mark.parametrize("rows", [MAX_ROWS + 1, 10**18])
def test_a_shape_over_the_limit_is_refused_before_its_data_is_looked_at(rows: int) -> None:
    with pytest.raises(TooLarge, match=f"has {rows} rows, expected at most 50"):
        json_asked(inputs=[tensor(shape=[rows], data=None)])


def binary(size: Any, part: bytes, datatype: str = "FP64", header: bytes | None = None) -> Asked:
    """A request for one tensor of two rows that says it has `size` bytes and has `part`."""
    inputs = [{"name": "weight", "shape": [2], "datatype": datatype, "parameters": {"binary_data_size": size}}]
    text = orjson.dumps({"inputs": inputs})
    return asked(text + part, {b"inference-header-content-length": header or str(len(text)).encode()})


@pytest.mark.parametrize(
    ("size", "part", "message"),
    [
        (16, b"\0" * 15, "says `binary_data_size` is 16, but 15 bytes are left"),
        (15, b"\0" * 15, "has 15 bytes, expected 16: 2 values of FP64"),
        (0, b"", "has 0 bytes, expected 16"),
        (16, b"\0" * 17, "The body goes on for 1 bytes after its last input"),
        (-1, b"\0" * 16, "says `binary_data_size` is -1"),
        (10**18, b"\0" * 16, "says `binary_data_size` is 1000000000000000000, but 16 bytes"),
        (True, b"\0", "says `binary_data_size` is true"),
        ("16", b"\0" * 16, "says `binary_data_size` is '16'"),
    ],
)
def test_a_raw_part_that_is_not_as_long_as_it_says_is_refused(size: Any, part: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        binary(size, part)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (raw(["a"], "BYTES"), "ends within its value 1, expected 2 values"),
        (raw(["a"], "BYTES") + b"\1\0", "ends within its value 1"),
        (raw(["a"], "BYTES") + b"\xff\xff\xff\xff" + b"a", "ends within its value 1"),
        (raw(["a"], "BYTES") + b"\x7f\0\0\0b", "ends within its value 1"),
        (raw(["a", "b", "c"], "BYTES"), "goes on for 5 bytes after its 2 values"),
        (raw(["a", "b"], "BYTES") + b"c", "goes on for 1 bytes after its 2 values"),
        (b"\1\0\0\0\xff" + raw(["a"], "BYTES"), "is not text in UTF-8 in its value 0"),
        (b"", "ends within its value 0"),
    ],
)
def test_texts_that_are_not_as_long_as_they_say_are_refused(part: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        binary(len(part), part, "BYTES")


@pytest.mark.parametrize(
    "texts",
    [
        ["red", "tan"],
        ["red", "green"],
        ["", "red"],
        ["red", ""],
        ["", ""],
        ["grün", "weiß"],
        ["\0\0", "x" * 200],
        ["{", "}"],
    ],
)
def test_texts_come_as_they_were_sent_whatever_their_lengths_and_letters(texts: list[str]) -> None:
    part = raw(texts, "BYTES")
    assert binary(len(part), part, "BYTES").columns == {"weight": [text or None for text in texts]}


def test_a_truth_byte_is_one_or_zero() -> None:
    assert list((binary(2, b"\1\0", "BOOL").columns or {})["weight"]) == [True, False]
    with pytest.raises(BadRequest, match="holds a byte that is neither 0 nor 1"):
        binary(2, b"\1\2", "BOOL")


@pytest.mark.parametrize("header", [b"-1", b"x", b"99999", b"9" * 500, b"1e3", b" 7", b"\xff"])
def test_the_header_that_parts_json_from_bytes_must_point_into_the_body(header: bytes) -> None:
    with pytest.raises(BadRequest, match=r"The header Inference-Header-Content-Length is .*, expected the size"):
        binary(16, b"\0" * 16, header=header)


def test_raw_parts_without_that_header_are_refused_with_its_name() -> None:
    body, _ = in_binary([WEIGHT])
    with pytest.raises(BadRequest, match="is not JSON"):
        asked(body)
    text = orjson.dumps({"inputs": [{**tensor(), "data": None, "parameters": {"binary_data_size": 16}}]})
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length says where the JSON part ends"):
        asked(text.replace(b'"data":null,', b""))


def test_another_content_type_is_refused() -> None:
    with pytest.raises(WrongType, match="expected application/json or application/octet-stream"):
        asked(b"{}", content_type="text/csv")
    with pytest.raises(WrongType, match="uncompressed"):
        asked(b"{}", {b"content-encoding": b"gzip"})


def reply_to(outcome: Outcome, case: Case, **document: Any) -> Any:
    """The JSON of an answer, and its outputs."""
    question = json_asked(case, inputs=[tensor()], **document)
    reply = oip.encode(question, outcome, case)
    size = int(dict(reply.headers).get(b"inference-header-content-length", len(reply.body)))
    return orjson.loads(reply.body[:size]), outputs_of(reply)


def test_a_binary_answer_is_a_prediction_and_its_probability() -> None:
    said, _ = reply_to(one_part([0.25, 0.75]), FLIGHTS, id="mine")
    assert said == {
        "model_name": "flights",
        "model_version": "3",
        "id": "mine",
        "parameters": {"request_id": "req-1", "role": "champion"},
        "outputs": [
            {"name": "prediction", "datatype": "INT64", "shape": [2], "data": [0, 1]},
            {"name": "probability", "datatype": "FP64", "shape": [2], "data": [0.25, 0.75]},
        ],
    }


def test_a_request_without_id_gets_the_one_it_was_given() -> None:
    assert reply_to(one_part([0.25]), FLIGHTS)[0]["id"] == "req-1"


def test_a_regression_answers_with_a_float() -> None:
    said, _ = reply_to(one_part([144.5, 7], ()), BIKES)
    assert said["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [2], "data": [144.5, 7]}]


def test_a_multiclass_answer_gives_classes_and_a_table_of_probabilities() -> None:
    outcome = one_part([[0.2, 0.8], [0.6, 0.4]], ("bär", "car"))
    expected = {"prediction": ["car", "bär"], "probabilities": [0.2, 0.8, 0.6, 0.4]}
    said, outputs = reply_to(outcome, TOYS)
    assert outputs == expected
    assert said["outputs"][0] == {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["car", "bär"]}
    assert said["outputs"][1]["shape"] == [2, 2]
    assert said["outputs"][1]["parameters"] == {"classes": '["bär","car"]'}
    assert reply_to(outcome, TOYS, parameters={"binary_data_output": True})[1] == expected


def test_outputs_are_given_as_and_in_the_order_they_were_asked_for() -> None:
    wanted = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "prediction"}]
    said, outputs = reply_to(one_part([0.25, 0.75]), FLIGHTS, outputs=wanted)
    assert said["outputs"] == [
        {"name": "probability", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "prediction", "datatype": "INT64", "shape": [2], "data": [0, 1]},
    ]
    assert outputs == {"probability": [0.25, 0.75], "prediction": [0, 1]}


def test_an_output_may_be_in_json_in_an_answer_of_raw_bytes() -> None:
    wanted = [{"name": "probability", "parameters": {"binary_data": False}}, {"name": "prediction"}]
    document = {"outputs": wanted, "parameters": {"binary_data_output": True}}
    said, outputs = reply_to(one_part([0.25]), FLIGHTS, **document)
    assert [("data" in output) for output in said["outputs"]] == [True, False]
    assert outputs == {"probability": [0.25], "prediction": [0]}


def test_a_raw_answer_says_where_its_json_ends() -> None:
    question = json_asked(FLIGHTS, inputs=[tensor()], parameters={"binary_data_output": True})
    reply = oip.encode(question, one_part([0.75]), FLIGHTS)
    assert reply.content_type == b"application/octet-stream"
    size = int(dict(reply.headers)[b"inference-header-content-length"])
    assert reply.body[size:] == struct.pack("<qd", 1, 0.75)


def test_who_stood_in_is_said() -> None:
    said, _ = reply_to(one_part([0.25], version=None, role="fallback", fallback="timeout"), FLIGHTS)
    assert "model_version" not in said
    assert said["parameters"] == {"request_id": "req-1", "role": "fallback", "fallback": "timeout"}


def test_who_answered_each_row_is_said_where_they_were_several() -> None:
    said, outputs = reply_to(mixed_parts(), FLIGHTS)
    assert "model_version" not in said
    assert said["parameters"] == {
        "request_id": "req-1",
        "roles": "challenger,champion,fallback",
        "model_versions": "4,3,",
        "fallbacks": ",,timeout",
    }
    assert outputs == {"prediction": [0, 1, 0], "probability": [0.25, 0.75, 0.5]}


def test_a_refusal_is_one_sentence() -> None:
    error: Refused = ContractBroken([RowProblem(0, "distance", "`distance` is 9, expected more", "value")])
    reply = oip.encode_error(error)
    assert (reply.status, reply.body) == (422, b'{"error":"row 0: `distance` is 9, expected more"}')


def test_the_server_says_what_it_can() -> None:
    assert orjson.loads(oip.server_metadata("0.1.0").body) == {
        "name": "evergreen",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data"],
    }


def test_a_model_says_which_tensors_it_takes_and_gives() -> None:
    said = orjson.loads(oip.model_metadata(TOYS, ["3", "4"]).body)
    assert said == {
        "name": "toys",
        "versions": ["3", "4"],
        "platform": "evergreen-scikit-learn",
        "inputs": [
            {"name": "weight", "datatype": "FP64", "shape": [-1], "parameters": {"optional": False}},
            {"name": "colour", "datatype": "BYTES", "shape": [-1], "parameters": {"optional": False}},
            {"name": "id", "datatype": "BYTES", "shape": [-1], "parameters": {"optional": True}},
            {"name": "at", "datatype": "BYTES", "shape": [-1], "parameters": {"optional": True}},
        ],
        "outputs": [
            {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, -1]},
        ],
    }
    gust = next(
        each for each in orjson.loads(oip.model_metadata(FLIGHTS, []).body)["inputs"] if each["name"] == "wind_gust"
    )
    assert gust["parameters"] == {"optional": True, "unit": "mph"}


def test_tensors_as_the_metadata_describes_them_are_taken() -> None:
    described = {
        each["name"]: each["datatype"] for each in orjson.loads(oip.model_metadata(FLIGHTS, []).body)["inputs"]
    }
    sent = {name: datatype for name, datatype, _ in tensors_of(FLIGHTS, [{**FLIGHT, "wind_gust": 5.0}])}
    assert described == sent
