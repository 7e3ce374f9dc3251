"""What is kept with a model, and how it is told to the person who decides."""

from datetime import timedelta

from configs.frozen import Frozen
from tasks.records import Candidate, CodeVersion, Evaluation, Interval, Order, Windows


class Evidence(Frozen):
    """Everything that made a candidate and everything it was judged by."""

    order: Order
    candidate: Candidate
    windows: Windows
    evaluation: Evaluation
    code: CodeVersion
    data_version: str
    lock_sha256: str
    fingerprint: str
    judged_by: str
    """Names the evaluation: the same candidate judged by another rule or champion is another judgement."""

    @property
    def tags(self) -> dict[str, str]:
        """The facts a version is found and rebuilt by."""
        return {
            "fingerprint": self.fingerprint,
            "judged_by": self.judged_by,
            "as_of": self.order.as_of.isoformat(),
            "git_revision": self.code.revision,
            "git_dirty": str(self.code.dirty).lower(),
            "data_version": self.data_version,
            "lock_sha256": self.lock_sha256,
            "seed": str(self.candidate.seed),
            "contract_version": str(self.candidate.contract_version),
            "train_window": f"{self.candidate.train_start:%Y-%m-%d} to {self.candidate.train_end:%Y-%m-%d}",
            "evaluate_window": f"{self.evaluation.start:%Y-%m-%d} to {self.evaluation.end:%Y-%m-%d}",
            "decision": self.evaluation.decision.ruling.value,
            "reasons": "; ".join(r.text for r in self.evaluation.decision.against)[:4000] or "every rule passed",
            "champion_then": self.evaluation.champion_version or "none",
            "predictions_sha256": self.evaluation.predictions_sha256,
        }

    @property
    def params(self) -> dict[str, object]:
        """The parameters of the candidate."""
        candidate = self.candidate
        return {
            "estimator": candidate.estimator,
            "calibration": candidate.calibration,
            "seed": candidate.seed,
            "search_trials": candidate.search_trials,
            "train_batches": f"{candidate.batches[0]} to {candidate.batches[-1]} ({len(candidate.batches)})",
            "features": len(candidate.features),
            **{f"settings.{key}": value for key, value in candidate.settings.items()},
        }

    @property
    def metrics(self) -> dict[str, float]:
        """Figures to plot over versions."""
        evaluation = self.evaluation
        figures = {
            "rows.train": float(self.candidate.rows),
            "rows.evaluate": float(evaluation.rows),
            "rows.without_label": float(evaluation.rows_without_label),
            "latency_ms": evaluation.latency_ms,
            "model_mb": evaluation.model_mb,
            "train_seconds": self.candidate.seconds,
        }
        for prefix, intervals in (
            ("", evaluation.metrics),
            ("champion.", evaluation.champion_metrics),
            ("difference.", evaluation.differences),
        ):
            for name, interval in intervals.items():
                figures |= _figures(prefix + name, interval)
        return figures


def _figures(name: str, interval: Interval) -> dict[str, float]:
    if interval.low == interval.high == interval.value:
        return {name: interval.value}
    return {name: interval.value, f"{name}.low": interval.low, f"{name}.high": interval.high}


def comparison_table(evaluation: Evaluation) -> str:
    """Candidate beside champion, metric by metric, as a Markdown table narrow enough for the approval form."""
    against = f"champion {evaluation.champion_version or '(none yet)'}"
    confidence = next((f", {interval.confidence:.0%}" for interval in evaluation.differences.values()), "")
    lines = [f"| metric | candidate | {against} | difference{confidence} |", "|---|---:|---:|---:|"]
    for name, interval in evaluation.metrics.items():
        champion = evaluation.champion_metrics.get(name)
        difference = evaluation.differences.get(name)
        shown = f"{champion.value:.4f}" if champion else "-"
        lines.append(f"| {name} | {interval.value:.4f} | {shown} | {_with_interval(difference)} |")
    return "\n".join(lines)


def _with_interval(difference: Interval | None) -> str:
    if difference is None:
        return "-"
    return f"{difference.value:+.3f} ± {(difference.high - difference.low) / 2:.3f}"


def reasons_list(evaluation: Evaluation) -> str:
    """Every rule of the gate and how the candidate stands to it, as a Markdown list."""
    marks = {True: "✓", False: "✗"}
    return "\n".join(
        f"- {'?' if reason.inconclusive else marks[reason.passed]} **{reason.rule}**: {reason.text}"
        for reason in evaluation.decision.reasons
    )


def description(evidence: Evidence) -> str:
    """What the approval form, the run page and the registered version say about a candidate, in Markdown."""
    candidate, evaluation = evidence.candidate, evidence.evaluation
    last_day = candidate.train_end - timedelta(days=1)
    dirty = " with uncommitted changes" if evidence.code.dirty else ""
    return (
        f"**{evaluation.decision.ruling.value}**: `{candidate.case}`, {candidate.estimator}, trained on "
        f"{candidate.rows:,} rows from {candidate.train_start:%Y-%m-%d} to {last_day:%Y-%m-%d}, judged on "
        f"{evaluation.rows:,} later rows neither model has seen ({evaluation.start:%Y-%m-%d} to "
        f"{evaluation.end - timedelta(days=1):%Y-%m-%d}).\n\n"
        f"{comparison_table(evaluation)}\n\n{reasons_list(evaluation)}\n\n"
        f"Code {evidence.code.revision[:12]}{dirty}, data {evidence.data_version[:12]}, seed {candidate.seed}.\n"
    )
