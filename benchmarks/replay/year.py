"""The year again: what users were answered, how long it takes, and on what the time is spent."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.replay.happen import ROOT, happen, say_step
from configs.project import Project
from flows.replay_sandbox import Sandbox
from tasks.outcomes.table import read_outcomes
from tasks.replay.steps import Plan

_EVERY_SECONDS = 0.02


def year(start: datetime, end: datetime, *, in_process: bool) -> None:
    """Replay the flights, and say what it took."""
    plan, name_of = (
        Plan(case="flights", start=start, end=end, in_process=in_process),
        f"benchmark-{start:%Y%m%d}-{end:%Y%m%d}",
    )
    with sampled() as seen:
        began = time.monotonic()
        steps = happen(plan, name_of, say_step, fresh=True)
        wall = time.monotonic() - began
    spent: Counter[str] = Counter()
    for step in steps:
        spent.update(step.seconds)
    requests, rows = (sum(getattr(step, name) for step in steps) for name in ("requests", "rows"))
    print(f"| flights, {start:%Y-%m-%d} to {end:%Y-%m-%d} | |\n|---|---|")
    print(f"| wall time, s | {wall:,.0f} |\n| steps | {len(steps)} |\n| rows | {rows:,} |\n| requests | {requests:,} |")
    print(f"| requests a second while they are sent | {requests / spent['traffic']:,.0f} |")
    print(f"| rows a second while they are sent | {rows / spent['traffic']:,.0f} |")
    for what, seconds in spent.most_common():
        print(f"| of the wall time, {what} | {100 * seconds / wall:.1f} % |")
    print(f"| of the wall time, the replay's own process computed | {100 * seen.seconds / wall:.1f} % |")
    print(f"| of the wall time, in this project's own lines | {100 * seen.ours / wall:.1f} % |")
    for name, (mean, weeks) in answered(name_of, start, end).items():
        print(f"| {name} of what users were answered, mean of {weeks} weeks | {mean:.4f} |")
    print(f"| flows that ended red | {sum(len(step.failures) for step in steps)} |")


def answered(sandbox: str, start: datetime, end: datetime) -> dict[str, tuple[float, int]]:
    """AUC and Brier score, each the mean of whole weeks as the back-test has it, and how many weeks."""
    project, weeks = Sandbox.of(Project(ROOT), sandbox).project, []
    columns = ("role", "probability", "label")
    for first in pd.date_range(start, end - timedelta(days=7), freq="7D"):
        rows = read_outcomes(project, "flights", first, first + timedelta(days=7), columns)
        known = rows[(rows["role"] != "shadow") & rows["label"].notna() & rows["probability"].notna()]
        truth, said = known["label"].to_numpy(float), known["probability"].to_numpy(float)
        weeks.append((roc_auc_score(truth, said), float(np.square(said - truth).mean())))
    means = np.mean(weeks, axis=0)
    return {"AUC": (float(means[0]), len(weeks)), "Brier score": (float(means[1]), len(weeks))}


@dataclass
class Sampled:
    """What the main thread spent processor time on, as looks every few milliseconds found it."""

    seconds: float = 0.0
    ours: float = 0.0
    """Where a line of this project was innermost, and not one of a library or of Python; what C is called from it for
    counts, too."""


@contextmanager
def sampled() -> Iterator[Sampled]:
    """Look at the innermost frame of the main thread again and again, and at the processor time since the last look."""
    seen, end, main_thread = Sampled(), threading.Event(), threading.main_thread().ident
    assert main_thread is not None, "it runs"
    clock = time.pthread_getcpuclockid(main_thread)
    own = tuple(str(ROOT / name) for name in ("configs", "flows", "serving", "tasks"))

    def look() -> None:
        before = time.clock_gettime(clock)
        while not end.wait(_EVERY_SECONDS):
            frame, now = sys._current_frames().get(main_thread), time.clock_gettime(clock)
            spent, before = now - before, now
            seen.seconds += spent
            if frame is not None and frame.f_code.co_filename.startswith(own):
                seen.ours += spent

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()
