import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reward.rubric import RewardConfig, RewardFunctionConfig
from rl.config import Config, ModelConfig, TrackingConfig
from rl.tracking import NullTracker, WandbTracker, make_tracker, run_id, wandb_mode


def config(**changes: Any) -> Config:
    reward = RewardConfig(functions=[RewardFunctionConfig(name="right")])
    return Config(model=ModelConfig(path="m"), reward=reward, **changes)


class FakeRun:
    def __init__(self, fail_at: str) -> None:
        self.fail_at = fail_at
        self.calls: list[Any] = []
        self.summary: dict[str, Any] = {}

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.calls.append((step, metrics))
        if self.fail_at == "log":
            raise ConnectionError("the network went away")

    def finish(self) -> None:
        self.calls.append("finish")
        if self.fail_at == "finish":
            raise OSError("no space left")


class FakeWandb:
    """Stands for the wandb module."""

    def __init__(self, fail_at: str = "") -> None:
        self.run = FakeRun(fail_at)
        self.init_arguments: dict[str, Any] = {}

    Settings = SimpleNamespace

    def init(self, **arguments: Any) -> FakeRun:
        self.init_arguments = arguments
        if self.run.fail_at == "start":
            raise RuntimeError("server said no")
        return self.run


def install(monkeypatch: pytest.MonkeyPatch, fail_at: str = "") -> FakeWandb:
    wandb = FakeWandb(fail_at)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return wandb


def play(tracker: WandbTracker, run_dir: Path) -> None:
    tracker.start(config(), run_dir)
    tracker.log(1, {"train/loss": 0.5})
    tracker.log(2, {"train/loss": 0.4})
    tracker.finish({"steps": 2})


def test_metrics_reach_wandb_with_their_step_and_the_summary_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    play(WandbTracker(), tmp_path)
    assert wandb.run.calls == [(1, {"train/loss": 0.5}), (2, {"train/loss": 0.4}), "finish"]
    assert wandb.run.summary == {"steps": 2}


def test_a_run_is_filed_as_the_config_says_and_lies_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    WandbTracker().start(config(seed=7, tracking=TrackingConfig(project="p", group="g", tags=["t"])), tmp_path)
    given = wandb.init_arguments
    assert (given["project"], given["group"], given["tags"]) == ("p", "g", ["t"])
    assert (given["dir"], given["name"]) == (str(tmp_path), tmp_path.name)
    assert given["config"]["seed"] == 7 and given["config"]["model"] == {"path": "m"}
    assert given["settings"].console == "off" and given["settings"].save_code is False


def test_a_resumed_run_has_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    WandbTracker().start(config(), tmp_path)
    first = wandb.init_arguments["id"]
    WandbTracker().start(config(), tmp_path)
    assert wandb.init_arguments["id"] == first == (tmp_path / "wandb_run_id").read_text()
    assert wandb.init_arguments["resume"] == "allow"
    (tmp_path / "other").mkdir()
    assert run_id(tmp_path / "other") != first


@pytest.mark.parametrize("fail_at", ["start", "log", "finish"])
def test_a_wandb_that_fails_warns_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fail_at: str
) -> None:
    install(monkeypatch, fail_at)
    with caplog.at_level(logging.WARNING):
        play(WandbTracker(), tmp_path)
    assert [entry.getMessage().partition(" (")[0] for entry in caplog.records] == [f"wandb failed to {fail_at}"]


def test_a_wandb_that_failed_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch, "log")
    play(WandbTracker(), tmp_path)
    assert wandb.run.calls == [(1, {"train/loss": 0.5})]


def test_a_wandb_that_cannot_be_imported_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    play(WandbTracker(), tmp_path)
    assert len(caplog.records) == 1 and "training goes on without it" in caplog.text


def test_nobody_logged_in_means_offline(tmp_path: Path) -> None:
    assert wandb_mode({"HOME": str(tmp_path)}) == "offline"


@pytest.mark.parametrize("variable", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_a_key_in_the_environment_means_online(tmp_path: Path, variable: str) -> None:
    assert wandb_mode({"HOME": str(tmp_path), variable: "k"}) == "online"


def test_a_key_in_netrc_means_online_for_its_own_server(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password k\n")
    assert wandb_mode({"HOME": str(tmp_path)}) == "online"
    assert wandb_mode({"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.org"}) == "offline"
    assert wandb_mode({"HOME": "/nowhere", "NETRC": str(tmp_path / ".netrc")}) == "online"


def test_wandb_mode_in_the_environment_decides(tmp_path: Path) -> None:
    assert wandb_mode({"HOME": str(tmp_path), "WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}) is None


def test_the_config_names_the_tracker() -> None:
    assert isinstance(make_tracker(config(tracker="none")), NullTracker)
    assert isinstance(make_tracker(config(tracker="wandb")), WandbTracker)
