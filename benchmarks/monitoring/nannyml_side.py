"""Run in NannyML's own environment by `estimated.py`: its two data sets and what its CBPE estimates, as Parquet files.

`python nannyml_side.py FOLDER` writes, for each data set, reference, analysis, truth and estimates, and the CPU seconds
that fitting and estimating took.
"""

import json
import sys
import time
from pathlib import Path

import nannyml as nml
import pandas as pd

CHUNK = 5000
METRICS = ["roc_auc", "f1", "accuracy"]
SETS = {
    "car loan": (nml.load_synthetic_car_loan_dataset, "repaid"),
    "census": (nml.load_us_census_ma_employment_data, "employed"),
}


def main(folder: Path) -> None:
    seconds = {}
    for name, (load, target) in SETS.items():
        reference, analysis, truth = load()
        place = folder / name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        estimator = nml.CBPE(
            problem_type="classification_binary",
            y_pred_proba="y_pred_proba" if "y_pred_proba" in reference else "predicted_probability",
            y_pred="y_pred" if "y_pred" in reference else "prediction",
            y_true=target,
            metrics=METRICS,
            chunk_size=CHUNK,
        )
        found = estimator.fit(reference).estimate(analysis)
        seconds[name] = time.process_time() - began
        table = found.filter(period="analysis").to_df()
        table.columns = ["|".join(map(str, column)) for column in table.columns]
        for which, frame in (("reference", reference), ("analysis", analysis), ("truth", truth), ("cbpe", table)):
            _plain(frame).to_parquet(place / f"{which}.parquet")
    (folder / "seconds.json").write_text(json.dumps(seconds))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories and mixed objects as text."""
    odd = [name for name in frame if frame[name].dtype == object or isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.reset_index(drop=True).astype(dict.fromkeys(odd, "str"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
