"""Trees as flat arrays: for `scan` the leaves that each value leaves over, for `walk` nodes beside their neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.engine.kernel import MOST_COLUMNS
from serving.engine.scoring import BLOCK, CATEGORY, MISSING_RIGHT, NODE

Array = np.ndarray[Any, np.dtype[Any]]

_LARGEST_TABLE = 16 * 2**20
"""Bytes; beyond it the lines of a row come from main memory, and following the nodes is as fast."""


@dataclass(frozen=True)
class Tree:
    """A fitted tree; each array has an entry for each node, the root's first."""

    column: Array
    cut: Array
    """A row goes to the left with a value up to this."""
    left: Array
    right: Array
    leaf: Array
    missing_left: Array
    value: Array
    """(nodes, width)"""
    set: Array
    """Where in `sets` the categories that go to the left are; -1 for a test of a number."""
    sets: Array
    """(…, 256), true where a category goes to the left."""

    @property
    def leaves(self) -> int:
        return int(self.leaf.sum())


def scan_arrays(trees: Sequence[Tree], categories: Sequence[int], baseline: Array) -> dict[str, Array] | None:
    """The arrays of `Scan`, or None where that is not possible or not worth it.

    `categories` says for each input how many categories it has, 0 if it is a number.
    """
    most = max(tree.leaves for tree in trees)
    if most > 64 or any(tree.value.shape[1] != 1 for tree in trees) or _mixed(trees, categories):
        return None
    bits = 32 if most <= 32 else 64
    columns = [_column(trees, column, count) for column, count in enumerate(categories)]
    columns = [one for one in columns if one.used]
    line = -(-len(trees) * bits // 8 // BLOCK) * BLOCK
    if len(columns) > MOST_COLUMNS or sum(one.lines for one in columns) * line > _LARGEST_TABLE:
        return None
    table, leaves = _left_over(trees, columns, bits, line)
    return {
        "column": np.array([one.column for one in columns], dtype="<i8"),
        "category": np.array([one.categories for one in columns], dtype="<i8"),
        "first_cut": _starts([len(one.cuts) for one in columns]),
        "first_line": _starts([one.lines for one in columns]),
        "cuts": np.concatenate([*(one.cuts for one in columns), np.zeros(0)]),
        "table": table.view("|u1"),
        "leaves": leaves,
        "baseline": baseline,
    }


@dataclass(frozen=True)
class _Column:
    """An input as the trees see it: which values of it they can tell apart."""

    column: int
    categories: int
    cuts: Array
    used: bool

    @property
    def lines(self) -> int:
        """One for each category, or for each stretch between cuts; and one for a missing value."""
        return self.categories + 1 if self.categories else len(self.cuts) + 2


def _column(trees: Sequence[Tree], column: int, categories: int) -> _Column:
    found = np.unique(np.concatenate([tree.cut[_tests(tree, column)] for tree in trees]))
    return _Column(column, categories, found[:0] if categories else found, used=len(found) > 0)


def _left_over(trees: Sequence[Tree], columns: Sequence[_Column], bits: int, line: int) -> tuple[Array, Array]:
    """For each value of each column which leaves it leaves over of each tree; and the leaves, from left to right."""
    first_line, place_of = _starts([one.lines for one in columns]), {one.column: i for i, one in enumerate(columns)}
    table = np.full((first_line[-1], line * 8 // bits), -1, dtype=f"<i{bits // 8}")
    leaves = np.zeros((len(trees), bits))
    for number, tree in enumerate(trees):
        order, spans = _leaves_in_order(tree)
        leaves[number, : len(order)] = tree.value[order, 0]
        for node, (first, last) in spans.items():
            place = place_of[int(tree.column[node])]
            here = table[first_line[place] : first_line[place + 1], number]
            here[_goes_right(tree, node, columns[place])] &= _without(first, last, bits)
    return table, leaves


def walk_arrays(trees: Sequence[Tree], baseline: Array, *, single: bool, takes_missing: bool) -> dict[str, Array]:
    """The arrays of `Walk`."""
    total = sum(len(tree.leaf) for tree in trees)
    nodes, values = np.zeros(total, dtype=NODE), np.zeros((total, trees[0].value.shape[1]))
    roots, sets = _starts([len(tree.leaf) for tree in trees]), [np.zeros((0, 256), dtype=bool)]
    for tree, root in zip(trees, roots[:-1].tolist(), strict=True):
        _lay_out(tree, root, sum(map(len, sets)), nodes, values)
        sets.append(tree.sets)
    return {
        "root": roots[:-1],
        "nodes": nodes,
        "sets": np.packbits(np.concatenate(sets), axis=1, bitorder="little").reshape(-1, 32),
        "values": values,
        "baseline": baseline,
        "flags": np.array([single, takes_missing], dtype="<i8"),
    }


def _lay_out(tree: Tree, root: int, first_set: int, nodes: Array, values: Array) -> None:
    """Level by level from `root` on, each right child behind its left one."""
    test = np.where(tree.missing_left, tree.column, tree.column | MISSING_RIGHT)
    test = np.where(tree.set < 0, test, test | CATEGORY)
    cut = np.where(tree.set < 0, tree.cut, first_set + tree.set)
    level, at, free = np.array([0]), np.array([root]), root + 1
    while len(level):
        values[at] = tree.value[level]
        leaf = tree.leaf[level]
        nodes["cut"][at[leaf]], nodes["left"][at[leaf]] = np.inf, at[leaf]
        level, at = level[~leaf], at[~leaf]
        left = free + 2 * np.arange(len(level))
        nodes["cut"][at], nodes["left"][at], nodes["test"][at] = cut[level], left, test[level]
        level = np.stack([tree.left[level], tree.right[level]], axis=1).reshape(-1)
        at = np.stack([left, left + 1], axis=1).reshape(-1)
        free += len(level)


def _tests(tree: Tree, column: int) -> Array:
    found: Array = ~tree.leaf & (tree.column == column)
    return found


def _mixed(trees: Sequence[Tree], categories: Sequence[int]) -> bool:
    """Whether an input is tested both as a number and for categories."""
    return any(
        bool((tree.set[_tests(tree, column)] < 0).any() if count else (tree.set[_tests(tree, column)] >= 0).any())
        for tree in trees
        for column, count in enumerate(categories)
    )


def _leaves_in_order(tree: Tree) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """Leaves from left to right; and for each other node which of them are on its left, from first to last + 1."""
    order: list[int] = []
    spans: dict[int, tuple[int, int]] = {}

    def visit(node: int) -> None:
        if tree.leaf[node]:
            order.append(node)
            return
        first = len(order)
        visit(int(tree.left[node]))
        spans[node] = (first, len(order))
        visit(int(tree.right[node]))

    visit(0)
    return order, spans


def _goes_right(tree: Tree, node: int, column: _Column) -> Array:
    """Which lines of a column a node sends to the right."""
    missing_right = [not tree.missing_left[node]]
    if tree.set[node] >= 0:
        return np.concatenate([~tree.sets[tree.set[node], : column.categories], missing_right])
    stretches = np.arange(len(column.cuts) + 1)
    return np.concatenate([stretches > np.searchsorted(column.cuts, tree.cut[node]), missing_right])


def _without(first: int, last: int, bits: int) -> Any:
    """All leaves but those from `first` to `last`, as the table's signed number."""
    removed = ((1 << (last - first)) - 1) << first
    kept = ~removed & ((1 << bits) - 1)
    return np.array(kept, dtype=f"<u{bits // 8}").view(f"<i{bits // 8}")


def _starts(counts: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
