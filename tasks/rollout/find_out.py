"""find out: read what users and the shadow saw of a challenger, and hold it against the rules of its stage."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.monitoring.answers import Answers
from tasks.records import Reason, Rollout
from tasks.rollout.arms import size_stated
from tasks.rollout.evidence import TIMED, Watched, columns_of
from tasks.rollout.expected import Expected, expected
from tasks.rollout.gates import Gates
from tasks.rollout.shares import periods

log = logging.getLogger(__name__)

Outcomes = Callable[[datetime, datetime, Sequence[str]], pd.DataFrame]
"""Rows of the prediction log answered in `[start, end)` with their labels, as far as known: these columns of them."""
_KNOWN = ("label", "labelled_at", "event_time")
_NOT_JOINED = frozenset({"received_at", "entity", *TIMED})
"""Of no use to whoever looks at labels."""
_OURS = "smoke-"


def find_out(  # noqa: PLR0913, PLR0917 - whose rollout, what to read it from, and when
    project: Project, case_name: str, state: Rollout, answers: Answers, outcomes: Outcomes, at: datetime
) -> tuple[Reason, ...]:
    """Every rule of the stage, and how the challenger stands to it now. Raises StoreUnreachable or LogUnreadable."""
    case, params = project.case(case_name), project.params(case_name).rollout
    hoped = evaluated(project, case_name, state)
    watched = Watched(case_name, case.problem, state, hoped, params.costs)
    spans = periods(History(project).events(case_name), state, at)
    columns = columns_of(case.problem, state)
    rows = _frame(answers, watched.alike(spans)[0].start, at, columns, params.sample)
    known = outcomes(
        watched.labelled(spans)[0].start, at, (*(name for name in columns if name not in _NOT_JOINED), *_KNOWN)
    )
    seen = watched.seen(spans, rows, _kept(known[known["label"].notna()], params.sample))
    log.info("rollout %s: %s: %d rows, %d labelled pairs", case_name, state, seen.rows, len(seen.pairs.losses))
    return Gates(case.problem, params, state, hoped).reasons(seen)


def stated(project: Project, case: str, state: Rollout) -> tuple[Reason, ...]:
    """What has to be said before the first user meets the challenger: the size of an A/B test."""
    params = project.params(case).rollout
    if state.strategy != "ab":
        return ()
    return (size_stated(params.ab, params.error_rate, evaluated(project, case, state)),)


def evaluated(project: Project, case: str, state: Rollout) -> Expected:
    """What the two models answered to the rows that judged. Raises ArtifactMissing.

    A challenger that was fitted again has learned from them: how far it is from the champion is told a little too high.
    """
    registry = Registry(project)
    version = registry.version(case, state.version)
    assert version is not None, "a rollout names a version that was registered"
    with TemporaryDirectory() as folder:
        judged = "refit" if "twin_sha256" in version.tags else "evaluation"
        path = registry.download_file(version.run_id, f"{judged}/predictions.parquet", Path(folder))
        table = pd.read_parquet(path)
    return expected(project.case(case).problem, table, project.params(case).rollout.costs)


def _frame(answers: Answers, start: datetime, end: datetime, columns: Sequence[str], sample: float) -> pd.DataFrame:
    frames = [_kept(batch.to_pandas(), sample) for batch in answers.batches(start, end, columns)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns))


def _kept(rows: pd.DataFrame, sample: float) -> pd.DataFrame:
    """Without the rows of smoke tests, which are nobody's users; of the others the sample, the same at every look."""
    if rows.empty:
        return rows
    users = rows[~rows["request_id"].str.startswith(_OURS)]
    if sample == 1:
        return users
    drawn = pd.util.hash_array(users["request_id"].to_numpy(object)) < sample * 2.0**64
    return users[drawn]
