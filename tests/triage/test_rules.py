"""From verdicts to one action: every rule of the table, and what is just not it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from configs.case import Case
from configs.read import read_case
from configs.triage import RULES, ActionName, Guards, MonitorName, Rule, Said, Span, Triage
from tasks.triage.rules import SILENT, Facts, Ruled, cause_of, changed_at, fitting
from tasks.verdicts import Action, Answer, Monitor, Verdict
from tests.triage.conftest import NOW, facts, found, verdict

ROOT = Path(__file__).parents[2]
TABLES = {
    "of a case without one": RULES,
    "of flights": read_case(ROOT, "flights").triage.rules,
    "of bikes": read_case(ROOT, "bikes").triage.rules,
}
HOUR = timedelta(hours=1)
FRESH = {"hours_since_promotion": 24.0, "can_roll_back": True}


@pytest.fixture(params=list(TABLES))
def table(request: pytest.FixtureRequest) -> tuple[Rule, ...]:
    return TABLES[request.param]


def rule_on(table: tuple[Rule, ...], known: Facts) -> Ruled:
    """The rule that fits first."""
    return fitting(table, known)[0]


def action(table: tuple[Rule, ...], answers: dict[str, str], **others: object) -> Action:
    return rule_on(table, facts(answers, **others)).action


def test_the_words_of_the_table_are_those_of_the_verdicts() -> None:
    assert set(get_args(MonitorName)) == {monitor.value for monitor in Monitor}
    assert set(get_args(Said)) == {answer.value for answer in Answer} | {SILENT}
    assert set(get_args(ActionName)) == {each.value for each in Action}


def test_when_all_is_clear_nothing_is_done(table: tuple[Rule, ...]) -> None:
    assert action(table, dict.fromkeys(Monitor, "clear")) is Action.none


def test_when_no_monitor_has_said_anything_nothing_is_done_and_it_says_so(table: tuple[Rule, ...]) -> None:
    ruled = rule_on(table, facts())
    assert (ruled.action, ruled.reasons) == (Action.none, ("no rule fits (no monitor has said anything)",))


@pytest.mark.parametrize("monitor", ["contract", "freshness", "skew"])
def test_broken_or_stale_data_block_training_whatever_else_is_found(table: tuple[Rule, ...], monitor: str) -> None:
    everything = {"realised": "alarm", "concept": "alarm", "inputs": "alarm"}
    assert action(table, {**everything, monitor: "alarm"}, **FRESH) is Action.block
    assert action(table, {**everything, monitor: "clear"}, **FRESH) is not Action.block
    assert action(table, {monitor: "unknown"}) is Action.alert, "what could not be computed blocks nothing by itself"


def test_drift_without_loss_is_written_down_and_wakes_nobody(table: tuple[Rule, ...]) -> None:
    for monitor in ("inputs", "hourly"):
        assert action(table, {monitor: "alarm", "estimated": "clear", "realised": "clear"}) is Action.note
    assert action(table, {"score": "alarm", "realised": "clear"}) is Action.note
    assert action(table, {"inputs": "alarm", "realised": "alarm"}) is not Action.note


def test_drift_of_the_score_trains_unless_labels_say_that_nothing_was_lost(table: tuple[Rule, ...]) -> None:
    assert action(table, {"score": "alarm"}) is Action.retrain
    assert action(table, {"score": "alarm", "realised": "waiting"}) is Action.retrain
    assert action(table, {"score": "alarm", "realised": "clear"}) is Action.note
    assert action(table, {"score": "waiting"}) is Action.wait


def test_an_estimated_loss_trains_unless_labels_say_that_nothing_was_lost(table: tuple[Rule, ...]) -> None:
    assert action(table, {"estimated": "alarm", "inputs": "clear"}) is Action.retrain
    assert action(table, {"estimated": "alarm", "realised": "clear"}) is Action.note
    assert action(table, {"estimated": "clear", "inputs": "clear"}) is Action.none


def test_a_loss_that_drift_explains_trains(table: tuple[Rule, ...]) -> None:
    ruled = rule_on(table, facts({"realised": "alarm", "inputs": "alarm", "concept": "clear"}))
    assert (ruled.rule, ruled.action) == ("loss that drift explains", Action.retrain)
    assert rule_on(table, facts({"realised": "alarm", "inputs": "clear"})).rule == "loss"
    assert action(table, {"realised": "clear", "inputs": "clear"}) is Action.none


def test_when_the_concept_changed_only_a_recent_window_is_trained_on(table: tuple[Rule, ...]) -> None:
    assert action(table, {"concept": "alarm", "realised": "alarm", "inputs": "alarm"}) is Action.retrain_recent
    assert action(table, {"concept": "waiting", "realised": "alarm"}) is Action.retrain


def test_a_part_of_the_world_that_changed_is_told_to_people_and_trains_where_it_costs(table: tuple[Rule, ...]) -> None:
    assert action(table, {"slices": "alarm", "concept": "clear", "realised": "clear"}, **FRESH) is Action.alert
    assert action(table, {"slices": "alarm", "inputs": "alarm"}) is Action.alert
    both = {"slices": "alarm", "realised": "alarm"}
    assert action(table, both, **FRESH) is Action.retrain_recent, "one slice puts nobody back"
    assert action(table, {**both, "realised": "waiting"}) is Action.alert
    assert action(table, {"slices": "alarm", "concept": "alarm"}) is Action.retrain_recent


def test_the_world_changed_when_the_newest_alarm_says_so_that_wants_it_learned_anew(table: tuple[Rule, ...]) -> None:
    def changed(rule: str, **answers: Verdict) -> datetime | None:
        fits = fitting(table, facts(standing={Monitor(name): said for name, said in answers.items()}))
        [ruled] = [each for each in fits if each.rule == rule]
        return changed_at(ruled, fits)

    concept, slices = (verdict(name, since=NOW - hours * HOUR) for name, hours in (("concept", 9), ("slices", 5)))
    loss = verdict("realised")
    assert changed("loss", concept=concept, realised=loss) == NOW - 9 * HOUR
    assert changed("loss", concept=concept, slices=slices, realised=loss) == NOW - 5 * HOUR
    own = changed("the world changed", concept=concept, slices=slices, realised=loss)
    assert own == NOW - 9 * HOUR, "its own date is what it trains from, and what it waits for"
    estimated = verdict("estimated")
    assert changed("estimated loss", slices=slices, estimated=estimated) is None, (
        "a part that costs nothing holds nothing"
    )
    assert changed("the world changed", concept=verdict("concept"), inputs=verdict("inputs")) is None


def test_a_loss_soon_after_a_promotion_is_rolled_back(table: tuple[Rule, ...]) -> None:
    [rule] = [rule for rule in table if rule.action == "roll_back"]
    assert rule.hours_since_promotion is not None
    most = rule.hours_since_promotion.at_most
    assert most is not None
    worse = {"realised": "alarm", "concept": "alarm"}
    assert action(table, worse, hours_since_promotion=most, can_roll_back=True) is Action.roll_back
    assert action(table, worse, hours_since_promotion=most + 0.1, can_roll_back=True) is Action.retrain_recent
    assert action(table, worse, hours_since_promotion=None, can_roll_back=True) is Action.retrain_recent
    assert action(table, worse, hours_since_promotion=1.0, can_roll_back=False) is Action.retrain_recent
    # A loss alone may be a harder week; a change that loses nothing hurts nobody.
    assert action(table, {"realised": "alarm"}, **FRESH) is Action.retrain
    assert action(table, {"concept": "alarm"}, **FRESH) is Action.retrain_recent
    assert action(table, {"inputs": "alarm"}, **FRESH) is Action.note, "drift alone puts nobody back"


def test_labels_that_are_late_are_waited_for(table: tuple[Rule, ...]) -> None:
    assert action(table, {"labels": "alarm", "inputs": "clear", "realised": "waiting"}) is Action.wait
    assert rule_on(table, facts({"labels": "alarm"})).rule == "labels are late"
    assert action(table, {"labels": "alarm", "realised": "alarm"}) is Action.retrain, "only late labels are waited for"


def test_a_season_is_not_drift(table: tuple[Rule, ...]) -> None:
    season = verdict("inputs", "clear", evidence=(found("temperature", expected=True),))
    ruled = rule_on(table, facts(standing={Monitor.inputs: season}))
    assert (ruled.rule, ruled.action) == ("season", Action.none)
    both = (found("temperature", expected=True), found("origin", alarm=True))
    surprise = verdict("inputs", "alarm", evidence=both)
    assert rule_on(table, facts(standing={Monitor.inputs: surprise})).action is Action.note
    unexplained = verdict("hourly", "alarm")
    standing = {Monitor.inputs: season, Monitor.hourly: unexplained}
    assert rule_on(table, facts(standing=standing)).action is Action.note, "an alarm without a column is no season"


def test_too_little_evidence_waits_and_says_how_much_more_is_needed(table: tuple[Rule, ...]) -> None:
    waiting = verdict("realised", "waiting", text="120 of 200 labels are in; 80 more are needed")
    ruled = rule_on(table, facts(standing={Monitor.realised: waiting}))
    assert ruled.action is Action.wait
    assert "80 more are needed" in " ".join(ruled.reasons)


@pytest.mark.parametrize("monitor", list(Monitor))
def test_what_could_not_be_computed_alerts_and_never_counts_as_clear(table: tuple[Rule, ...], monitor: Monitor) -> None:
    assert action(table, {monitor.value: "unknown"}) is Action.alert
    others = {each.value: "clear" for each in Monitor if each is not monitor}
    assert action(table, {**others, monitor.value: "unknown"}) is Action.alert


def test_a_month_without_training_trains(table: tuple[Rule, ...]) -> None:
    [rule] = [rule for rule in table if rule.hours_since_training]
    assert rule.hours_since_training is not None
    least = rule.hours_since_training.at_least
    assert least is not None
    assert action(table, {"inputs": "clear"}, hours_since_training=least) is Action.retrain
    assert action(table, {"inputs": "clear"}, hours_since_training=least - 0.1) is Action.none
    assert action(table, {"contract": "alarm"}, hours_since_training=least) is Action.block
    assert action(table, {"inputs": "alarm", "realised": "clear"}, hours_since_training=least) is Action.retrain
    named = rule_on(table, facts({"realised": "alarm"}, hours_since_training=least)).rule
    assert named == "loss", "an alarm that trains names the reason"


def test_enough_new_rows_train() -> None:
    table = (Rule(rule="new data", action="retrain", new_rows=Span(at_least=10_000)),)
    assert action(table, {}, new_rows=10_000) is Action.retrain
    assert action(table, {}, new_rows=9_999) is Action.none
    assert action(table, {}, new_rows=None) is Action.none


def test_an_alarm_counts_when_it_stood_in_k_of_the_last_n_windows() -> None:
    table = (Rule(rule="loss", action="retrain", when=({"realised": ("alarm",)},), persistence=(2, 3)),)
    hour = timedelta(hours=1)

    def after(*answers: str) -> Action:
        said = [verdict("realised", answer, NOW - place * hour) for place, answer in enumerate(answers)]
        return rule_on(table, facts(standing={Monitor.realised: said[0]}, recent={Monitor.realised: said})).action

    assert after("alarm", "alarm") is Action.retrain
    assert after("alarm", "clear", "alarm") is Action.retrain
    assert after("alarm", "clear", "clear", "alarm") is Action.none, "three windows back it stood too, but n is 3"
    assert after("alarm") is Action.none
    assert after("clear", "alarm", "alarm") is Action.none, "it stands no more"
    twice = [verdict("realised"), verdict("realised")]
    standing = {Monitor.realised: twice[0]}
    assert rule_on(table, facts(standing=standing, recent={Monitor.realised: twice})).action is Action.none


def test_the_rules_that_fit_come_in_the_order_of_the_table() -> None:
    note = Rule(rule="a", action="note", when=({"inputs": ("alarm",)},))
    alert = Rule(rule="b", action="alert", when=({"inputs": ("alarm",)},))
    assert action((note, alert), {"inputs": "alarm"}) is Action.note
    assert action((alert, note), {"inputs": "alarm"}) is Action.alert
    assert [ruled.rule for ruled in fitting((alert, note), facts({"inputs": "alarm"}))] == ["b", "a"]
    assert [ruled.rule for ruled in fitting((alert, note), facts({"inputs": "clear"}))] == ["nothing to do"]


def test_every_line_of_a_rule_must_hold_and_one_monitor_is_enough_for_a_line() -> None:
    lines = ({"realised": ("alarm",), "estimated": ("alarm",)}, {"concept": ("clear", "silent")})
    table = (Rule(rule="a", action="retrain", when=lines),)
    assert action(table, {"estimated": "alarm", "concept": "clear"}) is Action.retrain
    assert action(table, {"estimated": "alarm"}) is Action.retrain
    assert action(table, {"estimated": "alarm", "concept": "waiting"}) is Action.none
    assert action(table, {"concept": "clear"}) is Action.none


def test_the_reasons_name_every_verdict_that_counted_the_alarms_first() -> None:
    ruled = rule_on(RULES, facts({"inputs": "alarm", "realised": "alarm"}, hours_since_promotion=2.0))
    assert [each.answer for each in ruled.verdicts] == [Answer.alarm, Answer.alarm]
    assert ruled.primary is not None
    assert ruled.primary.monitor is Monitor.realised
    assert ruled.reasons[0] == "realised alarms: realised as it was found"


def test_two_alarms_are_one_incident_if_the_same_column_gives_them_away() -> None:
    assert cause_of(verdict("inputs")) == cause_of(verdict("inputs", at=NOW + timedelta(hours=1)))
    assert cause_of(verdict("inputs")) != cause_of(verdict("inputs", cause="humidity"))
    assert cause_of(verdict("inputs")) != cause_of(verdict("hourly"))
    assert cause_of(verdict("inputs", "unknown")) == "inputs: could not compute"


def test_a_yaml_table_may_give_one_answer_as_a_word() -> None:
    rule = Rule.model_validate({"rule": "a", "action": "note", "when": [{"inputs": "alarm", "hourly": ["alarm"]}]})
    assert rule.when == ({"inputs": ("alarm",), "hourly": ("alarm",)},)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"rule": "a", "action": "note"}], "fits always"),
        ([{"rule": "a", "action": "note", "when": [{"weather": "alarm"}]}], "weather"),
        ([{"rule": "a", "action": "note", "when": [{"inputs": "red"}]}], "red"),
        ([{"rule": "a", "action": "sing", "when": [{"inputs": "alarm"}]}], "sing"),
        ([{"rule": "a", "action": "note", "when": [{"inputs": "alarm"}], "persistence": [3, 2]}], "3 of 2"),
        ([{"rule": "a", "action": "note", "new_rows": {}}], "at_least, at_most"),
        ([{"rule": "a", "action": "note", "new_rows": {"at_least": 3, "at_most": 2}}], "nothing is at least 3"),
        ([{"rule": "a", "action": "note", "when": [{"inputs": "alarm"}]}] * 2, "two rules are called `a`"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(rules: list[dict[str, object]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Triage.model_validate({"rules": rules})


def test_a_case_without_a_table_has_one_and_its_guards() -> None:
    assert Case.model_fields["triage"].default == Triage(rules=RULES, guards=Guards())


def test_enough_new_rows_train_in_every_table_that_asks_for_them() -> None:
    found = [(table, rule.new_rows) for table in TABLES.values() for rule in table if rule.new_rows]
    assert found, "a case shows how it is done"
    for table, span in found:
        least = span.at_least
        assert least is not None
        assert action(table, {"inputs": "alarm"}, new_rows=int(least)) is Action.retrain
        assert action(table, {"inputs": "alarm"}, new_rows=int(least) - 1) is Action.note
