"""The suite: what the contract, the parameters and the case ask of a batch, as Great Expectations expectations."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import pandas as pd

from configs.case import Case, Column, ExtraExpectation, Role
from configs.errors import ConfigError
from configs.params import ValidationParams
from tasks.records import Batch, Finding, Severity
from tasks.validation import wording
from tasks.validation.delivery import Delivery
from tasks.validation.gx import gxe, results

# `severity` stands beside `arguments`; the rest steers Great Expectations itself, not the check.
_NOT_ARGUMENTS = {
    "batch_id",
    "catch_exceptions",
    "id",
    "meta",
    "rendered_content",
    "result_format",
    "severity",
    "windows",
}


@dataclass(frozen=True)
class Check:
    """One expectation, and the words for what it expects and for what breaks it."""

    expectation: Any
    column: str | None
    expected: str
    wrong: str
    """Completes `412 of 5,893 rows …`; empty where it is all rows that are counted."""


def suite(case: Case, rules: ValidationParams, came: Delivery) -> list[Check]:
    """Every check of one batch; the values only of columns that are sound."""
    checks = list(_rows(rules, came.typical_rows))
    for name, column in case.contract.columns.items():
        if name in came.frame.columns and column.may_be_missing < 1:
            checks.append(_missing(name, column))
        # A column without a single value has no type that values could be compared in; its missing share speaks.
        if name in came.sound and came.frame[name].notna().any():
            checks.extend(_values(name, column, came.batch))
    return checks + extra_checks(case)


def ask(checks: list[Check], frame: pd.DataFrame) -> list[Finding]:
    """One finding for each check, in their order. A check that could not be made is critical."""
    answers = results(frame, [check.expectation for check in checks])
    return [_finding(check, answer) for check, answer in zip(checks, answers, strict=True)]


def extra_checks(case: Case) -> list[Check]:
    """The checks a case adds to its contract. Raises ConfigError if one cannot be made as it is written."""
    return [_extra(case, number, extra) for number, extra in enumerate(case.expectations)]


def _rows(rules: ValidationParams, typical: float | None) -> Iterator[Check]:
    expectation = gxe.ExpectTableRowCountToBeBetween(min_value=rules.min_rows, severity="critical")
    yield Check(expectation, None, f"at least {rules.min_rows:,} rows", "")
    if typical is not None:
        low, high = max(0, ceil(typical * (1 - rules.volume_change))), floor(typical * (1 + rules.volume_change))
        # Only a warning: a batch at the edge of a year or of the history is honestly small.
        expectation = gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high, severity="warning")
        yield Check(expectation, None, f"{low:,} to {high:,} rows, as recent batches had about {typical:,.0f}", "")


def _missing(name: str, column: Column) -> Check:
    share = column.may_be_missing
    # 1 - 0.7 is a hair above 0.3, and a hair is enough to refuse a batch that keeps its promise exactly.
    expectation = gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=round(1 - share, 12), severity="critical")
    expected = f"at most {wording.percent(share)} missing" if share else "never missing"
    return Check(expectation, name, expected, "missing")


def _values(name: str, column: Column, batch: Batch) -> Iterator[Check]:
    if column.role is Role.entity:
        yield Check(gxe.ExpectColumnValuesToBeUnique(column=name, severity="critical"), name, "unique", "share a key")
    if column.role is Role.event_time:
        yield _within(name, batch)
    if column.range is not None and column.range != (None, None):
        low, high = column.range
        expectation = gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high, severity="critical")
        yield Check(expectation, name, wording.between(low, high, column.unit), "outside")
    if column.categories is not None:
        yield _listed(name, column, column.categories)


def _within(name: str, batch: Batch) -> Check:
    expectation = gxe.ExpectColumnValuesToBeBetween(
        column=name,
        min_value=pd.Timestamp(batch.start),
        max_value=pd.Timestamp(batch.end),
        strict_max=True,
        severity="critical",
    )
    return Check(
        expectation, name, f"{batch.start:%Y-%m-%d} up to, not with, {batch.end:%Y-%m-%d}", "outside the batch"
    )


def _listed(name: str, column: Column, categories: tuple[str, ...]) -> Check:
    expectation = gxe.ExpectColumnValuesToBeInSet(
        column=name, value_set=list(categories), mostly=round(1 - column.unseen, 12), severity="critical"
    )
    others = f"; at most {wording.percent(column.unseen)} others" if column.unseen else ""
    return Check(expectation, name, f"one of {wording.listing(categories, 20)}{others}", "not in the list")


def _extra(case: Case, number: int, extra: ExtraExpectation) -> Check:
    where = f"{case.name}.yaml: `expectations[{number}]` ({extra.type})"
    expectation_class = _class_of(where, extra)
    _refuse_unknown_arguments(where, expectation_class, extra)
    _refuse_unknown_columns(where, case, extra)
    if {"min_value", "max_value"} <= set(expectation_class.__fields__) - set(extra.arguments):
        raise ConfigError(f"{where} could never fail: give it `min_value`, `max_value` or both.")
    try:
        expectation = expectation_class(**extra.arguments, severity=extra.severity)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {_first_problem(error)}") from error
    return Check(expectation, extra.arguments.get("column"), _asked(extra), "break the rule")


def _class_of(where: str, extra: ExtraExpectation) -> Any:
    classes = [getattr(gxe, name) for name in dir(gxe) if name.startswith("Expect") and name != "Expectation"]
    by_type = {expectation_class.expectation_type: expectation_class for expectation_class in classes}
    if extra.type not in by_type:
        raise ConfigError(f"{where} is no check of Great Expectations{_near(extra.type, by_type)}")
    return by_type[extra.type]


def _refuse_unknown_arguments(where: str, expectation_class: Any, extra: ExtraExpectation) -> None:
    allowed = [name for name in expectation_class.__fields__ if name not in _NOT_ARGUMENTS]
    for name in extra.arguments:
        if name not in allowed:
            raise ConfigError(f"{where} takes no argument `{name}`{_near(name, allowed)}")


def _refuse_unknown_columns(where: str, case: Case, extra: ExtraExpectation) -> None:
    promised = case.contract.names()
    given = [extra.arguments.get(key) for key in ("column", "column_A", "column_B")]
    for name in [*given, *extra.arguments.get("column_list", [])]:
        if name is not None and name not in promised:
            raise ConfigError(f"{where} names `{name}`, which is no column of the contract{_near(str(name), promised)}")


def _near(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: what may have been meant, or else, of a few, all that could be."""
    known = list(known)
    meant = difflib.get_close_matches(name, known, 3)
    if meant:
        return f"; did you mean {' or '.join(f'`{other}`' for other in meant)}?"
    return f"; there is {wording.listing(known, 12)}."


def _first_problem(error: Exception) -> str:
    if not hasattr(error, "errors"):
        return str(error)
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"] if part != "__root__")
    return f"`{key}`: {problem['msg']}." if key else f"{problem['msg']}."


def _asked(extra: ExtraExpectation) -> str:
    """What an extra check expects, from its name and arguments: `mean 0 to 100`."""
    arguments = dict(extra.arguments)
    arguments.pop("column", None)
    words = extra.type.removeprefix("expect_").removeprefix("column_")
    if words.endswith("_to_be_between") and {"min_value", "max_value"} & arguments.keys():
        bounds = wording.between(arguments.pop("min_value", None), arguments.pop("max_value", None))
        words = f"{words.removesuffix('_to_be_between')} {bounds}"
    rest = ", ".join(f"{key} {value}" for key, value in arguments.items())
    return words.replace("_", " ") + (f" ({rest})" if rest else "")


def _finding(check: Check, answer: Any) -> Finding:
    config, failure = answer.expectation_config, _exception(answer.exception_info)
    found, rows, examples = ("", 0, ()) if failure else _found(check, answer.result)
    return Finding(
        check=config.type,
        column=check.column,
        # A check that crashed keeps the severity it had, and an `info` crash would let anything through.
        severity=Severity.critical if failure else Severity(config.severity.value),
        passed=bool(answer.success) and not failure,
        expected=check.expected,
        found=f"the check could not be made: {failure}" if failure else found,
        rows=rows,
        examples=examples,
    )


def _found(check: Check, result: dict[str, Any]) -> tuple[str, int, tuple[str, ...]]:
    if "unexpected_count" in result:
        failing = int(result["unexpected_count"])
        found = wording.rows(failing, int(result["element_count"]), check.wrong)
        return found, failing, wording.examples(result.get("partial_unexpected_list", ()))
    observed = result.get("observed_value")
    if not check.wrong:
        return f"{observed:,} rows", 0, ()
    return "nothing to measure" if observed is None else wording.value(observed), 0, ()


def _exception(info: dict[str, Any] | None) -> str | None:
    """The first line of what went wrong inside a check, from either of the two shapes it is told in."""
    shapes = [info, *info.values()] if info else []
    for shape in shapes:
        if isinstance(shape, dict) and shape.get("raised_exception"):
            lines = str(shape.get("exception_message") or "no reason given").strip().splitlines()
            return lines[0][:200]
    return None
