"""write: the status page, from the stores into one file."""

import logging
from datetime import datetime
from pathlib import Path

from configs.project import Project
from tasks.files import write_text
from tasks.status.gather import gather
from tasks.status.page import draw
from tasks.status.story import Addresses

log = logging.getLogger(__name__)


def write_page(project: Project, addresses: Addresses, at: datetime, output: Path | None = None) -> Path:
    """Write the page to `output`, or to where the gateway shows it; returns the file. Raises DiskFull.

    A store that cannot be read is named on the page, and stops nothing.
    """
    path = output or project.status_page
    write_text(path, draw(gather(project, addresses, at, path)))
    log.info("status page: %s", path)
    return path
