"""The split between champion and challenger: exact shares, no one moves back, the same answer everywhere."""

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tasks.rollout.draw import each_to_challenger, in_shadow, to_challenger

ROOT = Path(__file__).parents[2]
IDS = [f"entity-{number}" for number in range(50_000)]
SHARES = (0.001, 0.01, 0.1, 0.2, 0.5, 0.9)


def moved(salt: str, share: float) -> set[str]:
    return {entity for entity in IDS if to_challenger(salt, entity, share)}


@pytest.mark.parametrize("share", SHARES)
def test_the_share_of_entities_is_the_share_asked_for(share: float) -> None:
    deviation = math.sqrt(share * (1 - share) / len(IDS))
    assert len(moved("bikes", share)) / len(IDS) == pytest.approx(share, abs=4 * deviation)


def test_a_share_of_nothing_moves_nobody_and_a_share_of_all_moves_everybody() -> None:
    assert moved("bikes", 0.0) == set()
    assert moved("bikes", 1.0) == set(IDS)


@pytest.mark.parametrize("share", [0.0, 1e-19, *SHARES, 1 / 3, 1.0])
@pytest.mark.parametrize("salt", ["bikes", "s" * 64])
def test_many_are_drawn_as_each_of_them_would_be(salt: str, share: float) -> None:
    units = [*IDS[:5000], "", "\udc80 half a pair", "ü"]
    assert each_to_challenger(salt, units, share) == [to_challenger(salt, unit, share) for unit in units]


def test_raising_the_share_only_adds_entities() -> None:
    raised = [moved("bikes", share) for share in SHARES]
    for before, after in pairwise(raised):
        assert before < after


def test_two_salts_draw_their_entities_independently() -> None:
    both = moved("bikes/3", 0.5) & moved("bikes/4", 0.5)
    assert len(both) / len(IDS) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / len(IDS)))


def test_ids_in_a_row_are_spread_like_any_others() -> None:
    """A checksum such as CRC-32 sends whole runs of neighbouring ids to one side."""
    numbers = [str(number) for number in range(20_000)]
    in_blocks = [
        sum(to_challenger("bikes", each, 0.5) for each in numbers[at : at + 100]) for at in range(0, 20_000, 100)
    ]
    variance = sum((found - 50) ** 2 for found in in_blocks) / len(in_blocks)
    assert 15 < variance < 37, "binomial: 25"


def test_another_process_with_another_hash_seed_sends_every_entity_to_the_same_side() -> None:
    asked = "print([to_challenger('bikes', f'entity-{n}', 0.3) for n in range(200)])"
    code = f"from tasks.rollout.draw import to_challenger; {asked}"
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
        )
        assert ended.stdout.strip() == str([to_challenger("bikes", entity, 0.3) for entity in IDS[:200]])


def test_the_sides_are_those_they_were_when_this_was_written() -> None:
    """A change of the hash would move users that are in the middle of an experiment."""
    assert [number for number in range(40) if to_challenger("bikes", f"entity-{number}", 0.2)] == [
        8,
        15,
        19,
        24,
        31,
        35,
        36,
    ]


@pytest.mark.parametrize("odd", ["", "\ud800", "ß" * 10_000, "\x00"])
def test_every_text_has_a_side(odd: str) -> None:
    assert to_challenger("bikes", odd, 1.0)
    assert not to_challenger("bikes", odd, 0.0)


def test_the_shadow_draws_its_share_apart_from_whom_the_challenger_answers() -> None:
    shadowed = {entity for entity in IDS if in_shadow("bikes", entity, 0.2)}
    assert len(shadowed) / len(IDS) == pytest.approx(0.2, abs=0.01)
    assert len(shadowed & moved("bikes", 0.5)) / len(IDS) == pytest.approx(0.1, abs=0.01)
    assert all(in_shadow("bikes", entity, 1) for entity in IDS[:100])
    assert not any(in_shadow("bikes", entity, 0) for entity in IDS[:100])
