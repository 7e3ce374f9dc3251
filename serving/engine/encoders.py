"""The first steps of a fitted pipeline as a plan's inputs; what each text becomes is asked of the steps themselves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from configs.case import ColumnType, Contract
from serving.engine.errors import NotRecognised
from serving.engine.frame import frame_of
from serving.engine.inputs import Inputs
from serving.engine.scoring import Array
from serving.engine.structure import Calendar, Constant, Input, Number, Text
from serving.records import Rows, Value
from tasks.features.categories import CategoryCodes
from tasks.features.inputs import ContractInputs

Matrix = Callable[[pd.DataFrame], Array]
"""From the contract's columns to the numbers the estimator is given, shape (n, inputs)."""

_NOBODY = "\x00 a text that no row of training had"
_EARLIEST = datetime(2023, 1, 1)  # noqa: DTZ001 - a contract's times are wall clocks


def ordinal_inputs(
    steps: ContractInputs, encode: CategoryCodes | ColumnTransformer, contract: Contract, matrix: Matrix
) -> list[Input]:
    """The inputs of trees: a number for each category, the rest as it is. Raises NotRecognised."""
    if isinstance(encode, CategoryCodes):
        _must(encode.strings == steps.strings, "other columns for `categories`")
        return _asked(steps, encode.encoder_.categories_ if steps.strings else [], contract, matrix)
    # What was trained before there were CategoryCodes.
    encoder = _fitted(encode, "categories", OrdinalEncoder, steps.strings)
    rest = _fitted(encode, "remainder", FunctionTransformer, _others(steps))
    _must(rest is None or rest.func is None, "a remainder that is changed")
    return _asked(steps, [] if encoder is None else encoder.categories_, contract, matrix)


def one_hot_inputs(steps: ContractInputs, encode: ColumnTransformer, contract: Contract) -> list[Input]:
    """The inputs of linear models: which column of its own a category has, the rest as it is. Raises NotRecognised."""
    encoder = _fitted(encode, "categories", OneHotEncoder, steps.strings)
    scaled = _fitted(encode, "numbers", Pipeline, _others(steps))
    _must(encode.remainder == "drop", "a remainder")
    _must(encoder is None or encoder.drop is None, "a one-hot encoder that drops categories")
    kinds = [] if scaled is None else [type(step) for _, step in scaled.steps]
    _must(kinds in ([], [SimpleImputer, StandardScaler]), "numbers prepared by other steps")

    def matrix(frame: pd.DataFrame) -> Array:
        found = steps.transform(frame)
        hot = [] if encoder is None else _hot(encoder, found[steps.strings])
        return np.column_stack([*hot, found[_others(steps)].to_numpy()])

    return _asked(steps, [] if encoder is None else encoder.categories_, contract, matrix)


def _hot(encoder: OneHotEncoder, texts: pd.DataFrame) -> list[Array]:
    """For each text column which of its one-hot columns is 1; NaN where none is."""
    dense = np.asarray(encoder.transform(texts).todense())
    blocks = np.split(dense, np.cumsum(encoder._n_features_outs)[:-1], axis=1)  # noqa: SLF001
    return [np.where(block.any(axis=1), block.argmax(axis=1), np.nan) for block in blocks]


def _fitted(encode: ColumnTransformer, name: str, kind: type, columns: list[str]) -> Any:
    """The part of this name, of this kind and for these columns; None if there are no columns for it."""
    names = encode.feature_names_in_  # a remainder is numbered where no other part names its columns
    found = {
        part: (step, [names[one] if isinstance(one, int) else one for one in taken])
        for part, step, taken in encode.transformers_
    }
    unknown = sorted(set(found) - {"categories", "numbers", "remainder"})
    _must(not unknown, f"an encoder for `{', '.join(unknown)}`")
    step, taken = found.get(name, (None, []))
    _must(taken == columns, f"other columns for `{name}`")
    if not columns:
        return None
    _must(type(step) is kind, f"`{name}` in a {type(step).__name__}")
    return step


def _others(steps: ContractInputs) -> list[str]:
    return list(steps.get_feature_names_out()[len(steps.strings) :])


def _asked(steps: ContractInputs, categories: list[Array], contract: Contract, matrix: Matrix) -> list[Input]:
    """Ask for every category, for an unknown and for a missing one; then ask whether the plan would say the same."""
    known = {
        name: [text for text in texts if isinstance(text, str)]
        for name, texts in zip(steps.strings, categories, strict=True)
    }
    rows = _probe(known, contract)
    found = matrix(frame_of(rows, contract))
    inputs: list[Input] = [_text(name, known[name], found[:, place]) for place, name in enumerate(steps.strings)]
    inputs += _plain(steps)
    _must(found.shape[1] == len(inputs), f"{found.shape[1]} columns instead of {len(inputs)}")
    said = Inputs(inputs, contract.features).many(rows).T
    differ = [one.kind for place, one in enumerate(inputs) if not np.array_equal(said[:, place], found[:, place], True)]
    _must(not differ, f"inputs in another order or form ({', '.join(differ)})")
    return inputs


def _plain(steps: ContractInputs) -> list[Input]:
    """Numbers and parts of times, but for those that never had a value."""
    plain: dict[str, Input] = {name: Number(feature=name) for name in steps.numbers}
    plain |= {
        f"{name}_{part}": Calendar(feature=name, part=part) for name, parts in steps.calendar.items() for part in parts
    }
    return [Constant(value=0.0) if name in steps.empty_ else one for name, one in plain.items()]


def _text(name: str, known: list[str], codes: Array) -> Text:
    each = [None if np.isnan(code) else float(code) for code in codes.tolist()]
    return Text(
        feature=name,
        codes=dict(zip(known, each, strict=False)),
        unknown=each[len(known)],
        missing=each[len(known) + 1],
    )


def _probe(known: dict[str, list[str]], contract: Contract) -> Rows:
    """Rows that hold every known text, an unknown and a missing one; numbers and times that tell columns apart."""
    count = max([len(texts) for texts in known.values()], default=0) + 8
    columns = [
        _filled([*known.get(name, []), _NOBODY], count)
        if contract.columns[name].type is ColumnType.string
        else _varied(contract.columns[name].type, place, count)
        for place, name in enumerate(contract.features)
    ]
    return Rows(count, columns, [None] * count, [None] * count)


def _filled(texts: list[Value], count: int) -> list[Value]:
    return [*texts, *[None] * (count - len(texts))]


def _varied(kind: ColumnType, place: int, count: int) -> list[Value]:
    if kind is ColumnType.timestamp:
        steps = [timedelta(days=3 * row + place, hours=5 * row, minutes=7 * row) for row in range(count - 1)]
        return [*(_EARLIEST + step for step in steps), None]
    if kind is ColumnType.boolean:
        return [*(bool((row >> place % 3) & 1) for row in range(count - 1)), None]
    return [*(1000.0 * place + row / 8 for row in range(count - 1)), None]


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise NotRecognised(f"it has {otherwise}")
