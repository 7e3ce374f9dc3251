"""gather: what the stores know of every case, for the status page; a store that cannot be read silences no other."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from os.path import relpath
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from configs.case import Case
from configs.errors import EvergreenError
from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Journal, Turn
from tasks.adapters.registry import ModelVersion, Registry
from tasks.ingestion.batches import batch_of
from tasks.monitoring.estimate import BETTER_WHEN_LOWER, HEADLINE
from tasks.records import BatchReport, Event, Rollout
from tasks.rollout.shares import served
from tasks.status.story import (
    Addresses,
    Blocked,
    CaseStory,
    Drift,
    Holders,
    Model,
    Performance,
    Spell,
    Story,
    Taken,
    Training,
    Trouble,
)
from tasks.triage.incident import Incident
from tasks.verdicts import Answer, Figure

log = logging.getLogger(__name__)

Read = TypeVar("Read")

_YEAR = timedelta(days=366)
_FUTURE = timedelta(days=36_500)
_MOST_TURNS = 1000
_MOST_INCIDENTS = 200
_MOST_TAKEN = 200
_MOST_BLOCKED = 100


def gather(project: Project, addresses: Addresses, at: datetime, page: Path) -> Story:
    """What is to be told on `page` at the moment `at`; links to files of this machine are relative to its folder."""
    cases = tuple(_Gathering(project, name, at, page.parent).story() for name in project.cases)
    return Story(place=project.place_name, drawn_at=at, addresses=addresses, cases=cases)


class _Gathering:
    """One case, being read."""

    def __init__(self, project: Project, name: str, at: datetime, folder: Path) -> None:
        self._project = project
        self._name = name
        self._at = at
        self._folder = folder
        self._troubles: list[Trouble] = []
        self._left_out: list[str] = []

    def story(self) -> CaseStory:
        """The case's story; what cannot be read is named in it."""
        try:
            case = self._project.case(self._name)
        except EvergreenError as error:
            nothing = Performance(metric="", lower_is_better=False)
            return CaseStory(
                case=self._name, performance=nothing, troubles=(Trouble(part="configuration", why=str(error)),)
            )
        metric = HEADLINE[case.problem]
        unknown: list[Event] = []
        events = tuple(self._try("history", lambda: History(self._project).events(self._name), unknown))
        nobody: tuple[Holders, list[Model]] = (Holders(), [])
        holders, models = self._try("registry", self._registered, nobody)
        known = CaseStory(
            case=self._name,
            performance=Performance(metric=metric, lower_is_better=metric in BETTER_WHEN_LOWER),
            holders=holders,
            models=tuple(models),
            events=events,
            shares=tuple(served(events)),
            rollout=_under_way(events),
            blocked=tuple(self._try("deliveries", lambda: self._blocked(case), [])),
            incidents=tuple(self._try("incidents", self._incidents, [])),
        )
        told = self._try("journal", lambda: self._journal(known), known)
        return told.model_copy(update={"troubles": tuple(self._troubles), "left_out": tuple(self._left_out)})

    def _try(self, part: str, read: Callable[[], Read], otherwise: Read) -> Read:
        """What `read` gives; or `otherwise`, with the reason written down for the page."""
        try:
            return read()
        except (EvergreenError, OSError, ValueError) as error:
            log.warning("status page: %s of %s cannot be read: %s", part, self._name, error)
            self._troubles.append(Trouble(part=part, why=str(error)))
            return otherwise

    def _registered(self) -> tuple[Holders, list[Model]]:
        registry = Registry(self._project)
        found = registry.standing(self._name)
        if found is None:
            return Holders(), []
        if found.problem:
            self._troubles.append(Trouble(part="registry", why=found.problem))
        asked = found.traffic.challenger is not None and found.traffic.challenger == found.challenger
        holders = Holders(
            champion=found.champion,
            challenger=found.challenger,
            retired=found.retired,
            share=found.traffic.share if asked else 0.0,
            shadow=asked and bool(found.traffic.shadow),
        )
        return holders, [_model(version) for version in registry.versions(self._name)]

    def _journal(self, known: CaseStory) -> CaseStory:
        journal = Journal(self._project)
        standing = tuple(journal.standing(self._name, self._at + _FUTURE).values())
        trainings = journal.trainings(self._name)
        newest = [verdict.as_of for verdict in standing] + [training.as_of for training in trainings]
        # A replayed year lies in the past: it is the newest look that says which year is meant, not the clock.
        since = max(newest, default=self._at) - _YEAR

        def figures(kind: str, metric: str) -> tuple[Figure, ...]:
            found = journal.figures(self._name, kind, metric, since, role="champion", slice="")
            return tuple(figure for figure in found if figure.value is not None)

        metric = known.performance.metric
        turns = self._first(
            "changes of what the monitors say", journal.turns(self._name, since, _MOST_TURNS + 1), _MOST_TURNS
        )
        looks = sorted({moment for turn in turns for moment in (turn.verdict.as_of, turn.last)})
        taken = self._first("actions of triage", journal.actions(self._name, since), _MOST_TAKEN)
        return known.model_copy(
            update={
                "performance": known.performance.model_copy(
                    update={"realised": figures("realised", metric), "estimated": figures("estimated", metric)}
                ),
                "drift": Drift(
                    distance=figures("drift", "score drift"), threshold=figures("drift", "score drift threshold")
                ),
                "labels": figures("labels", "share of labels"),
                "standing": standing,
                "reports": {
                    verdict.monitor.value: link for verdict in standing if (link := self._link(verdict.report))
                },
                "spells": tuple(self._spell(turn) for turn in turns if turn.verdict.answer in _SPELLS),
                "looks": (looks[0], looks[-1]) if looks else (),
                "taken": tuple(Taken(triaged=acted.triaged, run=acted.run) for acted in taken),
                "trainings": tuple(
                    Training(as_of=each.as_of, ruling=each.ruling, version=each.version, run=each.run)
                    for each in trainings
                ),
            }
        )

    def _incidents(self) -> list[Incident]:
        found = Incidents(self._project).all(self._name, limit=_MOST_INCIDENTS + 1)
        return self._first("incidents", found, _MOST_INCIDENTS)

    def _first(self, what: str, found: list[Read], most: int) -> list[Read]:
        """The newest of `found`; that there are more is said on the page."""
        if len(found) > most:
            self._left_out.append(f"Of the {what} only the newest {most:,} are told here.")
        return found[:most]

    def _spell(self, turn: Turn) -> Spell:
        verdict = turn.verdict
        return Spell(
            monitor=verdict.monitor,
            answer=verdict.answer,
            cause=verdict.cause,
            start=verdict.as_of,
            end=turn.last,
            looks=turn.looks,
            text=verdict.text,
            report=self._link(verdict.report),
        )

    def _blocked(self, case: Case) -> list[Blocked]:
        files = self._project.files(self._name)
        stems = sorted((path.stem for path in files.quarantine.glob("*.parquet")), reverse=True)
        found = []
        for stem in self._first("deliveries in quarantine", stems, _MOST_BLOCKED):
            batch = batch_of(case, stem)
            report = files.validation / f"{stem}.json"
            why = _why_blocked(BatchReport.read(report)) if report.is_file() else "its validation report is missing"
            page = self._link(files.validation / f"{stem}.html")
            found.append(Blocked(batch_id=stem, start=batch.start, end=batch.end, why=why, page=page))
        return found

    def _link(self, path: str | Path | None) -> str | None:
        """A file under `data/`, as the page can link to it; None for one that is not there."""
        if not path:
            return None
        found = (self._project.root / path).resolve()
        data = (self._project.root / "data").resolve()
        if not (found.is_relative_to(data) and found.is_file()):
            return None
        return quote(relpath(found, self._folder.resolve()).replace("\\", "/"))


_SPELLS = frozenset({Answer.alarm, Answer.unknown})


def _model(version: ModelVersion) -> Model:
    asked = version.tags.get("asked_at")
    rolling = version.status == "rolling out"
    return Model(
        version=version.version,
        status=version.status,
        trained_on=version.tags.get("train_window", ""),
        asked_at=datetime.fromisoformat(asked) if asked else None,
        question=version.tags.get("rollout_run_id" if rolling else "flow_run_id"),
    )


def _under_way(events: Iterable[Event]) -> Rollout | None:
    """The rollout that the last decided event left unfinished."""
    states = [event.rollout for event in events if event.rollout and event.what not in {"approving", "rolling back"}]
    return states[-1] if states and not states[-1].over else None


def _why_blocked(report: BatchReport) -> str:
    found = [
        f"{finding.column or 'the batch'}: {finding.found}, expected {finding.expected}" for finding in report.blocking
    ]
    return "; ".join(found[:5]) or "it broke its contract"
