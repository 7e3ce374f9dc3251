"""The scan of a window: do requests still come in, do they keep the contract, do they look like the reference."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.profiles import Parallel, Profiles
from tasks.adapters.refusals import RefusedHour
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactError
from tasks.monitoring.answers import Answers
from tasks.monitoring.errors import ContractDiffers, ProfileError, ReferenceMissing
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import HOUR, Hour, Sample, plain_rows, rows_by_hour, together
from tasks.monitoring.inputs import Side
from tasks.monitoring.reference import Reference, read_reference
from tasks.monitoring.season import reference_stretches
from tasks.monitoring.window import Window
from tasks.verdicts import Answer, Evidence, Findings, Monitor, Verdict

log = logging.getLogger(__name__)

_SHOWN = 5


def scan(  # noqa: PLR0913
    project: Project,
    case_name: str,
    as_of: datetime,
    answers: Answers,
    *,
    refused: Sequence[RefusedHour] = (),
    parallel: Parallel = map,
) -> Findings:
    """Verdicts on freshness, contract and inputs of the window that ends at `as_of`, with the figures to draw.

    `refused` is what the gateway turned away, which is in no log. `parallel` maps a picklable function over the days
    that were not counted yet. Without a reference that fits, what needs one is `unknown`. Raises what the log, the
    registry, the journal and the store of profiles raise.
    """
    case, params = project.case(case_name), project.params(case_name)
    champion = Registry(project).holder(case_name, "champion")
    window = Window.of(case, params.monitoring, params.seed, champion.version if champion else None, as_of)
    if champion is None:
        rows = rows_by_hour(answers, window.history, window.end)
        found = window.without_reference(rows, Answer.waiting, "the case has no champion yet")
        return _blamed(found, window, refused, rows)
    earlier = Journal(project).verdicts(
        case_name, as_of, Monitor.inputs, params.monitoring.inputs.persistence[1], champion.version
    )
    try:
        reference = read_reference(project, case_name, champion.version)
        if reference.grid.contract_version != case.contract.version:
            raise ContractDiffers("The champion's reference", reference.grid.contract_version, case.contract.version)
        profiles = Profiles(project, case_name, reference.grid)
        found, rows = _compare(window, reference, profiles, answers, parallel, earlier)
    except (ReferenceMissing, ArtifactError, ProfileError) as error:
        rows = rows_by_hour(answers, window.history, window.end)
        found = window.without_reference(rows, Answer.unknown, str(error))
    found = _blamed(found, window, refused, rows)
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
) -> tuple[Findings, dict[datetime, int]]:
    """Count what was not counted yet, and hold it against the reference; also the rows by the hour."""
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
    return window.findings(grid, against, _side(current, grid, window), current, rows, earlier), rows


def _blamed(found: Findings, window: Window, refused: Sequence[RefusedHour], rows: Mapping[datetime, int]) -> Findings:
    """The contract is broken, too, where most rows of the newest hours were refused for it: none of them is in the log.

    What is refused now and then is the sender's to mend, and blocks nobody.
    """
    since = window.end - timedelta(hours=window.params.stale_hours) - HOUR
    lately = [one for one in refused if since < one.hour < window.end]
    count = sum(one.rows for one in lately)
    kept = sum(answered for hour, answered in rows.items() if since < hour < window.end)
    if count <= kept:
        return found
    reasons: Counter[str] = Counter()
    for one in lately:
        reasons.update({f"{why.field or 'request'}: {why.reason}": why.rows for why in one.reasons})
    evidence = tuple(
        Evidence(
            subject=why.partition(":")[0],
            test="rows refused by the gateway",
            statistic=float(broken),
            effect=min(broken / (count + kept), 1.0),
            alarm=True,
            text=f"{broken:,} rows were refused for `{why}`",
        )
        for why, broken in reasons.most_common(_SHOWN)
    )
    text = (
        f"{count:,} rows of the last {window.params.stale_hours:g} hours broke the contract and were refused, "
        f"{kept:,} were answered: {'; '.join(one.text for one in evidence[:2])}"
    )
    cause = evidence[0].subject if evidence else "refused"
    verdicts = tuple(
        one.model_copy(
            update={
                "answer": Answer.alarm,
                "text": f"{text}. {one.text}",
                "cause": cause,
                "evidence": (*evidence, *one.evidence),
            }
        )
        if one.monitor is Monitor.contract
        else one
        for one in found.verdicts
    )
    return found.model_copy(update={"verdicts": verdicts})


def _side(hours: Mapping[datetime, Hour], grid: Grid, window: Window) -> Side:
    drawn = Sample.together([hour.sample for hour in hours.values()], grid).at_most(window.params.inputs.sample_rows)
    return Side(together(hours.values(), grid, window.version), drawn.rows.to_pandas())


def _accepted(reference: Reference) -> Side:
    rows = pa.RecordBatch.from_pandas(reference.sample, preserve_index=False)
    return Side(reference.profile, plain_rows(rows, reference.grid).to_pandas())
