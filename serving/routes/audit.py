"""audit: answers of compiled plans, taken from the prediction log and scored again with the pipeline itself."""

import itertools
import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from configs.case import Case
from serving.engine.frame import frame_of
from serving.engine.prove import bits
from serving.engine.structure import STRUCTURE_FILE, Structure
from serving.ledger.entry import Entry, decode_entry
from serving.ledger.header import LoggedCase, logged_cases
from serving.records import Part, Rows
from serving.routes.local import RouteEntry
from serving.routes.tail import Tail
from tasks.features.artifact import MODEL_FILE, load_model, score
from tasks.records import Candidate

log = logging.getLogger(__name__)

_AT_LEAST = 3
"""Entries of each case that are audited in a look, where there are so many, whatever the share."""
_ROWS_A_LOOK = 500
"""Of each version: what the pipeline scores in a few hundredths of a second."""
_ALIKE = 1e-9
"""Relative. A dense linear model's last bits depend on the rows beside it, which the log does not know."""
_WHOLE = 2**32
_LOOKED_AT = 0.03
"""Share of the entries of which id and case are read: a case with few requests beside busy ones is audited too."""
_FIRST = 64
"""So many entries of each look are looked at before any is left to chance."""
_HEADS = re.compile(rb'\{"id":"((?:[^"\\]|\\.)*)","case":"([^"\\]*)",')

Plans = Mapping[tuple[str, str], RouteEntry]
"""Versions that answer as plans now, by case and number."""


class Difference(NamedTuple):
    """A plan gave another answer than its pipeline."""

    case: str
    version: str
    what: str


@dataclass
class _Pile:
    """Answers of one version, to be scored again together."""

    rows: list[Rows] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """The request of each row."""

    def add(self, entry: Entry, part: Part) -> None:
        positions = range(entry.rows.count) if part.rows is None else part.rows
        some = list(positions)[: _ROWS_A_LOOK - len(self.scores)]
        self.rows.append(entry.rows.take(some))
        self.scores += list(part.scores)[: len(some)]
        self.requests += [entry.request_id] * len(some)


class Audit:
    """Looks at what was logged since it looked last."""

    def __init__(self, cases: Sequence[Case], ledger: Path, version_folder: Callable[[str, str], Path]) -> None:
        self._cases = {case.name: case for case in cases}
        self._shares = {case.name: case.serving.audit_share for case in cases if case.serving.audit_share}
        self._features = {name: one.features for name, one in logged_cases(cases).items()}
        self._folder = version_folder
        self._tail = Tail(ledger)
        self._judges: dict[tuple[str, str], _Judge] = {}
        self.audited: dict[str, int] = defaultdict(int)
        """Rows scored again, by case."""

    def look(self, plans: Plans) -> list[Difference]:
        """The first difference of each version whose answers were sampled."""
        piles: defaultdict[tuple[str, str], _Pile] = defaultdict(_Pile)
        for entry in self._sampled():
            for part in entry.parts:
                if part.version and (entry.case, part.version) in plans:
                    piles[entry.case, part.version].add(entry, part)
        self._judges = {key: judge for key, judge in self._judges.items() if key in plans}
        found = [self._judged(key, plans[key], pile) for key, pile in piles.items() if pile.scores]
        return [difference for difference in found if difference]

    def _sampled(self) -> Iterator[Entry]:
        taken: defaultdict[bytes, int] = defaultdict(int)
        looked_at = itertools.count()
        below = max(_LOOKED_AT, *self._shares.values(), 0.0) * _WHOLE
        for payloads, cases in self._tail.new(lambda checksum: checksum < below or next(looked_at) < _FIRST):
            shares = {name.encode(): share for name, share in self._shares.items() if self._same_contract(name, cases)}
            for checksum, payload in payloads:
                # Of nearly all of these only id and case are looked at: to read JSON takes longer.
                heads = _HEADS.match(payload)
                if heads is None:
                    raise ValueError(
                        f"an entry of the prediction log does not begin with id and case: {payload[:80]!r}"
                    )
                case = heads.group(2)
                if case in shares and (taken[case] < _AT_LEAST or drawn(checksum, shares[case])):
                    taken[case] += 1
                    yield decode_entry(payload, cases)

    def _same_contract(self, name: str, cases: Mapping[str, LoggedCase]) -> bool:
        return name in cases and cases[name].features == self._features[name]

    def _judged(self, key: tuple[str, str], entry: RouteEntry, pile: _Pile) -> Difference | None:
        case, version = key
        judge = self._judges.get(key)
        if judge is None or judge.model_sha256 != entry.model_sha256:
            judge = self._judges[key] = _Judge(self._folder(case, version), entry.model_sha256, self._cases[case])
        self.audited[case] += len(pile.scores)
        what = judge.difference(pile)
        return Difference(case, version, what) if what else None


class _Judge:
    """The pipeline of a version, which says what its plan should have answered."""

    def __init__(self, folder: Path, model_sha256: str, case: Case) -> None:
        self.model_sha256 = model_sha256
        self._model = load_model(folder / MODEL_FILE, model_sha256)
        self._candidate = Candidate.read(folder / "candidate.json")
        self._contract = case.contract
        self._company_matters = Structure.read(folder / STRUCTURE_FILE).company_matters

    def difference(self, pile: _Pile) -> str | None:
        """The first answer that is not the pipeline's, in words."""
        frame = frame_of(_together(pile.rows), self._contract)
        try:
            with threadpool_limits(1), np.errstate(all="ignore"):
                wanted = score(self._model, frame, self._candidate).tolist()
        except ValueError as error:
            return f"one of the requests {', '.join(pile.requests[:3])} is refused by the pipeline: {error}"
        for request, mine, theirs in zip(pile.requests, pile.scores, wanted, strict=True):
            if not self._same(mine, theirs):
                return f"request {request} was answered {mine!r}, the pipeline says {theirs!r}"
        return None

    def _same(self, mine: Any, theirs: Any) -> bool:
        if not self._company_matters:
            return bits(mine) == bits(theirs)
        pairs = zip(np.ravel(mine), np.ravel(theirs), strict=True)
        return all(math.isclose(one, other, rel_tol=_ALIKE, abs_tol=_ALIKE) for one, other in pairs)


def drawn(checksum: int, share: float) -> bool:
    """Whether an entry is in the share that is audited."""
    return checksum < share * _WHOLE


def _together(parts: Sequence[Rows]) -> Rows:
    columns = [[value for part in parts for value in part.columns[place]] for place in range(len(parts[0].columns))]
    nothing: list[str | None] = [None] * sum(part.count for part in parts)
    return Rows(len(nothing), columns, nothing, nothing)
