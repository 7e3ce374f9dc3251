"""Keys, scopes and the pace of clients."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.errors import ConfigError
from serving.access import Door, Keys, Pace
from serving.errors import NotAllowed, OutOfScope, TooMany

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def new_key(path: Path, name: str = "shop", *, admin: bool = False) -> bytes:
    keys, key = Keys.read(path).with_new(name, ("predict", "admin") if admin else ("predict",), NOW)
    keys.write(path)
    return key.encode()


def test_a_key_lets_in_whoever_shows_it(path: Path) -> None:
    key = new_key(path)
    assert Door(path).let_in({b"x-api-key": key}, "predict") == "shop"
    assert Door(path).let_in({b"authorization": b"Bearer " + key}, "predict") == "shop"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"x-api-key": b"evg_guess"},
        {b"authorization": b"Basic c2hvcA=="},
        {b"authorization": b""},
        {b"x-api-key": b"\xff\x00"},
    ],
)
def test_without_a_known_key_nobody_is_let_in(path: Path, headers: dict[bytes, bytes]) -> None:
    new_key(path)
    with pytest.raises(NotAllowed, match="A key is needed"):
        Door(path).let_in(headers, "predict")


def test_a_key_opens_only_what_it_is_for(path: Path) -> None:
    key = new_key(path)
    with pytest.raises(OutOfScope, match="scope `admin`"):
        Door(path).let_in({b"x-api-key": key}, "admin")


def test_an_admin_may_predict_too(path: Path) -> None:
    key = new_key(path, admin=True)
    assert Door(path).let_in({b"x-api-key": key}, "predict") == "shop"
    assert Door(path).let_in({b"x-api-key": key}, "admin") == "shop"


def test_the_file_holds_no_key_and_only_its_owner_reads_it(path: Path) -> None:
    key = new_key(path)
    assert key.decode() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_added_or_removed_counts_at_the_next_look(path: Path) -> None:
    first = new_key(path)
    door = Door(path)
    second = new_key(path, "other")
    os.utime(path, ns=(1, 1))
    door.look()
    assert door.let_in({b"x-api-key": second}, "predict") == "other"
    Keys.read(path).without("shop").write(path)
    os.utime(path, ns=(2, 2))
    door.look()
    with pytest.raises(NotAllowed):
        door.let_in({b"x-api-key": first}, "predict")


def test_a_gateway_whose_file_of_keys_is_missing_lets_nobody_in(path: Path) -> None:
    with pytest.raises(NotAllowed):
        Door(path).let_in({b"x-api-key": b"evg_any"}, "predict")


def test_a_name_is_given_once(path: Path) -> None:
    new_key(path)
    with pytest.raises(ConfigError, match="There is a key named `shop` already"):
        Keys.read(path).with_new("shop", ("predict",), NOW)


def test_only_a_key_that_exists_can_be_removed(path: Path) -> None:
    new_key(path)
    with pytest.raises(ConfigError, match="no key named `shpo`; there are: shop"):
        Keys.read(path).without("shpo")


def test_a_damaged_file_of_keys_is_named(path: Path) -> None:
    path.write_text("{}}")
    with pytest.raises(ConfigError, match=r"keys\.json holds no keys"):
        Keys.read(path)


def test_where_no_file_is_named_anybody_may_ask() -> None:
    assert Door(None).let_in({}, "admin") is None


def test_a_client_may_send_its_rate_and_twice_that_at_once() -> None:
    pace = Pace(10)
    for _ in range(20):
        pace.take("a", 0.0)
    with pytest.raises(TooMany, match="10 requests a second") as refused:
        pace.take("a", 0.0)
    assert refused.value.retry_after == pytest.approx(0.1)
    pace.take("a", 0.11)


def test_one_client_does_not_use_up_the_rate_of_another() -> None:
    pace = Pace(1)
    pace.take("a", 0.0)
    pace.take("a", 0.0)
    with pytest.raises(TooMany):
        pace.take("a", 0.0)
    pace.take("b", 0.0)


def test_the_pace_remembers_only_so_many_clients() -> None:
    pace = Pace(1)
    for i in range(10_050):
        pace.take(str(i), 0.0)
    assert len(pace._buckets) == 10_000
