"""How a case is served: fallbacks, limits, and what its prediction log keeps (`serving:` in configs/<case>.yaml)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Clock = Literal["wall", "event_time"]


class StandIn(Frozen):
    """An answer that needs no model; exactly one of its keys."""

    probability: Probability | None = None
    """Binary: of the positive label."""
    probabilities: dict[str, Probability] | None = None
    """Multiclass: of each class; they sum to 1."""
    prediction: float | None = None
    """Regression: the number."""

    @model_validator(mode="after")
    def _is_one_answer(self) -> Self:
        given = [key for key in ("probability", "probabilities", "prediction") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of probability, probabilities and prediction, not {given or 'none'}")
        if self.probabilities is not None and abs(sum(self.probabilities.values()) - 1) > 1e-9:
            raise ValueError(f"probabilities must sum to 1, these sum to {sum(self.probabilities.values()):g}")
        return self


class Rule(Frozen):
    """A stand-in for rows in which one feature has a value, or is at or above a number."""

    column: str
    equals: str | bool | float | None = None
    at_least: float | None = None
    answer: StandIn

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        if (self.equals is None) == (self.at_least is None):
            raise ValueError("give exactly one of equals and at_least")
        return self


class FallbackParams(Frozen):
    """Who answers when the model cannot: the former champion, then the first rule that fits, then the prior."""

    former_champion: bool = True
    rules: tuple[Rule, ...] = ()
    prior: StandIn | None = None
    min_confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Below this probability of its own prediction a model is not asked to decide; `null` trusts every answer."""


class PredictionLogParams(Frozen):
    """What the prediction log of a case keeps."""

    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the requests whose rows land in Parquet, by a hash of the request id; counts are always whole."""
    hashed: tuple[str, ...] = ()
    """Contract columns (or `entity`) kept only as a keyed hash."""
    dropped: tuple[str, ...] = ()
    """Contract columns (or `entity`) not kept at all."""
    retention_days: Annotated[int, Field(ge=1)] = 400


class ServingParams(Frozen):
    """How a case is served."""

    timeout_ms: Positive = 1000
    """How long a model may take before the fallback answers."""
    fallback: FallbackParams = FallbackParams()
    log: PredictionLogParams = PredictionLogParams()
    audit_share: Probability = 0.001
    """Share of the requests answered by a compiled plan that are scored again with the pipeline itself."""


class GatewayLog(Frozen):
    """How safe an answered prediction is, and where it lands."""

    durability: Literal["answer", "interval"] = "interval"
    """`answer`: on disk before the answer is sent. `interval`: written before the answer, on disk within `sync_ms`."""
    sync_ms: Positive = 100
    when_full: Literal["refuse", "answer"] = "refuse"
    """When the log cannot be written: refuse to answer (503), or answer unlogged and raise the alarm."""
    segment_mb: Positive = 64
    segment_seconds: Positive = 60
    """A segment is sealed, and then turned into Parquet, when it is this large or this old."""


class GatewayLimits(Frozen):
    """What one client may ask for."""

    body_mb: Positive = 16
    rows: Annotated[int, Field(ge=1)] = 10_000
    in_flight: Annotated[int, Field(ge=1)] = 1024
    """Requests a worker holds at once; more are told to come back (503)."""
    request_seconds: Positive = 10
    """How long a client may take to send a request."""
    requests_per_second: Positive | None = None
    """Per key (or per address where no key is asked for), at each worker: a client's connection stays with one of them,
    so that a share of the whole would refuse those who keep within it."""


class TlsParams(Frozen):
    """The certificate the gateway shows."""

    certificate: str
    key: str


class GatewayParams(Frozen):
    """The gateway of a place."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    default_case: str | None = None
    """The case of `/invocations`, which names none; `null` when only one case is described."""
    keys: str | None = None
    """File of hashed keys (`evergreen keys`); `null` asks for no key, and is refused for any host but loopback."""
    tls: TlsParams | None = None
    registry_poll_seconds: Positive = 0.5
    """How often an MLflow server is asked; a registry in SQLite is watched every few milliseconds."""
    drain_seconds: Positive = 20
    """How long requests that are under way may take to end when the gateway is stopped."""
    clock: Clock = "wall"
    """When an answer was given. `event_time`: at the newest event time among its rows, as if history happened again."""
    log: GatewayLog = GatewayLog()
    limits: GatewayLimits = GatewayLimits()
    price_per_hour: float | None = Field(None, ge=0)
    """Price of the machine, for the cost per 1,000 predictions; in any currency."""
