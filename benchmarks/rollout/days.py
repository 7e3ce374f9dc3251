"""How often a challenger is stopped while days differ from one another: simulated rollouts of a day a stage.

    uv run python -m benchmarks.rollout.days [--runs 200]

The challenger expects more positives than the champion. On days that have more it is better, on others worse; where the
world lies on average decides which of the two is better in the long run. Both are judged on 14 days before, then the
rollout begins: a day in the shadow, then a day each at 5, 25, 50 and 100 %, 1,000 requests a day, looked at every six
hours; labels come a day late, so that those of one stage are there in the next. A stage that is held at the end of its
day goes on for another, for a week at the most; then a person is waited for.
What is expected, pairs and rules are the product's own; latencies and errors are left out.
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from configs.case import Problem
from configs.rollout import RolloutParams
from tasks.evaluation.predictions import Floats
from tasks.rollout.days import days_of
from tasks.rollout.evidence import Pairs, Seen
from tasks.rollout.expected import Expected, expected
from tasks.rollout.gates import Gates
from tasks.rollout.losses import loss_of, row_losses
from tasks.rollout.pairs import days_of_pairs, matched
from tasks.rollout.stages import begin, following

AT = datetime(2026, 5, 4, tzinfo=UTC)
A_DAY, EVALUATED, LOOKS, LONGEST = 1000, 14, 4, 7
SHARES = (0.0, 0.05, 0.25, 0.5, 1.0)
"""Of the shadow, and of each step of the canary."""
APART = 0.6
"""How much more likely the challenger holds a positive, in log odds."""


@dataclass(frozen=True)
class World:
    """Days that differ."""

    centre: float
    """By how much the log odds of all rows lie above what the champion expects, on an average day."""
    spread: float
    """Its standard deviation from day to day."""

    def drawn(self, draw: np.random.Generator, days: int, start: datetime) -> pd.DataFrame:
        """Rows in the columns of an evaluation: `event_time`, `label`, `champion`, `candidate`."""
        chance = logit(np.clip(draw.beta(1.2, 3.6, days * A_DAY), 1e-3, 1 - 1e-3))
        moved = np.repeat(draw.normal(self.centre, self.spread, days), A_DAY)
        seconds = pd.to_timedelta(np.arange(days * A_DAY) * (86_400 / A_DAY), unit="s")
        return pd.DataFrame(
            {
                "event_time": start + seconds,
                "label": (draw.random(len(chance)) < expit(chance + moved)).astype(np.float64),
                "champion": expit(chance),
                "candidate": expit(chance + APART),
            }
        )


def losses(rows: pd.DataFrame, of: str) -> Floats:
    loss = loss_of(Problem.binary, 1.0)
    return row_losses(Problem.binary, loss, pd.DataFrame({"probability": rows[of]}), rows["label"])


def worse_by(world: World) -> float:
    """The challenger's mean log loss against the champion's, in the long run, as a share of the champion's."""
    rows = world.drawn(np.random.default_rng(1), 400, AT)
    theirs = losses(rows, "champion").mean()
    return float(losses(rows, "candidate").mean() / theirs - 1)


def world_where(worse: float, spread: float) -> World:
    """Found by bisection: the higher its centre, the better is who expects more."""
    low, high = -2.0, 3.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if worse_by(World(middle, spread)) > worse else (low, middle)
    return World(high, spread)


def ended(world: World, params: RolloutParams, seed: int, *, days_known: bool) -> tuple[str, int]:
    """How a rollout ended (`stopped`, `passed`, or `held` for a person), and after how many days."""
    draw = np.random.default_rng(seed)
    judged = expected(Problem.binary, world.drawn(draw, EVALUATED, AT - timedelta(days=EVALUATED + 1)), None)
    if not days_known:
        judged = judged.model_copy(update={"loss_between_days": 0.0})
    state = begin("2", "1", params, 0.0, AT)
    told, day, came = Pairs(), 0, Pairs()  # what is known, and what came of the day before
    for share in SHARES:
        state = following(state, (), AT + timedelta(days=day))
        gates = Gates(Problem.binary, params, state, judged)
        for _ in range(LONGEST):
            for look in range(1, LOOKS + 1):
                known = _joined(told, _first(came, look / LOOKS))
                [reason] = [one for one in gates.reasons(Seen(pairs=known)) if one.rule == "loss"]
                if not reason.passed and not reason.inconclusive:
                    return "stopped", day
            rows = world.drawn(draw, 1, AT + timedelta(days=day))
            told, came, day = known, _pairs(rows, draw.random(len(rows)) < share, share), day + 1
            if reason.passed:
                break
        else:
            return "held", day
    return "passed", day


def _first(pairs: Pairs, part: float) -> Pairs:
    some = int(len(pairs.losses) * part)
    return Pairs(losses=pairs.losses[:some], days=pairs.days[:some])


def _pairs(rows: pd.DataFrame, ours: np.ndarray, share: float) -> Pairs:
    theirs, mine, days = losses(rows, "champion"), losses(rows, "candidate"), days_of(rows["event_time"])
    if not share:
        return Pairs(losses=mine - theirs, days=days)
    if share == 1:
        return Pairs()
    return Pairs(losses=matched(theirs[~ours], mine[ours], share), days=days_of_pairs(days[~ours], days[ours], share))


def _joined(before: Pairs, now: Pairs) -> Pairs:
    return Pairs(np.concatenate([before.losses, now.losses]), days=np.concatenate([before.days, now.days]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="simulated rollouts of each kind")
    runs = parser.parse_args().runs
    params = RolloutParams()
    print(
        "| challenger, in the long run | days stray by | stopped | held for a person | days, of those that passed |",
        end="",
    )
    print(" stopped, if rows were taken for independent |\n|---|---|---|---|---|---|")
    for worse in (0.0, 0.1, 0.2):
        for spread in (0.15, 0.4):
            world = world_where(worse, spread)
            found = [ended(world, params, seed, days_known=True) for seed in range(runs)]
            alone = [ended(world, params, seed, days_known=False) for seed in range(runs)]
            told = [sum(how == wanted for how, _ in found) for wanted in ("stopped", "held")]
            days = [days for how, days in found if how == "passed"]
            took = f"{np.mean(days):.1f}, at most {max(days)}" if days else "none passed"
            cells = (
                f"log loss {worse:+.0%}",
                f"{_strays(world):.3f}",
                *told,
                took,
                sum(h == "stopped" for h, _ in alone),
            )
            print("| " + " | ".join(map(str, cells)) + f" | of {runs} each", flush=True)


def _strays(world: World) -> float:
    judged: Expected = expected(Problem.binary, world.drawn(np.random.default_rng(2), 200, AT), None)
    return judged.loss_between_days


if __name__ == "__main__":
    main()
