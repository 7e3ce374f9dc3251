"""The step as a whole, on files: what it keeps, what it sets apart, what it refuses, and what it does not do twice."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest

from configs.case import Case
from configs.errors import ConfigError
from configs.params import ValidationParams
from tasks.errors import BatchRejected, SourceStale, SourceUnreadable, TooLittleData
from tasks.files import sha256
from tasks.ingestion.batches import batch_of
from tasks.records import BatchReport, Windows
from tasks.validation import validate
from tasks.validation.findings import fingerprint

from .conftest import CASE, VALIDATION, WINDOW, Scene, after_week


def ids(batches: object) -> list[str]:
    return [batch.batch_id for batch in batches]  # type: ignore[attr-defined]


def ages(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.iterdir())}


def test_accepted_batches_become_windows_and_each_has_its_report(scene: Scene) -> None:
    found = scene.validate(after_week(7))
    assert (ids(found.train.batches), ids(found.evaluate.batches)) == (
        ["2024-W03", "2024-W04", "2024-W05"],
        ["2024-W06", "2024-W07"],
    )
    assert Windows.read(scene.files.windows) == found
    names = [f"2024-W0{week}.{kind}" for week in range(3, 8) for kind in ("html", "json")]
    assert list(ages(scene.files.validation)) == names
    assert scene.report("2024-W07").accepted
    assert scene.report("2024-W07").contract_version == 3


_FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""From Python 3.12 on; a test is run by a process with threads, a stage is not."""


@_FORKS
def test_processes_side_by_side_make_the_reports_that_one_makes(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    alone = scene.validate(after_week(7))
    made = {path.name: path.read_bytes() for path in scene.files.validation.iterdir()}
    for path in scene.files.validation.iterdir():
        path.unlink()
    own = mock.Mock(side_effect=validate.findings)
    monkeypatch.setattr(validate, "findings", own)
    assert scene.validate(after_week(7), at_once=2) == alone
    assert {path.name: path.read_bytes() for path in scene.files.validation.iterdir()} == made
    assert own.call_count == 3, "the newest batch, and half of the other four; the rest was checked elsewhere"
    assert caplog.messages[-1].endswith("5 of 5 batches checked anew")


@_FORKS
def test_what_other_processes_fail_at_is_made_in_this_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {path.name: path.read_bytes() for path in scene.files.validation.iterdir()}
    for path in scene.files.validation.iterdir():
        path.unlink()
    here, findings = os.getpid(), validate.findings

    def fail(*arguments: Any) -> Any:
        if os.getpid() != here:
            raise MemoryError
        return findings(*arguments)

    own = mock.Mock(side_effect=fail)
    monkeypatch.setattr(validate, "findings", own)
    scene.validate(after_week(7), at_once=2)
    assert {path.name: path.read_bytes() for path in scene.files.validation.iterdir()} == made
    assert own.call_count == 5


def test_a_batch_judges_only_when_its_labels_have_arrived_but_is_checked_before(scene: Scene) -> None:
    found = scene.validate(after_week(7, hours=23))
    assert ids(found.evaluate.batches) == ["2024-W05", "2024-W06"]
    assert (scene.files.validation / "2024-W07.json").is_file()


def test_a_batch_that_ends_after_the_as_of_does_not_exist_yet(scene: Scene) -> None:
    scene.deliver("2024-W08", distance=-1)
    assert ids(scene.validate(after_week(7)).evaluate.batches) == ["2024-W06", "2024-W07"]


def test_a_broken_newest_batch_is_quarantined_whole_and_nothing_follows(scene: Scene) -> None:
    delivery = scene.deliver("2024-W08", distance=99999, depot="moon")
    before = delivery.read_bytes()
    with pytest.raises(BatchRejected) as raised:
        scene.validate(after_week(8))
    said = str(raised.value)
    assert "Batch 2024-W08 rejected" in said
    assert "`distance`: 200 of 200 rows outside (expected 0 to 6000 miles; for example 99999)" in said
    assert "`depot`: 200 of 200 rows not in the list" in said
    assert "data/parcels/quarantine/2024-W08.parquet" in said
    assert "data/parcels/validation/2024-W08.html" in said
    assert str(scene.project.root) not in said
    assert (scene.files.quarantine / "2024-W08.parquet").read_bytes() == before
    assert delivery.read_bytes() == before
    assert not scene.files.windows.exists()


def test_a_broken_newest_batch_blocks_again_however_often_it_is_asked(scene: Scene) -> None:
    scene.deliver("2024-W08", distance=-1)
    for _ in range(2):
        with pytest.raises(BatchRejected, match="2024-W08"):
            scene.validate(after_week(8))


def test_a_quarantine_file_that_was_lost_comes_back(scene: Scene) -> None:
    delivery = scene.deliver("2024-W08", distance=-1)
    for _ in range(2):
        with pytest.raises(BatchRejected, match="2024-W08"):
            scene.validate(after_week(8))
        (kept,) = scene.files.quarantine.iterdir()
        assert sha256(kept) == sha256(delivery)
        kept.unlink()


def test_quarantine_holds_what_was_delivered_last(scene: Scene) -> None:
    for distance in (-1, -2):
        delivery = scene.deliver("2024-W08", distance=distance)
        with pytest.raises(BatchRejected, match=f"for example {distance}"):
            scene.validate(after_week(8))
        assert (scene.files.quarantine / "2024-W08.parquet").read_bytes() == delivery.read_bytes()


def test_an_older_broken_batch_is_quarantined_and_only_left_out(scene: Scene) -> None:
    delivery = scene.deliver("2024-W06", distance=-1)
    found = scene.validate(after_week(7))
    assert ids(found.evaluate.batches) == ["2024-W05", "2024-W07"]
    assert ids(found.train.batches) == ["2024-W02", "2024-W03", "2024-W04"]
    assert [(out.batch_id, out.why) for out in found.left_out] == [
        ("2024-W06", "`distance`: 200 of 200 rows outside (expected 0 to 6000 miles)")
    ]
    assert (scene.files.quarantine / "2024-W06.parquet").read_bytes() == delivery.read_bytes()


def test_too_many_broken_batches_leave_too_little_data(scene: Scene) -> None:
    for week in (4, 5):
        scene.deliver(f"2024-W0{week}", distance=-1)
    with pytest.raises(TooLittleData, match=r"2 of 5 batches in quarantine.*max_left_out.*`distance`"):
        scene.validate(after_week(7))


def test_a_batch_delivered_again_takes_the_place_of_the_broken_one(scene: Scene) -> None:
    scene.deliver("2024-W07", distance=-1)
    scene.deliver("2024-W07.2")
    assert ids(scene.validate(after_week(7)).evaluate.batches) == ["2024-W06", "2024-W07.2"]


def test_a_batch_leaves_quarantine_when_the_contract_is_mended(scene: Scene) -> None:
    scene.deliver("2024-W07", remark="x", distance=7000)
    with pytest.raises(BatchRejected, match="7000"):
        scene.validate(after_week(7))
    wider = json.loads(json.dumps(CASE))
    wider["contract"]["columns"]["distance"]["range"] = [0, 7000]
    scene.describe(wider, WINDOW, VALIDATION)
    assert scene.validate(after_week(7)).left_out == ()
    assert list(scene.files.quarantine.iterdir()) == []


def test_a_second_run_checks_nothing_again_and_finds_the_same(scene: Scene) -> None:
    first = scene.validate(after_week(7))
    before = ages(scene.files.validation)
    assert scene.validate(after_week(7)) == first
    assert ages(scene.files.validation) == before


def test_only_a_batch_that_changed_is_checked_again(scene: Scene) -> None:
    before = ages(scene.files.validation)
    scene.deliver("2024-W05", remark="another day")
    scene.validate(after_week(7))
    changed = {name for name, age in ages(scene.files.validation).items() if before.get(name) != age}
    assert changed == {"2024-W05.json", "2024-W05.html"}


@pytest.mark.parametrize("change", ["contract", "expectations", "parameters"])
def test_every_batch_is_checked_again_when_what_it_is_held_to_changes(change: str, scene: Scene) -> None:
    extra = {"type": "expect_column_mean_to_be_between", "arguments": {"column": "distance", "min_value": 1}}
    case = json.loads(json.dumps(CASE))
    if change == "contract":
        case["contract"]["columns"]["distance"]["range"] = [0, 8000]
    if change == "expectations":
        case["expectations"] = [extra]
    rules = {**VALIDATION, "min_rows": 51} if change == "parameters" else VALIDATION
    before = ages(scene.files.validation)
    scene.describe(case, WINDOW, rules)
    scene.validate(after_week(7))
    assert not set(before.items()) & set(ages(scene.files.validation).items())


def test_what_a_batch_is_checked_for_includes_its_usual_size_and_the_code_of_the_checks(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, batch = ValidationParams.model_validate(VALIDATION), batch_of(case, "2024-W05")
    before = fingerprint(case, rules, batch, 200)
    assert fingerprint(case, rules, batch, 200) == before
    assert fingerprint(case, rules, batch, 201) != before
    monkeypatch.setattr("tasks.validation.findings._code", lambda: ["code of another day"])
    assert fingerprint(case, rules, batch, 200) != before


def test_an_order_for_what_came_since_a_change_trains_on_nothing_before(case: Case, scene: Scene) -> None:
    changed = batch_of(case, "2024-W04").start
    found = scene.validate(after_week(7), train_since=changed)
    assert ids(found.train.batches) == ["2024-W04", "2024-W05"]
    assert ids(found.evaluate.batches) == ["2024-W06", "2024-W07"]


def test_a_report_that_cannot_be_read_is_made_again(scene: Scene) -> None:
    (scene.files.validation / "2024-W07.json").write_text('{"case": "par', encoding="utf-8")
    scene.validate(after_week(7))
    assert scene.report("2024-W07").accepted


def test_a_page_that_was_lost_comes_back(scene: Scene) -> None:
    page = scene.files.validation / "2024-W07.html"
    page.unlink()
    scene.validate(after_week(7))
    assert page.is_file()


def test_a_batch_of_unusual_size_is_accepted_with_a_warning(scene: Scene) -> None:
    for week in (6, 7):
        path = scene.files.deliveries / f"2024-W0{week}.parquet"
        pd.read_parquet(path).iloc[:60].to_parquet(path)
    # Week 7 is compared with weeks 3 to 6, not with itself.
    said = "60 rows (expected 100 to 300 rows, as recent batches had about 200)"
    assert scene.validate(after_week(7)).warnings == (f"2024-W06: {said}", f"2024-W07: {said}")


@pytest.mark.parametrize(("hours", "stale"), [(15 * 24, False), (15 * 24 + 1, True)])
def test_a_source_that_stopped_delivering_is_refused(hours: int, stale: bool, scene: Scene) -> None:
    if not stale:
        assert scene.validate(after_week(7, hours))
        return
    with pytest.raises(SourceStale, match=r"2024-W07 ended 2024-02-19 00:00Z, 2\.0 weeks \(accepted: 2\).*ingest"):
        scene.validate(after_week(7, hours))


def test_without_any_delivery_there_is_too_little_data(bare: Scene) -> None:
    with pytest.raises(TooLittleData, match=r"no batch of `parcels` that ended by 2024-02-20 00:00Z.*ingest parcels"):
        bare.validate(after_week(7))


def test_a_corrupt_delivery_is_named_with_its_remedy(scene: Scene) -> None:
    (scene.files.deliveries / "2024-W07.parquet").write_bytes(b"PAR1 this was cut off")
    with pytest.raises(SourceUnreadable, match=r"2024-W07\.parquet cannot be read.*dvc checkout"):
        scene.validate(after_week(7))
    (scene.files.deliveries / "2024-W07.parquet").unlink()
    (scene.files.deliveries / "2024-W04.parquet").write_bytes(b"")
    with pytest.raises(SourceUnreadable, match=r"2024-W04\.parquet cannot be read.*dvc checkout"):
        scene.validate(after_week(6))


def test_a_typo_in_an_extra_expectation_stops_the_step_and_rejects_no_batch(scene: Scene) -> None:
    case = {**CASE, "expectations": [{"type": "expect_column_men_to_be_between", "arguments": {"column": "weight"}}]}
    scene.describe(case, WINDOW, VALIDATION)
    with pytest.raises(ConfigError, match=r"parcels\.yaml: `expectations\[0\]`"):
        scene.validate(after_week(7))
    assert not scene.files.quarantine.exists()


def test_an_extra_column_and_a_renamed_one_reach_the_person_in_one_sentence(scene: Scene) -> None:
    path = scene.deliver("2024-W08")
    pd.read_parquet(path).rename(columns={"distance": "distance_km"}).to_parquet(path)
    with pytest.raises(BatchRejected, match=r"`distance`: the column is missing; was it renamed to `distance_km`\?"):
        scene.validate(after_week(8))


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


@pytest.fixture
def hostile_page(scene: Scene) -> str:
    scene.deliver("2024-W08", depot="<script src=//x.y></script>", distance=-1)
    with pytest.raises(BatchRejected, match="2024-W08"):
        scene.validate(after_week(8))
    return (scene.files.validation / "2024-W08.html").read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_runs_nothing(hostile_page: str) -> None:
    assert "http://" not in hostile_page
    assert "https://" not in hostile_page
    assert not {"script", "link", "img", "iframe"} & set(Elements(hostile_page).tags)


def test_a_hostile_value_is_shown_as_text(hostile_page: str) -> None:
    assert "<script src=//x.y></script>" in Elements(hostile_page).text


def test_the_page_says_the_verdict_and_shows_what_failed_first(hostile_page: str) -> None:
    text = [part for part in Elements(hostile_page).text if part]
    assert "rejected" in text
    results = [part for part in text if part in ("failed", "passed")]
    assert results == sorted(results)
    assert results.count("failed") == 2


def test_a_report_reads_back_as_it_was_written(scene: Scene, tmp_path: Path) -> None:
    report = scene.report("2024-W07")
    report.write(tmp_path / "again.json")
    assert BatchReport.read(tmp_path / "again.json") == report
