"""What `labels` of a case may not say, and what an outcome's own columns are called."""

from typing import Any

import pytest
from pydantic import ValidationError

from configs.case import OUTCOME_COLUMNS
from configs.labels import LabelKey, LabelSource
from tasks.outcomes.join import LABELLED
from tests.configs.test_rules_of_a_case import case

FILE = {"kind": "file", "url": "labels.csv", "format": "csv"}


def source(**named: Any) -> LabelSource:
    return LabelSource.model_validate({"source": FILE, **named})


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ({"entity": "loan", "label": "paid", "labelled_at": "at"}, LabelKey.entity),
        ({"entity": "loan", "event_time": "asked", "label": "paid"}, LabelKey.event),
        ({"request_id": "asked", "entity": "loan", "target": "paid", "labelled_at": "at"}, LabelKey.request),
    ],
)
def test_labels_are_joined_on_the_most_exact_that_they_name(named: dict[str, str], key: LabelKey) -> None:
    assert source(**named).key is key


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"label": "paid", "labelled_at": "at"}, "need `request_id` or `entity`"),
        ({"entity": "loan", "row": "place", "label": "paid", "labelled_at": "at"}, "it needs `request_id`"),
        ({"entity": "loan", "labelled_at": "at"}, "exactly one of `label` and `target`"),
        ({"entity": "loan", "label": "a", "target": "b", "labelled_at": "at"}, "exactly one of `label` and `target`"),
        ({"entity": "loan", "label": "paid"}, "nothing says when a label became known"),
    ],
)
def test_a_source_whose_labels_could_not_be_joined_is_refused(named: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        source(**named)


@pytest.mark.parametrize("name", sorted({"score", "label", *LABELLED}))
def test_a_feature_may_not_have_the_name_of_what_an_outcome_adds(name: str) -> None:
    assert name in OUTCOME_COLUMNS
    with pytest.raises(ValidationError, match=f"`{name}` cannot be a feature: an outcome has a column of that name"):
        case(columns={name: {"type": "number", "role": "feature"}})
