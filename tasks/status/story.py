"""What the status page tells of a project: frozen records, between the stores they come from and the page."""

from urllib.parse import quote

from pydantic import AwareDatetime, Field

from tasks.records import Event, Record, Rollout, Ruling
from tasks.rollout.shares import Served
from tasks.triage.incident import Incident
from tasks.verdicts import Answer, Figure, Monitor, Triaged, Verdict


class Addresses(Record):
    """Where people see runs and models; None where nothing answers."""

    prefect: str | None = None
    mlflow: str | None = None

    def run(self, run: str | None) -> str | None:
        """The page of a flow run; a form, while it waits for an answer."""
        return f"{self.prefect}/runs/flow-run/{quote(run, safe='')}" if self.prefect and run else None

    def version(self, case: str, version: str | None) -> str | None:
        """The page of a registered version."""
        if not self.mlflow or not version:
            return None
        return f"{self.mlflow}/#/models/{quote(case, safe='')}/versions/{quote(version, safe='')}"


class Model(Record):
    """A registered version."""

    version: str
    status: str
    trained_on: str = ""
    asked_at: AwareDatetime | None = None
    question: str | None = None
    """The flow run that waits for an answer about it."""


class Holders(Record):
    """Who holds which alias, and how traffic is shared."""

    champion: str | None = None
    challenger: str | None = None
    retired: str | None = None
    share: float = 0.0
    shadow: bool = False


class Training(Record):
    """What became of one training."""

    as_of: AwareDatetime
    ruling: Ruling
    version: str | None
    """None where the gate turned the candidate away."""
    run: str


class Taken(Record):
    """An action of triage, and the run that was started for it."""

    triaged: Triaged
    run: str | None = None


class Blocked(Record):
    """A delivery in quarantine."""

    batch_id: str
    start: AwareDatetime
    end: AwareDatetime
    why: str
    page: str | None = None
    """Its validation page, relative to the status page."""


class Spell(Record):
    """Alarms of one monitor for one cause, one look after the other; or looks at which it could not compute."""

    monitor: Monitor
    answer: Answer
    cause: str
    start: AwareDatetime
    """The as-of of the first such look."""
    end: AwareDatetime
    """Of the last."""
    looks: int = Field(ge=1)
    text: str
    """What the last one said."""
    report: str | None = None
    """Its pictures, relative to the status page."""


class Performance(Record):
    """The metric a case is judged by, window by window, the oldest first."""

    metric: str
    lower_is_better: bool
    realised: tuple[Figure, ...] = ()
    estimated: tuple[Figure, ...] = ()


class Drift(Record):
    """How far the champion's score moved, window by window, and from where on that is an alarm."""

    distance: tuple[Figure, ...] = ()
    threshold: tuple[Figure, ...] = ()


class Trouble(Record):
    """A part of the page whose store could not be read."""

    part: str
    why: str


class CaseStory(Record):
    """Everything about one case; what could not be read is empty, and named in `troubles`."""

    case: str
    performance: Performance
    drift: Drift = Drift()
    holders: Holders = Holders()
    models: tuple[Model, ...] = ()
    """The newest first."""
    events: tuple[Event, ...] = ()
    """The oldest first."""
    shares: tuple[Served, ...] = ()
    """The oldest first."""
    rollout: Rollout | None = None
    """The one under way."""
    trainings: tuple[Training, ...] = ()
    standing: tuple[Verdict, ...] = ()
    """The newest of each monitor."""
    reports: dict[str, str] = Field(default_factory=dict)
    """For a monitor of `standing` its pictures, relative to the status page."""
    spells: tuple[Spell, ...] = ()
    looks: tuple[AwareDatetime, ...] = ()
    """When the monitors looked first and last."""
    incidents: tuple[Incident, ...] = ()
    """The newest first."""
    taken: tuple[Taken, ...] = ()
    """The newest first."""
    labels: tuple[Figure, ...] = ()
    """The share of each window's labels that were in when it was judged, the oldest first."""
    blocked: tuple[Blocked, ...] = ()
    left_out: tuple[str, ...] = ()
    """What was too much to read, in sentences."""
    troubles: tuple[Trouble, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing has happened yet."""
        return not (self.events or self.trainings or self.standing or self.blocked or self.troubles)

    @property
    def awaiting(self) -> tuple[Model, ...]:
        """The versions that wait for a person."""
        return tuple(model for model in self.models if model.status == "awaiting approval")

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        return tuple(incident for incident in self.incidents if incident.closed_at is None)


class Story(Record):
    """The whole page."""

    place: str
    drawn_at: AwareDatetime
    addresses: Addresses = Addresses()
    cases: tuple[CaseStory, ...]
