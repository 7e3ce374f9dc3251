"""The year again, and faults planted in it: how long it takes, and how soon each fault is noticed.

`python -m benchmarks.replay year [--from DATE --to DATE]`: flights of 2013 through a gateway over HTTP: wall time,
requests and rows a second, where the time went, and what share of it this project's own code took.

`python -m benchmarks.replay faults [--only KIND ...] [--peers]`: a week of flights, and then, from there on, five days
without faults and as many with each fault. `--peers` shows the same rows to Evidently and to NannyML, which gets an
environment of its own outside the project.

Sandboxes and what came out are kept in data/replays/benchmark-*; a run that was stopped goes on with the same words.
"""

import argparse
from datetime import UTC, datetime

from benchmarks.replay.faults import detection
from benchmarks.replay.plans import FAULTS
from benchmarks.replay.year import year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(dest="which", required=True)
    year_of = which.add_parser("year")
    year_of.add_argument("--from", dest="start", type=_day, default=_day("2013-04-01"))
    year_of.add_argument("--to", dest="end", type=_day, default=_day("2013-12-30"))
    year_of.add_argument("--in-process", action="store_true")
    faults_of = which.add_parser("faults")
    faults_of.add_argument(
        "--only", nargs="*", choices=FAULTS, default=[*FAULTS], help="kinds of faults; all if left out"
    )
    faults_of.add_argument("--peers", action="store_true", help="Evidently and NannyML beside it")
    given = parser.parse_args()
    if given.which == "year":
        year(given.start, given.end, in_process=given.in_process)
    else:
        detection(given.only, peers=given.peers)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
