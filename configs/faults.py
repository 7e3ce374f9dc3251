"""What can be made to go wrong in a replay, and when: as a word on the command line, or as an entry of a file.

On the command line: `KIND[:WHAT][=HOW]@FROM[..TO]`, for example `units:distance=1.609@2013-08-12..2013-09-02`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from configs.errors import ConfigError
from configs.frozen import Frozen
from configs.read import build, mapping

_WORD = re.compile(r"^(?P<kind>[a-z_]+)(:(?P<what>[^@]+?))?(=(?P<how>[^@=]+))?@(?P<start>[^@]+?)(\.\.(?P<end>[^@]+))?$")
_FORM = "KIND[:WHAT][=HOW]@FROM[..TO], for example units:distance=1.609@2013-08-12..2013-09-02"


def _in_utc(value: Any) -> Any:
    """A day, or a time without an offset, is in UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - its offset comes next
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_in_utc)]
Column = Annotated[str, Field(min_length=1)]


class Timed(Frozen):
    """When a fault is there."""

    start: Moment
    end: Moment | None = None
    """Until the end of the replay, if left out."""

    def __str__(self) -> str:
        told = self.model_dump(exclude={"fault", "start", "end"}, exclude_none=True)
        return " ".join([str(getattr(self, "fault", "fault")), *(f"{name}={value}" for name, value in told.items())])

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"it ends at {self.end:%Y-%m-%d %H:%M}, not after it begins ({self.start:%Y-%m-%d %H:%M})")
        return self


class Units(Timed):
    """A column comes in other units."""

    fault: Literal["units"] = "units"
    column: Column
    factor: Annotated[float, Field(gt=0)] = 1.609
    """Miles come as kilometres."""


class Nulls(Timed):
    """A column comes without its values."""

    fault: Literal["nulls"] = "nulls"
    column: Column
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Stale(Timed):
    """The feed repeats old rows: everything but who is asked about, and when, is that of the time just before."""

    fault: Literal["stale"] = "stale"


class Outage(Timed):
    """Nothing is delivered, and nobody asks."""

    fault: Literal["outage"] = "outage"


class Shift(Timed):
    """A covariate shift: a number lies `by` of its standard deviations away, inside its range."""

    fault: Literal["shift"] = "shift"
    column: Column
    by: float = 1.0


class Concept(Timed):
    """What happens does not follow from the inputs any more: some rows of a slice get an outcome of the other kind."""

    fault: Literal["concept"] = "concept"
    column: Column | None = None
    value: str | None = None
    """The slice is `column` = `value`; without it, all rows."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _names_a_slice_or_none(self) -> Self:
        if (self.column is None) != (self.value is None):
            raise ValueError("a slice needs both `column` and `value`; leave both out for all rows")
        return self


class LateLabels(Timed):
    """Labels of what happens in this time come so much later than they should."""

    fault: Literal["late_labels"] = "late_labels"
    hours: Annotated[float, Field(gt=0)] = 168


class BadCandidate(Timed):
    """A candidate is trained badly; the gate is to turn it away."""

    fault: Literal["bad_candidate"] = "bad_candidate"


class BadChallenger(Timed):
    """A bad candidate is let through an opened gate and approved; the rollout is to stop it."""

    fault: Literal["bad_challenger"] = "bad_challenger"


class Kill(Timed):
    """The gateway is killed (SIGKILL, all of it) under traffic, and started again."""

    fault: Literal["kill"] = "kill"


Fault = Annotated[
    Units | Nulls | Stale | Outage | Shift | Concept | LateLabels | BadCandidate | BadChallenger | Kill,
    Field(discriminator="fault"),
]
_ONE: TypeAdapter[Fault] = TypeAdapter(Fault)
_HOW = {"units": "factor", "nulls": "share", "shift": "by", "concept": "share", "late_labels": "hours"}
KINDS = (
    "units",
    "nulls",
    "stale",
    "outage",
    "shift",
    "concept",
    "late_labels",
    "bad_candidate",
    "bad_challenger",
    "kill",
)


class Faults(Frozen):
    """A file of faults."""

    faults: tuple[Fault, ...] = Field(min_length=1)


def read_faults(given: Sequence[str]) -> tuple[Fault, ...]:
    """The faults that these words, or the YAML files they name, ask for; in order of their beginning.

    Raises ConfigError.
    """
    found: list[Fault] = []
    for word in given:
        if word.endswith((".yaml", ".yml")):
            found += build(Faults, mapping(Path(word)), Path(word)).faults
        else:
            found.append(_read(word))
    return tuple(sorted(found, key=lambda fault: fault.start))


def _read(word: str) -> Fault:
    parts = _WORD.match(word)
    if parts is None:
        raise ConfigError(f"The fault `{word}` cannot be read; write it as {_FORM}.")
    kind, what, how = parts["kind"], parts["what"], parts["how"]
    if kind not in KINDS:
        raise ConfigError(f"The fault `{word}` is of an unknown kind; known kinds: {', '.join(KINDS)}.")
    told: dict[str, Any] = {"fault": kind, "start": parts["start"]}
    told |= {"end": parts["end"]} if parts["end"] else {}
    if kind == "concept" and what is not None:
        told["column"], told["value"] = what, how
    else:
        told |= {"column": what} if what is not None else {}
        told |= {_HOW.get(kind, "how"): how} if how is not None else {}
    try:
        return _ONE.validate_python(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"The fault `{word}`: {f'`{where}`: ' if where else ''}{said}. Write it as {_FORM}."
        ) from error
