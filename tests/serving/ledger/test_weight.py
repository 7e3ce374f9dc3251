"""What a worker imports to write the log is light: a worker has 80 MB and a second."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = {"fsspec", "mlflow", "pandas", "prefect", "pyarrow", "scipy", "sklearn", "sqlalchemy"}
WORKER = """
import sys
import serving.ledger.entry, serving.ledger.header, serving.ledger.ledger, serving.ledger.places, serving.ledger.status
print(" ".join(sys.modules))
"""


def test_writing_the_log_imports_nothing_heavy() -> None:
    ended = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(ended.stdout.split())
