"""The one way from a request to its answer: read, check, score, word, write down."""

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from configs.case import Case
from configs.serving import Clock
from serving.contract import Checker
from serving.dialects import Dialect, Request
from serving.errors import BadRequest, ContractBroken, TooLarge, WrongType
from serving.ledger.entry import encode_entry
from serving.ledger.event_clock import encode_at_event_time, newest_event_time
from serving.ledger.ledger import Ledger
from serving.ledger.refusals import reasons_of
from serving.logs import REQUEST_ID
from serving.metrics import Metrics
from serving.reasons import strongest_reasons
from serving.records import Answer, Asked, Outcome, Part, Reply, Role, RowProblem, Rows, Value
from serving.served import Arm, ServedCase
from serving.shadow import Answered, Shadow

_MOST_ID = 128
_ID_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")


class Desk:
    """One case as a worker serves it: its models, its contract, and the typical values its reasons are told by."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.checker = Checker(case)
        self.served = ServedCase(case)
        self.typical: list[Value] = []
        self.example: dict[str, Value] = {}
        """A real row, for the documents."""


class Prepared(NamedTuple):
    """An answer that may not leave yet: its entry is to be in the log first."""

    reply: Reply
    payload: bytes
    """The entry."""
    desk: Desk
    answered: Answered
    parts: list[Part]
    began: float


class Inference:
    """Answers requests, and lets no answer leave before it is in the prediction log."""

    def __init__(
        self, cases: Sequence[Case], ledger: Ledger, metrics: Metrics, max_rows: int, clock: Clock = "wall"
    ) -> None:
        self.desks = {case.name: Desk(case) for case in cases}
        self.ledger = ledger
        self.metrics = metrics
        self.max_rows = max_rows
        self.shadow = Shadow(metrics, self._record_shadow)
        self._clock = clock
        self._encode = encode_entry if clock == "wall" else encode_at_event_time
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    async def predict(self, dialect: Dialect, desk: Desk, request: Request, version: str | None = None) -> Reply:
        """The answer to one request, in its protocol's words, when it is in the log. Raises Refused."""
        prepared = await self.prepare(dialect, desk, request, version)
        if isinstance(prepared, Reply):
            return prepared
        if self.ledger.waits_for_disk:
            await self.confirm([prepared])
        else:
            self.write_down([prepared])
        return prepared.reply

    async def prepare(
        self, dialect: Dialect, desk: Desk, request: Request, version: str | None = None
    ) -> Prepared | Reply:
        """The answer to one request, to be written down; as it is, if it says nothing of any row. Raises Refused."""
        case = desk.case
        try:
            asked = dialect.decode(request, case, self.max_rows)
        except (BadRequest, TooLarge, WrongType):
            self._count_unreadable(desk, request.received)
            raise
        rows, positions, problems = self._check(desk, asked, request.received)
        request_id = self._request_id(request.headers, asked)
        REQUEST_ID.set(request_id)
        parts = await desk.served.answer(rows, request_id, version or asked.version) if rows.count else []
        reasons = await self._reasons(desk, asked, rows, parts)
        outcome = Outcome(Answer(request_id, parts), rows.count, problems, positions, reasons)
        reply = dialect.encode(asked, outcome, case)
        if not rows.count:
            return reply
        answered = Answered(desk.served, rows, request_id, request.received, _trace(request.headers))
        return Prepared(reply, self._entry(answered, time.time(), parts), desk, answered, parts, request.began)

    def write_down(self, all_prepared: Sequence[Prepared]) -> None:
        """Write the entries at once; then the answers may leave. Raises Unavailable."""
        self.ledger.record(*[prepared.payload for prepared in all_prepared])
        self._count(all_prepared)

    async def confirm(self, all_prepared: Sequence[Prepared]) -> None:
        """Write the entries and wait for the disk; then the answers may leave. Raises Unavailable."""
        await self.ledger.commit(*[prepared.payload for prepared in all_prepared])
        self._count(all_prepared)

    def _count(self, all_prepared: Sequence[Prepared]) -> None:
        now = time.perf_counter()
        for _, _, desk, answered, parts, began in all_prepared:
            arms = desk.served.arms
            if arms.shadow and arms.challenger and Role.champion in [part.role for part in parts]:
                self.shadow.offer(answered)
            self.metrics.answered(desk.case.name, parts, answered.rows.count, now - began)

    def _check(self, desk: Desk, asked: Asked, received: float) -> tuple[Rows, list[int] | None, list[RowProblem]]:
        try:
            rows, positions, problems = desk.checker.check(asked)
        except ContractBroken as error:
            self._count_broken(desk, asked, asked.count, error.problems, received)
            raise
        except BadRequest:
            self._count_unreadable(desk, received)
            raise
        if problems:
            self._count_broken(desk, asked, asked.count - rows.count, problems, received)
        return rows, positions, problems

    def _count_broken(
        self, desk: Desk, asked: Asked, rows: int, problems: Sequence[RowProblem], received: float
    ) -> None:
        contract = desk.case.contract
        at = received if self._clock == "wall" else newest_event_time(asked, contract.event_time) or received
        reasons = reasons_of(problems, contract)
        self.ledger.refusals.add(desk.case.name, contract.version, at, rows, reasons)
        for field, _ in reasons:
            self.metrics.fields_refused[desk.case.name, field or "unknown"] += 1

    def _count_unreadable(self, desk: Desk, received: float) -> None:
        self.ledger.refusals.add(desk.case.name, desk.case.contract.version, received, 1, [(None, "unreadable")])

    def _request_id(self, headers: Mapping[bytes, bytes], asked: Asked) -> str:
        """The client's own id if it gave one that can be kept as it is, else a new one."""
        own = headers.get(b"x-request-id") or (asked.request_id or "").encode()
        if own and len(own) <= _MOST_ID and _ID_LETTERS.issuperset(own):
            return own.decode("ascii")
        return f"{self._prefix}-{next(self._numbers):x}"

    async def _reasons(
        self, desk: Desk, asked: Asked, rows: Rows, parts: Sequence[Part]
    ) -> list[list[tuple[str, float]]] | None:
        if not asked.reasons or not rows.count:
            return None
        arms = desk.served.arms
        answering: Arm | None = next((arm for arm in arms.all if arm.version == parts[0].version), arms.champion)
        if answering is None or not desk.typical:
            raise BadRequest("This case has no typical values to give reasons by; ask without `reasons`.")
        return await strongest_reasons(answering, rows, desk.case.contract.features, desk.typical, asked.reasons)

    def _record_shadow(self, scored: Sequence[tuple[Answered, Part]]) -> None:
        now = time.time()
        self.ledger.record(*[self._entry(answered, now, [part]) for answered, part in scored])

    def _entry(self, answered: Answered, at: float, parts: Sequence[Part]) -> bytes:
        served, rows, request_id, received, trace = answered
        return self._encode(
            served.case.name, served.case.contract.version, request_id, received, at, rows, parts, trace
        )


def _trace(headers: Mapping[bytes, bytes]) -> str | None:
    """The trace id of a W3C `traceparent` header."""
    parts = headers.get(b"traceparent", b"").split(b"-")
    if len(parts) >= 4 and len(parts[1]) == 32 and all(letter in b"0123456789abcdef" for letter in parts[1]):
        return parts[1].decode("ascii")
    return None
