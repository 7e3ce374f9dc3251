"""What is kept with a model, and how it is told to the person who decides."""

from collections.abc import Iterable
from datetime import timedelta

from configs.frozen import Frozen
from tasks.records import Candidate, CodeVersion, Evaluation, Interval, Order, Reason, Refit, Windows


class Evidence(Frozen):
    """Everything that made a candidate and everything it was judged by."""

    order: Order
    candidate: Candidate
    """The model that was judged."""
    windows: Windows
    evaluation: Evaluation
    refit: Refit
    code: CodeVersion
    data_version: str
    lock_sha256: str
    fingerprint: str
    judged_by: str
    """Names the evaluation: the same candidate judged by another rule or champion is another judgement."""

    @property
    def kept(self) -> Candidate:
        """The model that is kept: the one that was judged, or the same fitted again."""
        return self.refit.candidate if self.refit.candidate and self.refit.stands else self.candidate

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
            "train_window": _window(self.kept),
            "evaluate_window": f"{self.evaluation.start:%Y-%m-%d} to {self.evaluation.end:%Y-%m-%d}",
            "decision": self.evaluation.decision.ruling.value,
            "reasons": "; ".join(r.text for r in self.evaluation.decision.against)[:4000] or "every rule passed",
            "champion_then": self.evaluation.champion_version or "none",
            "predictions_sha256": self.evaluation.predictions_sha256,
            "refit": str(self.refit)[:4000],
            **self._twin,
        }

    @property
    def _twin(self) -> dict[str, str]:
        """Of a model that was fitted again: what names the one that was judged, and the answers of both."""
        if not (self.refit.stands and self.refit.likeness):
            return {}
        return {
            "predictions_sha256": self.refit.likeness.predictions_sha256,
            "twin_predictions_sha256": self.evaluation.predictions_sha256,
            "twin_sha256": self.candidate.model_sha256,
            "twin_train_window": _window(self.candidate),
        }

    @property
    def params(self) -> dict[str, object]:
        """The parameters of the model that is kept."""
        candidate = self.kept
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
            "rows.train": float(self.kept.rows),
            "rows.evaluate": float(evaluation.rows),
            "rows.without_label": float(evaluation.rows_without_label),
            "latency_ms": evaluation.latency_ms,
            "model_mb": evaluation.model_mb,
            "train_seconds": self.candidate.seconds,
            **_likeness(self.refit),
        }
        for prefix, intervals in (
            ("", evaluation.metrics),
            ("champion.", evaluation.champion_metrics),
            ("difference.", evaluation.differences),
        ):
            for name, interval in intervals.items():
                figures |= _figures(prefix + name, interval)
        return figures


def _window(candidate: Candidate) -> str:
    return f"{candidate.train_start:%Y-%m-%d} to {candidate.train_end:%Y-%m-%d}"


def _likeness(refit: Refit) -> dict[str, float]:
    found = refit.likeness
    if found is None or refit.candidate is None:
        return {}
    told = {
        "refit.change": found.change,
        "refit.latency_ms": found.latency_ms,
        "refit.model_mb": found.model_mb,
        "refit.seconds": refit.candidate.seconds,
    }
    return {name: value for name, value in told.items() if value is not None}


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


def reasons_list(reasons: Iterable[Reason]) -> str:
    """Every rule and how a model stands to it, as a Markdown list."""
    marks = {True: "✓", False: "✗"}
    return "\n".join(
        f"- {'?' if reason.inconclusive else marks[reason.passed]} **{reason.rule}**: {reason.text}"
        for reason in reasons
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
        f"{comparison_table(evaluation)}\n\n{reasons_list(evaluation.decision.reasons)}\n\n"
        f"{_again(evidence.refit)}"
        f"Code {evidence.code.revision[:12]}{dirty}, data {evidence.data_version[:12]}, seed {candidate.seed}.\n"
    )


def _again(refit: Refit) -> str:
    """What became of fitting the judged model again; nothing where nobody asked for it."""
    if not refit.reasons:
        return ""
    live = (
        "This is the model that is registered: the figures above are those of its twin, which had not seen the rows. "
        "What it is worth to users is found out in its rollout.\n\n"
    )
    return f"**Fitted again**: {refit}.\n\n{live if refit.stands else ''}{reasons_list(refit.reasons)}\n\n"
