"""A clone of Evergreen: its root, its configuration, and where each file of a case lies."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from configs.case import Case
from configs.errors import NotAProject
from configs.params import Params
from configs.place import Place
from configs.read import case_names, read_case, read_params, read_place


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one case lie: `data/<case>/`."""

    folder: Path

    @property
    def order(self) -> Path:
        """What the chain is asked to do: the as-of."""
        return self.folder / "order.json"

    @property
    def champion(self) -> Path:
        """The model in production as it was when the chain was asked, for evaluation to compare with."""
        return self.folder / "champion"

    @property
    def champion_record(self) -> Path:
        """Which version `champion/` holds."""
        return self.champion / "champion.json"

    @property
    def deliveries(self) -> Path:
        return self.folder / "deliveries"

    @property
    def validation(self) -> Path:
        return self.folder / "validation"

    @property
    def windows(self) -> Path:
        return self.folder / "windows.json"

    @property
    def quarantine(self) -> Path:
        return self.folder / "quarantine"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def refit(self) -> Path:
        """The accepted candidate fitted again, if it was; else only the record that says why not."""
        return self.folder / "refit"


@dataclass(frozen=True)
class Project:
    """The clone at `root`, running at the place `place_name`."""

    root: Path
    place_name: str = "local"

    @classmethod
    def here(cls) -> "Project":
        """The project that the current folder (or EVERGREEN_ROOT) belongs to. Raises NotAProject."""
        start = Path(os.environ.get("EVERGREEN_ROOT") or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "params.yaml").is_file() and (folder / "configs").is_dir():
                return cls(folder, os.environ.get("EVERGREEN_PLACE") or "local")
        raise NotAProject(str(start))

    @property
    def cases(self) -> list[str]:
        return case_names(self.root)

    @cached_property
    def place(self) -> Place:
        return read_place(self.root, self.place_name)

    def case(self, name: str) -> Case:
        return read_case(self.root, name)

    def params(self, name: str) -> Params:
        return read_params(self.root, name)

    def files(self, case: str) -> CaseFiles:
        return CaseFiles(self.root / "data" / case)

    @property
    def stores(self) -> Path:
        """The local stores: registry, history, flow runs, locks."""
        return self.root / "data" / "stores"

    @property
    def worker_reports(self) -> Path:
        """What each worker of the gateway has counted, for the others to add up."""
        return self.stores / "workers"

    def monitoring(self, case: str) -> Path:
        """Where the monitors of a case keep what they keep: references, profiles, reports."""
        return self.stores / "monitoring" / case

    @property
    def status_page(self) -> Path:
        """What is written of all cases for people, and shown by the gateway at `/`."""
        return self.stores / "status" / "index.html"
