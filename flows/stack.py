"""`evergreen up`: Prefect's server and worker, MLflow's UI and the gateway, started and stopped together."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import EvergreenError
from configs.project import Project
from flows.empty_database import copy_empty_database
from flows.server import Stack, healthy, running_stack, stack_file
from tasks.adapters.registry import Registry
from tasks.errors import StoreUnreachable
from tasks.files import write_text

log = logging.getLogger(__name__)

_START_SECONDS = 180
_STOP_SECONDS = 15


@contextmanager
def running(project: Project) -> Iterator[Stack]:
    """Start everything, yield its addresses, and stop it all on the way out, however that is."""
    if running_stack(project):
        raise EvergreenError(f"It is up already ({stack_file(project)}). Stop it there with Ctrl-C first.")
    ports, gateway_port = project.place.ports, project.place.gateway.port
    stack = Stack(
        pid=os.getpid(),
        prefect_api=f"http://127.0.0.1:{ports.prefect}/api",
        prefect_ui=f"http://127.0.0.1:{ports.prefect}",
        mlflow_ui=f"http://127.0.0.1:{ports.mlflow}",
        gateway=f"http://127.0.0.1:{gateway_port}",
    )
    processes: list[subprocess.Popen[bytes]] = []
    logs = project.stores / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for port in (ports.prefect, ports.mlflow, gateway_port):
        _must_be_free(port)
    try:
        registry = Registry(project)  # makes the database's tables before two programs open it at once
        copy_empty_database(Path(os.environ["PREFECT_HOME"]))
        processes.append(_start("prefect-server", _server(ports.prefect), logs, {}))
        # An address may hold a password: in the environment it is not shown by `ps`.
        mlflow = {**_MLFLOW_ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": registry.uri}
        processes.append(_start("mlflow", _mlflow(project, ports.mlflow), logs, mlflow))
        _await(processes[0], lambda: healthy(stack.prefect_api), "prefect-server", logs)
        os.environ["PREFECT_API_URL"] = stack.prefect_api
        deploy(project)
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", project.place.prefect.work_pool]
        processes.append(_start("prefect-worker", worker, logs, _WORKER_ENVIRONMENT))
        processes.append(_start("gateway", [sys.executable, "-m", "serving", "--host", "127.0.0.1"], logs, {}))
        _await(processes[1], lambda: healthy(stack.mlflow_ui), "mlflow", logs)
        _await(processes[-1], lambda: healthy(stack.gateway, "/v2/health/live"), "gateway", logs)
        write_text(stack_file(project), stack.model_dump_json())
        yield stack
    finally:
        stack_file(project).unlink(missing_ok=True)
        _stop(processes)


_MLFLOW_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
_WORKER_ENVIRONMENT = {
    # A run should start when it is asked for, not at the next of Prefect's ten-second looks.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    # What the stages say belongs on the run's page.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
}


def _server(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def _mlflow(project: Project, port: int) -> list[str]:
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    artifacts = project.place.stores.artifacts
    root = ["--default-artifact-root", (project.root / artifacts).as_uri()] if artifacts else []
    return [*server, "--port", str(port), "--workers", "1", *root]


def deploy(project: Project) -> None:
    """Create the work pool, the deployments of prefect.yaml and the watch over dead runs; again is harmless.

    Whether a second training run waits or is refused is the place's `when_busy`, here as without a server.
    """
    _prefect(project, "work-pool", "create", project.place.prefect.work_pool, "--type", "process", "--overwrite")
    _prefect(project, "--no-prompt", "deploy", "--all")
    # Prefect reads the server's address when it is imported, so not before now.
    from flows.automations import refuse_second_runs, watch_for_dead_runs  # noqa: PLC0415

    asyncio.run(watch_for_dead_runs())
    if project.place.when_busy == "refuse":
        asyncio.run(refuse_second_runs())


def _prefect(project: Project, *arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    ended = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()[-800:]
        raise StoreUnreachable(
            "The Prefect server", f"prefect {arguments[0]}", said, "Check prefect.yaml and the server."
        )


def _must_be_free(port: int) -> None:
    """Whatever answers at a taken port is not ours, and must not be given our deployments."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EvergreenError(
                f"Port {port} of this machine is taken ({error.strerror}). Stop what uses it (another clone's "
                "`evergreen up`?), or choose other `ports` in configs/places/."
            ) from error


def _start(name: str, command: list[str], logs: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    log.info("starting %s", name)
    with (logs / f"{name}.log").open("ab") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            # Ctrl-C must reach us alone: we stop the others in order.
            start_new_session=True,
        )


def _await(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], name: str, logs: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = (logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise StoreUnreachable(name, "this machine", " / ".join(tail), f"See {logs / name}.log; is its port taken?")
        time.sleep(0.3)


def _stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """The worker first, so that it can tell the server; then the rest. What does not stop in time is killed."""
    for process in reversed(processes):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
