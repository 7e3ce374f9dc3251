"""How exactly traffic is shared: 1,000,000 entities, several shares and salts, and what raising a share moves.

`python benchmarks/shares.py` prints a table; a minute on one core.
"""

import random
import time
import uuid
from itertools import pairwise

import numpy as np

from tasks.rollout.draw import to_challenger as arm

ENTITIES = 1_000_000
SHARES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9)
SALTS = ("flights", "flights/7")


def main() -> None:
    draw = random.Random(20261120)
    kinds = {
        "numbers in a row": [str(number) for number in range(ENTITIES)],
        "UUIDs": [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(ENTITIES)],
        "2013-01-01/UA/1545/EWR": [f"2013-{n // 86400 % 12 + 1:02}-01/UA/{n}/EWR" for n in range(ENTITIES)],
    }
    print("| entities | worst error of a share, points | moved back by a raise | correlation of two salts |")
    print("|---|---|---|---|")
    for kind, entities in kinds.items():
        print(f"| {kind} | {' | '.join(measured(entities))} |")
    print(f"\nOne decision: {seconds_each(kinds['UUIDs']) * 1e6:.2f} us")


def measured(entities: list[str]) -> tuple[str, str, str]:
    """Worst error in points, how many entities a raise took back, and how alike two salts draw."""
    sides = {salt: {share: side(salt, entities, share) for share in SHARES} for salt in SALTS}
    errors = [abs(found.mean() - share) for by_share in sides.values() for share, found in by_share.items()]
    back = sum(
        int((by_share[low] & ~by_share[high]).sum()) for by_share in sides.values() for low, high in pairwise(SHARES)
    )
    alike = max(abs(np.corrcoef(*(sides[salt][share] for salt in SALTS))[0, 1]) for share in SHARES)
    return f"{100 * max(errors):.3f}", str(back), f"{alike:.4f}"


def side(salt: str, entities: list[str], share: float) -> np.ndarray:
    return np.fromiter((arm(salt, entity, share) for entity in entities), dtype=bool, count=len(entities))


def seconds_each(entities: list[str]) -> float:
    """Seconds for one decision; the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for entity in entities[:200_000]:
            arm("flights", entity, 0.1)
        rounds.append((time.perf_counter() - began) / 200_000)
    return min(rounds)


if __name__ == "__main__":
    main()
