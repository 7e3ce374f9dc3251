"""A copy of the project has values of its own."""

from pathlib import Path

from configs.overlay import overlay
from configs.read import mapping


def test_values_are_set_by_dotted_keys_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("a: {b: 1, c: 2}\nd: 3\n")
    overlay(path, {"a.b": [4], "e.f": {"g": 5}})
    assert mapping(path) == {"a": {"b": [4], "c": 2}, "d": 3, "e": {"f": {"g": 5}}}
    assert list(tmp_path.iterdir()) == [path]
