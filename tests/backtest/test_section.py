"""The best policy goes into the case's file, and no comment is lost."""

from pathlib import Path

import yaml

from configs.section import triage_section, with_section, write_section
from configs.triage import Guards, Rule, Span, Triage

TABLE = Triage(
    rules=(
        Rule(rule="loss", when=({"realised": ("alarm",)},), action="retrain"),
        Rule(rule="a month", hours_since_training=Span(at_least=672), action="retrain"),
    ),
    guards=Guards(cool_down_hours=24),
)


def test_a_section_reads_back_as_the_table_it_was_made_of() -> None:
    assert Triage.model_validate(yaml.safe_load(triage_section(TABLE))["triage"]) == TABLE


def test_only_the_section_changes() -> None:
    text = "# Ships\nquestion: x # why\n\n# From verdicts\ntriage:\n  rules: []\n  guards: {}\n\nserving: {} # kept\n"
    changed = with_section(text, triage_section(TABLE))
    assert changed is not None
    assert changed.startswith("# Ships\nquestion: x # why\n\n# From verdicts\ntriage:\n")
    assert changed.endswith("guards: {cool_down_hours: 24.0}\n\nserving: {} # kept\n")
    assert Triage.model_validate(yaml.safe_load(changed)["triage"]) == TABLE


def test_a_file_without_one_gets_it_at_its_end() -> None:
    changed = with_section("question: x\n", triage_section(TABLE))
    assert changed is not None
    assert Triage.model_validate(yaml.safe_load(changed)["triage"]) == TABLE


def test_a_section_that_holds_a_comment_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("triage:\n  rules: [] # on purpose\n")
    assert not write_section(path, triage_section(TABLE))
    assert path.read_text() == "triage:\n  rules: [] # on purpose\n"
