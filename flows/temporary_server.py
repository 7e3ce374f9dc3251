"""`python -m flows.temporary_server SOCKET LIFELINE`: Prefect's server for one process; it ends when that does."""

import os
import socket
import sys
from pathlib import Path

from flows.empty_database import have_a_database
from serving.lifeline import end_with_parent


def main(listener: int, lifeline: int) -> None:
    """Serve the API on a socket that listens already, until the process at the other end of the lifeline is gone."""
    end_with_parent(lifeline)
    # Not above, for the lifeline comes first; nor left to uvicorn, which lets nothing end it while it imports.
    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415

    have_a_database(Path(os.environ["PREFECT_HOME"]))
    with socket.socket(fileno=listener) as listening:
        uvicorn.Server(uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")).run([listening])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
