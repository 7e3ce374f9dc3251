"""Whether KServe's own client, unmodified, gets the model's answers from the gateway.

    uv run python -m benchmarks.serving.kserve_client [--requests 200]

Mlflow's and NVIDIA's clients are in the test suite; KServe's wants another pandas than the project, so it runs in an
environment of its own. Ends with 1 if an answer differs from the model's by a bit.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.serving import bodies
from benchmarks.serving.adapters.model import Model
from benchmarks.serving.instruments import CACHE, ROOT, end_cleanly, quiet_environment
from benchmarks.serving.ours import CASE, prepare, start_gateway
from benchmarks.serving.peers import install_packages
from configs.project import Project

PACKAGES = ("kserve==0.21.0",)


def main() -> None:
    end_cleanly()
    asked = _arguments()
    prepared = prepare(asked.cache)
    with prepared.clone("asked") as project, start_gateway(project) as server:
        rows = bodies.real_rows(project, CASE)[: asked.requests]
        told = _answers(asked.cache, server.url, project, rows)
        features = bodies.features_only(project.case(CASE).contract, rows)
    expected = Model(prepared.model("1")).probabilities(features)
    wrong = {form: sum(one != [p] for one, p in zip(said, expected, strict=True)) for form, said in told.items()}
    for form, count in wrong.items():
        print(f"{PACKAGES[0]}, {form}: {len(rows)} requests, {count} answers differ")
    sys.exit(1 if any(wrong.values()) else 0)


def _answers(cache: Path, url: str, project: Project, rows: list[bodies.Row]) -> dict[str, list[list[float]]]:
    """The probabilities that the client read, by form."""
    contract = project.case(CASE).contract
    tensors = [json.loads(bodies.v2(contract, [row])[1])["inputs"] for row in rows]
    ended = subprocess.run(
        [install_packages("kserve", PACKAGES, cache) / "python", "-m", f"{_ADAPTERS}.kserve_asks", url, CASE],
        input=json.dumps(tensors),
        env=quiet_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if ended.returncode:
        raise RuntimeError(f"the client failed:\n{ended.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return {form: [answer["probability"] for answer in answers] for form, answers in told.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--cache", type=Path, default=CACHE)
    return parser.parse_args()


_ADAPTERS = "benchmarks.serving.adapters"

if __name__ == "__main__":
    main()
