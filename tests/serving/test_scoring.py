"""Batch scoring: files and queries through the gateway's own code, into its log."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sql

from configs.project import Project
from serving import scoring
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.read import read_predictions
from serving.scoring import Query, score
from tasks.errors import NothingServes, SourceUnreadable
from tasks.features.artifact import load_model
from tasks.features.artifact import score as score_offline
from tasks.records import Candidate
from tests.command import told

pytestmark = pytest.mark.slow


@pytest.fixture
def rows(succession: Project) -> pd.DataFrame:
    """Rows the shipped clone was delivered, without what is known only later."""
    files = sorted((succession.files("bikes").deliveries).glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files[-3:]], ignore_index=True)
    return frame.drop(columns=["casual", "registered", "rentals"])


def logged(project: Project) -> pd.DataFrame:
    when = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    return read_predictions(predictions_url(project), "bikes", *when, fresh=segments_folder(project)).to_pandas()


def offline(project: Project, rows: pd.DataFrame) -> list[float]:
    folder = project.stores / "gateway/bikes/2"
    candidate = Candidate.read(folder / "candidate.json")
    from tasks.adapters.registry import Registry  # noqa: PLC0415 - it reads the environment that the clone sets

    version = Registry(project).version("bikes", "2")
    assert version
    model = load_model(folder / "model.skops", version.tags["model_sha256"])
    found: list[float] = score_offline(model, rows, candidate).tolist()
    return found


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_is_scored_as_offline_and_logged_in_pieces(
    succession: Project, rows: pd.DataFrame, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", 100)
    source = tmp_path / f"tomorrow.{kind}"
    rows.to_parquet(source) if kind == "parquet" else rows.to_csv(source, index=False)
    done = score(succession, "bikes", str(source), tmp_path / "answers.parquet", "run")
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert (done.version, done.rows, done.refused) == ("2", len(rows), 0)
    assert answers["row"].tolist() == list(range(len(rows)))
    assert answers["prediction"].tolist() == offline(succession, rows)
    assert answers["entity"].tolist() == rows["hour_id"].tolist()
    log = logged(succession)
    assert sorted(log["prediction"]) == sorted(answers["prediction"])
    assert set(log["request_id"]) == {f"run-{piece}" for piece in range(-(-len(rows) // 100))}


def test_a_row_that_breaks_the_contract_is_kept_with_why(
    succession: Project, rows: pd.DataFrame, tmp_path: Path
) -> None:
    broken = rows.head(10).assign(humidity=[0.5] * 9 + [9.0])
    broken.to_parquet(tmp_path / "rows.parquet")
    done = score(succession, "bikes", str(tmp_path / "rows.parquet"), tmp_path / "answers.parquet", "run")
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert (done.rows, done.refused) == (9, 1)
    assert answers["refused"].notna().tolist() == [False] * 9 + [True]
    assert "humidity" in answers["refused"].iloc[9]


def test_a_query_is_scored(succession: Project, rows: pd.DataFrame, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/warehouse.db"
    rows.astype({"local_hour": "str", "event_time": "str"}).to_sql("hours", sql.create_engine(url), index=False)
    done = score(succession, "bikes", Query(url, "select * from hours limit 25"), tmp_path / "answers.parquet", "run")
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert (done.rows, done.refused) == (25, 0)
    assert answers["prediction"].tolist() == offline(succession, rows.head(25))


@pytest.mark.parametrize(("name", "said"), [("missing.parquet", "no such file"), ("", "no .parquet and no .csv")])
def test_a_source_without_rows_is_named(succession: Project, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match=said):
        score(succession, "bikes", str(tmp_path / "empty" / name), tmp_path / "answers.parquet", "run")


def test_without_a_champion_nothing_is_scored(clone: Project, tmp_path: Path) -> None:
    with pytest.raises(NothingServes, match="`bikes` has no champion to score with"):
        score(clone, "bikes", str(tmp_path), tmp_path / "answers.parquet", "run")


def test_the_command_scores_and_says_where(succession: Project, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.to_parquet(tmp_path / "rows.parquet")
    said = told(succession, "score", "bikes", str(tmp_path / "rows.parquet"))
    assert f"version 2 scored {len(rows):,} rows" in said
    assert len(list((succession.files("bikes").folder / "scored").glob("*.parquet"))) == 1
