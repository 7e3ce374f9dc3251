"""The short way of small requests: what it answers, in which order, and what stands in the log when it does."""

import asyncio
import errno
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
import uvicorn

from configs.case import Problem
from configs.project import Project
from configs.serving import GatewayLimits, GatewayLog
from serving.access import Door
from serving.app import Application
from serving.connection import KEEP_ALIVE_SECONDS, Connection, close_idle_ones
from serving.guard import Guard
from serving.inference import Inference
from serving.lane import MOST_BYTES, Lane
from serving.ledger.compactor import Compactor
from serving.ledger.header import logged_cases
from serving.ledger.ledger import Ledger
from serving.ledger.segment import read_frames
from serving.ledger.store import Store
from serving.metrics import Metrics
from serving.pages import Page, Pages
from serving.records import Reply, Rows
from serving.served import Arm, Arms
from tasks.adapters.refusals import read_refused

ROOT = Path(__file__).parents[2]
Answers = list[tuple[int, dict[bytes, bytes], Any]]


class Same:
    """An engine that answers every row with the same number, at once or in its turn."""

    classes = ()
    kind = "plan"
    waiting = 0

    def __init__(self, *, immediate: bool = True) -> None:
        self.immediate = immediate

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Sequence[float]:
        return [144.0] * (rows.count if positions is None else len(positions))

    async def submit(self, rows: Rows) -> Sequence[float]:
        await asyncio.sleep(0.01)
        return self.score(rows)

    def close(self) -> None:
        """Nothing to let go of."""


class OnePage:
    """Pages of which there is one."""

    def find(self, path: str) -> Page | None:
        return Page(lambda: Reply(200, b'"here"')) if path == "/here" else None


class Stage:
    """A server for the bikes, with its log; `shorts` are the requests that went the short way."""

    def __init__(self, folder: Path, limits: GatewayLimits | None = None, **settings: Any) -> None:
        case = Project(ROOT).case("bikes")
        self.folder = folder / "log"
        self.ledger = Ledger(self.folder, "w0", logged_cases([case]), GatewayLog.model_validate(settings))
        self.metrics = Metrics({"bikes": Problem.regression})
        self.inference = Inference([case], self.ledger, self.metrics, max_rows=100)
        self.served = self.inference.desks["bikes"].served
        self.served.arms = Arms(Arm("7", Same()))
        guard = Guard(Door(None), limits or GatewayLimits())
        application = Application(self.inference, cast("Pages", OnePage()), guard, None)
        self.lane = Lane(application, self.inference, guard)
        self.shorts = 0
        take = self.lane.take

        def counted(*given: Any) -> None:
            self.shorts += 1
            take(*given)

        self.lane.take = counted  # type: ignore[method-assign]
        config = uvicorn.Config(
            application,
            http=partial(Connection, self.lane),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self.server = uvicorn.Server(config)

    def run(self, play: Callable[["Client"], Coroutine[Any, Any, None]]) -> None:
        """Have a client play against the server."""
        asyncio.run(self._run(play))

    async def _run(self, play: Callable[["Client"], Coroutine[Any, Any, None]]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(self.server.serve(sockets=[listening]))
            try:
                while not self.server.started:
                    await asyncio.sleep(0.01)
                client = Client(*await asyncio.open_connection(*listening.getsockname()))
                await asyncio.wait_for(play(client), 20)
                client.writer.close()
            finally:
                self.server.should_exit = True
                await serving
                self.ledger.close()

    def logged(self) -> list[str]:
        """The ids in the log."""
        payloads = [payload for path in sorted(self.folder.glob("w0*")) for payload in [*read_frames(path)][1:]]
        return [orjson.loads(payload)["id"] for payload in payloads]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *packets: bytes, answers: int = 1) -> Answers:
        """Send the packets one after another, and read so many answers."""
        for packet in packets:
            self.writer.write(packet)
            await asyncio.sleep(0.005)
        return [await self._answer() for _ in range(answers)]

    async def _answer(self) -> tuple[int, dict[bytes, bytes], Any]:
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
        headers = {name: value for name, _, value in (line.partition(b": ") for line in lines)}
        body = await self.reader.readexactly(int(headers[b"content-length"]))
        return int(status.split()[1]), headers, orjson.loads(body) if body else None


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def post(body: bytes, request_id: str = "a", path: str = "/predict/bikes", more: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + more + b"\r\n" + body


def in_chunks(body: bytes, request_id: str = "a", path: str = "/predict/bikes") -> bytes:
    """The same request, as the short way does not take it."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"{",
        b'"text"',
        b'{"season": "spring", "season": "spring"}',
        b'{"rows": [{"season": "nowhere"}], "partial": true}',
    ],
)
@pytest.mark.parametrize("path", ["/predict/bikes", "/v2/models/bikes/infer", "/bikes/invocations"])
def test_both_ways_refuse_in_the_same_words(stage: Stage, body: bytes, path: str) -> None:
    async def play(client: Client) -> None:
        (short,) = await client.ask(post(body, path=path))
        assert stage.shorts == 1
        (long,) = await client.ask(in_chunks(body, path=path))
        assert stage.shorts == 1
        assert short[0] >= 400
        assert (short[0], short[2]) == (long[0], long[2])
        assert {name: value for name, value in short[1].items() if name != b"date"} == {
            name: value for name, value in long[1].items() if name != b"date"
        }

    stage.run(play)


def test_what_is_refused_is_counted_by_reason(stage: Stage, bike: dict[str, Any]) -> None:
    rows = [bike, {**bike, "season": "nowhere"}, {**bike, "humidity": None, "made_up": 1}]

    async def play(client: Client) -> None:
        found = [
            *await client.ask(post(orjson.dumps(rows))),
            *await client.ask(post(orjson.dumps({"rows": rows, "partial": True}))),
            *await client.ask(post(b"{")),
            *await client.ask(in_chunks(b"{")),
        ]
        assert [status for status, _, _ in found] == [422, 200, 400, 400]

    started = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    stage.run(play)
    Compactor(stage.folder, Store(str(stage.folder)), {}, lambda: datetime.now(UTC)).turn()
    found = read_refused(str(stage.folder), "bikes", started, started + timedelta(hours=2))
    assert sum(hour.rows for hour in found) == 3 + 2 + 1 + 1
    reasons = Counter[tuple[str | None, str]]()
    for hour in found:
        reasons.update({(one.field, one.reason): one.rows for one in hour.reasons})
    assert reasons == {
        ("season", "value"): 2,
        ("humidity", "missing"): 2,
        (None, "unknown"): 2,
        (None, "unreadable"): 2,
    }


def test_both_ways_give_the_same_answer_and_write_it_down(stage: Stage, bike: dict[str, Any]) -> None:
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        traced = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        (short,) = await client.ask(post(body, "one", more=traced))
        assert stage.logged() == ["one"]
        (long,) = await client.ask(in_chunks(body, "two"))
        assert (short[0], short[2]) == (200, long[2] | {"request_id": "one"})
        assert short[1].keys() - {b"traceparent"} == long[1].keys()
        assert (stage.shorts, stage.logged()) == (1, ["one", "two"])

    stage.run(play)
    assert stage.metrics.requests == {("bikes", "plain", "200"): 2}
    assert stage.metrics.arms["bikes", "7", "champion"].answers == 2
    assert stage.metrics.in_flight == 0


def test_requests_in_one_packet_are_answered_in_their_order(stage: Stage, bike: dict[str, Any]) -> None:
    body = orjson.dumps(bike)
    page = b"GET /here HTTP/1.1\r\nhost: x\r\n\r\n"

    async def play(client: Client) -> None:
        packet = post(body, "one") + post(b"{}", "two") + page + post(body, "three") + in_chunks(body, "four")
        found = await client.ask(packet, answers=5)
        assert [answer if answer == "here" else answer.get("request_id") for _, _, answer in found] == [
            "one",
            None,
            "here",
            "three",
            "four",
        ]

    stage.run(play)


def test_a_request_may_come_in_pieces(stage: Stage, bike: dict[str, Any]) -> None:
    whole = post(orjson.dumps(bike), "one")

    async def play(client: Client) -> None:
        ((status, _, _),) = await client.ask(*(whole[start : start + 40] for start in range(0, len(whole), 40)))
        assert (status, stage.shorts) == (200, 1)

    stage.run(play)


def test_what_needs_care_goes_the_long_way(stage: Stage, bike: dict[str, Any]) -> None:
    body = orjson.dumps(bike)
    large = orjson.dumps([bike] * 90) + b" " * MOST_BYTES

    async def play(client: Client) -> None:
        found = [
            *await client.ask(post(large)),
            *await client.ask(post(body, path="/predict/bikes?partial=true")),
            *await client.ask(post(body, path="/v2/models/bikes/versions/7/infer")),
            *await client.ask(post(body, path="/predict/nowhere")),
        ]
        assert [status for status, _, _ in found] == [200, 200, 400, 404]
        stage.served.arms = Arms(Arm("7", Same()), retired=Arm("6", Same(immediate=False)))
        assert (await client.ask(post(body)))[0][0] == 200
        assert stage.shorts == 0
        found = await client.ask(post(body, more=b"connection: close\r\n"))
        assert (found[0][0], found[0][1][b"connection"], stage.shorts) == (200, b"close", 0)
        assert await client.reader.read() == b""

    stage.run(play)


def test_no_way_takes_more_than_a_place_allows(tmp_path: Path, bike: dict[str, Any]) -> None:
    body = orjson.dumps(bike)
    stage = Stage(tmp_path, GatewayLimits(body_mb=(len(body) + 1) / 2**20))

    async def play(client: Client) -> None:
        assert (await client.ask(post(body)))[0][0] == 200
        assert (await client.ask(post(body + b"  ")))[0][0] == 413
        assert stage.shorts == 1

    stage.run(play)


class Disk:
    """A disk that confirms what it is given when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.confirms, self.asked = threading.Event(), 0
        self._sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._confirm)

    def _confirm(self, handle: int) -> None:
        self.asked += 1
        self.confirms.wait(20)
        self._sync(handle)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def hears_nothing(client: Client) -> bool:
    """Whether no answer comes for a moment."""
    try:
        await asyncio.wait_for(client.reader.read(1), 0.1)
    except TimeoutError:
        return True
    return False


def test_a_disk_confirms_all_answers_of_a_turn_together(tmp_path: Path, bike: dict[str, Any], disk: Disk) -> None:
    stage = Stage(tmp_path, durability="answer", sync_ms=10_000)
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        assert (await client.ask(b"".join(post(body, f"r{n}") for n in range(30)), answers=0)) == []
        assert await hears_nothing(client)
        assert (stage.logged(), stage.metrics.in_flight) == ([f"r{n}" for n in range(30)], 30)
        disk.confirms.set()
        found = await client.ask(answers=30)
        assert [answer["request_id"] for _, _, answer in found] == [f"r{n}" for n in range(30)]

    stage.run(play)
    assert (stage.shorts, stage.ledger.appended, disk.asked, stage.metrics.in_flight) == (30, 30, 1, 0)


def test_what_need_not_be_on_disk_keeps_its_place_behind_what_must(
    tmp_path: Path, bike: dict[str, Any], disk: Disk
) -> None:
    stage = Stage(tmp_path, durability="answer")
    body = orjson.dumps(bike)
    page = b"GET /here HTTP/1.1\r\nhost: x\r\n\r\n"

    async def play(client: Client) -> None:
        behind = page + post(body, "two") + in_chunks(body, "three") + post(body, "four")
        await client.ask(post(body, "one"), post(b"{}"), behind, answers=0)
        assert await hears_nothing(client)
        disk.confirms.set()
        found = await client.ask(answers=6)
        told = [answer if answer == "here" else answer.get("request_id") for _, _, answer in found]
        assert told == ["one", None, "here", "two", "three", "four"]
        ((_, _, again),) = await client.ask(post(body, "five"))
        assert again["request_id"] == "five"

    stage.run(play)
    assert stage.shorts == 3


@pytest.mark.parametrize("when_full", ["refuse", "answer"])
def test_what_the_disk_does_not_confirm_is_refused_or_counted_as_the_place_chose(
    tmp_path: Path, bike: dict[str, Any], monkeypatch: pytest.MonkeyPatch, when_full: str
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    stage = Stage(tmp_path, durability="answer", when_full=when_full)
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", broken)
            found = await client.ask(post(body, "one") + post(b"{}") + post(body, "two"), answers=3)
        wanted = 503 if when_full == "refuse" else 200
        assert [status for status, _, _ in found] == [wanted, 422, wanted]
        assert (stage.ledger.unlogged, stage.ledger.sync_errors) == (0 if when_full == "refuse" else 2, 1)
        while (await client.ask(post(body, "three")))[0][0] != 200:
            await asyncio.sleep(0.05)

    stage.run(play)


def test_a_worker_that_ends_gives_the_answers_that_wait_for_the_disk(
    tmp_path: Path, bike: dict[str, Any], disk: Disk
) -> None:
    stage = Stage(tmp_path, durability="answer")

    async def play(client: Client) -> None:
        await client.ask(post(orjson.dumps(bike)), answers=0)
        stage.server.should_exit = True
        await asyncio.sleep(1.5)
        disk.confirms.set()
        ((status, headers, _),) = await client.ask(answers=1)
        assert (status, headers[b"connection"]) == (200, b"close")

    stage.run(play)


def test_all_requests_of_a_turn_are_one_write(
    stage: Stage, bike: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sizes = os.write, list[int]()
    monkeypatch.setattr(os, "write", lambda handle, data: (sizes.append(len(data)), write(handle, data))[1])
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        before = len(sizes)
        found = await client.ask(b"".join(post(body, f"r{n}") for n in range(30)), answers=30)
        assert [answer["request_id"] for _, _, answer in found] == stage.logged() == [f"r{n}" for n in range(30)]
        assert len(sizes) - before == 1

    stage.run(play)


def test_what_cannot_be_written_down_is_not_answered(
    stage: Stage, bike: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            found = await client.ask(post(body, "one") + post(b"{}") + post(body, "two"), answers=3)
        assert [status for status, _, _ in found] == [503, 422, 503]
        assert found[0][1][b"retry-after"] == b"1"
        assert stage.ledger.refuses
        while (await client.ask(post(body, "three")))[0][0] != 200:
            await asyncio.sleep(0.05)
        assert stage.logged() == ["three"]

    stage.run(play)


def test_an_answer_that_fails_is_told_apart_from_the_others(
    stage: Stage, bike: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        stage.inference.desks["bikes"].served.answer = None  # type: ignore[assignment, method-assign]
        ((status, _, said),) = await client.ask(post(body))
        assert (status, said["error"]["code"]) == (503, "unavailable")
        del stage.inference.desks["bikes"].served.answer  # type: ignore[method-assign]
        assert (await client.ask(post(body)))[0][0] == 200

    with caplog.at_level(logging.ERROR):
        stage.run(play)
    assert "/predict/bikes failed" in caplog.text


def test_a_client_is_told_that_the_worker_ends(stage: Stage, bike: dict[str, Any]) -> None:
    body = orjson.dumps(bike)

    async def play(client: Client) -> None:
        await client.ask(post(body))
        stage.server.should_exit = True
        await asyncio.sleep(0.3)
        ((status, headers, _),) = await client.ask(post(body))
        assert (status, headers[b"connection"]) == (200, b"close")
        assert await client.reader.read() == b""

    stage.run(play)
    assert stage.shorts == 2


def test_a_request_that_is_on_its_way_when_the_worker_ends_is_answered(stage: Stage, bike: dict[str, Any]) -> None:
    whole = post(orjson.dumps(bike))

    async def play(client: Client) -> None:
        await client.ask(whole[:-5], answers=0)
        stage.server.should_exit = True
        await asyncio.sleep(1.5)
        ((status, headers, _),) = await client.ask(whole[-5:])
        assert (status, headers[b"connection"]) == (200, b"close")

    stage.run(play)
    assert stage.shorts == 1


def test_a_client_that_asks_for_nothing_is_left_after_a_while(stage: Stage, bike: dict[str, Any]) -> None:
    async def play(client: Client) -> None:
        await client.ask(post(orjson.dumps(bike)))
        loop, connections = asyncio.get_running_loop(), list(stage.server.server_state.connections)
        close_idle_ones(connections, loop.time() + KEEP_ALIVE_SECONDS - 1)
        assert (await client.ask(post(orjson.dumps(bike))))[0][0] == 200
        close_idle_ones(connections, loop.time() + KEEP_ALIVE_SECONDS + 1)
        assert await client.reader.read() == b""

    stage.run(play)


def test_a_client_that_went_away_disturbs_nobody(stage: Stage, bike: dict[str, Any]) -> None:
    gone: Any = SimpleNamespace(is_closing=lambda: True)

    async def play(client: Client) -> None:
        (connection,) = stage.server.server_state.connections
        connection.transport, kept = gone, connection.transport  # type: ignore[union-attr]
        connection._unanswered = 1  # type: ignore[union-attr]
        connection.answer([b"HTTP/1.1 200 OK\r\n"], b"", last=True)  # type: ignore[union-attr]
        connection.transport = kept  # type: ignore[union-attr]
        assert (await client.ask(post(orjson.dumps(bike))))[0][0] == 200

    stage.run(play)
