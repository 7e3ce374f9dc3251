"""triage: from what the monitors say to one action, with its reasons and its incidents written down."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from configs.case import Case
from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Acted, Journal
from tasks.adapters.registry import ModelVersion, Registry
from tasks.adapters.turns import alone
from tasks.records import Ruling, Status
from tasks.triage.choice import Choice, choose
from tasks.triage.guards import TRAININGS, Changed, Held, Past, hold_back
from tasks.triage.incident import alerts_about, follow
from tasks.triage.rules import Facts, Ruled, cause_of, changed_at, fitting
from tasks.triage.volume import rows_since
from tasks.verdicts import Action, Monitor, Triaged, Verdict

log = logging.getLogger(__name__)

_HOUR = timedelta(hours=1)
_RECENT = 100
"""So many verdicts of a monitor are looked at for persistence."""
_TURNED_AWAY = frozenset({Status.rejected, Status.rolled_back})


def triage(project: Project, case_name: str, as_of: datetime, *, in_flight: bool) -> Triaged:
    """Decide on the one action for the verdicts that stand at `as_of`; write it, its incidents and its alerts.

    The same verdicts again give the action that was decided on; one that a guard held back is decided on anew.
    `in_flight`: a training of the case is on its way. Raises StoreUnreachable.
    """
    # Two flows that triage at one moment would both find no training in flight.
    with alone(project, f"{case_name}.triage"):
        return _Desk(project, case_name, as_of).decide(in_flight=in_flight)


@dataclass(frozen=True)
class _Champion:
    """Who answers, and since when."""

    version: str | None
    promoted_at: datetime | None
    made_for: datetime | None
    """The as-of it was trained for."""
    trained_for: datetime | None
    """The as-of of the last candidate that was trained, champion or not."""
    retired: str | None


class _Desk:
    """Where one triage reads, decides and writes."""

    def __init__(self, project: Project, case: str, as_of: datetime) -> None:
        self.project = project
        self.case: Case = project.case(case)
        self.as_of = as_of
        self.registry = Registry(project)
        self.journal = Journal(project)
        self.incidents = Incidents(project)
        self.history = History(project)
        self.champion = self._champion()
        self.standing = self._standing()

    def decide(self, *, in_flight: bool) -> Triaged:
        fits = fitting(self.case.triage.rules, self._facts())
        past = self._past(in_flight=in_flight)
        choice = choose(fits, lambda ruled: self._held(ruled, past, self._changed(ruled, fits)))
        ruled = choice.decides.ruled
        before = self._decided_before(ruled)
        undone = self._never_begun() if choice.action in TRAININGS and not before else None
        again = (f"the training decided on at {undone.as_of:%Y-%m-%d %H:%M}Z never began",) if undone else ()
        triaged = Triaged(
            case=self.case.name,
            as_of=self.as_of,
            action=choice.action,
            rule=ruled.rule,
            reasons=(*choice.reasons, *again),
            verdicts=tuple(verdict.monitor for verdict in ruled.verdicts),
            since=ruled.since if choice.action is Action.retrain_recent else None,
            version=self.champion.version,
            held_back=choice.decides.held_back,
            key=undone.key if undone else self._key(ruled),
        )
        self._follow(triaged, choice)
        if before:
            log.info("triage %s: %s was decided on before (%s)", self.case.name, before.action, ruled.rule)
            return before
        self.journal.act(triaged, None)
        log.info("triage %s: %s (%s)", self.case.name, triaged.action, "; ".join((triaged.rule, *triaged.reasons)))
        return triaged

    def _held(self, ruled: Ruled, past: Past, changed: Changed | None) -> Held | None:
        if self._decided_before(ruled):
            return None
        return hold_back(
            ruled.action, self.case.triage.guards, past, self.as_of, alarmed=bool(ruled.primary), changed=changed
        )

    def _changed(self, ruled: Ruled, fits: Sequence[Ruled]) -> Changed | None:
        params = self.project.params(self.case.name)
        return Changed.since(
            changed_at(ruled, fits), self.case, params.window.evaluate_batches, refit=params.gate.refit
        )

    def _decided_before(self, ruled: Ruled) -> Triaged | None:
        """What was decided on for this very event, unless a guard held it back."""
        before = self.journal.action(self.case.name, self._key(ruled))
        return before.triaged if before and before.triaged.held_back is None else None

    def _follow(self, triaged: Triaged, choice: Choice) -> None:
        open_ones = self.incidents.all(self.case.name, only_open=True)
        with self.incidents.numbering() as next_id:
            changes = follow(open_ones, triaged, choice.concerns, self.standing, next_id)
            alerts = alerts_about(changes, self.project.place.alerts, self.as_of)
            self.incidents.keep([change.incident for change in changes], alerts)

    def _champion(self) -> _Champion:
        case = self.case.name
        champion, retired = self.registry.holder(case, "champion"), self.registry.holder(case, "retired")
        made_for = _made_for(champion) if champion else None
        trained = [each.as_of for each in self.journal.trainings(case) if each.as_of <= self.as_of]
        return _Champion(
            version=champion.version if champion else None,
            promoted_at=self._promoted_at(champion, made_for) if champion else None,
            made_for=made_for,
            trained_for=max([*trained, *([made_for] if made_for else [])], default=None),
            retired=retired.version if retired else None,
        )

    def _promoted_at(self, champion: ModelVersion, made_for: datetime | None) -> datetime | None:
        """When the champion was promoted; None if it came back by a rollback.

        A decision is dated by the clock; where the as-of is behind that (recorded history), by its order's as-of.
        """
        changes = [event for event in self.history.events(self.case.name) if event.what in {"approved", "rolled back"}]
        if not changes or changes[-1].version != champion.version or changes[-1].what == "rolled back":
            return None
        return changes[-1].at if changes[-1].at <= self.as_of else made_for

    def _standing(self) -> dict[Monitor, Verdict]:
        since = self.as_of - timedelta(hours=self.case.triage.verdicts_hold_hours)
        standing = self.journal.standing(self.case.name, self.as_of)
        return {
            monitor: verdict
            for monitor, verdict in standing.items()
            if verdict.as_of >= since and verdict.version in (None, self.champion.version)
        }

    def _facts(self) -> Facts:
        case, champion = self.case.name, self.champion
        rows = None
        if champion.trained_for:
            figures = self.journal.figures(case, "volume", None, champion.trained_for, self.as_of)
            rows = rows_since(figures, champion.trained_for)
        return Facts(
            standing=self.standing,
            recent={monitor: self._recent(monitor) for monitor in self.standing} if self._asks_for_persistence else {},
            hours_since_promotion=self._hours_since(champion.promoted_at),
            hours_since_training=self._hours_since(champion.trained_for),
            new_rows=rows,
            can_roll_back=champion.retired is not None,
        )

    @property
    def _asks_for_persistence(self) -> bool:
        return any(rule.persistence[1] > 1 for rule in self.case.triage.rules)

    def _recent(self, monitor: Monitor) -> list[Verdict]:
        verdicts = self.journal.verdicts(self.case.name, self.as_of, monitor, _RECENT)
        return [verdict for verdict in verdicts if verdict.version in (None, self.champion.version)]

    def _hours_since(self, moment: datetime | None) -> float | None:
        return (self.as_of - moment) / _HOUR if moment and moment <= self.as_of else None

    def _past(self, *, in_flight: bool) -> Past:
        case = self.case.name
        started = self._begun(self._decided_trainings())
        champion = self.registry.holder(case, "champion")
        versions = self.registry.versions(case)
        waiting = [version for version in versions if version.status == Status.awaiting]
        # One that was compared with another champion can no longer be approved: it keeps nobody waiting.
        asked = [version.version for version in waiting if version.was_judged_against(champion)]
        blocking = self.incidents.blocking(case)
        return Past(
            trainings=[acted.triaged.as_of for acted in started],
            rejected_in_a_row=self._rejected_in_a_row(started),
            in_flight=in_flight,
            awaiting=asked[0] if asked else None,
            rolling_out=next((version.version for version in versions if version.status == Status.rolling_out), None),
            blocked_by=blocking.id if blocking else None,
        )

    def _decided_trainings(self) -> list[Acted]:
        """The trainings that triage decided on, the newest first."""
        decided = self.journal.actions(self.case.name, until=self.as_of)
        return [acted for acted in decided if acted.triaged.action in TRAININGS]

    def _begun(self, decided: list[Acted]) -> list[Acted]:
        """Those of the trainings that began; who started one may have been killed before noting its run."""
        ended = {trained.as_of for trained in self.journal.trainings(self.case.name)}
        return [acted for acted in decided if acted.run is not None or acted.triaged.as_of in ended]

    def _never_begun(self) -> Triaged | None:
        """The last training that was decided on, if nobody knows that it began: the next one takes its key.

        If it did begin, that key starts no second one. After the cool-down there may be a second one anyhow.
        """
        last = self._decided_trainings()[:1]
        cool_down = timedelta(hours=self.case.triage.guards.cool_down_hours)
        if not last or self._begun(last) or self.as_of - last[0].triaged.as_of >= cool_down:
            return None
        return last[0].triaged

    def _rejected_in_a_row(self, started: list[Acted]) -> int:
        """Of the trainings that triage started for an alarm, how many of the last ones were in vain."""
        for_alarms = {acted.run for acted in started if acted.run and acted.triaged.verdicts}
        status = {version.version: version.status for version in self.registry.versions(self.case.name)}
        count = 0
        for trained in self.journal.trainings(self.case.name):
            if self.champion.made_for and trained.as_of <= self.champion.made_for:
                break  # it was about a champion that has left
            if trained.run not in for_alarms:
                continue
            in_vain = trained.ruling != Ruling.promote or status.get(trained.version or "") in _TURNED_AWAY
            if not in_vain:
                break
            count += 1
        return count

    def _key(self, ruled: Ruled) -> str:
        primary = ruled.primary
        window = primary.end if primary else self.as_of
        parts = (
            self.case.name,
            ruled.rule,
            cause_of(primary) if primary else "",
            self.champion.version or "",
            window.isoformat(),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _made_for(version: ModelVersion) -> datetime | None:
    """The as-of of the order that a version was made for."""
    return datetime.fromisoformat(version.tags["as_of"]) if "as_of" in version.tags else None
