"""What an alert says: what happened, how bad, since when, what was done, and where it says what to do."""

from datetime import timedelta

from tasks.triage.incident import ROLLOUT, Incident, Moment
from tasks.verdicts import Action

_DONE = {
    Action.none: "nothing",
    Action.wait: "nothing yet",
    Action.note: "it was written down",
    Action.alert: "people are told; nothing else",
    Action.block: "training is blocked until the verdict clears, or `evergreen unblock`",
    Action.retrain: "a training was started",
    Action.retrain_recent: "a training on a recent window was started",
    Action.roll_back: "the champion before it was put back",
    Action.escalate: "nothing more is done without a person",
}
_UNDONE = {
    Action.retrain: "a training was decided on, and has not begun",
    Action.retrain_recent: "a training on a recent window was decided on, and has not begun",
    Action.roll_back: "to put the champion before it back was decided on, and has not been done",
}
_MOST_WORDS = 1500


def subject(incident: Incident, moment: Moment) -> str:
    """One line: `[flights] incident 3 opened: loss (realised: auc)`."""
    return f"[{incident.case}] incident {incident.id} {moment}: {incident.rule} ({incident.cause})"


def body(incident: Incident, moment: Moment, runbook: str) -> str:
    """The facts a person needs, one a line."""
    why = "; ".join(incident.reasons)
    lines = [
        ("What happened", why if len(why) <= _MOST_WORDS else f"{why[:_MOST_WORDS]} …"),
        ("How bad", f"{incident.rule}; {_times(incident)}"),
        ("Since", _since(incident)),
        ("What was done", _done(incident)),
        ("About", f"version {incident.version} of `{incident.case}`" if incident.version else f"`{incident.case}`"),
        ("Pictures", incident.report or ""),
        ("What to do", f"{runbook}#{incident.monitor}"),
        ("Take it", f"evergreen incidents ack {incident.id} --by YOU" if moment != "closed" else ""),
    ]
    return "\n".join(f"{name}: {text}" for name, text in lines if text)


def _times(incident: Incident) -> str:
    return "one alarm" if incident.alarms == 1 else f"{incident.alarms} alarms"


def _since(incident: Incident) -> str:
    if incident.closed_at is None:
        return f"{incident.opened_at:%Y-%m-%d %H:%M}Z"
    lasted = (incident.closed_at - incident.opened_at) / timedelta(hours=1)
    return f"{incident.opened_at:%Y-%m-%d %H:%M}Z, over at {incident.closed_at:%Y-%m-%d %H:%M}Z after {lasted:.0f} h"


def _done(incident: Incident) -> str:
    held = f"; `{incident.held_back}` was held back" if incident.held_back else ""
    run = f" (run {incident.run})" if incident.run else ""
    if incident.monitor == ROLLOUT:
        left = incident.action is Action.roll_back
        done = f"version {incident.version} {'answers nobody any more' if left else 'gets no further for now'}"
    else:
        done = (_UNDONE if incident.undone else _DONE)[incident.action]
    return done + held + run
