"""Run in NannyML's own environment by `peers.py`: what its calculators alarm about by their defaults.

`python nannyml_side.py FOLDER` reads reference.parquet and analysis.parquet, and writes alarms.json: for each way to
watch and each chunk, the columns, measures and metrics that alarmed at its end.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nannyml as nml
import pandas as pd

LABELS_AFTER = pd.Timedelta(days=1)
NO_TIME = pd.Timedelta(0)
PERIODS = {"day": ("D", pd.Timedelta(days=1)), "week": ("W", pd.Timedelta(days=7))}
OWN = ("when", "label", "score")


def main(folder: Path) -> None:
    reference, analysis = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "analysis"))
    reference = reference[reference["label"].notna()]
    found: dict[str, dict[str, list[str]]] = {}
    for name, (period, length) in PERIODS.items():
        for what, calculators in ways(list(reference), reference, period).items():
            alarms = found.setdefault(f"NannyML, {what}, a {name}", {})
            realised = what == "realised AUC"
            rows, later = (analysis[analysis["label"].notna()], LABELS_AFTER) if realised else (analysis, NO_TIME)
            for calculator in calculators:
                calculator.fit(reference)
                run = getattr(calculator, "calculate", None) or calculator.estimate
                for end, names in alerts(run(rows), length):
                    alarms.setdefault((end + later).isoformat(), []).extend(names)
    (folder / "alarms.json").write_text(json.dumps(found))


def ways(columns: list[str], reference: pd.DataFrame, period: str) -> dict[str, list[Any]]:
    """The calculators of each way to watch."""
    chunks = {"timestamp_column_name": "when", "chunk_period": period}
    inputs = [name for name in columns if name not in OWN]
    texts = [name for name in inputs if not pd.api.types.is_numeric_dtype(reference[name])]
    model = {
        "y_true": "label",
        "y_pred_proba": "score",
        "problem_type": "classification_binary",
        "metrics": ["roc_auc"],
    }
    return {
        "columns": [nml.UnivariateDriftCalculator(column_names=[*inputs, "score"], **chunks)],
        "all columns together": [nml.DataReconstructionDriftCalculator(column_names=inputs, **chunks)],
        "data quality": [
            nml.MissingValuesCalculator(column_names=inputs, **chunks),
            nml.UnseenValuesCalculator(column_names=texts, **chunks),
            nml.SummaryStatsRowCountCalculator(**chunks),
        ],
        "CBPE": [nml.CBPE(**model, **chunks)],
        "realised AUC": [nml.PerformanceCalculator(**model, **chunks)],
    }


def alerts(result: Any, length: pd.Timedelta) -> Iterator[tuple[pd.Timestamp, list[str]]]:
    """The end of each chunk of the analysis, and what alarmed in it."""
    table = result.filter(period="analysis").to_df()
    start = next(column for column in table.columns if column[-1] == "start_date")
    flags = [column for column in table.columns if column[-1] == "alert"]
    for _, row in table.iterrows():
        end = row[start].floor("D").tz_localize("UTC") + length
        yield end, [" ".join(map(str, column[:-1])) for column in flags if bool(row[column])]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
