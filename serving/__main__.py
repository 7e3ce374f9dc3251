"""`python -m serving`: the gateway of the place this project runs at."""

import argparse
import sys

from configs.environment import apply
from configs.errors import EvergreenError
from configs.project import Project
from serving.logs import log_as
from serving.supervisor import serve


def main() -> None:
    """Read the place, take what the command line changes of it, and serve."""
    parser = argparse.ArgumentParser(prog="python -m serving")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--lifeline", type=int, help="descriptor of a pipe that closes when the parent ends")
    given = parser.parse_args()
    log_as("gateway")
    try:
        project = Project.here()
        apply(project)
        changes = {name: value for name in ("host", "port", "workers") if (value := getattr(given, name)) is not None}
        params = type(project.place.gateway).model_validate(project.place.gateway.model_dump() | changes)
        serve(project, params, given.lifeline)
    except EvergreenError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
