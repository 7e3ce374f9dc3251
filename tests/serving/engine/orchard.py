"""A small orchard: apples with every kind of column a contract knows, and a question that can be asked in many ways."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from configs.case import Case
from configs.params import CalendarParams, FeatureParams, TrainingParams
from serving.engine.compile import CompiledPlan, compile_plan
from serving.engine.frame import rows_of
from serving.engine.plan import Plan
from serving.records import Rows
from tasks.features.inputs import used_features
from tasks.records import Candidate
from tasks.training.pipeline import build_pipeline

PARTS = ("minute_of_day", "hour", "weekday", "day_of_month", "day_of_year", "month")
VARIETIES = ("Boskoop", "Elstar", "Gala", "Jonagold", "Topaz", "Ökoapfel")

_COLUMNS: dict[str, dict[str, Any]] = {
    "apple": {"type": "string", "role": "entity"},
    "at": {"type": "timestamp", "role": "event_time"},
    "picked": {"type": "timestamp", "role": "feature", "may_be_missing": 0.1},
    "variety": {"type": "string", "role": "feature", "categories": list(VARIETIES), "unseen": 0.1},
    "note": {"type": "string", "role": "feature"},
    "weight": {"type": "number", "role": "feature", "range": [0, 1000], "may_be_missing": 0.2},
    "grower": {"type": "string", "role": "feature", "may_be_missing": 0.2},
    "spots": {"type": "integer", "role": "feature", "range": [0, 50]},
    "bruised": {"type": "boolean", "role": "feature", "may_be_missing": 0.1},
    "acid": {"type": "number", "role": "feature", "may_be_missing": 1.0},
    "sugar": {"type": "number", "role": "feature"},
    "price": {"type": "number", "role": "target"},
}


def orchard_case(problem: str, *, without: tuple[str, ...] = ()) -> Case:
    """The case, without some of its features."""
    target = {"multiclass": {"type": "string", "role": "target"}}.get(problem, _COLUMNS["price"])
    columns = {name: column for name, column in (_COLUMNS | {"price": target}).items() if name not in without}
    return Case.model_validate(
        {
            "name": "orchard",
            "question": "What is it worth?",
            "problem": problem,
            "positive": {"at_least": 1.0} if problem == "binary" else None,
            "label_delay_hours": 0,
            "batch_every": "week",
            "source": {"kind": "file", "url": "nowhere", "format": "parquet"},
            "contract": {"version": 1, "columns": columns},
        }
    )


def apples(count: int, seed: int, growers: int = 30) -> pd.DataFrame:
    """Features of some apples; nobody measures acid, and one in ten values or so is missing where it may be."""
    draw = np.random.default_rng(seed)
    picked = np.datetime64("2023-08-01", "us") + draw.integers(0, 90 * 1440, count).astype("timedelta64[m]")
    weight = draw.gamma(20, 8, count).round(1)
    # Some growers are frequent, most are rare, and with few of them none is.
    grower = np.where(draw.random(count) < 0.5, draw.zipf(1.3, count), draw.integers(growers, size=count)) % growers
    return pd.DataFrame(
        {
            "picked": pd.Series(picked).mask(draw.random(count) < 0.1),
            "variety": draw.choice(VARIETIES, count, p=[0.3, 0.3, 0.2, 0.15, 0.045, 0.005]),
            "note": [f"note {number}" for number in range(count)],
            "weight": pd.Series(weight).mask(draw.random(count) < 0.2),
            "grower": pd.Series([f"grower {number}" for number in grower]).mask(draw.random(count) < 0.2),
            "spots": draw.poisson(3, count),
            "bruised": pd.Series(draw.random(count) < 0.3, dtype="object").mask(draw.random(count) < 0.1),
            "acid": np.full(count, np.nan),
            "sugar": draw.normal(12, 2, count),
        }
    )


def prices(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """What they sell for: above 0."""
    draw = np.random.default_rng(seed)
    liked = frame["variety"].map(dict(zip(VARIETIES, (0.2, 0.4, 0.1, 0.6, 0.9, 1.5), strict=True))).to_numpy()
    known = frame["grower"].fillna("grower 0").str.removeprefix("grower ").astype(int).to_numpy() % 7 / 10
    heavy = frame["weight"].fillna(100).to_numpy() / 300
    return np.exp((liked + known + heavy + frame["sugar"].to_numpy() / 10 + draw.normal(0, 0.3, len(frame))) / 2 - 1)


@dataclass(frozen=True)
class Ask:
    """One way to ask, and to learn the answer."""

    estimator: str
    problem: str
    settings: tuple[tuple[str, Any], ...] = ()
    classes: int = 0
    calibration: str = "none"
    without: tuple[str, ...] = ()
    growers: int = 30

    def __str__(self) -> str:
        said = [self.estimator, self.problem, *(str(value) for _, value in self.settings)]
        said += [f"{self.classes} classes"] * bool(self.classes) + [self.calibration] * (self.calibration != "none")
        return "-".join([*said, *(f"no {name}" for name in self.without)])


@dataclass(frozen=True)
class Fitted:
    """A model of the orchard, as training makes it."""

    case: Case
    model: Any
    candidate: Candidate
    rows: Rows
    """Apples it was not trained on."""

    @property
    def features(self) -> tuple[str, ...]:
        return self.case.contract.features

    def compiled(self) -> CompiledPlan:
        """Its plan. Fails where it is not recognised."""
        found = compile_plan(self.model, self.candidate, self.case.contract)
        assert isinstance(found, CompiledPlan), found
        return found

    def plan(self) -> Plan:
        return self.compiled().plan(self.features)


@cache
def fitted(ask: Ask) -> Fitted:
    """The model, fitted once for all tests."""
    case = orchard_case(ask.problem, without=ask.without)
    frame = apples(1400, 1, ask.growers)
    y = _labels(ask, prices(frame, 2))
    left_out = tuple(name for name in ("note",) if name in case.contract.features)
    features = FeatureParams(calendar=_calendar(case), leave_out=left_out)
    training = TrainingParams(estimator=ask.estimator, settings=dict(ask.settings))
    used = list(used_features(case, features))
    model: Any = build_pipeline(case, features, training, 3)
    if ask.calibration == "none":
        model.fit(frame[used], y)
    else:
        model.fit(frame.loc[:999, used], y[:1000])
        calibrated = CalibratedClassifierCV(FrozenEstimator(model), method=ask.calibration)
        model = calibrated.fit(frame.loc[1000:, used], y[1000:])
    return Fitted(case, model, _record(case, ask, used, model), rows_of(apples(1000, 4, ask.growers), case.contract))


def _calendar(case: Case) -> tuple[CalendarParams, ...]:
    return (CalendarParams(column="picked", parts=PARTS),) if "picked" in case.contract.features else ()


def _labels(ask: Ask, price: np.ndarray) -> np.ndarray:
    if ask.problem == "regression":
        return price
    if ask.problem == "binary":
        return (price >= 1.0).astype("int64")
    bounds = np.quantile(price, np.arange(1, ask.classes) / ask.classes)
    return np.array([f"class {number:02}" for number in np.digitize(price, bounds)])


def _record(case: Case, ask: Ask, used: list[str], model: Any) -> Candidate:
    return Candidate.model_validate(
        {
            "case": case.name,
            "contract_version": 1,
            "estimator": ask.estimator,
            "calibration": ask.calibration,
            "seed": 3,
            "features": used,
            "classes": () if ask.problem == "regression" else tuple(model.classes_.tolist()),
            "train_start": "2023-08-01T00:00:00Z",
            "train_end": "2023-11-01T00:00:00Z",
            "batches": (),
        }
    )
