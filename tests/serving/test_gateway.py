"""A running gateway, asked as its clients ask it."""

import asyncio
import csv
import io
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import orjson
import pandas as pd
import pytest
import tritonclient.http as triton
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from configs.project import Project
from serving.access import Keys
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.read import read_predictions
from tasks.adapters.registry import Registry
from tasks.features.artifact import load_model, score
from tasks.promotion.decide import Why, decide, roll_back
from tasks.promotion.traffic import set_traffic
from tasks.records import Candidate
from tests.serving.conftest import READY_SECONDS, RunningGateway, await_roles, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gateway")]

WHY = Why("Ada", "a test", datetime(2026, 1, 1, tzinfo=UTC))
Row = dict[str, Any]


def logged(gateway: RunningGateway, case: str = "bikes") -> pd.DataFrame:
    """The prediction log as it is this moment, what is not Parquet yet included."""
    project = gateway.project
    return read_predictions(
        predictions_url(project),
        case,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC),
        fresh=segments_folder(project),
    ).to_pandas()


def many(bike: Row, count: int, seed: int = 7) -> list[Row]:
    """Rows like `bike` with other values in them."""
    draw = np.random.default_rng(seed)
    seasons, weathers = ["winter", "spring", "summer", "autumn"], ["clear", "cloudy/misty", "light rain/snow"]
    return [
        {
            **bike,
            "hour_id": f"h{i}",
            "local_hour": f"2011-0{draw.integers(1, 9)}-1{draw.integers(0, 9)}T{draw.integers(0, 24):02}:00:00",
            "season": str(draw.choice(seasons)),
            "weather": str(draw.choice(weathers)),
            "temperature": float(draw.random()),
            "humidity": float(draw.random()),
        }
        for i in range(count)
    ]


def predictions(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [row["prediction"] for row in answer.json()["predictions"]]


def test_it_answers_one_row_as_the_pipeline_does_offline(gateway: RunningGateway, bike: Row) -> None:
    rows = many(bike, 200)
    folder = gateway.project.stores / "gateway/bikes/2"
    candidate = Candidate.read(folder / "candidate.json")
    model = load_model(folder / "model.skops", gateway_digest(gateway, "2"))
    frame = pd.DataFrame(rows).assign(local_hour=lambda found: pd.to_datetime(found["local_hour"]))
    offline = score(model, frame, candidate)
    online = [gateway.post("/predict/bikes", json=row).json()["prediction"] for row in rows]
    assert online == offline.tolist()


def gateway_digest(gateway: RunningGateway, version: str) -> str:
    found = Registry(gateway.project).version("bikes", version)
    assert found
    return found.tags["model_sha256"]


def test_every_protocol_gives_the_same_answer(gateway: RunningGateway, bike: Row) -> None:
    rows = many(bike, 50)
    plain = predictions(gateway.post("/predict/bikes", json=rows))
    names = [name for name in rows[0] if name != "event_time"]
    split = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    by_column = {name: [row[name] for row in rows] for name in names}
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    forms: list[dict[str, Any]] = [
        {"json": {"dataframe_split": split}},
        {"json": {"dataframe_records": rows}},
        {"json": {"instances": rows}},
        {"json": {"inputs": by_column}},
        {"content": text.getvalue(), "headers": {"content-type": "text/csv"}},
    ]
    for form in forms:
        answer = gateway.post("/bikes/invocations", **form)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == plain
    tensors = [
        {"name": name, "shape": [len(rows)], "datatype": datatype(values[0]), "data": values}
        for name, values in by_column.items()
    ]
    answer = gateway.post("/v2/models/bikes/infer", json={"id": "seven", "inputs": tensors})
    assert answer.json()["id"] == "seven"
    assert answer.json()["outputs"][0]["data"] == plain


def datatype(value: object) -> str:
    return {str: "BYTES", bool: "BOOL", float: "FP64"}[type(value)]


def test_mlflows_own_client_is_answered(gateway: RunningGateway, bike: Row) -> None:
    rows = many(bike, 20)
    client = ScoringServerClient("127.0.0.1", gateway.port)
    client.url_prefix = f"{gateway.url}/bikes"  # the default case of this place is another one
    client.wait_server_ready(timeout=5)
    found = client.invoke(pd.DataFrame(rows).drop(columns=["hour_id", "event_time"]))
    assert list(found.get_predictions()[0]) == predictions(gateway.post("/predict/bikes", json=rows))


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_own_client_is_answered(gateway: RunningGateway, bike: Row, binary: bool) -> None:
    rows = many(bike, 20)
    client = triton.InferenceServerClient(f"127.0.0.1:{gateway.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("bikes")
    assert client.get_model_metadata("bikes")["name"] == "bikes"
    inputs = []
    for name in rows[0]:
        if name == "event_time":
            continue
        values = [row[name] for row in rows]
        kind = datatype(values[0])
        tensor = triton.InferInput(name, [len(rows)], kind)
        tensor.set_data_from_numpy(np.array(values, dtype=object if kind == "BYTES" else None), binary_data=binary)
        inputs.append(tensor)
    found = client.infer("bikes", inputs, outputs=[triton.InferRequestedOutput("prediction", binary_data=binary)])
    assert found.as_numpy("prediction").tolist() == predictions(gateway.post("/predict/bikes", json=rows))
    client.close()


def test_an_answer_is_in_the_log_when_it_arrives(gateway: RunningGateway, bike: Row) -> None:
    answer = gateway.post("/predict/bikes", json=bike, headers={"x-request-id": "in-the-log"}).json()
    found = logged(gateway).query("request_id == 'in-the-log'")
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["entity"], row["role"], row["model_version"]) == ("2011-04-12T08", "champion", "2")
    assert row["prediction"] == answer["prediction"]
    assert (row["weather"], row["temperature"], bool(row["holiday"])) == ("clear", 0.46, False)
    assert row["event_time"] == pd.Timestamp("2011-04-12T12:00:00Z")
    assert row["received_at"] <= row["answered_at"]


def test_a_trace_is_passed_on_and_written_down(gateway: RunningGateway, bike: Row) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "x-request-id": "traced"}
    answer = gateway.post("/predict/bikes", json=bike, headers=headers)
    assert trace in answer.headers["traceparent"]
    assert set(logged(gateway).query("request_id == 'traced'")["trace"]) == {trace}


def test_reasons_name_the_features_that_move_the_answer(gateway: RunningGateway, bike: Row) -> None:
    found = gateway.post("/predict/bikes?reasons=3", json=bike).json()["reasons"]
    assert len(found) == 3
    assert [abs(one["effect"]) for one in found] == sorted((abs(one["effect"]) for one in found), reverse=True)
    assert all(one["value"] == bike[one["feature"]] for one in found)


def test_with_partial_good_rows_are_answered_and_bad_ones_named(gateway: RunningGateway, bike: Row) -> None:
    rows = [bike, {**bike, "humidity": 7}, bike]
    found = gateway.post("/predict/bikes?partial=true", json=rows).json()
    assert [row["row"] for row in found["predictions"]] == [0, 2]
    assert [(row["row"], row["field"]) for row in found["refused"]] == [(1, "humidity")]


REFUSALS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "not JSON": ("/predict/bikes", {"content": b"{"}, 400, "not JSON"),
    "NaN": ("/predict/bikes", {"content": b'{"humidity": NaN}'}, 400, "NaN is no JSON"),
    "deep": ("/predict/bikes", {"content": b"[" * 100_000}, 400, ""),
    "empty": ("/predict/bikes", {"content": b""}, 400, ""),
    "wrong content type": (
        "/predict/bikes",
        {"content": b"a=1", "headers": {"content-type": "text/html"}},
        415,
        "html",
    ),
    "unknown case": ("/predict/cars", {"json": {}}, 404, "There is no case `cars`"),
    "unknown version": ("/v2/models/bikes/versions/77/infer", {"json": {"inputs": []}}, 400, ""),
    "too large": ("/predict/bikes", {"content": b" " * (17 * 1024 * 1024)}, 413, "16 MiB"),
    "too many rows": ("/predict/bikes", {"json": [{}] * 10_001}, 413, "10000"),
    "unknown column": ("/predict/bikes", {"json": {"humidty": 1}}, 422, "humidity"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_gets_an_error_that_names_it(gateway: RunningGateway, name: str) -> None:
    path, request, status, said = REFUSALS[name]
    headers = {"content-type": "application/json", **request.pop("headers", {})}
    answer = gateway.post(path, headers=headers, **request)
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert "Traceback" not in answer.text
    assert str(gateway.project.root) not in answer.text


def test_a_version_that_is_not_in_service_is_not_found(gateway: RunningGateway, bike: Row) -> None:
    tensors = [{"name": n, "shape": [1], "datatype": datatype(v), "data": [v]} for n, v in bike.items()]
    assert gateway.post("/v2/models/bikes/versions/1/infer", json={"inputs": tensors}).status_code == 404
    answer = gateway.post("/v2/models/bikes/versions/3/infer", json={"inputs": tensors})
    assert answer.json()["model_version"] == "3"


def test_the_wrong_method_is_told_the_right_one(gateway: RunningGateway) -> None:
    answer = gateway.get("/predict/bikes")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert gateway.post("/v2/health/live").status_code == 405


def test_a_case_without_a_champion_says_so(gateway: RunningGateway) -> None:
    answer = gateway.post("/predict/flights", json={"carrier": "AA"})
    assert answer.status_code in (422, 503)
    assert gateway.get("/v2/models/flights/ready").status_code == 503


def test_a_client_that_sends_slowly_stalls_nobody(gateway: RunningGateway, bike: Row) -> None:
    slow = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"POST /predict/bikes HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    half_a_head = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    half_a_head.sendall(b"POST /predict/bikes HTTP/1.1\r\nhost:")
    began = time.perf_counter()
    for _ in range(50):
        assert gateway.post("/predict/bikes", json=bike).status_code == 200
    assert time.perf_counter() - began < 10
    for connection in (slow[0], half_a_head):
        assert b"408" in connection.recv(4096).split(b"\r\n")[0]
    for connection in (*slow, half_a_head):
        connection.close()


def test_a_client_that_goes_away_in_the_middle_stalls_nobody(gateway: RunningGateway, bike: Row) -> None:
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(b"POST /predict/bikes HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    assert gateway.post("/predict/bikes", json=bike).status_code == 200


def test_the_figures_count_what_was_asked(gateway: RunningGateway, bike: Row) -> None:
    def told() -> float:
        lines = gateway.get("/metrics").text.splitlines()
        wanted = 'evergreen_predictions_total{case="bikes",role="champion",version="2"}'
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted))

    before = told()
    gateway.post("/predict/bikes", json=many(bike, 30))
    assert told() == before + 30


def test_the_documents_hold_a_real_row_that_is_answered(gateway: RunningGateway) -> None:
    document = gateway.get("/openapi.json").json()
    content = document["paths"]["/predict/bikes"]["post"]["requestBody"]["content"]["application/json"]
    examples = [one["value"] for one in content["examples"].values()]
    assert examples
    for example in examples:
        assert gateway.post("/predict/bikes", json=example).status_code == 200
    assert "text/html" in gateway.get("/docs").headers["content-type"]


class Load:
    """Clients that ask one row after another until told to stop; every answer is kept."""

    def __init__(self, gateway: RunningGateway, rows: list[Row], clients: int = 4) -> None:
        self._gateway, self._rows = gateway, rows
        self._stop = threading.Event()
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, first: int) -> None:
        with httpx.Client(base_url=self._gateway.url, timeout=20) as client:
            place = first
            while not self._stop.is_set():
                answer = client.post("/predict/bikes", json=self._rows[place % len(self._rows)])
                self.answers.append((answer.status_code, answer.json()))
                place += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_version(self, version: str) -> None:
        """Wait until `version` is among the answers still to come."""
        seen, deadline = len(self.answers), time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            looked_at, seen = seen, len(self.answers)
            if any(answer.get("model_version") == version for _, answer in self.answers[looked_at:seen]):
                return
            time.sleep(0.02)
        raise AssertionError(f"no answer of version {version} in {READY_SECONDS} s")


@pytest.fixture
def own(served_before: Project) -> Iterator[RunningGateway]:
    """A gateway of the test's own, with two workers."""
    with running(served_before, workers=2) as gateway:
        await_roles(gateway)
        yield gateway


def test_a_new_champion_and_its_rollback_lose_no_request(
    own: RunningGateway, bike: Row, answer: Callable[..., Any]
) -> None:
    with Load(own, many(bike, 100)) as load:
        load.await_version("2")
        decide(own.project, answer("3"))
        load.await_version("3")
        roll_back(own.project, "bikes", "3", WHY)
        load.await_version("2")
    assert {status for status, _ in load.answers} == {200}
    ids = {found["request_id"] for _, found in load.answers}
    assert len(ids) == len(load.answers) == len(logged(own))


def test_a_share_moves_entities_and_a_shadow_scores_them_all(own: RunningGateway, bike: Row) -> None:
    rows = many(bike, 300)
    set_traffic(own.project, "bikes", "3", share=0.3, shadow=True, why=WHY)
    own.wait_for(lambda: own.status()["cases"]["bikes"]["share"] == 0.3, "share")
    time.sleep(0.5)  # the other worker looks fifty times a second
    first = {row["hour_id"]: own.post("/predict/bikes", json=row).json()["model_version"] for row in rows}
    again = {row["hour_id"]: own.post("/predict/bikes", json=row).json()["model_version"] for row in rows}
    assert first == again
    assert 0.2 < sum(version == "3" for version in first.values()) / len(rows) < 0.4
    own.wait_for(lambda: (logged(own)["role"] == "shadow").sum() >= sum(v == "2" for v in first.values()) * 2, "shadow")
    log = logged(own)
    shadowed = log[log["role"] == "shadow"].merge(
        log[log["role"] == "champion"], on="request_id", suffixes=("", "_told")
    )
    assert len(shadowed) == (log["role"] == "shadow").sum()
    assert set(shadowed["model_version"]) == {"3"}
    assert (shadowed["temperature"] == shadowed["temperature_told"]).all()
    assert (shadowed["prediction"] != shadowed["prediction_told"]).any()


def test_a_killed_worker_is_replaced_and_no_answer_is_lost(own: RunningGateway, bike: Row) -> None:
    answered: list[str] = []
    with httpx.Client(base_url=own.url, timeout=20) as client:
        for i in range(300):
            if i % 100 == 50:
                os.kill(workers(own)[0], signal.SIGKILL)
            try:
                found = client.post("/predict/bikes", json=bike)
            except httpx.TransportError:
                continue  # the worker this connection was with; it answered nothing
            assert found.status_code == 200
            answered.append(found.json()["request_id"])
    own.wait_for(lambda: len(workers(own)) == 2, "second worker")
    assert len(answered) > 250
    assert set(answered) <= set(logged(own)["request_id"])


def workers(gateway: RunningGateway) -> list[int]:
    """The process ids of the workers."""
    assert gateway.process
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == gateway.process.pid and b"serving.worker" in command:
            found.append(int(folder.name))
    return sorted(found)


def test_without_its_registry_it_goes_on_and_comes_up_again(own: RunningGateway, bike: Row) -> None:
    told = own.post("/predict/bikes", json=bike).json()["prediction"]
    database = own.project.stores / "mlflow.db"
    database.rename(database.with_suffix(".away"))
    own.wait_for(lambda: own.status()["alarms"], "alarm")
    assert own.post("/predict/bikes", json=bike).json()["prediction"] == told
    own.stop()
    own.start().await_ready()
    assert own.post("/predict/bikes", json=bike).json()["prediction"] == told
    assert not database.exists()
    database.with_suffix(".away").rename(database)
    own.wait_for(lambda: not own.status()["alarms"], "recovery")


def test_an_altered_model_is_refused_and_the_champion_stays(own: RunningGateway, bike: Row) -> None:
    plan = own.project.stores / "gateway/bikes/1/plan.npz"
    plan.write_bytes(plan.read_bytes()[:-1] + b"x")
    os.kill(workers(own)[0], signal.SIGKILL)
    own.wait_for(lambda: "is not the file that was recorded" in own.output.read_text(), "refusal")
    found = [own.post("/predict/bikes", json=bike) for _ in range(20)]
    assert {(answer.status_code, answer.json()["model_version"]) for answer in found} == {(200, "2")}


def test_it_finishes_what_is_under_way_before_it_ends(own: RunningGateway, bike: Row) -> None:
    body = orjson.dumps(bike)
    head = b"POST /predict/bikes HTTP/1.1\r\nhost: x\r\nx-request-id: %s\r\ncontent-length: %d\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", own.port), timeout=20) as half,
        socket.create_connection(("127.0.0.1", own.port), timeout=20) as busy,
    ):
        half.sendall(head % (b"half-sent", len(body)) + body[:50])
        busy.sendall(head % (b"before", len(body)) + body)
        assert b" 200 OK" in busy.recv(4096)
        assert own.process
        own.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        busy.sendall(head % (b"after", len(body)) + body)
        half.sendall(body[50:])
        for answer in (busy.recv(4096), half.recv(4096)):
            assert b" 200 OK" in answer
            assert b"connection: close" in answer
    own.process.wait(30)
    assert {"half-sent", "before", "after"} <= set(logged(own)["request_id"])


@contextmanager
def changed_place(project: Project, lines: str) -> Iterator[None]:
    """The local place with more in its gateway section, as a person would write it."""
    path = project.root / "configs/places/local.yaml"
    kept = path.read_text()
    path.write_text(f"{kept}{lines}")
    try:
        yield
    finally:
        path.write_text(kept)


def test_with_keys_only_those_who_show_one_are_answered(served_before: Project, bike: Row) -> None:
    keys, key = Keys().with_new("shop", ("predict",), WHY.at)
    keys, admin = keys.with_new("prometheus", ("predict", "admin"), WHY.at)
    keys.write(served_before.root / "data/keys.json")
    lines = "  keys: data/keys.json\n  limits: {requests_per_second: 2}\n"
    with changed_place(served_before, lines), running(Project(served_before.root)) as gateway:
        assert gateway.post("/predict/bikes", json=bike).status_code == 401
        shown = {"authorization": f"Bearer {key}"}
        assert gateway.post("/predict/bikes", json=bike, headers=shown).status_code == 200
        for path in ("/metrics", "/", "/bikes/validation/2011-W14.html", "/monitoring/bikes/reports/1.html"):
            assert gateway.get(path).status_code == 401
            assert gateway.get(path, headers=shown).status_code == 403
        assert gateway.get("/metrics", headers={"x-api-key": admin}).status_code == 200
        assert gateway.get("/v2/health/live").status_code == 200
        found = [gateway.post("/predict/bikes", json=bike, headers=shown) for _ in range(20)]
        assert {answer.status_code for answer in found} == {200, 429}
        assert all("retry-after" in answer.headers for answer in found if answer.status_code == 429)


def test_a_worker_with_all_it_should_hold_still_says_that_it_lives_and_what_it_counts(
    served_before: Project, bike: Row
) -> None:
    with changed_place(served_before, "  limits: {in_flight: 1}\n"), running(Project(served_before.root)) as gateway:
        address = httpx.URL(gateway.url)
        with socket.create_connection((address.host, address.port or 80)) as slow:
            slow.sendall(b"POST /predict/bikes HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000\r\n\r\n{")
            gateway.wait_for(
                lambda: gateway.post("/predict/bikes", json=bike).status_code == 503, "a worker that is full"
            )
            assert [gateway.get(path).status_code for path in ("/v2/health/live", "/v2/health/ready", "/metrics")] == [
                200,
                200,
                200,
            ]


def test_a_pipeline_without_a_plan_is_served_in_batches_with_the_same_answers(
    served_before: Project, bike: Row
) -> None:
    rows = many(bike, 40)
    with running(served_before) as gateway:
        with_plan = predictions(gateway.post("/predict/bikes", json=rows))
        assert gateway.status()["cases"]["bikes"]["champion"]["engine"] == "plan"
    folder = served_before.stores / "gateway/bikes/2"
    (folder / "distrusted.json").write_text('{"what": "a test", "at": "2026-01-01T00:00:00Z"}')
    with running(served_before) as gateway:
        engine = lambda: gateway.status()["cases"]["bikes"]["champion"]["engine"]  # noqa: E731
        gateway.wait_for(lambda: engine() == "pipeline", "pipeline")
        assert predictions(gateway.post("/predict/bikes", json=rows)) == with_plan

        async def at_once() -> list[float]:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
                asked = [client.post("/predict/bikes", json=row) for row in rows]
                return [answer.json()["prediction"] for answer in await asyncio.gather(*asked)]

        assert asyncio.run(at_once()) == with_plan


def test_nothing_that_its_own_document_allows_makes_it_fail(gateway: RunningGateway) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/openapi.json"]
    # The flights of this clone have no champion: 503 is right for them.
    limits = ["--include-path-regex", "bikes|invocations", "--exclude-path-regex", "flights|^/invocations"]
    how = ["--checks", checks, "--max-examples", "10", "--phases", "examples,coverage,fuzzing"]
    ended = subprocess.run(
        [*command, *limits, *how, "--generation-deterministic"],
        cwd=gateway.project.stores,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "8 selected" in ended.stdout
    assert '"level":"error"' not in gateway.output.read_text()


def certify(folder: Path) -> ssl.SSLContext:
    """A certificate for this machine, made anew, and what a client checks it with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "gateway.pem").write_bytes(certificate.public_bytes(form))
    (folder / "gateway.key").write_bytes(key.private_bytes(form, serialization.PrivateFormat.PKCS8, plain))
    return ssl.create_default_context(cafile=str(folder / "gateway.pem"))


def test_with_a_certificate_answers_are_encrypted_and_plain_requests_get_none(
    served_before: Project, tmp_path: Path, bike: Row
) -> None:
    trusted = certify(tmp_path)
    lines = f"  tls: {{certificate: {tmp_path / 'gateway.pem'}, key: {tmp_path / 'gateway.key'}}}\n"
    with changed_place(served_before, lines), running(Project(served_before.root), trusted=trusted) as gateway:
        answer = gateway.post("/predict/bikes", json=bike)
        assert answer.status_code == 200
        assert answer.json()["model_version"] == "2"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{gateway.port}/v2/health/live", timeout=10)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{gateway.url}/v2/health/live", timeout=10)
