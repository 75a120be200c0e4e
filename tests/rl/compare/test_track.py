import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl.compare.charts import charts_of
from rl.compare.comparison import Comparison
from rl.compare.track import track
from rl.run_folder import RunFolder

from .arms import arm, task
from .folders import comparison

TASK = task(arm("base", [True, False], method="temperature"), arm("rl", [True, True], trained=True))
COMPARED = Comparison("out", "tiny:llama", (TASK,))


class FakeRun:
    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.finished = False

    def log(self, values: dict[str, Any]) -> None:
        self.logged |= values

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for the wandb module."""
    fake = SimpleNamespace(run=FakeRun(), arguments={}, Settings=SimpleNamespace, Image=lambda path: f"image {path}")
    fake.Table = lambda columns, data: [dict(zip(columns, row, strict=True)) for row in data]
    fake.init = lambda **arguments: (fake.arguments.update(arguments), fake.run)[1]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    return fake


def tracked(folder: Path, tracker: str = "wandb") -> None:
    config = comparison(folder)
    config.tracker = tracker
    track(COMPARED, config, RunFolder(folder))


def test_table_figures_and_sentences_are_filed(tmp_path: Path, wandb: SimpleNamespace) -> None:
    tracked(tmp_path)
    rows = wandb.run.logged.pop("report/arms")
    assert [(row["name"], row["accuracy"], row["largest_k"], row["pass_at_largest_k"]) for row in rows] == [
        ("base", 0.5, 1, 0.5), ("rl", 1.0, 1, 1.0),
    ]  # fmt: skip
    assert wandb.run.logged == {
        f"report/{chart.key}": f"image {tmp_path / 'report' / chart.key}.png" for chart in charts_of(COMPARED)
    }
    assert wandb.run.summary["verdict/sums"].startswith("sums (in-domain): ")
    assert wandb.run.finished and wandb.arguments["resume"] == "allow" and wandb.arguments["config"]["seed"] == 3


def test_tracker_none_imports_nothing(tmp_path: Path, wandb: SimpleNamespace) -> None:
    tracked(tmp_path, "none")
    assert wandb.arguments == {}


def test_a_tracker_that_fails_spoils_nothing(
    tmp_path: Path, wandb: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    wandb.init = lambda **arguments: 1 / 0
    with caplog.at_level(logging.WARNING):
        tracked(tmp_path)
    assert "failed to file the report (ZeroDivisionError" in caplog.text
