"""Everything that is checked of one batch, and the fingerprint of those checks."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from configs.case import Case
from configs.params import ValidationParams
from tasks.evaluation import ranking
from tasks.features import labels as label_rules
from tasks.records import Batch, Finding
from tasks.validation.delivery import delivery
from tasks.validation.shape import shape


def findings(
    case: Case, rules: ValidationParams, batch: Batch, frame: pd.DataFrame, typical_rows: float | None
) -> tuple[Finding, ...]:
    """Every finding on one batch, passed ones included; whatever was delivered, this does not raise.

    `typical_rows` is what recent batches had, None if there are too few to say.
    """
    # Imported here, so that a run in which every batch has its report does not wait for Great Expectations.
    from tasks.validation.leakage import leakage  # noqa: PLC0415
    from tasks.validation.suite import ask, suite  # noqa: PLC0415

    came = delivery(case.contract, batch, frame, typical_rows)
    found = shape(case.contract, frame) + ask(suite(case, rules, came), came.frame)
    if case.target in came.sound:
        features = [name for name in case.contract.features if name in came.sound]
        found += leakage(case, came.frame, features, rules.leakage_score)
    return tuple(found)


def fingerprint(case: Case, rules: ValidationParams, batch: Batch, typical_rows: float | None) -> str:
    """A digest of all that decides the findings on a batch's rows, the code of the checks included."""
    asked = {
        "case": case.model_dump(mode="json", include={"problem", "positive", "contract", "expectations"}),
        "rules": rules.model_dump(mode="json", include={"min_rows", "volume_change", "leakage_score"}),
        "period": [batch.start.isoformat(), batch.end.isoformat()],
        "typical_rows": typical_rows,
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _code() -> list[str]:
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(label_rules.__file__), Path(ranking.__file__)]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
