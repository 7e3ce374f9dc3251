# ruff: noqa: SLF001 - what a fitted pipeline has learnt is private to it; the proof against the pipeline is the guard
"""From a fitted pipeline to a plan: what tasks/training/pipeline.py builds is recognised, anything else left alone."""

import io
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from configs.case import ColumnType, Contract
from serving.engine.encoders import one_hot_inputs, ordinal_inputs
from serving.engine.errors import NotRecognised
from serving.engine.estimators import Read, read_boosting, read_forest, read_linear
from serving.engine.frame import frame_of
from serving.engine.kernel import MOST_COLUMNS
from serving.engine.plan import Plan
from serving.engine.scoring import Array
from serving.engine.structure import ARRAYS_FILE, STRUCTURE_FILE, Calibrator, Input, Isotonic, Link, Sigmoid, Structure
from serving.records import Rows
from tasks.features.categories import CategoryCodes
from tasks.features.inputs import ContractInputs
from tasks.files import sha256, write_whole
from tasks.records import Candidate

_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_FORESTS = (RandomForestClassifier, RandomForestRegressor)
_LINEAR = (LogisticRegression, Ridge)


@dataclass(frozen=True)
class Unrecognised:
    """No plan is made of a pipeline, because …"""

    reason: str


@dataclass(frozen=True)
class CompiledPlan:
    """A plan that nobody has proven yet."""

    structure: Structure
    arrays: dict[str, Array]

    def plan(self, features: Sequence[str]) -> Plan:
        """The plan, ready to score. Raises PlanCorrupt or KernelMissing."""
        return Plan(self.structure, self.arrays, features)

    def write(self, folder: Path) -> str:
        """Write the plan's two files; returns the digest `Plan.load` asks for."""
        content = io.BytesIO()
        np.savez(content, **self.arrays)  # type: ignore[arg-type] # numpy's stub takes the names for its own
        write_whole(folder / ARRAYS_FILE, lambda part: part.write_bytes(content.getvalue()))
        structure = self.structure.model_copy(update={"arrays_sha256": sha256(folder / ARRAYS_FILE)})
        structure.write(folder / STRUCTURE_FILE)
        return sha256(folder / STRUCTURE_FILE)


def compile_plan(model: Any, candidate: Candidate, contract: Contract) -> CompiledPlan | Unrecognised:
    """The plan of a fitted model, still to be proven, or why there is none."""
    try:
        pipeline, calibrators = _uncalibrated(model)
        inputs, read = _read(pipeline, candidate, contract)
        if calibrators:
            read = _calibrated(read, calibrators)
    except NotRecognised as reason:
        return Unrecognised(str(reason))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Another scikit-learn than the one this was written for keeps what it has learnt elsewhere.
        return Unrecognised(f"it looks otherwise inside than expected ({type(error).__name__}: {error})")
    structure = Structure(
        classes=candidate.classes,
        inputs=tuple(inputs),
        method=read.method,
        outputs=read.outputs,
        link=read.link,
        finish=read.finish,
        by=read.by,
        calibrators=() if read.link.calibrated else tuple(calibrators),
        made_with=f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"{platform.machine()}",
    )
    return CompiledPlan(structure, read.arrays)


def _uncalibrated(model: Any) -> tuple[Pipeline, list[Calibrator]]:
    """The pipeline, and the calibrations of its scores, as tasks/training/train.py puts them around it."""
    if type(model) is not CalibratedClassifierCV:
        return model, []
    if len(model.calibrated_classifiers_) != 1 or model.method not in ("sigmoid", "isotonic"):
        raise NotRecognised(f"it is the mean of several calibrations, or of the kind {model.method}")
    (calibrated,) = model.calibrated_classifiers_
    if type(calibrated.estimator) is not FrozenEstimator or not np.array_equal(calibrated.classes, model.classes_):
        raise NotRecognised("its calibration is not that of a frozen pipeline")
    return calibrated.estimator.estimator, [_calibrator(one) for one in calibrated.calibrators]


def _calibrator(calibrator: Any) -> Calibrator:
    if type(calibrator) is _SigmoidCalibration:
        return Sigmoid(slope=float(calibrator.a_), offset=float(calibrator.b_))
    if type(calibrator) is not IsotonicRegression or calibrator.out_of_bounds != "clip":
        raise NotRecognised(f"its calibration is a {type(calibrator).__name__}")
    x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
    if x.dtype != np.float64 or y.dtype != np.float64 or (x[0], x[-1]) != (calibrator.X_min_, calibrator.X_max_):
        raise NotRecognised("its calibration is not between 64-bit numbers")
    return Isotonic(x=tuple(x.tolist()), y=tuple(y.tolist()))


def _read(pipeline: Any, candidate: Candidate, contract: Contract) -> tuple[list[Input], Read]:
    steps, encode, model = _steps(pipeline)
    taken = {*steps.strings, *steps.numbers, *steps.calendar}
    if taken != set(candidate.features) or not taken <= set(contract.features):
        raise NotRecognised("it takes other features than its record or the contract says")
    kinds = {ColumnType.string: steps.strings, ColumnType.timestamp: [*steps.calendar]}
    if any(name not in kinds.get(contract.columns[name].type, steps.numbers) for name in taken):
        raise NotRecognised("it takes a feature as another type than the contract says")
    if tuple(getattr(model, "classes_", ())) != candidate.classes:
        raise NotRecognised("its classes are not those of its record")
    if len(steps.get_feature_names_out()) != len(set(steps.get_feature_names_out())) or not taken:
        raise NotRecognised("two of its inputs have one name, or it has none")
    if len(steps.get_feature_names_out()) > MOST_COLUMNS:
        raise NotRecognised(f"it has more than {MOST_COLUMNS} inputs")
    if type(model) in _LINEAR:
        inputs = one_hot_inputs(steps, encode, contract)
        return inputs, read_linear(model, encode, inputs, by_column=_by_column(pipeline, contract))
    if type(model) in _FORESTS:
        inputs = ordinal_inputs(steps, encode, contract, lambda frame: np.asarray(pipeline[:-1].transform(frame)))
        return inputs, read_forest(model, classes=len(candidate.classes))
    inputs = ordinal_inputs(
        steps, encode, contract, lambda frame: model._preprocess_X(pipeline[:-1].transform(frame), reset=False)
    )
    return inputs, read_boosting(model, inputs)


def _steps(pipeline: Any) -> tuple[ContractInputs, Any, Any]:
    kinds = [type(step) for _, step in pipeline.steps] if type(pipeline) is Pipeline else [type(pipeline)]
    trees, linear = (*_BOOSTING, *_FORESTS), _LINEAR
    known = kinds[:-1] == [ContractInputs, ColumnTransformer] and kinds[-1] in (*trees, *linear)
    if not known and not (kinds[:-1] == [ContractInputs, CategoryCodes] and kinds[-1] in trees):
        raise NotRecognised(f"it is made of {', '.join(kind.__name__ for kind in kinds)}")
    steps, encode, model = (step for _, step in pipeline.steps)
    return steps, encode, model


def _by_column(pipeline: Pipeline, contract: Contract) -> bool:
    """Whether the estimator is given a dense matrix that lies column by column in memory."""
    rows = Rows(3, [[None] * 3 for _ in contract.features], [None] * 3, [None] * 3)
    found = pipeline[:-1].transform(frame_of(rows, contract))
    return isinstance(found, np.ndarray | pd.DataFrame) and not np.asarray(found).flags.c_contiguous


def _calibrated(read: Read, calibrators: Sequence[Calibrator]) -> Read:
    """Scores before their own link go into a calibration; one sigmoid is then a link itself."""
    if len(calibrators) != read.outputs:
        raise NotRecognised(f"it has {len(calibrators)} calibrations for {read.outputs} scores")
    link = Link(divide=read.link.divide)
    if len(calibrators) == 1 and isinstance(calibrators[0], Sigmoid):
        one = calibrators[0]
        link = link.model_copy(update={"slope": one.slope, "offset": one.offset, "calibrated": True, "logistic": True})
    return replace(read, link=link, finish="none")
