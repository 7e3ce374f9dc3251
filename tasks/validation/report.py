"""The report of a batch as one page that opens without a network."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tasks.records import Batch, BatchReport, Finding, Severity

_ORDER = list(Severity)


def page(report: BatchReport, batch: Batch) -> str:
    """The HTML page of a report, worst findings first."""
    return _template().render(report=report, batch=batch, findings=sorted(report.findings, key=_rank))


def _rank(finding: Finding) -> tuple[bool, int]:
    return finding.passed, _ORDER.index(finding.severity)


@cache
def _template() -> Template:
    # Values come from whoever delivers: without autoescape a category could carry a script into the page.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2")
