"""Free text is compared by its terms: in how many rows each occurs, the frequent ones by name, the rest by hash."""

import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.monitoring.bins import Counted, Counts, Pack, as_integers, packed

_MOST_TERMS = 500
HASHED = 512
_TERM = r"\W+"


@dataclass(frozen=True, eq=False)
class TermBins:
    """One bin for each frequent term, then the bins of the rest; a row counts once in each bin it has a term of."""

    terms: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.terms) + HASHED

    def count(self, array: pa.Array) -> Counted:
        """Count in how many rows each term occurs."""
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        counts = np.zeros(self.size, np.int64)
        if pa.types.is_null(kind):
            return Counted(counts, absent=len(array))
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return Counted(counts, nulls=array.null_count, wrong=len(array) - array.null_count)
        rows, terms = _terms(array)
        encoded = terms.dictionary_encode()
        bins = self._bins_of(encoded.dictionary)[as_integers(encoded.indices)]
        once = np.unique(rows * self.size + bins) % self.size
        counts += np.bincount(once, minlength=self.size)
        return Counted(counts, nulls=array.null_count)

    def _bins_of(self, dictionary: pa.Array) -> Counts:
        bins = as_integers(pc.index_in(dictionary, value_set=pa.array(self.terms, pa.string())).fill_null(-1)).copy()
        for index in np.flatnonzero(bins < 0):
            bins[index] = len(self.terms) + zlib.crc32(dictionary[int(index)].as_py().encode()) % HASHED
        return bins

    def name(self, index: int) -> str:
        """What a bin is called."""
        return f"the term `{self.terms[index]}`" if index < len(self.terms) else "rare terms"

    @classmethod
    def fit(cls, found: dict[str, int]) -> Self:
        """Bins for the most frequent of the terms `found` in the reference."""
        return cls(tuple(sorted(found, key=lambda term: (-found[term], term))[:_MOST_TERMS]))

    def as_json(self, pack: Pack = packed) -> dict[str, Any]:  # noqa: ARG002 - no arrays here
        return {"kind": "text", "terms": [*self.terms]}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        return cls(tuple(told["terms"]))


def term_counts(array: pa.Array) -> dict[str, int]:
    """How often each term occurs; nothing for what is no text."""
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return {}
    counted = pc.value_counts(_terms(array)[1])
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _terms(array: pa.Array) -> tuple[Counts, pa.Array]:
    """Every term, and the row it is in."""
    lists = pc.split_pattern_regex(pc.utf8_lower(array.cast(pa.string())), _TERM)
    rows, terms = pc.list_parent_indices(lists), pc.list_flatten(lists)
    kept = pc.not_equal(terms, "")
    return as_integers(rows.filter(kept)), terms.filter(kept)
