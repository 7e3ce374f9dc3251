"""The gate: what was measured goes in, a decision with every reason comes out.

A rule is failed, or cannot be judged (inconclusive: the champion stays, and nothing is held against the candidate).
Where the rows are too few, a failed rule that rests on them counts as not judged.
"""

from collections.abc import Iterable, Iterator

from pydantic import Field

from configs.case import Case, Problem
from configs.frozen import Frozen
from configs.params import GateParams, LimitParams, Params
from tasks.evaluation.metrics import HIGHER_IS_BETTER
from tasks.features.inputs import used_features
from tasks.records import Candidate, Decision, Interval, Reason, Ruling, SliceComparison

_TELLTALE = {Problem.binary: "auc", Problem.multiclass: "accuracy", Problem.regression: "r2"}
_AT_MOST = 5


class Measured(Frozen):
    """What is known about a candidate when the gate is asked."""

    rows: int
    blocks: int
    unusable_predictions: int = 0
    """Rows for which the candidate gave no finite number, or no probability."""
    metrics: dict[str, Interval]
    champion_version: str | None
    champion_lacks: tuple[str, ...] = ()
    """Columns the champion needs and the deliveries no longer have: it cannot be scored."""
    answers_alike: bool = False
    """Candidate and champion gave the same answer to every row, bit for bit."""
    differences: dict[str, Interval] = Field(default_factory=dict)
    slices: tuple[SliceComparison, ...] = ()
    importance: dict[str, float] = Field(default_factory=dict)
    latency_ms: float
    model_mb: float
    faithful: bool
    """The saved artifact loads, and answers the input example as the trained model did."""
    too_early: str = ""
    """In words, where the champion has learned from a part of the evaluation window: since when, and what to wait for.
    """


def decide(case: Case, params: Params, candidate: Candidate, measured: Measured) -> Decision:
    """Ask every rule, then decide: any failed rule rejects, else any unjudged rule is inconclusive, else promote."""
    enough = tuple(_enough(params.gate, measured))
    shown = tuple(_shown(case, params.gate, measured))
    if not all(reason.passed for reason in enough):
        shown = tuple(_not_judged(reason) for reason in shown)
    sound = _sound(case, params, candidate, measured)
    reasons = (*enough, *sound, *shown, *budgets(params.gate, measured.latency_ms, measured.model_mb))
    return Decision(ruling=_ruling(reasons), reasons=reasons)


def _ruling(reasons: Iterable[Reason]) -> Ruling:
    against = [reason for reason in reasons if not reason.passed]
    if not against:
        return Ruling.promote
    return Ruling.inconclusive if all(reason.inconclusive for reason in against) else Ruling.reject


def _not_judged(reason: Reason) -> Reason:
    return reason if reason.passed else reason.model_copy(update={"inconclusive": True})


def _enough(gate: GateParams, measured: Measured) -> Iterator[Reason]:
    counted = (("rows", measured.rows, gate.min_rows), ("blocks", measured.blocks, gate.min_blocks))
    for rule, found, wanted in counted:
        noun = "labelled rows" if rule == "rows" else f"{gate.block}s with labelled rows"
        text = f"{found:,} {noun} later than both training cut-offs, at least {wanted:,} wanted"
        if found < wanted and measured.too_early:
            text += f"; {measured.too_early}"
        yield Reason(rule=rule, passed=found >= wanted, inconclusive=found < wanted, text=text)


def _sound(case: Case, params: Params, candidate: Candidate, measured: Measured) -> Iterator[Reason]:
    """Rules about the model itself, whatever the rows."""
    yield _features(candidate.features, used_features(case, params.features))
    found, wanted = candidate.contract_version, case.contract.version
    version = f"trained on contract version {found}, the case is at version {wanted}"
    yield Reason(rule="contract", passed=found == wanted, text=version)
    yield from usable(measured.rows, measured.unusable_predictions, faithful=measured.faithful)


def usable(rows: int, unusable_predictions: int, *, faithful: bool) -> Iterator[Reason]:
    """The rules that a model's file and its answers must keep, whoever it is compared with."""
    copy = "loads from its saved artifact and answers the input example identically"
    yield Reason(
        rule="artifact",
        passed=faithful,
        text=copy if faithful else f"must be a model that {copy}; it answered differently",
    )
    bad = unusable_predictions
    yield Reason(
        rule="predictions",
        passed=not bad,
        text=f"{bad:,} of {rows:,} predictions are not finite, or not a probability; none may be"
        if bad
        else "every prediction is usable",
    )


def _features(found: tuple[str, ...], wanted: tuple[str, ...]) -> Reason:
    if found == wanted:
        return Reason(rule="features", passed=True, text=f"takes the contract's {len(wanted)} features")
    lacks = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    said = [f"lacks {_listed(lacks)}"] * bool(lacks) + [f"takes {_listed(extra)} besides"] * bool(extra)
    how = " and ".join(said) or "has them in another order"
    return Reason(
        rule="features",
        passed=False,
        text=f"must take the contract's features in their order; it {how}",
    )


def _shown(case: Case, gate: GateParams, measured: Measured) -> Iterator[Reason]:
    """Rules that rest on the rows."""
    yield from (_limit(limit, measured) for limit in gate.limits)
    yield _leakage(_TELLTALE[case.problem], gate, measured)
    yield _comparison(gate, measured)
    yield _slices(gate, measured)


def _limit(limit: LimitParams, measured: Measured) -> Reason:
    rule = f"limit {limit.metric}"
    if limit.metric not in measured.metrics:
        return _undefined(rule, limit.metric)
    found = measured.metrics[limit.metric].value
    if limit.at_least is not None:
        return Reason(
            rule=rule,
            passed=found >= limit.at_least,
            text=f"{limit.metric} is {found:.4g}, at least {limit.at_least:g} wanted",
        )
    assert limit.at_most is not None
    return Reason(
        rule=rule,
        passed=found <= limit.at_most,
        text=f"{limit.metric} is {found:.4g}, at most {limit.at_most:g} wanted",
    )


def _undefined(rule: str, metric: str) -> Reason:
    text = f"{metric} is not defined for this candidate on these rows (one label only, or unusable predictions)"
    return Reason(rule=rule, passed=False, inconclusive=True, text=text)


def _leakage(metric: str, gate: GateParams, measured: Measured) -> Reason:
    if metric not in measured.metrics:
        return _undefined("leakage", metric)
    found = measured.metrics[metric].value
    text = f"{metric} is {found:.4g}, and from {gate.suspicious_score:g} on a model has seen the answer"
    if found < gate.suspicious_score:
        return Reason(rule="leakage", passed=True, text=text)
    suspect = next(iter(measured.importance), None)
    hint = f"; look first at `{suspect}`, which it leans on most" if suspect else ""
    return Reason(rule="leakage", passed=False, text=text + hint)


def _comparison(gate: GateParams, measured: Measured) -> Reason:
    """The interval's lower end must be on the right side: straddling the margin is not enough."""
    champion = f"champion {measured.champion_version}"
    if measured.champion_version is None:
        text = "there is no champion yet; only the absolute limits judge this model"
        return Reason(rule="comparison", passed=True, text=text)
    if gate.metric not in measured.differences:
        return Reason(rule="comparison", passed=False, inconclusive=True, text=_no_difference(champion, gate, measured))
    gained = gain(gate.metric, measured.differences[gate.metric])
    wanted = gate.margin if gate.rule == "superiority" else -gate.margin
    passed = gained.low > wanted
    verdict = f"shown to be {_claim(gate)} {champion}"
    return Reason(
        rule="comparison",
        passed=passed,
        text=f"{gate.metric} is {'' if passed else 'not '}{verdict}: gain {gained} at {gate.confidence:.0%}, "
        f"lower end above {wanted:g} wanted" + ("; the two answer every row alike" if measured.answers_alike else ""),
    )


def _claim(gate: GateParams) -> str:
    if gate.rule == "non_inferiority":
        return f"less than {gate.margin:g} worse than"
    return f"more than {gate.margin:g} better than" if gate.margin else "better than"


def _no_difference(champion: str, gate: GateParams, measured: Measured) -> str:
    if measured.champion_lacks:
        lacks = _listed(measured.champion_lacks)
        return f"{champion} cannot be scored, it needs {lacks}, which the deliveries no longer have"
    return f"{gate.metric} of candidate and {champion} cannot both be computed on these rows"


def gain(metric: str, difference: Interval) -> Interval:
    """The difference turned so that more is better."""
    if metric in HIGHER_IS_BETTER:
        return difference
    turned = {"value": 0.0 - difference.value, "low": 0.0 - difference.high, "high": 0.0 - difference.low}
    return difference.model_copy(update=turned)


def _slices(gate: GateParams, measured: Measured) -> Reason:
    if measured.champion_version is None:
        return Reason(rule="slices", passed=True, text="there is no champion yet to lose ground to")
    refused = sorted((group for group in measured.slices if group.refused), key=lambda group: group.p_value or 0.0)
    if refused:
        return Reason(rule="slices", passed=False, text=_lost_ground(refused, gate))
    judged = sum(group.p_value is not None for group in measured.slices)
    unjudged = [f"{group.column}={group.value}" for group in measured.slices if group.p_value is None]
    text = f"{judged} groups compared, none shown to lose more than {gate.slices.tolerance:.0%}"
    if unjudged:
        text += f"; seen too seldom to be judged: {_listed(unjudged)}"
    return Reason(rule="slices", passed=True, text=text)


def _lost_ground(refused: list[SliceComparison], gate: GateParams) -> str:
    said = [
        f"{group.column}={group.value}: mean loss {group.candidate_loss:.4g} against {group.champion_loss:.4g}, "
        f"p = {group.p_value:.2g}"
        for group in refused
        if group.champion_loss is not None
    ]
    more = f"; and {len(said) - _AT_MOST} more" if len(said) > _AT_MOST else ""
    return f"shown to lose more than {gate.slices.tolerance:.0%} in " + "; ".join(said[:_AT_MOST]) + more


def budgets(gate: GateParams, latency_ms: float, model_mb: float) -> Iterator[Reason]:
    """The rules on what a model may cost to serve."""
    spent = (
        ("latency", "median one-row prediction takes", "ms", latency_ms, gate.max_latency_ms),
        ("size", "the model's file takes", "MB", model_mb, gate.max_model_mb),
    )
    for rule, what, unit, found, most in spent:
        text = f"{what} {found:.3g} {unit}, at most {most:g} {unit} wanted"
        yield Reason(rule=rule, passed=found <= most, text=text)


def _listed(names: Iterable[str]) -> str:
    shown = [f"`{name}`" for name in names]
    more = f" and {len(shown) - _AT_MOST} more" if len(shown) > _AT_MOST else ""
    return ", ".join(shown[:_AT_MOST]) + more
