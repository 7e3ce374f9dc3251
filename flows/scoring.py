"""The scoring flow: a file, a folder or a query is scored by the champion, into a file and the prediction log."""

import os
from pathlib import Path

from prefect import flow, runtime, task

from configs.errors import ConfigError
from configs.project import Project
from serving.scoring import Query, Scored, score


@flow(name="scoring", flow_run_name="score {case}")
def scoring(case: str, source: str, output: str | None = None, url_from: str | None = None) -> Scored:
    """Score `source` (a path or URL; with `url_from`, a query on the database that this variable names)."""
    return score_source(case, source, output, url_from)


@task(task_run_name="score {case}")
def score_source(case: str, source: str, output: str | None, url_from: str | None) -> Scored:
    """Read, score and log in pieces; write the output whole."""
    project = Project.here()
    run_id = str(runtime.flow_run.id)
    path = Path(output) if output else project.files(case).folder / "scored" / f"{run_id}.parquet"
    return score(project, case, _source(source, url_from), path, run_id)


def _source(source: str, url_from: str | None) -> str | Query:
    if url_from is None:
        return source
    url = os.environ.get(url_from)
    if not url:
        raise ConfigError(f"The environment variable {url_from} should hold the database's URL, and is not set.")
    return Query(url, source)
