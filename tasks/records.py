"""What travels between rooms: small frozen records that name files, digests, rows and reasons."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from configs.frozen import Frozen
from tasks.files import write_text


class Record(Frozen):
    """A record that can be kept as JSON and read back equal."""

    def write(self, path: Path) -> None:
        """Write the record to `path`, whole or not at all."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record back. Raises FileNotFoundError, or pydantic's ValidationError."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


class Order(Record):
    """What the chain is asked to do."""

    case: str
    as_of: AwareDatetime
    train_batches: int | None = Field(None, ge=1)
    """Train on so many batches only; without it, on those that `window.train_batches` says."""
    train_since: AwareDatetime | None = None
    """Of these, train on those since then, and on no more before than it takes to train; on all if none came since."""


class Batch(Record):
    """One delivery of rows, immutable."""

    batch_id: str
    start: AwareDatetime
    end: AwareDatetime
    """Rows have an event time in `[start, end)`."""
    file: str
    """File name inside the case's deliveries."""


class Window(Record):
    """Consecutive batches, `[start, end)`."""

    start: AwareDatetime
    end: AwareDatetime
    batches: tuple[Batch, ...]


class LeftOut(Record):
    """A batch that belongs to a window by its dates, and is not in it."""

    batch_id: str
    why: str


class Windows(Record):
    """What a candidate trains on, and what judges it: never the same rows."""

    as_of: AwareDatetime
    train: Window
    evaluate: Window
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    """Failed checks that did not block, worded for a person."""


class Severity(StrEnum):
    """What a failed expectation means."""

    critical = "critical"
    """Blocks everything after it."""
    warning = "warning"
    """Is shown wherever the batch is used."""
    info = "info"
    """Is written down."""


class Finding(Record):
    """One check of one batch."""

    check: str
    """The expectation's name, e.g. `expect_column_values_to_be_between`."""
    column: str | None
    severity: Severity
    passed: bool
    expected: str
    """In words: `0 to 6000`."""
    found: str
    """In words: `412 of 5,893 rows outside`."""
    rows: int = 0
    """How many rows fail."""
    examples: tuple[str, ...] = Field((), max_length=5)


class BatchReport(Record):
    """What validation found out about one batch."""

    case: str
    batch_id: str
    contract_version: int
    rows: int
    digest: str
    """SHA-256 of the batch file that was checked."""
    fingerprint: str = ""
    """Digest of what it was checked for: contract, expectations, parameters, and the code of the checks."""
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.passed)

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.failed if finding.severity is Severity.critical)

    @property
    def accepted(self) -> bool:
        return not self.blocking


class Candidate(Record):
    """A model just trained."""

    case: str
    contract_version: int
    estimator: str
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    calibration: str
    seed: int
    features: tuple[str, ...] = ()
    """Contract columns the pipeline takes, in order."""
    classes: tuple[str | int | bool, ...] = ()
    """Labels in the order of the probability columns; empty for a regression."""
    train_start: AwareDatetime
    train_end: AwareDatetime
    """Training cut-off: the candidate has seen no row at or after this."""
    batches: tuple[str, ...]
    rows: int = 0
    rows_without_label: int = 0
    """Rows in the window that never got a label (a cancelled flight); kept in the data, not trained on."""
    model_sha256: str = ""
    """Digest of `model.skops` beside this record."""
    seconds: float = 0.0
    search_trials: int = 0


class ChampionRef(Record):
    """The model in production as the chain found it; `version` is None before there is one."""

    version: str | None
    model_sha256: str | None = None
    candidate: Candidate | None = None


class Interval(Record):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


class SliceComparison(Record):
    """Mean loss of candidate and champion within one group of rows."""

    column: str
    value: str
    rows: int
    candidate_loss: float
    champion_loss: float | None
    worse_by: Interval | None = None
    """Candidate minus champion, per row, paired."""
    p_value: float | None = None
    """Of "not worse than tolerated", before correction for the number of groups."""
    refused: bool = False


class Ruling(StrEnum):
    """The answer of the gate."""

    promote = "promote"
    reject = "reject"
    inconclusive = "inconclusive"


class Reason(Record):
    """One rule, and how the candidate stands to it."""

    rule: str
    passed: bool
    inconclusive: bool = False
    """The rule could not be judged; the champion stays."""
    text: str
    """What was found and what was wanted, for a person."""


class Decision(Record):
    """The gate's answer, with every reason."""

    ruling: Ruling
    reasons: tuple[Reason, ...]

    @property
    def promote(self) -> bool:
        return self.ruling is Ruling.promote

    @property
    def against(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if not reason.passed)


class Evaluation(Record):
    """Candidate and champion on the same fresh rows, and what the gate made of it."""

    case: str
    as_of: AwareDatetime
    champion_version: str | None
    start: AwareDatetime
    end: AwareDatetime
    rows: int
    rows_without_label: int
    blocks: int
    metrics: dict[str, Interval]
    """The candidate's metrics; a metric without a known interval has low = high = value."""
    champion_metrics: dict[str, Interval] = Field(default_factory=dict)
    differences: dict[str, Interval] = Field(default_factory=dict)
    """Candidate minus champion on the same rows, paired."""
    slices: tuple[SliceComparison, ...] = ()
    importance: dict[str, float] = Field(default_factory=dict)
    """Loss of the first metric when one feature is shuffled, largest first."""
    latency_ms: float
    model_mb: float
    predictions_sha256: str
    """Digest of the candidate's predictions on the evaluation rows, bit for bit."""
    decision: Decision


class Likeness(Record):
    """A model that was fitted again beside its twin, which was judged: both on the rows that judged."""

    rows: int
    unusable_predictions: int = 0
    difference: Interval | None
    """Of the gate's metric, fitted again minus twin, paired; None where it is not defined."""
    change: float | None
    """Mean distance of the two predictions, as a share of the mean distance of the twin's from the labels; None where
    they cannot be compared."""
    latency_ms: float
    model_mb: float
    faithful: bool
    """The saved artifact loads, and answers the input example as the fitted model did."""
    predictions_sha256: str
    """Digest of the predictions of the model fitted again, bit for bit."""


class Refit(Record):
    """Whether an accepted candidate was fitted again on the rows that judged it too, and which of the two serves."""

    case: str
    asked: bool
    """`gate.refit`."""
    candidate: Candidate | None = None
    """The model fitted again; None where nothing was, or could be, fitted."""
    likeness: Likeness | None = None
    reasons: tuple[Reason, ...] = ()
    """Every rule about it, and how it stands to them."""

    @property
    def stands(self) -> bool:
        """Whether the model fitted again takes the place of its twin."""
        return self.candidate is not None and not self.against

    @property
    def against(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if not reason.passed)

    def __str__(self) -> str:
        if self.against:
            why = "; ".join(f"{reason.rule}: {reason.text}" for reason in self.against)
            return f"no: {why}. The model that was judged takes its place"
        if self.candidate is None:
            return "no: the candidate was not accepted" if self.asked else "no: gate.refit is off"
        last = self.candidate.train_end - timedelta(days=1)
        return f"on {self.candidate.rows:,} rows up to {last:%Y-%m-%d}, those that judged it too"


class CodeVersion(Record):
    """The code a model was made with: a revision, and what was not committed on top of it."""

    revision: str
    patch: str = ""

    @property
    def dirty(self) -> bool:
        return bool(self.patch)

    @property
    def patch_sha256(self) -> str:
        return hashlib.sha256(self.patch.encode()).hexdigest()


class Status(StrEnum):
    """Where a registered version stands."""

    awaiting = "awaiting approval"
    rolling_out = "rolling out"
    """Approved, and on its way to users, stage by stage."""
    champion = "champion"
    retired = "retired"
    rejected = "rejected"
    expired = "rejected: expired"
    superseded = "superseded"
    """A newer challenger came before anyone answered."""
    rolled_back = "rolled back"


class Registered(Record):
    """What became of a candidate."""

    case: str
    ruling: Ruling
    run_id: str
    version: str | None = None
    """None for a candidate the gate turned away: it is kept as a run, not as a version."""
    status: Status | None = None
    known: bool = False
    """The very same candidate was registered before; nothing was done again."""
    reasons: tuple[Reason, ...] = ()


class Traffic(Record):
    """How the requests of a case are shared between its champion and one challenger."""

    challenger: str | None = None
    """The version it was decided for: another one starts without a share."""
    share: float = Field(0.0, ge=0, le=1)
    """Of the entities, that the challenger answers."""
    shadow: float = Field(0.0, ge=0, le=1)
    """Of the entities that the champion answers, whose rows the challenger scores too, for the log only."""
    salt: str = Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")
    """What the entities are drawn by: the same salt keeps everybody on the side they are on."""

    def __str__(self) -> str:
        rest = "the rest" if self.shadow == 1 else f"{100 * self.shadow:g} % of the rest"
        shadow = f", and shadows {rest}" if self.shadow else ""
        return f"the challenger answers {100 * self.share:g} %{shadow}"


class Stage(Record):
    """One stage of a rollout, as it was planned when it began."""

    name: str
    kind: Literal["load", "shadow", "canary", "ab", "warm"]
    share: float = Field(0.0, ge=0, le=1)
    shadow: float = Field(0.0, ge=0, le=1)
    hours: float = 0.0
    requests: int = 0
    labels: int = 0
    at_most_hours: float | None = None
    """None where nothing is waited for longer than `hours`."""
    asks: bool = False
    """A person is asked before it."""


class Rollout(Record):
    """Where a challenger's rollout stands: part of the event that decided it, so that every state was decided."""

    version: str
    champion: str
    """Whom the challenger is to replace."""
    strategy: str
    plan: tuple[Stage, ...]
    number: int = Field(ge=0)
    """Of the stage in the plan."""
    standing: Literal["going", "held", "paused", "asking", "done", "stopped"] = "going"
    """Held: harm is shown for rows, and not for days; the stage goes on, the next one does not begin."""
    began: AwareDatetime
    since: AwareDatetime
    """When this stage began."""
    evidence_since: AwareDatetime
    """When the challenger began to be asked in this way (in the shadow, or by users): evidence counts from here."""
    reasons: tuple[Reason, ...] = ()
    """What this state was decided on."""

    @property
    def stage(self) -> Stage:
        return self.plan[self.number]

    @property
    def over(self) -> bool:
        return self.standing in {"done", "stopped"}

    @property
    def promoted(self) -> bool:
        """Whether the challenger has become champion."""
        return self.stage.kind == "warm" and self.standing != "stopped"

    def __str__(self) -> str:
        return f"{self.stage.name} ({self.number + 1} of {len(self.plan)}), {self.standing}"


class Event(Record):
    """One thing that happened to a case's versions, as the history keeps it."""

    case: str
    at: AwareDatetime
    what: Literal[
        "registered", "approving", "approved", "rejected", "rolling back", "rolled back", "traffic", "rollout"
    ]
    version: str
    by: str
    reason: str
    before: str | None = None
    """The champion until then, where the event is about the champion."""
    patch_sha256: str | None = None
    """When a version is registered: the digest of the uncommitted changes it was made with."""
    traffic: Traffic | None = None
    """When traffic is shared anew: how."""
    rollout: Rollout | None = None
    """When a rollout moves: to what state."""


class Approval(Record):
    """A person's (or a policy's) answer, as it is kept."""

    case: str
    version: str
    approve: bool
    by: str
    reason: str
    share: float = Field(1.0, ge=0, le=1)
    channel: Literal["form", "cli", "policy", "expiry"]
    at: AwareDatetime

    @model_validator(mode="after")
    def _says_who_and_why(self) -> Self:
        if not self.by.strip() or not self.reason.strip():
            raise ValueError("an approval needs a name and a reason")
        return self
