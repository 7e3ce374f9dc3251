"""A worker stays small: reading and wording requests imports nothing heavy."""

import subprocess
import sys

HEAVY = ("pandas", "sklearn", "scipy", "pyarrow", "mlflow", "prefect", "sqlalchemy", "fsspec", "sqlite3", "skops")


def test_the_protocols_import_nothing_heavy() -> None:
    code = (
        "import sys, serving.contract\n"
        "from serving.protocols import mlflow, oip, openapi, plain\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"
