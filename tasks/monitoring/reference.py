"""What a champion was accepted on: its profile, a sample of rows, and scores of rows it had not seen, with labels."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AwareDatetime, Field

from configs.case import Problem
from configs.project import Project
from tasks.errors import ArtifactAltered
from tasks.files import sha256, write_whole
from tasks.monitoring.errors import NoReference
from tasks.monitoring.estimate import Answers, as_probability
from tasks.monitoring.estimator import Known
from tasks.monitoring.grid import SCORE, Grid
from tasks.monitoring.profile import Profile
from tasks.monitoring.score import Bins, Counts, units_of
from tasks.records import Record

FOLDER = "reference"
"""What the files are called beside the model."""
MOST_SCORES = 250_000
_RECORD = "reference.json"
GRID = "grid.json"
_PROFILE, _SAMPLE, _SCORES = "profile.parquet", "sample.parquet", "scores.parquet"
_FEWEST_IN_A_UNIT = 50


class ScoredBatch(Record):
    """A batch of the reference."""

    batch_id: str
    start: AwareDatetime
    end: AwareDatetime
    rows: int = Field(ge=0)
    labelled: int = Field(ge=0)
    out_of_fold: bool
    """Scored by models fitted for that, on other batches; else by the model that was judged on it: the champion, or its
    twin if it was fitted again since."""


class About(Record):
    """Whose reference it is."""

    case: str
    version: str
    contract_version: int
    problem: Problem
    classes: tuple[str, ...] = ()
    features: tuple[str, ...]
    """Of the contract."""
    used: tuple[str, ...]
    """Those the champion takes, in its order."""
    model_sha256: str
    rows: int = Field(ge=1)
    """Of the whole reference; `scores` and `sample` may hold fewer."""
    batches: tuple[ScoredBatch, ...] = Field(min_length=1)
    files: dict[str, str] = Field(default_factory=dict)
    """Digest of each file beside this record."""


@dataclass(frozen=True)
class Reference:
    """A champion's reference."""

    about: About
    grid: Grid
    profile: Profile
    sample: pd.DataFrame
    """The features, `score`, and in a multiclass case `prediction`, of some rows: those that `scores` calls sampled."""
    scores: pd.DataFrame
    """`batch_id`, `event_time`, `score` (of several classes `score_0`, …), `label` and `sampled`; by event time."""

    @property
    def version(self) -> str:
        return self.about.version

    @property
    def contract_version(self) -> int:
        return self.about.contract_version

    @property
    def batches(self) -> tuple[ScoredBatch, ...]:
        return self.about.batches

    @cached_property
    def answers(self) -> Answers:
        """The scores, as an estimate takes them."""
        if self.about.problem is not Problem.multiclass:
            return Answers(self.about.problem, self.scores[SCORE].to_numpy(dtype=np.float64))
        columns = [f"{SCORE}_{number}" for number in range(len(self.about.classes))]
        return Answers(self.about.problem, self.scores[columns].to_numpy(dtype=np.float64))

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Which of the scores have a label."""
        return self.scores["label"].notna().to_numpy()

    def truth(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> NDArray[np.float64]:
        """The labels of some scored rows, all of which have one, as `as_probability` gives them."""
        return as_probability(self.about.problem, self.scores["label"].to_numpy()[rows], self.about.classes)

    def units(self, length: timedelta) -> NDArray[np.intp]:
        """For each score the number of the stretch of `length` it lies in, or -1 where that has hardly any rows."""
        units = units_of(self.scores["event_time"], length)
        few = np.bincount(units) < _FEWEST_IN_A_UNIT
        return np.where(few[units], -1, units)

    def known(self, units: NDArray[np.intp]) -> Known:
        """The rows that have a label, as an estimator learns from them; `units` as this reference gives them."""
        labelled = self.labelled
        sampled = self.scores["sampled"].to_numpy(dtype=bool)
        place = np.cumsum(labelled) - 1
        return Known(
            answers=self.answers.at(labelled),
            truth=self.truth(labelled),
            units=units[labelled],
            sample=self.sample.loc[labelled[sampled], list(self.about.used)].reset_index(drop=True),
            sampled=place[labelled & sampled],
        )

    def counts(self, bins: Bins, length: timedelta) -> list[Counts]:
        """The scores counted, stretch by stretch."""
        units = self.units(length)
        return [count_scores(bins, self.answers.at(units == unit)) for unit in np.unique(units[units >= 0])]

    def bins(self) -> Bins:
        """Bins for the scores."""
        if self.about.problem is not Problem.multiclass:
            return Bins.of(self.answers.scores)
        return Bins.of(self.answers.scores.max(axis=1), len(self.about.classes))

    def write(self, folder: Path) -> str:
        """Write all of it to `folder`; returns the digest of its record, which vouches for the rest."""
        self.grid.write(folder / GRID)
        self.profile.write(folder / _PROFILE)
        write_whole(folder / _SAMPLE, lambda part: self.sample.to_parquet(part, index=False, compression="zstd"))
        write_whole(folder / _SCORES, lambda part: self.scores.to_parquet(part, index=False, compression="zstd"))
        digests = {name: sha256(folder / name) for name in (GRID, _PROFILE, _SAMPLE, _SCORES)}
        # The record comes last: a folder with one is whole.
        self.about.model_copy(update={"files": digests}).write(folder / _RECORD)
        return digest_of(folder)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The reference in `folder`. Raises NoReference, and ArtifactAltered if it is not what was written."""
        if not is_whole(folder):
            raise NoReference(str(folder))
        about = About.read(folder / _RECORD)
        for name, expected in about.files.items():
            found = sha256(folder / name) if (folder / name).is_file() else "nothing"
            if found != expected:
                raise ArtifactAltered(f"{name} of the reference of version {about.version}", found, expected)
        grid = Grid.read(folder / GRID)
        return cls(
            about,
            grid,
            Profile.read(folder / _PROFILE),
            pd.read_parquet(folder / _SAMPLE),
            pd.read_parquet(folder / _SCORES),
        )


def count_scores(bins: Bins, answers: Answers) -> Counts:
    """Scores in `bins`; of several classes the largest, class by class."""
    if answers.problem is not Problem.multiclass:
        return bins.count(answers.scores)
    return bins.count(answers.scores.max(axis=1), answers.scores.argmax(axis=1))


def copy_reference(source: Path, folder: Path) -> None:
    """Copy a whole reference to `folder`, its record last."""
    for name in (*About.read(source / _RECORD).files, _RECORD):
        write_whole(folder / name, partial(shutil.copyfile, source / name))


def is_whole(folder: Path) -> bool:
    return (folder / _RECORD).is_file()


def digest_of(folder: Path) -> str:
    """What vouches for a whole folder: the digest of its record, which names those of the other files."""
    return sha256(folder / _RECORD)


def kept_at(project: Project, case: str, version: str) -> Path:
    """The folder that this machine keeps the reference of a version in."""
    return monitoring_folder(project, case) / "references" / version / FOLDER


def monitoring_folder(project: Project, case: str) -> Path:
    """Where the monitors of a case keep what they keep."""
    return project.monitoring(case)


def read_reference(project: Project, case: str, version: str) -> Reference:
    """The reference that `refer` left on this machine. Raises NoReference or ArtifactAltered."""
    return Reference.read(kept_at(project, case, version))
