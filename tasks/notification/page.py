"""The page of a monitoring run: what was said, what was done, and what is open, in Markdown."""

from collections.abc import Sequence

from tasks.triage.incident import Incident
from tasks.verdicts import Answer, Monitor, Triaged, Verdict

_MARKS = {Answer.clear: "✓", Answer.alarm: "✗", Answer.waiting: "…", Answer.unknown: "?"}
_MOST_SUBJECTS = 5


def page(triaged: Triaged, standing: Sequence[Verdict], open_ones: Sequence[Incident]) -> str:
    """The action and its reasons, the standing verdicts, and the open incidents."""
    reasons = "\n".join(f"- {reason}" for reason in triaged.reasons)
    held = f" (`{triaged.held_back}` was held back)" if triaged.held_back else ""
    parts = [
        f"# {triaged.action}{held}: {triaged.rule}",
        reasons,
        verdict_table(standing),
        incident_table(open_ones),
    ]
    return "\n\n".join(part for part in parts if part)


def verdict_table(standing: Sequence[Verdict]) -> str:
    """One line for each verdict, in the monitors' order."""
    order = list(Monitor)
    lines = ["| | monitor | found | about | rows | error rate | window |", "|---|---|---|---|---:|---:|---|"]
    for verdict in sorted(standing, key=lambda each: order.index(each.monitor)):
        rate = f"{verdict.error_rate:.0%}" if verdict.error_rate is not None else ""
        report = f" [pictures]({verdict.report})" if verdict.report else ""
        lines.append(
            f"| {_MARKS[verdict.answer]} | {verdict.monitor} | {_cell(verdict.text)}{report} "
            f"| {_cell(', '.join(verdict.subjects[:_MOST_SUBJECTS]))} | {verdict.rows:,} | {rate} "
            f"| {verdict.start:%Y-%m-%d %H:%M} to {verdict.end:%Y-%m-%d %H:%M} |"
        )
    return "\n".join(lines)


def incident_table(incidents: Sequence[Incident]) -> str:
    """One line for each incident; nothing if there is none."""
    if not incidents:
        return ""
    head = ["| incident | since | about | what was done | alarms | taken by |", "|---:|---|---|---|---:|---|"]
    return "\n".join(head + [_incident_line(incident) for incident in incidents])


def _incident_line(incident: Incident) -> str:
    undone, blocks = " (not done yet)" if incident.undone else "", " (blocks training)" if incident.blocks else ""
    return (
        f"| {incident.id} | {incident.opened_at:%Y-%m-%d %H:%M} | {_cell(incident.cause)} "
        f"| {incident.action}{undone}{blocks} | {incident.alarms} "
        f"| {_cell(incident.acknowledged_by or '')} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
