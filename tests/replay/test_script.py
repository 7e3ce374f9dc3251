"""Scripts of replays: those that ship can be played, and what cannot be read is refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import ConfigError
from configs.project import Project
from configs.replays import read_script
from flows.cli import app
from tasks.ingestion.sources import BEGINNING, rows
from tasks.replay.plant import must_fit
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "configs" / "replays").glob("*.yaml"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_script_that_ships_fits_its_case(path: Path) -> None:
    script, case = read_script(path), Project(ROOT).case(path.stem)
    history = rows(case, BEGINNING, script.end)
    for fault in script.faults:
        must_fit(case, history, fault, script.start, script.end)
    assert {fault.fault for fault in script.faults} >= {"nulls", "concept"}


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "weeks.yaml").write_text("{start: 2013-06-03, end: 2013-07-07, fault: []}")
    with pytest.raises(ConfigError, match="unknown key `fault`; did you mean `faults`"):
        read_script(tmp_path / "weeks.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--script", "weeks.yaml", "--from", "2013-06-03"], "a script says"),
        (["--script", "weeks.yaml", "--seed", "2"], "a script says"),
        (["--from", "2013-06-03"], "needs"),
    ],
)
def test_a_replay_has_a_script_or_dates(words: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, ["replay", "flights", *words])
    assert answer.exit_code == 2
    assert said in answer.output
