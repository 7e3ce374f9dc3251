"""Texts become the codes that scikit-learn's own encoder gives them, whoever asks, and however many at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import OrdinalEncoder

from tasks.features.artifact import MODEL_FILE, load_model, save_model
from tasks.features.categories import CategoryCodes

DRAW = np.random.default_rng(5)
TOWNS = np.array([f"town {number}" for number in range(400)], dtype=object)
TABLE = pd.DataFrame(
    {
        "town": TOWNS[DRAW.zipf(1.2, 5000) % 400],
        "fruit": DRAW.choice(np.array(["apple", "pear", np.nan], dtype=object), 5000),
        "weight": DRAW.normal(size=5000),
        "empty": 0.0,
    }
).astype({"town": object, "fruit": object})
TEXTS = ["town", "fruit"]


def codes() -> CategoryCodes:
    return CategoryCodes(TEXTS).fit(TABLE)


def test_the_codes_are_those_of_scikit_learn_and_rare_texts_share_one() -> None:
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=254
    ).fit(TABLE[TEXTS])
    found = codes().transform(TABLE)
    assert found[:, :2].tobytes() == np.ascontiguousarray(encoder.transform(TABLE[TEXTS])).tobytes()
    assert found[:, 2:].tobytes() == TABLE[["weight", "empty"]].to_numpy().tobytes()
    assert np.nanmax(found[:, 0]) == 253
    assert TABLE["town"].nunique() > 254


def test_a_row_alone_becomes_what_it_becomes_among_others() -> None:
    fitted = codes()
    whole = fitted.transform(TABLE)
    assert all(fitted.transform(TABLE.iloc[[row]]).tobytes() == whole[row].tobytes() for row in range(0, 5000, 97))


def test_a_missing_text_and_one_that_nobody_knows_are_nan() -> None:
    table = pd.DataFrame({"town": ["town 1", "Atlantis"], "fruit": [np.nan, "apple"], "weight": 1.0, "empty": 0.0})
    assert np.isnan(codes().transform(table.astype({"town": object}))[:, :2]).tolist() == [[False, True], [True, False]]


def test_a_stored_copy_gives_the_same_codes_and_holds_nothing_that_can_be_asked_again(tmp_path: Path) -> None:
    fitted = codes()
    before = save_model(fitted, tmp_path / "before.skops")
    found = fitted.transform(TABLE)
    digest = save_model(fitted, tmp_path / MODEL_FILE)
    assert fitted.__getstate__().keys() == codes().__getstate__().keys()
    assert load_model(tmp_path / MODEL_FILE, digest).transform(TABLE).tobytes() == found.tobytes()
    assert load_model(tmp_path / "before.skops", before).transform(TABLE).tobytes() == found.tobytes()


def test_without_texts_the_numbers_are_as_they_were() -> None:
    table = TABLE[["weight", "empty"]]
    fitted = CategoryCodes([]).fit(table)
    assert fitted.transform(table).tobytes() == table.to_numpy().tobytes()
    assert fitted.get_feature_names_out().tolist() == ["weight", "empty"]


def test_inputs_come_in_the_order_they_were_learnt_in() -> None:
    fitted = codes()
    assert fitted.transform(TABLE[TABLE.columns[::-1]]).tobytes() == fitted.transform(TABLE).tobytes()


def test_one_that_learnt_nothing_is_told_so() -> None:
    with pytest.raises(NotFittedError, match="CategoryCodes instance is not fitted yet"):
        clone(codes()).transform(TABLE)
