# ruff: noqa: SLF001 - what a fitted estimator has learnt is private to it; the proof against the estimator is the guard
"""The last step of a fitted pipeline as the arrays of a plan."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn._loss.link import IdentityLink, LogitLink, LogLink, MultinomialLogit
from sklearn.compose import ColumnTransformer

from serving.engine.errors import NotRecognised
from serving.engine.flatten import Tree, scan_arrays, walk_arrays
from serving.engine.scoring import HOT, MISSING, NUMBER, TERM, Array
from serving.engine.structure import Input, Link, Text

_CODES = 256
"""Gradient boosting keeps sets of categories as this many bits."""


@dataclass(frozen=True)
class Read:
    """What `Structure` says of an estimator's scores, and the arrays that make them.

    For a classifier the link and the finish are those of its probabilities; a calibration takes what is before them,
    except of forests, which have nothing else.
    """

    method: str
    outputs: int
    arrays: dict[str, Array]
    link: Link = field(default_factory=Link)
    finish: str = "none"
    by: str = "output"


def read_boosting(model: Any, inputs: Sequence[Input]) -> Read:
    """Histogram gradient boosting: a tree for each output and iteration. Raises NotRecognised."""
    outputs = int(model.n_trees_per_iteration_)
    baseline = np.ravel(model._baseline_prediction).astype("<f8", casting="no").copy()
    known, where = model._bin_mapper.make_known_categories_bitsets()
    trees = [_boosted(tree, known, where) for iteration in model._predictors for tree in iteration]
    categories = [_categories(one, trees, column) for column, one in enumerate(inputs)]
    scan = scan_arrays(trees, categories, baseline)
    finish = {IdentityLink: "none", LogLink: "exponential", LogitLink: "logistic", MultinomialLogit: "softmax"}
    link = type(model._loss.link)
    if link not in finish:
        raise NotRecognised(f"its loss has the link {link.__name__}")
    return Read(
        "walk" if scan is None else "scan",
        outputs,
        walk_arrays(trees, baseline, single=False, takes_missing=True) if scan is None else scan,
        link=Link(logistic=link is LogitLink),
        finish="none" if link is LogitLink else finish[link],
    )


def _boosted(tree: Any, known: Array, where: Array) -> Tree:
    nodes = tree.nodes
    chosen = np.where(nodes["is_categorical"].astype(bool), np.arange(len(nodes)), -1)
    picked = np.flatnonzero(chosen >= 0)
    left = _bits(tree.raw_left_cat_bitsets[nodes["bitset_idx"][picked]])
    strange = ~_bits(known[where[nodes["feature_idx"][picked]]])
    missing_left = nodes["missing_go_to_left"].astype(bool)
    return Tree(
        column=nodes["feature_idx"].astype(int),
        cut=nodes["num_threshold"],
        left=nodes["left"].astype(int),
        right=nodes["right"].astype(int),
        leaf=nodes["is_leaf"].astype(bool),
        missing_left=missing_left,
        value=nodes["value"][:, np.newaxis],
        set=np.where(chosen >= 0, np.cumsum(chosen >= 0) - 1, -1),
        # An unknown category goes where a missing value goes.
        sets=left | (strange & missing_left[picked][:, np.newaxis]),
    )


def _bits(words: Array) -> Array:
    """From rows of 8 words of 32 bits to rows of 256 truths."""
    octets = np.ascontiguousarray(words, dtype="<u4").view("|u1").reshape(len(words), _CODES // 8)
    return np.unpackbits(octets, axis=1, bitorder="little").astype(bool)


def _categories(one: Input, trees: Sequence[Tree], column: int) -> int:
    """How many categories the trees tell apart in this input; 0 if it is a number to them. Raises NotRecognised."""
    if not any((~tree.leaf & (tree.column == column) & (tree.set >= 0)).any() for tree in trees):
        return 0
    if not isinstance(one, Text):
        raise NotRecognised("it takes the categories of an input that is no text")
    codes = [code for code in (*one.codes.values(), one.unknown, one.missing) if code is not None]
    if any(code != int(code) or not 0 <= code < _CODES - 1 for code in codes):
        raise NotRecognised(f"`{one.feature}` has categories beyond {_CODES - 1}")
    return int(max(codes, default=0)) + 1


def read_forest(model: Any, *, classes: int) -> Read:
    """A random forest: the mean of its trees' leaves. Raises NotRecognised."""
    if model.n_jobs not in (None, 1):
        raise NotRecognised(f"its forest adds up its trees in any order (n_jobs={model.n_jobs})")
    if model.n_outputs_ != 1:
        raise NotRecognised(f"its forest has {model.n_outputs_} targets")
    taken = slice(1, 2) if classes == 2 else slice(0, max(classes, 1))
    trees = [_grown(each.tree_, taken) for each in model.estimators_]
    outputs = trees[0].value.shape[1]
    # The forest allows missing values if its first tree does.
    takes_missing = bool(model.estimators_[0]._support_missing_values(np.zeros((1, 1))))
    arrays = walk_arrays(trees, np.zeros(outputs), single=True, takes_missing=takes_missing)
    return Read("walk", outputs, arrays, link=Link(divide=len(trees)))


def _grown(tree: Any, taken: slice) -> Tree:
    leaf = tree.children_left == -1
    return Tree(
        column=np.where(leaf, 0, tree.feature),
        cut=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        leaf=leaf,
        missing_left=tree.missing_go_to_left.astype(bool),
        value=tree.value[:, 0, taken],
        set=np.full(len(leaf), -1),
        sets=np.zeros((0, _CODES), dtype=bool),
    )


def read_linear(model: Any, encode: ColumnTransformer, inputs: Sequence[Input], *, by_column: bool) -> Read:
    """A linear model over what `encode` makes; `by_column` says how a dense matrix of it lies in memory."""
    coefficients = model.coef_
    if coefficients.dtype != np.float64:
        raise NotRecognised(f"its coefficients are {coefficients.dtype}")
    outputs = len(np.atleast_2d(coefficients))
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), outputs).copy()
    term = np.array(_terms(encode, inputs), dtype=TERM)
    finish = {"finish": "softmax", "by": "row"} if outputs > 1 else {}
    link = Link(logistic=hasattr(model, "classes_") and outputs == 1)
    if encode.sparse_output_:
        by_input = np.ascontiguousarray(np.atleast_2d(coefficients).T)
        return Read("sum", outputs, {"term": term, "coefficients": by_input, "intercept": intercept}, link, **finish)
    arrays = {"term": term, "coefficients": coefficients, "intercept": intercept, "by_column": np.array([by_column])}
    return Read("product", outputs, arrays, link, **finish)


def _terms(encode: ColumnTransformer, inputs: Sequence[Input]) -> list[tuple[Any, ...]]:
    """One for each text, then for each number, then for each number that may be missing: the columns' own order."""
    named = encode.named_transformers_
    texts = [place for place, one in enumerate(inputs) if isinstance(one, Text)]
    counts = named["categories"]._n_features_outs if texts else []
    firsts = [0, *np.cumsum(counts).tolist()]
    terms = [
        (HOT, place, first, count, 0, 0, 1) for place, first, count in zip(texts, firsts[:-1], counts, strict=True)
    ]
    if len(texts) == len(inputs):
        return terms
    imputer, scaler = (step for _, step in named["numbers"].steps)
    if np.isnan(imputer.statistics_).any() or scaler.mean_ is None or scaler.scale_ is None:
        raise NotRecognised("it has numbers that are dropped, or not scaled")
    columns = [(NUMBER, column, fill) for column, fill in enumerate(imputer.statistics_)]
    columns += [(MISSING, column, 0) for column in imputer.indicator_.features_]
    scaled = zip(columns, scaler.mean_, scaler.scale_, strict=True)
    terms += [
        (kind, len(texts) + column, firsts[-1] + place, 1, fill, mean, scale)
        for place, ((kind, column, fill), mean, scale) in enumerate(scaled)
    ]
    return terms
