"""The scan of a window: do requests still come in, do they keep the contract, do they look like the reference."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.profiles import Parallel, Profiles
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError
from tasks.monitoring.answers import Answers
from tasks.monitoring.errors import ContractDiffers, ProfileError, ReferenceMissing
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import ASKED_THE_CHAMPION, Hour, Sample, plain_rows, together
from tasks.monitoring.inputs import Side
from tasks.monitoring.profile import WHEN
from tasks.monitoring.reference import Reference, read_reference
from tasks.monitoring.season import reference_stretches
from tasks.monitoring.window import Window
from tasks.verdicts import Answer, Findings, Monitor, Verdict

log = logging.getLogger(__name__)


def scan(project: Project, case_name: str, as_of: datetime, answers: Answers, *, parallel: Parallel = map) -> Findings:
    """Verdicts on freshness, contract and inputs of the window that ends at `as_of`, with the figures to draw.

    `parallel` maps a picklable function over the days that were not counted yet. Without a reference that fits, what
    needs one is `unknown`. Raises what the log, the registry, the journal and the store of profiles raise.
    """
    case, params = project.case(case_name), project.params(case_name)
    champion = Registry(project).holder(case_name, "champion")
    window = Window.of(case, params.monitoring, params.seed, champion.version if champion else None, as_of)
    if champion is None:
        return window.without_reference(_rows_alone(answers, window), Answer.waiting, "the case has no champion yet")
    earlier = Journal(project).verdicts(
        case_name, as_of, Monitor.inputs, params.monitoring.inputs.persistence[1], champion.version
    )
    try:
        reference = read_reference(project, case_name, champion.version)
        if reference.grid.contract_version != case.contract.version:
            raise ContractDiffers("The champion's reference", reference.grid.contract_version, case.contract.version)
        found = _compare(window, reference, Profiles(project, case_name, reference.grid), answers, parallel, earlier)
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        return window.without_reference(_rows_alone(answers, window), Answer.unknown, str(error))
    for verdict in found.verdicts:
        log.info("scan %s: %s %s: %s", case_name, verdict.monitor, verdict.answer, verdict.text)
    return found


def _compare(  # noqa: PLR0913, PLR0917
    window: Window,
    reference: Reference,
    profiles: Profiles,
    answers: Answers,
    parallel: Parallel,
    earlier: Sequence[Verdict],
) -> Findings:
    """Count what was not counted yet, and hold it against the reference."""
    as_of, grid = window.end, reference.grid
    stretches = reference_stretches(window.params.reference, window.start, window.end)
    rows = profiles.rows(answers, window.history, window.start, as_of, parallel)
    current = profiles.hours(answers, window.start, window.end, as_of, parallel)
    rows |= {begin: hour.rows for begin, hour in current.items()}
    against = _accepted(reference)
    if stretches:
        before: dict[datetime, Hour] = {}
        for start, end in stretches:
            before |= profiles.hours(answers, start, end, as_of, parallel)
        against = _side(before, grid, window)
    return window.findings(grid, against, _side(current, grid, window), current, rows, earlier)


def _side(hours: Mapping[datetime, Hour], grid: Grid, window: Window) -> Side:
    drawn = Sample.together([hour.sample for hour in hours.values()], grid).at_most(window.params.inputs.sample_rows)
    return Side(together(hours.values(), grid, window.version), drawn.rows.to_pandas())


def _accepted(reference: Reference) -> Side:
    rows = pa.RecordBatch.from_pandas(reference.sample, preserve_index=False)
    return Side(reference.profile, plain_rows(rows, reference.grid).to_pandas())


def _rows_alone(answers: Answers, window: Window) -> dict[datetime, int]:
    """Rows by the hour, where there is no grid to count them on."""
    found: dict[datetime, int] = {}
    for batch in answers.batches(window.history, window.end, [WHEN, "role"]):
        asked = batch.filter(pc.is_in(batch.column("role"), value_set=pa.array(ASKED_THE_CHAMPION)))
        hours = pc.floor_temporal(asked.column(WHEN).cast(pa.timestamp("us", "UTC")), unit="hour")
        for counted in pc.value_counts(hours).to_pylist():
            found[counted["values"]] = found.get(counted["values"], 0) + counted["counts"]
    return found
