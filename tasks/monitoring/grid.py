"""The grid of a case: how each column is counted, fixed with the case's first reference and kept from then on."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.case import Column, ColumnType, Contract, Problem
from tasks.files import write_text
from tasks.monitoring.bins import CategoryBins, Floats, NumberBins, Pack, packed
from tasks.monitoring.errors import NameTaken, ProfileUnreadable
from tasks.monitoring.terms import TermBins, term_counts

SCORE = "score"
"""The champion's answer as a column: its probability, its prediction in a regression, else its top probability."""
PREDICTION = "prediction"
"""The champion's class, in a multiclass case."""
_FORMAT = 1
_MOST_SAMPLED = 500_000
_MOST_NAMES = 200_000
_MOST_PAIRED = 48
"""Columns whose pairs are watched: the score and the first of the contract's numbers."""
_SEED = 4

Bins = NumberBins | CategoryBins | TermBins
_KINDS: dict[str, type[NumberBins] | type[CategoryBins] | type[TermBins]] = {
    "number": NumberBins,
    "category": CategoryBins,
    "text": TermBins,
}


@dataclass(frozen=True, eq=False)
class Grid:
    """How the columns of a case are counted: its contract's features, and the champion's answer."""

    contract_version: int
    version: int
    """Of the champion whose reference fixed it."""
    columns: Mapping[str, Bins]

    @classmethod
    def fit(
        cls,
        contract: Contract,
        problem: Problem,
        batches: Iterable[pa.RecordBatch],
        version: int,
        text: Sequence[str] = (),
    ) -> Self:
        """The grid for rows like these: features by name, and `score` (in a multiclass case `prediction` too).

        Memory stays bounded: bins of numbers are fitted to at most half a million rows drawn with a fixed seed.
        Raises NameTaken.
        """
        found = {name: _found(name, column, text) for name, column in columns_of(contract, problem).items()}
        draw = _Draw()
        for batch in batches:
            draws = draw.of(batch.num_rows)
            for name in set(found) & set(batch.schema.names):
                found[name].take(batch.column(name), draws, draw.share)
        return cls(contract.version, version, {name: one.bins() for name, one in found.items()})

    @cached_property
    def digest(self) -> str:
        """What tells this grid from every other."""
        return hashlib.sha256(
            self._told(lambda array: hashlib.sha256(array.tobytes()).hexdigest()).encode()
        ).hexdigest()

    @cached_property
    def numbers(self) -> dict[str, NumberBins]:
        return {name: bins for name, bins in self.columns.items() if isinstance(bins, NumberBins)}

    @cached_property
    def paired(self) -> tuple[str, ...]:
        """The columns whose pairs are watched, the score first."""
        return tuple(sorted(self.numbers, key=lambda name: name != SCORE)[:_MOST_PAIRED])

    def to_json(self) -> str:
        return self._told(packed)

    def _told(self, pack: Pack) -> str:
        told = {
            "format": _FORMAT,
            "contract_version": self.contract_version,
            "version": self.version,
            "columns": {name: bins.as_json(pack) for name, bins in self.columns.items()},
        }
        return json.dumps(told)

    @classmethod
    def from_json(cls, told: str, where: str = "the grid") -> Self:
        """The grid as it was. Raises ProfileUnreadable."""
        try:
            read = json.loads(told)
            if read["format"] != _FORMAT:
                raise ProfileUnreadable(where, f"it is of format {read['format']}, not {_FORMAT}")
            columns = {name: _bins(one) for name, one in read["columns"].items()}
            return cls(read["contract_version"], read["version"], columns)
        except (ValueError, KeyError, TypeError) as error:
            raise ProfileUnreadable(where, f"it is no grid ({type(error).__name__}: {error})") from error

    def write(self, path: Path) -> None:
        """Write the grid to `path`, whole or not at all. Raises DiskFull."""
        write_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises FileNotFoundError or ProfileUnreadable."""
        return cls.from_json(path.read_text(encoding="utf-8"), str(path))


def columns_of(contract: Contract, problem: Problem) -> dict[str, Column | None]:
    """What is watched: the features, and the champion's answer (None: in no contract). Raises NameTaken."""
    answers = (SCORE, PREDICTION) if problem is Problem.multiclass else (SCORE,)
    taken = [name for name in answers if name in contract.features]
    if taken:
        raise NameTaken(taken[0])
    return {name: contract.columns[name] for name in contract.features} | dict.fromkeys(answers)


def _bins(told: dict[str, Any]) -> Bins:
    return _KINDS[told["kind"]].from_json(told)


class _Draw:
    """Draws rows so that a bounded number is kept, each with the same chance."""

    def __init__(self) -> None:
        self.share = 1.0
        self._kept = 0.0
        self._random = np.random.default_rng(_SEED)

    def of(self, rows: int) -> Floats:
        """A number from 0 to 1 for each row: rows below `share` are kept, and rows kept before are thinned to it."""
        self._kept += rows * self.share
        while self._kept > _MOST_SAMPLED:
            self.share /= 2
            self._kept /= 2
        return self._random.random(rows)


class _Numbers:
    """The values of a column of numbers, as far as they were drawn."""

    def __init__(self, column: Column | None) -> None:
        self._column = column
        self._reader = NumberBins(np.empty(0), of_time=column is not None and column.type is ColumnType.timestamp)
        self._share = 1.0
        self._values: list[Floats] = []
        self._draws: list[Floats] = []

    def take(self, array: pa.Array, draws: Floats, share: float) -> None:
        if share < self._share:
            kept = [draw < share for draw in self._draws]
            self._values = [values[mask] for values, mask in zip(self._values, kept, strict=True)]
            self._draws = [draw[mask] for draw, mask in zip(self._draws, kept, strict=True)]
            self._share = share
        values = self._reader.values(array)
        if values is not None:
            self._values.append(values[draws < share])
            self._draws.append(draws[draws < share])

    def bins(self) -> NumberBins:
        return NumberBins.fit(np.concatenate([*self._values, np.empty(0)]), self._column)


class _Names:
    """How often each category, or each term, occurs; the rarest are forgotten where there are very many."""

    def __init__(self, column: Column | None, *, is_text: bool) -> None:
        self._column = column
        self._is_text = is_text
        self._found: Counter[str] = Counter()

    def take(self, array: pa.Array, draws: Floats, share: float) -> None:  # noqa: ARG002 - every row counts here
        self._found.update(term_counts(array) if self._is_text else _categories(array))
        if len(self._found) > _MOST_NAMES:
            self._found = Counter(dict(self._found.most_common(_MOST_NAMES // 2)))

    def bins(self) -> CategoryBins | TermBins:
        return TermBins.fit(self._found) if self._is_text else CategoryBins.fit(self._found, self._column)


def _found(name: str, column: Column | None, text: Sequence[str]) -> _Numbers | _Names:
    if name == PREDICTION or (column is not None and column.type in (ColumnType.string, ColumnType.boolean)):
        return _Names(column, is_text=name in text)
    return _Numbers(column)


def _categories(array: pa.Array) -> dict[str, int]:
    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    if not (pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)):
        return {}
    counted = pc.value_counts(plain.drop_null())
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
