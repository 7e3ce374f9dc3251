"""What a case wants hashed is only hashed, what it wants dropped is nowhere, and sampling keeps whole requests."""

import os
import stat
from dataclasses import replace
from datetime import timedelta

import pytest

from serving.ledger.errors import KeyUnusable
from serving.ledger.privacy import KEY_VARIABLE, hash_key, is_sampled, pseudonym
from serving.records import Part, Role
from tests.serving.ledger.conftest import BIRDS, NOON, Log, bird, birds

SECRET = "a key that several machines share"


def private(log: Log, **kept: object) -> Log:
    return replace(log, cases={"birds": BIRDS.model_copy(update=kept)})


def parquet_bytes(log: Log) -> bytes:
    files = log.store.files("birds", NOON.date())
    return b"".join(log.store.get("birds", NOON.date(), name) for name in files)


@pytest.fixture(autouse=True)
def _no_key_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_a_hashed_column_holds_a_keyed_hash_that_is_the_same_for_the_same_value(log: Log) -> None:
    log = private(log, hashed=("species", "weight", "entity"))
    log.write("w0-1-000001", bird("a"), bird("b"), bird("c", rows=birds(species="wren", weight=None)))
    log.compact()
    a, b, c = log.read()
    key = hash_key(log.folder)
    assert a["species"] == b["species"] == pseudonym(key, "robin") != c["species"]
    assert (a["weight"], c["weight"]) == (pseudonym(key, 18.5), None)
    assert a["entity"] == pseudonym(key, "nest-0")
    assert all(len(a[name]) == 32 and int(a[name], 16) >= 0 for name in ("species", "weight", "entity"))
    assert b"robin" not in parquet_bytes(log)
    assert b"nest-0" not in parquet_bytes(log)


def test_a_dropped_column_is_nowhere(log: Log) -> None:
    log = private(log, dropped=("species", "entity"))
    log.write("w0-1-000001", bird("a"))
    log.compact()
    (row,) = log.read()
    assert {"species", "entity"}.isdisjoint(row)
    assert row["weight"] == 18.5
    assert b"robin" not in parquet_bytes(log)


def test_rows_that_are_not_parquet_yet_are_read_as_privately(log: Log) -> None:
    log = private(log, hashed=("species",), dropped=("entity",))
    log.write("w0-1-000001", bird("a"))
    waiting = log.read(fresh=log.folder)
    log.compact()
    assert waiting == log.read()


def test_the_key_is_made_once_and_only_its_owner_may_read_it(log: Log) -> None:
    log.folder.mkdir()
    key = hash_key(log.folder)
    assert hash_key(log.folder) == key
    assert stat.S_IMODE((log.folder / "hash.key").stat().st_mode) == 0o600
    assert os.listdir(log.folder) == ["hash.key"]  # noqa: PTH208 - hidden files too


def test_a_log_that_hashes_nothing_makes_no_key(log: Log) -> None:
    log.write("w0-1-000001", bird("a"))
    log.compact()
    assert not (log.folder / "hash.key").exists()


def test_the_key_can_come_from_the_environment(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.folder.mkdir()
    own = hash_key(log.folder)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    shared = hash_key(log.folder)
    assert pseudonym(shared, "robin") != pseudonym(own, "robin")
    assert hash_key(log.folder.parent) == shared


@pytest.mark.parametrize("key", ["", "short", "fifteen letters"])
def test_a_key_that_can_be_guessed_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    log = private(log, hashed=("species",))
    log.write("w0-1-000001", bird("a"))
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(KeyUnusable, match=rf"{KEY_VARIABLE} is {len(key)} characters long; expected at least 16"):
        hash_key(log.folder)
    assert log.compact() > 2
    assert log.segments() == ["w0-1-000001.sealed"]
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    log.compact()
    assert log.ids() == ["a"]


def test_sampling_keeps_its_share_of_requests_whole_and_the_same_on_every_machine(log: Log) -> None:
    log = private(log, sample=0.25)
    ids = [f"r{number:04}" for number in range(2000)]
    shadow = [Part(None, "4", Role.shadow, [0.2], (False, True))]
    log.write("w0-1-000001", *(bird(name) for name in ids))
    log.write("w1-1-000001", *(bird(name, NOON + timedelta(days=1), parts=shadow) for name in ids))
    log.compact()
    kept = [name for name in ids if is_sampled(name, 0.25)]
    assert 420 < len(kept) < 580
    assert log.ids() == sorted(kept * 2)


def test_a_sample_of_all_keeps_all() -> None:
    assert all(is_sampled(f"{number}", 1.0) for number in range(1000))
