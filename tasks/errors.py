"""Every way a stage can fail, worded in one place; each is built from facts.

EvergreenError                   (configs.errors)
├── ConfigError                  (configs.errors) a file a person wrote
├── DataError                    what was delivered
│   ├── SourceUnreadable         the source cannot be read at all
│   ├── EmptyDelivery            it was read, and holds no rows
│   ├── SourceStale              it has delivered nothing for too long
│   ├── BatchRejected            a batch breaks its contract
│   └── TooLittleData            not enough accepted rows to train or judge
├── ArtifactError                a model's file
│   ├── ArtifactMissing
│   ├── ArtifactAltered          its digest is not the registered one
│   └── AnswersDiffer            it loads and gives other answers
├── StoreError                   the places where things are kept
│   ├── StoreUnreachable         MLflow, Prefect, the history, a DVC remote
│   │   └── DecidedNotDone       it went away between a decision and what follows from it
│   ├── DiskFull
│   ├── HistoryAltered           an entry no longer fits its seal
│   └── StageFailed              a DVC stage ended in an error
└── RefusedError                 what was asked for is against the rules
    ├── AlreadyTraining
    ├── OrderChanged             by another run, in the middle of this one
    ├── NothingOrdered           a stage was called before there was an order
    ├── NotApprovable
    │   └── NotAnApprover        somebody else has to answer
    ├── DecisionUnexplained      no name, or no reason
    ├── NotReproducible          a part of what made it is gone
    ├── NotServing               neither champion nor rolling out: not to be taken away from users
    ├── NothingToRollBackTo
    ├── NothingServes            the case has no champion yet
    └── NoChallenger             nobody is there to take a share
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.errors import EvergreenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.records import BatchReport


class DataError(EvergreenError):
    """Something is wrong with the data."""


class SourceUnreadable(DataError):
    def __init__(self, source: str, cause: str, remedy: str) -> None:
        super().__init__(f"{source} cannot be read: {cause}. {remedy}")


class EmptyDelivery(DataError):
    def __init__(self, source: str, wanted: str) -> None:
        super().__init__(
            f"{source} holds no rows for {wanted}. Nothing was delivered and nothing was changed; "
            "check the source's own export, or the as-of."
        )


class SourceStale(DataError):
    def __init__(self, case: str, batch_id: str, ended: str, as_of: str, age: str) -> None:
        super().__init__(
            f"The source of `{case}` is stale: its last batch {batch_id} ended {ended}, {age} before the as-of "
            f"{as_of}. Nothing after it was run. Find out why the source stopped, then take the missing batches with "
            "`python -m tasks ingest`; or, to look at history on purpose, run with an earlier as-of."
        )


class BatchRejected(DataError):
    """A batch breaks its contract; it is kept whole in quarantine."""

    def __init__(self, report: BatchReport, report_file: str, quarantine_file: str) -> None:
        self.report = report
        worst = [
            f"{f'`{finding.column}`: ' if finding.column else ''}{finding.found} (expected {finding.expected}"
            + (f"; for example {', '.join(finding.examples)}" if finding.examples else "")
            + ")"
            for finding in report.blocking[:5]
        ]
        more = len(report.blocking) - len(worst)
        super().__init__(
            f"Batch {report.batch_id} rejected, nothing after it was run. "
            + "; ".join(worst)
            + (f"; and {more} more" if more > 0 else "")
            + f". It is kept whole in {quarantine_file}. See {report_file}."
        )


class TooLittleData(DataError):
    def __init__(self, what: str, found: str, wanted: str, remedy: str) -> None:
        super().__init__(f"Too little data to {what}: found {found}, wanted {wanted}. {remedy}")


class ArtifactError(EvergreenError):
    """A model's file cannot be used."""


class ArtifactMissing(ArtifactError):
    def __init__(self, what: str, where: str) -> None:
        super().__init__(
            f"{what} has no file at {where}. Restore it from a backup of the artifact store, "
            "or rebuild it with `evergreen reproduce`."
        )


class ArtifactAltered(ArtifactError):
    def __init__(self, what: str, found: str, expected: str) -> None:
        super().__init__(
            f"{what} is not the file that was recorded: its digest is {found[:16]}…, expected {expected[:16]}…. "
            "It was not used. Restore it (data with `dvc checkout --force`, a model from a backup), then run again."
        )


class AnswersDiffer(ArtifactError):
    def __init__(self, case: str, version: str) -> None:
        super().__init__(
            f"Version {version} of `{case}` loads, but answers its input example otherwise than when it was judged; "
            "compare the installed libraries with the version's requirements (`make setup` installs the locked ones)."
        )


class StoreError(EvergreenError):
    """A place where things are kept cannot be used."""


class StoreUnreachable(StoreError):
    def __init__(self, store: str, where: str, cause: str, remedy: str) -> None:
        self.found = f"{store} cannot be reached at {where}: {cause}."
        super().__init__(f"{self.found} {remedy}")


class DecidedNotDone(StoreUnreachable):
    def __init__(self, case: str, decided: str, error: StoreUnreachable) -> None:
        self.found = error.found
        StoreError.__init__(
            self,
            f"{error.found} Decided and kept in the history all the same: {decided}; who answers may not have changed "
            f"yet. When it is back, `evergreen rollout {case}` finishes that, as does whatever decides on {case} next.",
        )


class DiskFull(StoreError):
    def __init__(self, path: str, cause: str) -> None:
        super().__init__(
            f"{path} could not be written: {cause}. The file there is as it was before. "
            "Free some space and run the same command again; finished stages are not repeated."
        )


class StageFailed(StoreError):
    def __init__(self, stage: str, said: str) -> None:
        self.stage = stage
        super().__init__(said)


class HistoryAltered(StoreError):
    def __init__(self, case: str, seq: int, why: str) -> None:
        super().__init__(
            f"The history of `{case}` was altered: entry {seq} {why}. Compare the store with a backup; "
            "entries before it still hold."
        )


class RefusedError(EvergreenError):
    """What was asked for is against the rules."""


class AlreadyTraining(RefusedError):
    def __init__(self, case: str, since: str) -> None:
        super().__init__(
            f"A training run of `{case}` is under way ({since}), and this place refuses a second one "
            "(`when_busy: refuse`). Wait for it to end, or set `when_busy: wait`."
        )


class OrderChanged(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(
            f"Another run has ordered something else for `{case}` since this one began, so this one stopped. "
            "Nothing is lost; run it again."
        )


class NothingOrdered(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(
            f"Nothing is ordered for `{case}`: data/{case}/order.json says as of when. "
            f"`evergreen train {case}` writes it, and runs the stages in their order."
        )


class NotApprovable(RefusedError):
    def __init__(self, case: str, version: str, why: str, waiting: Sequence[str]) -> None:
        instead = f"Waiting for an answer: {', '.join(waiting)}." if waiting else "No version waits for an answer."
        super().__init__(f"Version {version} of `{case}` cannot be decided on: {why}. {instead}")


class NotReproducible(RefusedError):
    def __init__(self, case: str, version: str, why: str) -> None:
        super().__init__(f"Version {version} of `{case}` cannot be rebuilt: {why}.")


class NotAnApprover(NotApprovable):
    """Somebody else has to answer."""


class DecisionUnexplained(RefusedError):
    def __init__(self) -> None:
        super().__init__("A decision needs a name and a reason; both are kept. Give `--by` and `--reason`.")


class NotServing(RefusedError):
    def __init__(self, case: str, version: str, status: str | None, serving: Sequence[str]) -> None:
        is_now = f"it is {status}, neither champion nor rolling out" if status else "it does not exist"
        super().__init__(
            f"Version {version} of `{case}` cannot be rolled back: {is_now}. Nothing was changed. "
            f"Those that can be: {', '.join(serving) or 'none'}."
        )


class NothingToRollBackTo(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(f"`{case}` has no retired champion to go back to; see `evergreen history {case}`.")


class NothingServes(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(f"`{case}` has no champion to score with; `evergreen status {case}` shows who waits.")


class NoChallenger(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(
            f"`{case}` has no challenger that could answer or shadow; its champion answers everything. "
            f"`evergreen train {case}` makes one, if the gate lets it pass."
        )
