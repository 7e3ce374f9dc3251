"""What a person reads at the end of a run: what was validated, trained, compared, decided, and who serves."""

from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from configs.project import Project
from tasks.adapters.registry import ModelVersion, Registry
from tasks.promotion.decide import Desk
from tasks.records import Candidate, Evaluation, Refit, Registered, Rollout, Status, Windows

_COLOURS = {
    "champion": "green",
    "awaiting approval": "yellow",
    "rolling out": "yellow",
    "promote": "green",
    "reject": "red",
    "inconclusive": "yellow",
    "rolled back": "red",
}


def run_summary(project: Project, registered: Registered) -> Panel:
    """The run that just ended, from the files it left."""
    files = project.files(registered.case)
    windows = Windows.read(files.windows)
    candidate = Candidate.read(files.model / "candidate.json")
    facts = _facts()
    facts.add_row("validated", _validated(project, registered.case, windows))
    facts.add_row(
        "trained",
        f"{candidate.estimator} on {candidate.rows:,} rows, {_days(candidate.train_start, candidate.train_end)}"
        f" ({candidate.seconds:.1f} s)",
    )
    if registered.known:
        facts.add_row("compared", f"not again: this very candidate is version {registered.version}")
    else:
        evaluation = Evaluation.read(files.evaluation / "evaluation.json")
        facts.add_row("compared", _compared(evaluation, project.params(registered.case).gate.metric))
        facts.add_row("decided", _decided(registered, evaluation))
        refit = Refit.read(files.refit / "refit.json")
        if refit.asked:
            facts.add_row("fitted again", str(refit))
    facts.add_row("version", _version(registered))
    facts.add_row("serving", serving(Registry(project).holder(registered.case, "champion")))
    return Panel(facts, title=f"{registered.case}, as of {windows.as_of:%Y-%m-%d}", title_align="left")


def where_to_look(project: Project, registered: Registered) -> Group:
    """Paths, and the commands that open the rest."""
    files = project.files(registered.case)
    newest = Windows.read(files.windows).evaluate.batches[-1].batch_id
    rows = _facts()
    rows.add_row("validation", str((files.validation / f"{newest}.html").relative_to(project.root)))
    rows.add_row("evaluation", f"{(files.evaluation / 'plots').relative_to(project.root)}/")
    rows.add_row("who served", f"evergreen history {registered.case}")
    rows.add_row("the status page", f"{project.status_page.relative_to(project.root)}   (evergreen page)")
    ports = project.place.ports
    rows.add_row(
        "the pages",
        f"evergreen up   (Prefect http://127.0.0.1:{ports.prefect}, MLflow http://127.0.0.1:{ports.mlflow})",
    )
    if registered.status is Status.awaiting:
        name = "" if registered.case == "flights" else f" --case {registered.case}"
        rows.add_row("your turn", f'evergreen approve {registered.version}{name} --by YOU --reason "…"   (or reject)')
        rows.add_row("", "evergreen up, then `evergreen train` elsewhere, asks with a form in the Prefect UI")
    return Group(Text(""), rows)


def status_panel(project: Project, case: str, waiting_at: str | None) -> Panel:
    """Who serves, who waits, and what the newest data were."""
    registry = Registry(project)
    files = project.files(case)
    facts = _facts()
    facts.add_row("serving", serving(registry.holder(case, "champion")))
    facts.add_row("to go back to", _one_line(registry.holder(case, "retired")))
    if state := Desk(project, case).under_way():
        facts.add_row("rolling out", rolling_out(state))
    waiting = [version for version in registry.versions(case) if version.status == Status.awaiting]
    facts.add_row("awaiting approval", "\n".join(map(_one_line, waiting)) or "nothing")
    if waiting and waiting_at:
        facts.add_row("", f"form: {waiting_at}")
    if files.windows.is_file():
        facts.add_row("data", _validated(project, case, Windows.read(files.windows)))
    quarantined = sorted(path.stem for path in files.quarantine.glob("*.parquet"))
    facts.add_row("in quarantine", ", ".join(quarantined) or "nothing")
    return Panel(facts, title=case, title_align="left")


def serving(champion: ModelVersion | None) -> Text:
    """The champion, and who said so."""
    if champion is None:
        return Text("nobody yet", style="yellow")
    tags = champion.tags
    return Text.assemble(
        (f"version {champion.version}", "bold green"),
        f", trained on {tags['train_window']}, approved by {tags.get('decided_by', '?')}"
        f" on {tags.get('decided_at', '?')[:16]}Z: {tags.get('decided_because', '?')}",
    )


def rolling_out(state: Rollout) -> Text:
    """Where a rollout stands, and what kept it there when it was last decided on."""
    waits = "; ".join(f"{reason.rule}: {reason.text}" for reason in state.reasons if not reason.passed)
    return Text.assemble((f"version {state.version}", "bold yellow"), f": {state}", f" ({waits})" if waits else "")


def print_version(console: Console, registered: Registered) -> None:
    """One line about what became of a version."""
    console.print(Text.assemble(f"{registered.case}: ", _version(registered)))


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _validated(project: Project, case: str, windows: Windows) -> str:
    batches = len(windows.train.batches) + len(windows.evaluate.batches)
    left_out = f", left out: {', '.join(out.batch_id for out in windows.left_out)}" if windows.left_out else ""
    warnings = f", {len(windows.warnings)} warnings" if windows.warnings else ""
    contract = project.case(case).contract.version
    days = _days(windows.train.start, windows.evaluate.end)
    return f"{batches} batches against contract {contract}, {days}{left_out}{warnings}"


def _compared(evaluation: Evaluation, metric: str) -> str:
    on = f"on {evaluation.rows:,} later rows, {_days(evaluation.start, evaluation.end)}"
    if metric not in evaluation.metrics:
        return "not: there are no rows later than both training cut-offs"
    mine = f"{metric} {evaluation.metrics[metric].value:.4f}"
    if evaluation.champion_version is None:
        return f"{mine} {on}; no champion to compare with"
    theirs, difference = evaluation.champion_metrics[metric], evaluation.differences[metric]
    return (
        f"{mine} against {theirs.value:.4f} of version {evaluation.champion_version} {on}: "
        f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
    )


def _decided(registered: Registered, evaluation: Evaluation) -> Text:
    ruling = registered.ruling.value
    reasons = registered.reasons or evaluation.decision.reasons
    against = [reason for reason in reasons if not reason.passed]
    why = f": all {len(reasons)} rules passed" if not against else ""
    text = Text.assemble((ruling, _COLOURS.get(ruling, "")), why)
    for reason in against:
        text.append(f"\n{reason.rule}: {reason.text}")
    return text


def _version(registered: Registered) -> Text:
    if registered.version is None or registered.status is None:
        return Text(f"none: kept as MLflow run {registered.run_id}")
    status = registered.status.value
    return Text.assemble(f"{registered.version} is ", (status, _COLOURS.get(status, "")))


def _one_line(version: ModelVersion | None) -> str:
    if version is None:
        return "nothing"
    return f"version {version.version}, trained on {version.tags['train_window']}"


def _days(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d} to {end - timedelta(days=1):%Y-%m-%d}"
