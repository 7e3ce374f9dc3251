"""What orchestration costs: the training flow against a plain script that does the same work.

    python benchmarks/orchestration.py [--rounds 3]

Both start from the same state, a clone with the previous champion and no deliveries, and end with a registered
challenger.
The plain script calls the same stage functions in one process: no Prefect, no DVC, no process per stage. Each flow is
compared with plain scripts run between its own rounds, so that what else the machine does falls on both.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PLAIN = """
from datetime import UTC, datetime
from pathlib import Path
from configs.environment import apply
from configs.project import Project
project = Project.here()
apply(project)
from tasks.adapters.registry import Registry
from tasks.evaluation.evaluate import evaluate
from tasks.features.artifact import load_model
from tasks.features.example import read_example
from tasks.ingestion.ingest import ingest
from tasks.promotion.order import place_order
from tasks.training.train import train
from tasks.validation.validate import validate
case = "flights"
place_order(project, case, project.case(case).source.as_of)
ingest(project, case)
validate(project, case)
candidate = train(project, case)
evaluation = evaluate(project, case)
files, registry = project.files(case), Registry(project)
run = registry.start_run(case, "plain", {})
registry.log(run, {"estimator": candidate.estimator}, {k: v.value for k, v in evaluation.metrics.items()}, {})
example, answers = read_example(files.model)
model = load_model(files.model / "model.skops", candidate.model_sha256)
logged = registry.log_model(run, model, example, answers, "0" * 32)
registry.log_files(run, [files.evaluation, files.windows, files.order])
registry.end_run(run)
version = registry.register(case, logged, "plain", {"model_sha256": logged.model_sha256})
registry.move_alias(case, "challenger", version.version)
"""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    rounds = asked.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        clone = prepare(Path(folder) / "clone")
        train = [sys.executable, "-m", "flows.cli", "train", "flights"]
        alone: dict[str, list[float]] = {"plain script": [], "flow, embedded": []}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}, without a server")
            alone["plain script"].append(timed(clone, [sys.executable, "-c", PLAIN]))
            alone["flow, embedded"].append(timed(clone, train))
        beside: dict[str, list[float]] = {"plain script, a server beside it": [], "flow, on a server": []}
        with server(clone):
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}, with a server")
                beside["plain script, a server beside it"].append(timed(clone, [sys.executable, "-c", PLAIN]))
                timed(clone, train)
                beside["flow, on a server"].append(last_run_seconds(clone))
    print(f"\n| | median s of {rounds} | all | ratio | smallest to smallest |\n|---|---|---|---|---|")
    for table in (alone, beside):
        plain = next(iter(table.values()))
        for name, values in table.items():
            all_of_them = ", ".join(f"{value:.1f}" for value in values)
            median = statistics.median(values)
            ratios = f"{median / statistics.median(plain):.2f} | {min(values) / min(plain):.2f}"
            print(f"| {name} | {median:.1f} | {all_of_them} | {ratios} |")


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def prepare(clone: Path) -> Path:
    """A clone of the committed project in which the first model is champion."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    place = clone / "configs" / "places" / "local.yaml"
    content = yaml.safe_load(place.read_text())
    content["ports"] = {"prefect": 4261, "mlflow": 5061}
    content["gateway"] = {**content["gateway"], "port": 8161, "workers": 1}
    place.write_text(yaml.safe_dump(content))
    # What is due at this hour must not run beside what is measured.
    deployments = yaml.safe_load((clone / "prefect.yaml").read_text())
    for deployment in deployments["deployments"]:
        deployment.pop("schedules", None)
    (clone / "prefect.yaml").write_text(yaml.safe_dump(deployments))
    first = ["train", "flights", "--as-of", "2013-06-24T02:00"]
    subprocess.run(
        [sys.executable, "-m", "flows.cli", *first], cwd=clone, env=env(clone), check=True, capture_output=True
    )
    shutil.copytree(clone / "data", clone.parent / "data-before")
    return clone


def reset(clone: Path) -> None:
    """Back to the state with one champion, keeping a running server's own files."""
    for name in ("mlflow.db", "history.db"):
        shutil.copy(clone.parent / "data-before" / "stores" / name, clone / "data" / "stores" / name)
    shutil.rmtree(clone / "data" / "flights")
    (clone / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(clone / ".dvc" / "cache", ignore_errors=True)
    shutil.rmtree(clone / "data" / "stores" / "dvc-remote", ignore_errors=True)


def timed(clone: Path, command: list[str]) -> float:
    reset(clone)
    started = time.perf_counter()
    subprocess.run(command, cwd=clone, env=env(clone), check=True, capture_output=True)
    return time.perf_counter() - started


def env(clone: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "EVERGREEN_ROOT": str(clone), "PYTHONPATH": str(clone)}


class server:  # noqa: N801 - read as a verb: `with server(clone)`
    def __init__(self, clone: Path) -> None:
        self.clone = clone

    def __enter__(self) -> None:
        command = [sys.executable, "-m", "flows.cli", "up"]
        self.process = subprocess.Popen(command, cwd=self.clone, env=env(self.clone), stdout=subprocess.DEVNULL)
        while not (self.clone / "data" / "stores" / "up.json").is_file():
            time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def last_run_seconds(clone: Path) -> float:
    """From when the worker took the run to when it asked a person, as Prefect recorded it: with the process's start."""
    api = json.loads((clone / "data" / "stores" / "up.json").read_text())["prefect_api"]
    body = json.dumps({"sort": "EXPECTED_START_TIME_DESC", "flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}})
    request = urllib.request.Request(f"{api}/flow_runs/filter", body.encode(), {"Content-Type": "application/json"})
    run = json.loads(urllib.request.urlopen(request, timeout=60).read())[0]
    states = json.loads(urllib.request.urlopen(f"{api}/flow_run_states/?flow_run_id={run['id']}", timeout=60).read())
    moments = {state["name"]: datetime.fromisoformat(state["timestamp"]) for state in states}
    return (moments["Suspended"] - moments["Pending" if "Pending" in moments else "Submitting"]).total_seconds()


if __name__ == "__main__":
    main()
