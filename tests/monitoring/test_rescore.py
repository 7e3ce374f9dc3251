"""Logged answers of a real champion are scored again; a bit, a feature or a missing source is not overlooked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from configs.project import Project
from tasks.errors import SourceUnreadable
from tasks.ingestion import sources
from tasks.monitoring.rescore import rescore
from tasks.verdicts import Answer, Verdict
from tests.conftest import change_params
from tests.monitoring.conftest import FrameAnswers
from tests.outcomes.riders import answered, log_of

FROM = datetime(2011, 4, 18, tzinfo=UTC)
AS_OF = FROM + timedelta(days=7)
pytestmark = pytest.mark.slow


def verdict(project: Project, log: FrameAnswers) -> Verdict:
    (found,) = rescore(project, "bikes", AS_OF, log).verdicts
    return found


def test_skew_is_found_where_it_is_and_only_there(
    succession: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = answered(succession, tmp_path / "two", FROM, AS_OF, "2", "champion")
    fine = verdict(succession, log_of(table, answered(succession, tmp_path / "three", FROM, AS_OF, "3", "shadow")))
    assert (fine.answer, fine.rows) == (Answer.clear, 2 * table.num_rows), fine.text
    assert "of version 2 scored again, 0 differ." in fine.text
    assert "all features are the same" in fine.text

    # One bit of one answer.
    said = table.column("prediction").to_numpy().copy()
    said[5] = np.nextafter(said[5], np.inf)
    place = table.column_names.index("prediction")
    bit = verdict(succession, log_of(table.set_column(place, "prediction", [said])))
    assert (bit.answer, bit.cause) == (Answer.alarm, "version 2")
    assert f"request {table.column('request_id')[5]}, row 0" in bit.evidence[0].text

    # A feature that is computed otherwise in production: the answers agree with it, the source does not.
    fahrenheit = answered(
        succession, tmp_path / "f", FROM, AS_OF, "2", "champion", temperature=pd.Series(0.5, range(10_000))
    )
    feature = verdict(succession, log_of(fahrenheit))
    assert (feature.answer, feature.cause) == (Answer.alarm, "temperature")

    # What cannot be checked is not clear.
    assert verdict(succession, log_of()).answer is Answer.waiting
    unknown = verdict(succession, log_of(_of_version(table, "9")))
    assert (unknown.answer, "Version 9 cannot be scored again" in unknown.text) == (Answer.unknown, True)
    real = sources.recorded
    with monkeypatch.context() as patched:
        patched.setattr(sources, "recorded", lambda name: real(name).head(10))
        assert verdict(succession, log_of(table)).answer is Answer.waiting

    def gone(name: str) -> pd.DataFrame:
        raise SourceUnreadable(name, "it is gone", "Find it.")

    with monkeypatch.context() as patched:
        patched.setattr(sources, "recorded", gone)
        without = verdict(succession, log_of(table))
    assert (without.answer, "it is gone" in without.text) == (Answer.unknown, True)

    path = succession.root / "configs" / "bikes.yaml"
    case = yaml.safe_load(path.read_text())
    case["serving"]["log"] = {"hashed": ["season"]}
    path.write_text(yaml.safe_dump(case, sort_keys=False))
    hidden = verdict(succession, log_of(table))
    assert hidden.answer is Answer.unknown
    assert "it takes `season`, which the prediction log hashes" in hidden.text

    change_params(succession.root, "bikes", {"monitoring": {"skew": {"rows": 0}}})
    assert rescore(succession, "bikes", AS_OF, log_of(table)).verdicts == ()


def _of_version(table: pa.Table, version: str) -> pa.Table:
    place = table.column_names.index("model_version")
    return table.set_column(place, "model_version", [[version] * table.num_rows])
