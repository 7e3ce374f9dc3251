"""Rows from CSV and Parquet, one file or a folder of them, on this machine or in any store fsspec knows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from configs.case import Case
from tasks.errors import SourceUnreadable
from tasks.ingestion.sources import BEGINNING, rows

from .conftest import CASE, case_of, loans, utc

END = utc("2030-01-01")
WEEK = loans("2013-01-07", 7)


def case_from(url: object, kind: str = "csv") -> Case:
    return case_of(source={"kind": "file", "url": str(url), "format": kind})


def everything(url: object, kind: str = "csv") -> pd.DataFrame:
    return rows(case_from(url, kind), BEGINNING, END)


def save(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_gives_the_rows_that_were_put_into_it(tmp_path: Path, kind: str) -> None:
    save(WEEK, tmp_path / f"loans.{kind}")
    pd.testing.assert_frame_equal(everything(tmp_path / f"loans.{kind}", kind), WEEK)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_folder_gives_the_rows_of_all_its_files_and_of_no_others(tmp_path: Path, kind: str) -> None:
    save(WEEK.iloc[:10], tmp_path / "export" / f"a.{kind}")
    save(WEEK.iloc[10:], tmp_path / "export" / "deeper" / f"b.{kind}")
    (tmp_path / "export" / "README.txt").write_text("not a table")
    pd.testing.assert_frame_equal(everything(tmp_path / "export", kind), WEEK)


def test_an_address_may_name_several_files_at_once(tmp_path: Path) -> None:
    save(WEEK.iloc[:10], tmp_path / "loans-1.csv")
    save(WEEK.iloc[10:], tmp_path / "loans-2.csv")
    save(WEEK, tmp_path / "books.csv")
    assert len(everything(tmp_path / "loans-*.csv")) == len(WEEK)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("url", ["memory://exports/loans.{}", "memory://exports"])
def test_a_store_behind_a_url_is_read_like_a_folder(memory: MemoryFileSystem, url: str, kind: str) -> None:
    with memory.open(f"/exports/loans.{kind}", "wb") as file:
        WEEK.to_csv(file, index=False) if kind == "csv" else WEEK.to_parquet(file, index=False)
    pd.testing.assert_frame_equal(everything(url.format(kind), kind), WEEK)


def test_only_rows_between_the_bounds_are_taken_the_end_not_included(tmp_path: Path) -> None:
    save(WEEK, tmp_path / "loans.csv")
    found = rows(case_from(tmp_path / "loans.csv"), utc("2013-01-08"), utc("2013-01-09"))["at"]
    assert (found.min(), found.max()) == (utc("2013-01-08T00:00:00"), utc("2013-01-08T18:00:00"))


def test_rows_without_a_time_are_taken_whatever_the_bounds(tmp_path: Path) -> None:
    save(WEEK.assign(at=WEEK["at"].mask(WEEK.index == 2)), tmp_path / "loans.parquet")
    found = rows(case_from(tmp_path / "loans.parquet", "parquet"), utc("2020-01-01"), utc("2021-01-01"))
    assert list(found["loan_id"]) == [WEEK["loan_id"][2]]


def test_times_are_understood_in_every_iso_form_and_told_in_utc(tmp_path: Path) -> None:
    texts = ["2013-05-27T02:00:00Z", "2013-05-26T22:00:00-04:00", "2013-05-27 02:00:00", "2013-05-27T02:00:00.000", ""]
    save(WEEK.head(5).assign(at=texts), tmp_path / "loans.csv")
    found = everything(tmp_path / "loans.csv")["at"]
    assert str(found.dtype) == "datetime64[us, UTC]"
    assert list(found[:4]) == [pd.Timestamp("2013-05-27 02:00", tz="UTC")] * 4
    assert found.isna().tolist() == [False, False, False, False, True]


def test_text_that_looks_like_a_number_stays_text_in_a_csv(tmp_path: Path) -> None:
    save(WEEK.head(3).assign(loan_id=["007", "8", "1e3"], branch=["1", "", "2"]), tmp_path / "loans.csv")
    found = everything(tmp_path / "loans.csv")
    assert list(found["loan_id"]) == ["007", "8", "1e3"]
    assert found["branch"].isna().tolist() == [False, True, False]
    assert found["pages"].dtype == "int64"


@pytest.mark.parametrize("texts", [["27/05/2013"], ["yesterday"], ["2013-05-27", "soon"]])
def test_an_event_time_that_is_no_time_is_refused_with_an_example_to_follow(tmp_path: Path, texts: list[str]) -> None:
    save(WEEK.head(len(texts)).assign(at=texts), tmp_path / "loans.csv")
    with pytest.raises(SourceUnreadable, match=r"`at` holds no time \(.*\)\. Write times as 2013-05-27T02:00:00Z"):
        everything(tmp_path / "loans.csv")


def test_seconds_since_1970_are_refused_and_not_taken_for_times_of_1970(tmp_path: Path) -> None:
    save(WEEK.head(1).assign(at=1_369_620_000), tmp_path / "loans.csv")
    with pytest.raises(SourceUnreadable, match="`at` holds no time") as raised:
        everything(tmp_path / "loans.csv")
    assert "\n" not in str(raised.value)


def test_another_column_that_is_no_time_is_left_for_validation_to_name(tmp_path: Path) -> None:
    save(WEEK.head(2).assign(opened=["2011-05-27", "long ago"]), tmp_path / "loans.csv")
    assert list(everything(tmp_path / "loans.csv")["opened"]) == ["2011-05-27", "long ago"]


def test_a_source_without_the_event_time_is_told_what_it_has_instead(tmp_path: Path) -> None:
    save(WEEK.drop(columns="at"), tmp_path / "loans.csv")
    with pytest.raises(SourceUnreadable, match=r"it has no column `at` \(found: loan_id, opened, branch"):
        everything(tmp_path / "loans.csv")


@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
def test_a_damaged_parquet_file_is_named_also_among_many(tmp_path: Path, keep: float) -> None:
    for name in ("a", "b", "c"):
        save(WEEK, tmp_path / "export" / f"{name}.parquet")
    broken = tmp_path / "export" / "b.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else int(keep)])
    with pytest.raises(SourceUnreadable, match=r"export/b\.parquet cannot be read: it is damaged or of another format"):
        everything(tmp_path / "export", "parquet")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3\n", "loan_id,at\nü,2013-01-01\n".encode("utf-16")])
def test_a_damaged_csv_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "loans.csv").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"loans\.csv cannot be read: it is damaged or of another format"):
        everything(tmp_path / "loans.csv")


@pytest.mark.parametrize("name", ["nowhere.csv", "empty", "loans-*.csv"])
def test_a_source_without_any_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="cannot be read: there is no csv file"):
        everything(tmp_path / name)


@pytest.mark.parametrize("url", ["s4://bucket/loans.csv", "memory://nowhere/loans.csv"])
def test_an_address_that_leads_nowhere_is_named(memory: MemoryFileSystem, url: str) -> None:
    with pytest.raises(SourceUnreadable, match=f"{url} cannot be read: (Protocol not known: s4|there is no csv file)"):
        everything(url)


def test_columns_beyond_the_contract_are_delivered_too(tmp_path: Path) -> None:
    save(WEEK.assign(colour="red"), tmp_path / "loans.csv")
    contract: dict[str, Any] = CASE["contract"]["columns"]
    assert set(everything(tmp_path / "loans.csv").columns) - set(contract) == {"colour"}
