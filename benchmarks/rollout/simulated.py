"""How many users meet a harmful challenger, and how often an equal one is stopped: simulated rollouts.

    uv run python -m benchmarks.rollout.simulated [--runs 200] [--rate 5]

Answers, labels and latencies are drawn; stages, gates and decisions are the product's own. Every request is another
user. Labels come ten minutes after their answer. In the shadow one request a second is timed. A look comes every 36
seconds, as in a stage of one hour.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.special import expit, logit

from configs.case import Problem
from configs.rollout import RolloutParams
from tasks.evaluation.predictions import Floats
from tasks.records import Rollout
from tasks.rollout.arms import arms_compared, rows_per_arm
from tasks.rollout.evidence import Pairs, Seen
from tasks.rollout.expected import Expected
from tasks.rollout.gates import Gates
from tasks.rollout.pairs import matched
from tasks.rollout.stages import begin, following, judged

AT = datetime(2026, 5, 4, tzinfo=UTC)
HOUR, LOOK, LABEL_DELAY = 3600.0, 36.0, 600.0
FIXED_SHARE, FIXED_SECONDS = 0.05, 1800.0
_CLIPPED = 0.01


@dataclass(frozen=True)
class Harm:
    """What is wrong with a challenger."""

    name: str
    noise: float = 0.0
    """Standard deviation of what is added to the logarithm of its odds."""
    errors: float = 0.0
    slower: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """One stage's requests, in the order they came."""

    at: Floats
    ours: np.ndarray
    """Whether the challenger's turn."""
    champion: Floats
    challenger: Floats
    champion_loss: Floats
    challenger_loss: Floats
    failed: Floats
    seconds: Floats
    """Of the answer that was given."""
    slowed: Floats
    """Of the answer that the challenger would have given."""


def draw_stage(draw: np.random.Generator, harm: Harm, share: float, rate: float, seconds: float) -> Drawn:
    count = int(rate * seconds)
    chance = draw.beta(1.2, 3.6, count)
    happened = draw.random(count) < chance
    noisy = expit(logit(np.clip(chance, 1e-6, 1 - 1e-6)) + draw.normal(0, harm.noise, count))
    ours = draw.random(count) < share
    taken = draw.lognormal(-6, 0.6, count)
    return Drawn(
        at=np.sort(draw.random(count)) * seconds,
        ours=ours,
        champion=chance,
        challenger=noisy,
        champion_loss=log_loss(chance, happened),
        challenger_loss=log_loss(noisy, happened),
        failed=(draw.random(count) < harm.errors).astype(np.float64),
        seconds=np.where(ours, taken * harm.slower, taken),
        slowed=taken * harm.slower,
    )


def log_loss(chance: Floats, happened: np.ndarray) -> Floats:
    return -np.log(np.clip(np.where(happened, chance, 1 - chance), _CLIPPED, 1.0))


def noise_for(worse: float) -> float:
    """How much noise makes the log loss worse by this share; found by bisection on one large sample."""
    low, high = 0.0, 4.0
    for _ in range(25):
        middle = (low + high) / 2
        drawn = draw_stage(np.random.default_rng(1), Harm("", noise=middle), 0.0, 100, HOUR)
        found = drawn.challenger_loss.mean() / drawn.champion_loss.mean() - 1
        low, high = (middle, high) if found < worse else (low, middle)
    return low


def expected_of(harm: Harm) -> Expected:
    """As if evaluation had seen how far the two are apart: what it cannot see has to be found by its own gate."""
    drawn = draw_stage(np.random.default_rng(2), harm, 0.0, 50, HOUR)
    return Expected(
        rows=len(drawn.at),
        disagreement=float(np.abs(drawn.challenger - drawn.champion).mean()),
        shift=float((drawn.challenger - drawn.champion).mean()),
        scale=1.0,
        champion_loss=float(drawn.champion_loss.mean()),
        deviation=float(drawn.champion_loss.std()),
    )


def seen_by(stages: list[tuple[Rollout, Drawn]], until: float) -> Seen:
    """What is known `until` seconds into the last stage."""
    every = [_seen(state, drawn, np.inf) for state, drawn in stages[:-1]] + [_seen(*stages[-1], until)]
    parts = [
        part for part, (state, _) in zip(every, stages, strict=True) if state.stage.kind == stages[-1][0].stage.kind
    ]
    names = ("failed", "fell_back", "seconds", "champion_seconds", "distances", "shifts")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    losses = np.concatenate([part.pairs.losses for part in every])
    return Seen(rows=sum(p.rows for p in parts), rows_here=parts[-1].rows, pairs=Pairs(losses=losses), **joined)


def _seen(state: Rollout, drawn: Drawn, until: float) -> Seen:
    now, labelled = drawn.at <= until, drawn.at <= until - LABEL_DELAY
    if state.stage.kind == "shadow":
        apart = (drawn.challenger - drawn.champion)[now]
        timed = np.flatnonzero(now & (np.diff(np.floor(drawn.at), prepend=-1) > 0))
        return Seen(
            rows=int(now.sum()),
            failed=drawn.failed[now],
            seconds=drawn.slowed[timed],
            champion_seconds=drawn.seconds[timed],
            distances=np.abs(apart),
            shifts=apart,
            pairs=Pairs(losses=(drawn.challenger_loss - drawn.champion_loss)[labelled]),
        )
    ours, theirs = now & drawn.ours, now & ~drawn.ours
    share = state.stage.share
    split = 0 < share < 1
    known = labelled & drawn.ours, labelled & ~drawn.ours
    losses = matched(drawn.champion_loss[known[1]], drawn.challenger_loss[known[0]], share) if split else np.empty(0)
    return Seen(
        rows=int(ours.sum()),
        failed=drawn.failed[ours],
        fell_back=drawn.failed[ours],
        seconds=drawn.seconds[ours],
        champion_seconds=drawn.seconds[theirs],
        shifts=matched(drawn.champion[theirs], drawn.challenger[ours], share) if split else np.empty(0),
        pairs=Pairs(losses=losses),
    )


@dataclass(frozen=True)
class Ended:
    """How a rollout ended."""

    stopped: str | None
    """The rule that failed; None for a promotion."""
    stage: str
    users: int
    """Whose turn it was to be answered by the challenger."""


def roll_out(params: RolloutParams, harm: Harm, hoped: Expected, rate: float, seed: int) -> Ended:
    draw = np.random.default_rng(seed)
    state = following(begin("2", "1", params, 0.0, AT), (), AT)
    users, group = 0, []
    while state.stage.kind != "warm":
        drawn = draw_stage(draw, harm, state.stage.share, rate, HOUR)
        group.append((state, drawn))
        when, rule = first_stop(params, group, hoped)
        if rule:
            return Ended(rule, state.stage.name, users + int((drawn.ours & (drawn.at <= when)).sum()))
        users += int(drawn.ours.sum())
        state = following(state, (), state.since + timedelta(hours=1))
    return Ended(None, "warm", users)


def first_stop(params: RolloutParams, group: list[tuple[Rollout, Drawn]], hoped: Expected) -> tuple[float, str]:
    state = group[-1][0]
    gates = Gates(Problem.binary, params, state, hoped)

    def stopped(look: int) -> str:
        now = state.since + timedelta(seconds=look * LOOK)
        found = judged(state, gates.reasons(seen_by(group, look * LOOK)), "hold", now)
        failed = [reason.rule for reason in found.reasons if not reason.passed and not reason.inconclusive]
        return failed[0] if found.move == "stop" else ""

    # A test that stopped once says so at every later look, so the first such look is found by halving.
    before, look = 0, int(HOUR / LOOK)
    rule = stopped(look)
    if not rule:
        return HOUR, ""
    while look - before > 1:
        middle = (before + look) // 2
        if found := stopped(middle):
            look, rule = middle, found
        else:
            before = middle
    return look * LOOK, rule


def fixed_canary(harm: Harm, rate: float, seed: int) -> tuple[bool, int]:
    """A canary of 30 minutes at 5 % without a look before its end: whether its end finds the harm, and who met it.

    Its end compares error rates and median latencies with fixed bounds, as canaries of HTTP figures do.
    """
    drawn = draw_stage(np.random.default_rng(seed), harm, FIXED_SHARE, rate, FIXED_SECONDS)
    ours, theirs = drawn.seconds[drawn.ours], drawn.seconds[~drawn.ours]
    found = drawn.failed[drawn.ours].mean() > 0.01 or np.median(ours) > 1.5 * np.median(theirs)
    return bool(found), int(drawn.ours.sum())


def aa_tests(runs: int, rate: float) -> tuple[int, int, int]:
    """Tests of two equal arms, looked at every hour: how many ever named a winner, the rows an arm, hours."""
    params = RolloutParams.model_validate({"strategy": "ab"})
    hoped = expected_of(Harm("equal"))
    wanted = rows_per_arm(params.ab, params.error_rate, hoped)
    hours = int(np.ceil(2.2 * wanted / (rate * HOUR))) + 3
    winners = 0
    for run in range(runs):
        drawn = draw_stage(np.random.default_rng(90_000 + run), Harm("equal"), 0.5, rate, hours * HOUR)
        named = False
        for hour in range(1, hours + 1):
            known = drawn.at <= hour * HOUR
            arms = drawn.champion_loss[known & ~drawn.ours], drawn.challenger_loss[known & drawn.ours]
            reason = arms_compared(arms, params, hoped)
            named |= not reason.inconclusive and "nobody won" not in reason.text
        winners += named
    return winners, wanted, hours


def rows_of_table(runs: int, rate: float) -> Iterator[str]:
    harms = (
        Harm("log loss worse by 10 %", noise=noise_for(0.10)),
        Harm("errors in 2 % of answers", errors=0.02),
        Harm("twice the latency", slower=2.0),
        Harm("equal"),
    )
    for strategy in ("shadow-canary", "canary"):
        params = RolloutParams.model_validate({"strategy": strategy, "warm_hours": 0})
        for harm in harms:
            began = time.perf_counter()
            hoped = expected_of(harm)
            ended = [roll_out(params, harm, hoped, rate, seed) for seed in range(runs)]
            fixed = [fixed_canary(harm, rate, 10_000 + seed) for seed in range(runs)]
            met = np.array([run.users for run in ended if run.stopped])
            rules = sorted({run.stopped for run in ended if run.stopped})
            users = f"{np.median(met):,.0f} / {met.max():,}" if len(met) else "none"
            theirs = f"{np.median([n for _, n in fixed]):,.0f}, found in {np.mean([f for f, _ in fixed]):.0%}"
            by = ", ".join(rules) or "none"
            yield f"| {strategy} | {harm.name} | {len(met)} of {runs} | {by} | {users} | {theirs} |"
            print(f"{strategy}, {harm.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="simulated rollouts of each kind")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second")
    parser.add_argument("--quick", action="store_true", help="20 runs of each kind")
    given = parser.parse_args()
    runs = 20 if given.quick else given.runs
    print(f"{runs} rollouts of each kind, {given.rate:g} requests a second, labels after 10 minutes\n")
    print("| strategy | challenger | stopped | by | users who met it, median / most | fixed 30 minutes at 5 % |")
    print("|---|---|---|---|---|---|")
    for row in rows_of_table(runs, given.rate):
        print(row, flush=True)
    winners, rows, hours = aa_tests(runs, given.rate)
    print(f"\nA/A: {winners} of {runs} tests named a winner ({rows:,} rows an arm, looked at {hours} times, hourly)")


if __name__ == "__main__":
    main()
