"""Answers of plans are scored again with the pipeline; the first difference takes the plan out of service for good."""

import math
from pathlib import Path
from zlib import crc32

import pytest
import yaml

from configs.project import Project
from serving.engine.load import load_engine
from serving.ledger.entry import encode_entry
from serving.ledger.frames import frame
from serving.ledger.header import Header, logged_cases
from serving.ledger.places import segments_folder
from serving.ledger.segment import SegmentWriter
from serving.records import Part, Role, Rows
from serving.routes.audit import Audit, drawn
from serving.routes.keeper import Keeper
from serving.routes.local import LocalCopy, RouteEntry
from serving.routes.recorded import delivered_rows, logged_rows
from serving.routes.status import read_alarms
from serving.routes.tail import Tail

from .conftest import keeping, roles, routes, settled, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]


class Log:
    """A segment that a test writes as a worker does."""

    def __init__(self, project: Project, name: str = "w0-1-000001") -> None:
        self.case = project.case("bikes")
        self.rows = delivered_rows(project, self.case, 200)
        header = Header(ledger="test", cases=logged_cases([self.case]))
        self.segment = SegmentWriter(segments_folder(project), name, header)
        self._engine = self._load(project)
        self.written = 0

    def _load(self, project: Project) -> "object":
        found = routes(project)
        assert found
        assert found.champion
        folder = LocalCopy.of(project).version("bikes", found.champion.version)
        return load_engine(folder, found.champion, self.case.contract)

    def answer(
        self, count: int = 1, wrong: float | None = None, role: Role = Role.champion, version: str = "2"
    ) -> None:
        """Answer some rows with the champion's plan, and write it down; `wrong` is added to the last answer."""
        rows = self.rows.take([(self.written + i) % self.rows.count for i in range(count)])
        scores = list(self._engine.score(rows))  # type: ignore[attr-defined]
        if wrong:
            scores[-1] = math.nextafter(scores[-1], math.inf)
        part = Part(None, "2", role, scores, ())
        self.segment.append(encode_entry("bikes", 1, f"r-{self.written}", 1.0, 2.0, rows, [part], None))
        self.written += 1


@pytest.fixture
def audit(served: Project) -> Audit:
    return new_audit(served)


def new_audit(project: Project) -> Audit:
    return Audit([project.case("bikes")], segments_folder(project), LocalCopy.of(project).version)


def plans(project: Project) -> dict[tuple[str, str], RouteEntry]:
    found = routes(project)
    assert found
    return {("bikes", entry.version): entry for entry in found.entries}


def share(project: Project, value: float) -> Project:
    path = project.root / "configs/bikes.yaml"
    content = yaml.safe_load(path.read_text())
    content["serving"]["audit_share"] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Project(project.root)


def test_right_answers_pass_and_are_counted(served: Project) -> None:
    project = share(served, 1.0)
    audit = new_audit(project)
    log = Log(project)
    for count in (1, 1, 5, 64):
        log.answer(count)
    log.answer(role=Role.shadow)
    log.answer(role=Role.fallback)
    assert audit.look(plans(project)) == []
    assert audit.audited["bikes"] == 73
    assert audit.look(plans(project)) == [], "nothing new was written"
    assert audit.audited["bikes"] == 73


@pytest.mark.parametrize("role", [Role.champion, Role.shadow, Role.fallback])
def test_an_answer_that_is_off_by_the_last_bit_is_found(served: Project, audit: Audit, role: Role) -> None:
    log = Log(served)
    log.answer()
    log.answer(3, wrong=True, role=role)
    (difference,) = audit.look(plans(served))
    assert difference[:2] == ("bikes", "2")
    assert difference.what.startswith("request r-1 was answered ")


def test_a_few_answers_of_each_look_are_audited_however_small_the_share(served: Project) -> None:
    project = share(served, 1e-12)
    audit, log = new_audit(project), Log(project)
    for _ in range(50):
        log.answer()
    audit.look(plans(project))
    assert audit.audited["bikes"] == 3


def test_the_share_is_drawn_by_the_checksum() -> None:
    checksums = [crc32(f"{number:x}".encode()) for number in range(20_000)]
    found = sum(drawn(one, 0.01) for one in checksums)
    assert found / len(checksums) == pytest.approx(0.01, abs=4 * math.sqrt(0.01 * 0.99 / len(checksums)))
    assert not any(drawn(one, 0.0) for one in checksums)


def test_a_case_that_asks_for_no_audit_has_none(served: Project) -> None:
    project = share(served, 0.0)
    audit, log = new_audit(project), Log(project)
    log.answer(wrong=True)
    assert audit.look(plans(project)) == []
    assert audit.audited["bikes"] == 0


def test_versions_that_answer_as_pipelines_or_left_service_are_not_audited(served: Project, audit: Audit) -> None:
    log = Log(served)
    log.answer(wrong=True)
    assert audit.look({key: entry for key, entry in plans(served).items() if key[1] != "2"}) == []


def test_answers_under_another_contract_are_not_audited(served: Project, audit: Audit) -> None:
    described = logged_cases([served.case("bikes")])["bikes"]
    fewer = described.model_copy(update={"features": dict(list(described.features.items())[:-1])})
    segment = SegmentWriter(segments_folder(served), "w1-1-000001", Header(ledger="test", cases={"bikes": fewer}))
    rows = Rows(1, [[None]] * len(fewer.features), [None], [None])
    segment.append(encode_entry("bikes", 1, "r", 1.0, 2.0, rows, [Part(None, "2", Role.champion, [1.0], ())], None))
    assert audit.look(plans(served)) == []


def test_the_keeper_takes_a_plan_that_answered_otherwise_out_of_service_and_tells(
    served: Project, keeper: Keeper
) -> None:
    keeper.turn()
    log = Log(served)
    log.answer()
    log.answer(wrong=True)
    until(lambda: keeper.turn() or engines(served) == ["pipeline", "plan", "plan"], "the pipeline answers")
    (alarm,) = read_alarms(LocalCopy.of(served).alarms)
    assert (alarm.case, alarm.version) == ("bikes", "2")
    assert "answers as the pipeline itself, because its plan answered otherwise: request r-1 was answered" in alarm.what
    assert (LocalCopy.of(served).version("bikes", "2") / "distrusted.json").is_file()
    for _ in range(20):
        keeper.turn()
    assert engines(served) == ["pipeline", "plan", "plan"]


def test_a_plan_that_is_not_trusted_stays_out_after_a_restart_and_when_it_is_made_anew(
    served: Project, keeper: Keeper
) -> None:
    keeper.turn()
    log = Log(served)
    log.answer(wrong=True)
    until(lambda: keeper.turn() or engines(served) == ["pipeline", "plan", "plan"], "the pipeline answers")
    path = served.root / "configs/bikes.yaml"
    content = yaml.safe_load(path.read_text())
    content["contract"]["version"] = 2  # what was proven for another contract is proven again
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    before = LocalCopy.of(served).version("bikes", "2").stat().st_ino
    with keeping(Project(served.root)) as another:
        until(lambda: another.turn() or LocalCopy.of(served).version("bikes", "2").stat().st_ino != before, "anew")
        settled(another, served, "2", "3", "1")
        assert engines(served) == ["pipeline", "plan", "plan"]
        assert [alarm.version for alarm in another.alarms.listed()] == ["2"]


def test_a_plan_is_taken_out_of_service_though_the_registry_is_gone(served: Project) -> None:
    (served.stores / "mlflow.db").rename(served.stores / "away.db")
    with keeping(served) as keeper:
        keeper.turn()
        log = Log(served)
        log.answer(wrong=True)
        until(lambda: keeper.turn() or engines(served) == ["pipeline", "plan", "plan"], "the pipeline answers")
    assert roles(served) == ("2", "3", "1")


def engines(project: Project) -> list[str]:
    found = routes(project)
    return [entry.engine for entry in found.entries] if found else []


def test_an_audit_that_cannot_be_made_is_told_and_changes_nothing(served: Project, keeper: Keeper) -> None:
    keeper.turn()
    model = LocalCopy.of(served).version("bikes", "2") / "model.skops"
    model.write_bytes(model.read_bytes() + b"x")
    log = Log(served)
    log.answer()
    until(lambda: keeper.turn() or keeper.alarms.listed(), "an alarm")
    assert "The answers of plans are not audited: The model at" in keeper.alarms.listed()[0].what
    assert roles(served) == ("2", "3", "1")


def test_logged_rows_prove_plans_too(served: Project) -> None:
    log = Log(served)
    for count in (1, 1, 5):
        log.answer(count)
    found = logged_rows(served, log.case, 6)
    assert found.count == 6
    assert found.columns == log.rows.take([0, 1, 2, 3, 4, 5]).columns
    assert logged_rows(served, log.case, 100).count == 7


class TestTail:
    """Each entry is given once, whole, wherever its segment is in its life."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path

    @staticmethod
    def header() -> Header:
        return Header(ledger="test", cases={})

    @staticmethod
    def given(tail: Tail) -> list[bytes]:
        return [payload for added in tail.new() for _, payload in added.payloads]

    def test_what_was_written_before_is_not_given(self, folder: Path) -> None:
        segment = SegmentWriter(folder, "w0", self.header())
        segment.append(b'{"a":1}')
        tail = Tail(folder)
        segment.append(b'{"a":2}')
        assert self.given(tail) == [b'{"a":2}']
        assert self.given(tail) == []

    def test_a_segment_begun_later_is_given_from_its_start_and_goes_on_when_it_is_sealed(self, folder: Path) -> None:
        tail = Tail(folder)
        segment = SegmentWriter(folder, "w0", self.header())
        segment.append(b'{"a":1}')
        assert self.given(tail) == [b'{"a":1}']
        segment.append(b'{"a":2}')
        segment.seal()
        assert self.given(tail) == [b'{"a":2}']
        next(folder.glob("*.sealed")).unlink()
        assert self.given(tail) == []

    def test_an_entry_that_is_on_its_way_is_given_when_it_is_whole(self, folder: Path) -> None:
        segment = SegmentWriter(folder, "w0", self.header())
        tail = Tail(folder)
        whole = frame(b'{"a":1}')
        with segment.path.open("ab") as file:
            file.write(whole[:9])
            file.flush()
            assert self.given(tail) == []
            file.write(whole[9:])
        assert self.given(tail) == [b'{"a":1}']

    def test_entries_behind_damage_are_given(self, folder: Path) -> None:
        segment = SegmentWriter(folder, "w0", self.header())
        tail = Tail(folder)
        with segment.path.open("ab") as file:
            file.write(b"\x07\x00\x00\x00damaged" + frame(b'{"a":1}'))
        assert self.given(tail) == [], "it is skipped first"
        assert self.given(tail) == [b'{"a":1}']

    def test_a_segment_without_a_header_is_left_to_others(self, folder: Path) -> None:
        (folder / "w0.open").write_bytes(b"nothing of ours")
        (folder / "w1.open").write_bytes(frame(b'{"format":7}'))
        assert self.given(Tail(folder)) == []

    def test_what_is_not_drawn_is_passed_over_and_damage_is_still_found(self, folder: Path) -> None:
        segment = SegmentWriter(folder, "w0", self.header())
        tail = Tail(folder)
        entries = [f'{{"a":{number}}}'.encode() for number in range(100)]
        with segment.path.open("ab") as file:
            file.write(
                b"".join(map(frame, entries[:50])) + b"\x07\x00\x00\x00damaged" + b"".join(map(frame, entries[50:]))
            )
        wanted = {crc32(entries[10]), crc32(entries[60])}
        given = [p for _ in range(3) for added in tail.new(wanted.__contains__) for _, p in added.payloads]
        assert {entries[10], entries[60]} <= set(given)
        assert len(given) < 10

    def test_no_folder_no_entries(self, folder: Path) -> None:
        assert self.given(Tail(folder / "none")) == []
