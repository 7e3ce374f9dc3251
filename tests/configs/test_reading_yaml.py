"""Every mistake in a YAML file is named by its file and its key, with what was meant where that can be told."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from configs.case import Case
from configs.errors import ConfigError, UnknownCase
from configs.read import read_case, read_params

ROOT = Path(__file__).parents[2]

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the shipped configuration."""
    (tmp_path / "configs").mkdir()
    for path in [*(ROOT / "configs").glob("*.yaml"), ROOT / "params.yaml"]:
        (tmp_path / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    return tmp_path


def changed(path: Path, change: Change) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def case_with(root: Path, change: Change) -> Case:
    changed(root / "configs" / "flights.yaml", change)
    return read_case(root, "flights")


def test_a_misspelt_key_is_named_with_its_file_and_the_key_that_was_meant(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"flights\.yaml: unknown key `label_delay_hour`; did you mean `label_delay_hours`"
    ):
        case_with(root, lambda case: case.update(label_delay_hour=3))


def test_a_misspelt_key_deep_inside_is_named_by_its_whole_path(root: Path) -> None:
    changed(root / "params.yaml", lambda params: params["bikes"]["gate"]["slices"].update(tolerence=0.1))
    with pytest.raises(
        ConfigError, match=r"params\.yaml: unknown key `bikes\.gate\.slices\.tolerence`; did you mean `tolerance`"
    ):
        read_params(root, "bikes")


def test_a_key_like_no_other_is_answered_with_the_keys_there_are(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown key `contract\.columns\.origin\.zzz`; expected one of: categories, .*unit"
    ):
        case_with(root, lambda case: case["contract"]["columns"]["origin"].update(zzz=1))


def test_a_column_called_like_a_key_of_ours_still_has_its_mistakes_explained(root: Path) -> None:
    wrong = {"type": "number", "role": "feature", "rage": [0, 1]}
    with pytest.raises(ConfigError, match=r"unknown key `contract\.columns\.range\.rage`; did you mean `range`"):
        case_with(root, lambda case: case["contract"]["columns"].update(range=wrong))


def test_a_misspelt_key_of_a_source_is_compared_with_the_keys_of_sources(root: Path) -> None:
    source = {"kind": "file", "urll": "x.csv", "format": "csv"}
    with pytest.raises(ConfigError, match=r"unknown key `source\.file\.urll`; did you mean `url`"):
        case_with(root, lambda case: case.update(source=source))


def test_a_missing_key_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"flights\.yaml: `label_delay_hours` is missing"):
        case_with(root, lambda case: case.pop("label_delay_hours"))


def test_a_value_of_the_wrong_type_is_shown_with_what_was_expected(root: Path) -> None:
    changed(root / "params.yaml", lambda params: params["flights"]["gate"].update(min_blocks="many"))
    with pytest.raises(
        ConfigError, match=r"params\.yaml: `flights\.gate\.min_blocks` is 'many': input should be a valid integer"
    ):
        read_params(root, "flights")


def test_at_most_five_mistakes_are_told_and_the_rest_counted(root: Path) -> None:
    def forget(case: dict[str, Any]) -> None:
        for key in ("question", "problem", "label_delay_hours", "batch_every", "source", "contract"):
            del case[key]

    with pytest.raises(ConfigError, match="and 1 more") as raised:
        case_with(root, forget)
    assert str(raised.value).count("is missing") == 5


def test_a_long_value_is_described_and_not_repeated(root: Path) -> None:
    with pytest.raises(ConfigError, match="`question` is list of 3002 characters") as raised:
        case_with(root, lambda case: case.update(question=[10**2999]))
    assert len(str(raised.value)) < 200


def test_a_key_given_twice_is_refused_because_one_of_its_values_would_be_lost(root: Path) -> None:
    path = root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("  seed: 2013\n", "  seed: 2013\n  seed: 2014\n"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not valid YAML.*key given twice: seed"):
        read_params(root, "bikes")


def test_broken_yaml_is_named_by_file_and_line(root: Path) -> None:
    (root / "configs" / "flights.yaml").write_text("question: [\nproblem: binary\n")
    with pytest.raises(ConfigError, match=r"(?s)flights\.yaml is not valid YAML.*line 1, column 11"):
        read_case(root, "flights")


def test_a_file_in_another_encoding_is_named(root: Path) -> None:
    (root / "configs" / "flights.yaml").write_bytes("question: über °F\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"flights\.yaml is not valid YAML in UTF-8"):
        read_case(root, "flights")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_a_file_without_keys_is_refused(root: Path, text: str) -> None:
    (root / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml: expected keys and values, found"):
        read_params(root, "flights")


def test_a_case_without_its_section_of_parameters_is_told_which_sections_there_are(root: Path) -> None:
    changed(root / "params.yaml", lambda params: params.pop("bikes"))
    with pytest.raises(ConfigError, match=r"params\.yaml: there is no section `bikes` \(found: flights\)\. Add one"):
        read_params(root, "bikes")


def test_an_empty_section_of_parameters_is_refused_by_name(root: Path) -> None:
    changed(root / "params.yaml", lambda params: params.update(bikes=None))
    with pytest.raises(ConfigError, match=r"params\.yaml: `bikes` is None"):
        read_params(root, "bikes")


def test_params_yaml_itself_may_not_be_missing(root: Path) -> None:
    (root / "params.yaml").unlink()
    with pytest.raises(ConfigError, match=r"params\.yaml does not exist; it is part of the project"):
        read_params(root, "bikes")


@pytest.mark.parametrize("read", [read_case, read_params])
def test_an_unknown_case_is_answered_with_the_known_ones_and_the_one_that_was_meant(root: Path, read: Any) -> None:
    with pytest.raises(UnknownCase, match=r"no case `flight`\. Did you mean `flights`\? Known cases: bikes, flights"):
        read(root, "flight")


def test_an_unknown_case_like_no_other_is_not_guessed_at(root: Path) -> None:
    with pytest.raises(UnknownCase, match=r"no case `ships`\. Known cases: bikes, flights") as raised:
        read_case(root, "ships")
    assert "Did you mean" not in str(raised.value)


def test_a_case_takes_its_name_from_its_file_which_must_be_fit_for_a_model_name(root: Path) -> None:
    (root / "configs" / "flights.yaml").rename(root / "configs" / "My_Flights.yaml")
    with pytest.raises(ConfigError, match="`name` is 'My_Flights': string should match pattern"):
        read_case(root, "My_Flights")


def test_what_was_read_cannot_be_changed(root: Path) -> None:
    case, params = read_case(root, "flights"), read_params(root, "flights")
    before = copy.deepcopy((case, params))
    for value, field in ((case, "question"), (case.contract, "version"), (params, "seed"), (params.gate, "margin")):
        with pytest.raises(ValidationError, match="Instance is frozen"):
            setattr(value, field, 1)
    assert (case, params) == before


def test_a_file_is_read_once_and_again_when_it_was_written_again(root: Path) -> None:
    first = read_params(root, "bikes")
    assert read_params(root, "bikes") is first
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("seed: 2011", "seed: 2012"))
    assert (first.seed, read_params(root, "bikes").seed) == (2011, 2012)
