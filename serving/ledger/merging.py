"""The many small files of a day become few; whoever reads meanwhile sees every row once.

A merged file says in its own metadata which files it stands for, and is there whole before the first of them is
removed. A reader (read.py) leaves out files that a merged one stands for; and because a listing need not be of one
moment, it reads a day again if a merged file appeared, or a listed file vanished, while it was read. Killed anywhere,
merging ends next time: it begins with removing what a merged file stands for.

Each folder of segments merges only its own files, told by their names, so that two machines never merge the same.
"""

import hashlib
import itertools
import json
import logging
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from serving.ledger.parquet import ParquetFile
from serving.ledger.store import Store

log = logging.getLogger(__name__)

MERGED = "merged-"
_STANDS_FOR = b"evergreen.stands_for"
_SMALL_BYTES = 32_000_000
"""A file this large is left alone."""
_MOST_BYTES = 128_000_000
"""Together, of the files merged at once."""
_LEAST_TODAY = 64
"""A day that is not over is merged when it has so many small files."""
_OVER_AFTER = timedelta(minutes=15)
"""When the last segments with answers of a day are expected to be Parquet."""


def stands_for(store: Store, case: str, day: date, merged: str) -> frozenset[str]:
    """The names of the files that a merged file stands for. Raises FileNotFoundError or StoreUnreachable."""
    return frozenset(json.loads(store.metadata(case, day, merged)[_STANDS_FOR]))


def is_over(day: date, now: datetime) -> bool:
    """Whether hardly any answer of `day` can still be on its way."""
    return now >= datetime.combine(day, time(), UTC) + timedelta(days=1) + _OVER_AFTER


def merge_day(store: Store, case: str, day: date, ledger: str, now: datetime) -> bool:
    """Merge the small files of a day that this `ledger` wrote; tells if there was anything to merge.

    Only to be called when every segment was compacted: none may still write a part that is merged here.
    """
    own = {name: size for name, size in store.files(case, day).items() if f"-{ledger}-" in name}
    if len(own) < 2:
        return False
    replaced = {name: stands_for(store, case, day, name) for name in own if name.startswith(MERGED)}
    for name in frozenset().union(*replaced.values()) & own.keys():
        store.remove(case, day, name)
        del own[name]
    small = _at_most(_MOST_BYTES, {name: size for name, size in own.items() if size < _SMALL_BYTES})
    if len(small) < (2 if is_over(day, now) else _LEAST_TODAY):
        return False
    groups = [names for names in _alike(store, case, day, small) if len(names) > 1]
    for names in groups:
        _merge(store, case, day, ledger, names)
    return bool(groups)


def _at_most(most_bytes: int, sizes: dict[str, int]) -> list[str]:
    """As many of the files, in the order of their names, as are `most_bytes` together."""
    together = itertools.accumulate(sizes.values())
    return [name for name, sum_ in zip(sizes, together, strict=True) if sum_ <= most_bytes]


def _alike(store: Store, case: str, day: date, names: list[str]) -> list[list[str]]:
    """The files in groups of the same columns: another contract has others."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[store.schema(case, day, name).remove_metadata().to_string()].append(name)
    return list(groups.values())


def _merge(store: Store, case: str, day: date, ledger: str, names: list[str]) -> None:
    replaced = frozenset(names).union(*(stands_for(store, case, day, n) for n in names if n.startswith(MERGED)))
    columns = store.schema(case, day, names[0]).remove_metadata()
    merged = ParquetFile(columns.with_metadata({_STANDS_FOR: json.dumps(sorted(replaced))}))
    for name in names:
        merged.add(pq.read_table(pa.BufferReader(store.get(case, day, name))))
    digest = hashlib.blake2b("".join(names).encode(), digest_size=8).hexdigest()
    store.put(case, day, f"{MERGED}{ledger}-{digest}.parquet", merged.end())
    for name in names:
        store.remove(case, day, name)
    log.info("%s, %s: %d files with %d rows were merged into one", case, day, len(names), merged.rows)
