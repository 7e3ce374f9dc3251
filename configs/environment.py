"""The environment every process of Evergreen runs in: no telemetry, one thread a process, quick to fail."""

import os

from configs.project import Project

ALWAYS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Kept results are data, never pickles that run code when they are read.
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    # A dead MLflow server is said to be dead after seconds; by default the client tries for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Two threads of one boosting fit on two shared cores wait for each other more than they work; same bits either way.
    "OMP_NUM_THREADS": "1",
    # A worker that is killed together with its flow leaves a run that only heartbeats show to be dead.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}


def apply(project: Project) -> None:
    """Set what is not set already. Prefect and MLflow read it when they are imported, so this comes first."""
    place = project.place
    wanted = {**ALWAYS, "EVERGREEN_ROOT": str(project.root), "EVERGREEN_PLACE": project.place_name}
    home = project.root / place.stores.prefect_home
    home.mkdir(parents=True, exist_ok=True)
    wanted["PREFECT_HOME"] = str(home)
    if place.prefect.api_url:
        wanted["PREFECT_API_URL"] = place.prefect.api_url
    else:
        # A server the person uses elsewhere is not this place's.
        os.environ.pop("PREFECT_API_URL", None)
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
