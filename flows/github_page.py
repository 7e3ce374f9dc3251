"""For the workflows on GitHub: the run page, which version waits, a smoke test (`python -m flows.github_page`)."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from configs.environment import apply
from configs.errors import EvergreenError
from configs.project import Project

if __name__ == "__main__":
    apply(Project.here())  # MLflow reads the environment when it is imported

from flows.clock import now
from flows.summary import serving
from tasks.adapters.registry import ModelVersion, Registry
from tasks.promotion.decide import expire
from tasks.promotion.evidence import comparison_table, reasons_list
from tasks.promotion.proof import prove
from tasks.promotion.register import known_version
from tasks.records import BatchReport, Evaluation, Order, Status

LOG_LINES = 30

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def page(
    case: str,
    run: Annotated[str, typer.Option(help="How the training step ended, as GitHub says it.")] = "success",
    log: Annotated[Path | None, typer.Option(help="What the training step printed.")] = None,
    evidence: Annotated[str, typer.Option(help="Where plots and reports can be downloaded.")] = "",
) -> None:
    """Print what a person should see of a run, in Markdown."""
    project = Project.here()
    parts = [failure(case, log)] if run != "success" else [ruling(project, case)]
    parts += [standing(project, case), *rejected_batches(project, case)]
    if evidence:
        parts.append(
            f"Plots, validation pages and the log: [download]({evidence}). GitHub shows no pictures from there."
        )
    sys.stdout.write("\n\n".join(parts) + "\n")


@app.command()
def waiting(case: str) -> None:
    """Print the version that waits for approval; nothing if none does."""
    version = waiting_version(Project.here(), case)
    sys.stdout.write(f"{version.version}\n" if version else "")


@app.command()
def smoke(case: str, version: str) -> None:
    """Load the champion from where it is registered and have it answer its input example."""
    sys.stdout.write(f"{try_approved(Project.here(), case, version)}\n")


def waiting_version(project: Project, case: str) -> ModelVersion | None:
    """The newest version that waits for an answer, once what nobody answered in time has expired."""
    project.case(case)
    expire(project, case, now())
    return next((entry for entry in Registry(project).versions(case) if entry.status == Status.awaiting), None)


def try_approved(project: Project, case: str, version: str) -> str:
    """What a version that was just approved answers, in a line; it is champion, or it rolls out where users are served.

    Raises EvergreenError: it is neither, or not what was approved.
    """
    registry = Registry(project)
    found = registry.version(case, version)
    if found is None or found.status not in {Status.champion, Status.rolling_out}:
        now = f"it is {found.status}" if found else "there is no such version"
        raise EvergreenError(f"{case}: version {version} should serve, or roll out; {now}.")
    rows, answers = prove(registry, found)
    return (
        f"{case}: version {version} ({found.status}), loaded from the registry, answers its {len(rows)} example rows "
        f"as it did when it was trained, bit for bit: {answers.min():.4f} to {answers.max():.4f}"
    )


def ruling(project: Project, case: str) -> str:
    """What became of the candidate, with the figures and the reasons."""
    files = project.files(case)
    if not (files.windows.is_file() and (project.root / "dvc.lock").is_file()):  # trained elsewhere, by a worker
        version = waiting_version(project, case)
        if version is None:
            return f"# {case}: no version waits for approval"
        return _about(project, case, version.version, version.status)
    known = known_version(project, case)
    if known:
        return _about(project, case, str(known.version), str(known.status))
    judged = Evaluation.read(files.evaluation / "evaluation.json")
    as_of = Order.read(files.order).as_of
    return (
        f"# {case}: {judged.decision.ruling.value}\n\nThe candidate as of {as_of:%Y-%m-%d} was not registered; "
        f"it is kept as a run.\n\n{comparison_table(judged)}\n\n{reasons_list(judged.decision.reasons)}"
    )


def failure(case: str, log: Path | None) -> str:
    """That the run failed, and the end of what it said."""
    text = log.read_text(encoding="utf-8", errors="replace") if log and log.is_file() else "(it said nothing)"
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("```", "'''").splitlines()[-LOG_LINES:]
    return "\n".join([f"# {case}: the run failed; the champion stays", "", "```text", *lines, "```"])


def standing(project: Project, case: str) -> str:
    """Who serves now."""
    return f"**Serving:** {serving(Registry(project).holder(case, 'champion')).plain}"


def rejected_batches(project: Project, case: str) -> list[str]:
    """What is in quarantine, and why."""
    files = project.files(case)
    lines = []
    for batch in sorted(files.quarantine.glob("*.parquet")):
        report_file = files.validation / f"{batch.stem}.json"
        blocking = BatchReport.read(report_file).blocking if report_file.is_file() else ()
        why = "; ".join(
            f"{found.column or 'the batch'}: {found.found}, expected {found.expected}" for found in blocking
        )
        lines.append(f"- {batch.stem}: {why or 'see its validation page'}")
    return ["**In quarantine:**\n\n" + "\n".join(lines)] if lines else []


def _about(project: Project, case: str, version: str, status: str) -> str:
    return f"# {case}: version {version} is {status}\n\n{Registry(project).description(case, version).strip()}"


def main() -> None:
    """Run the command; a failure meant for people is printed without a traceback."""
    try:
        app()
    except EvergreenError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
