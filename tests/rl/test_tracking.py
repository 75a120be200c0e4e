import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reward.rubric import RewardConfig, RewardFunctionConfig
from rl.config import Config, ModelConfig, TrackingConfig
from rl.pretrain.config import PretrainConfig
from rl.records import SampleRollout
from rl.run_folder import RunFolder
from rl.summary import Accuracy, RunSummary
from rl.tracking import NullTracker, WandbTracker, make_tracker, run_id, started_tracker, wandb_mode

from .commands import REPO, outside

SAMPLE = SampleRollout("best", "train/0/1", "1 + 1 =", "2", 0.9, {"right": 1.0}, 0.5, 3, False)
IDENTITY = {"final_hash": "f00d", "contract": "c0de", "steps": 3, "off_policy": ""}


def config(**changes: Any) -> Config:
    functions = [RewardFunctionConfig(name="right"), RewardFunctionConfig(name="m:brief", weight=0.1)]
    return Config(model=ModelConfig(path="m"), reward=RewardConfig(functions=functions), **changes)


def ended(run_dir: Path) -> RunSummary:
    """The summary of a run whose ledger has a line and whose model has two files of 3 bytes in all."""
    (run_dir / "ledger.jsonl").write_text("{}\n")
    (run_dir / "model" / "part").mkdir(parents=True)
    (run_dir / "model" / "config.json").write_text("{}")
    (run_dir / "model" / "part" / "w.safetensors").write_text("w")
    return RunSummary(
        before=Accuracy(1, 4),
        after=Accuracy(3, 4),
        steps=3,
        num_tokens=20,
        tokens_per_s=5.0,
        num_compared=20,
        num_mismatched=0,
        final_hash="f00d",
        run_dir=run_dir,
        wall_s=4.0,
    )


class FakeTable:
    def __init__(self, columns: list[str], log_mode: str) -> None:
        self.columns, self.log_mode = columns, log_mode
        self.rows: list[list[Any]] = []

    def add_data(self, *row: Any) -> None:
        assert len(row) == len(self.columns)
        self.rows.append(list(row))


class FakeArtifact:
    def __init__(self, name: str, type: str, metadata: dict[str, Any]) -> None:
        self.name, self.type, self.metadata = name, type, metadata
        self.files: dict[str, str] = {}
        self.references: dict[str, str] = {}
        self.waited_s: float | None = None

    def add_file(self, path: str, name: str = "", *, policy: str, skip_cache: bool) -> None:
        assert (policy, skip_cache) == ("immutable", True), "nothing is copied"
        self.files[name or Path(path).name] = path

    def add_reference(self, uri: str, name: str) -> None:
        self.references[name] = uri

    def wait(self, timeout: float) -> None:
        self.waited_s = timeout


class FakeRun:
    id = "abc"

    def __init__(self, fail_at: str, offline: bool) -> None:
        self.fail_at, self.offline = fail_at, offline
        self.step = 0
        self.resumed = False
        self.calls: list[Any] = []
        self.artifacts: dict[str, FakeArtifact] = {}
        self.summary: dict[str, Any] = {}

    def log(self, values: Mapping[str, Any], step: int) -> None:
        tables = {name: list(value.rows) for name, value in values.items() if isinstance(value, FakeTable)}
        self.calls.append((step, {**values, **tables}))
        self.step = max(self.step, step)
        if self.fail_at == ("log samples" if tables else "log"):
            raise ConnectionError("the network went away")

    def log_artifact(self, artifact: FakeArtifact) -> FakeArtifact:
        if self.fail_at == f"file the {artifact.type}":
            raise ValueError("quota")
        self.artifacts[artifact.type] = artifact
        return artifact

    def finish(self) -> None:
        self.calls.append("finish")
        if self.fail_at == "finish":
            raise OSError("no space left")


class FakeWandb:
    """Stands for the wandb module."""

    Settings = SimpleNamespace
    Table = FakeTable
    Artifact = FakeArtifact

    def __init__(self, fail_at: str, offline: bool) -> None:
        self.run = FakeRun(fail_at, offline)
        self.init_arguments: dict[str, Any] = {}

    def init(self, **arguments: Any) -> FakeRun:
        self.init_arguments = arguments
        if self.run.fail_at == "start":
            raise RuntimeError("server said no")
        return self.run


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """`WANDB_DATA_DIR` is unset, and set as it was afterwards."""
    monkeypatch.setenv("WANDB_DATA_DIR", "")
    monkeypatch.delenv("WANDB_DATA_DIR")


def install(monkeypatch: pytest.MonkeyPatch, fail_at: str = "", offline: bool = True) -> FakeWandb:
    wandb = FakeWandb(fail_at, offline)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return wandb


def start(run_dir: Path, attempt: int = 1, **changes: Any) -> WandbTracker:
    tracker = WandbTracker()
    tracker.start(config(**changes), RunFolder(run_dir), attempt)
    return tracker


def play(run_dir: Path, **tracking: Any) -> None:
    """A run of three steps; samples are shown at the first and the last."""
    tracker = WandbTracker()
    tracker.start(config(tracking=TrackingConfig(**tracking)), RunFolder(run_dir), 1)
    for step in (1, 2, 3):
        tracker.log(step, {"train/loss": 0.5})
        if step != 2:
            tracker.log_samples(step, [SAMPLE])
    tracker.finish(ended(run_dir), "c0de")


def row(step: int) -> list[Any]:
    return [step, "best", "train/0/1", "1 + 1 =", "2", 0.9, 1.0, None, 0.5, 3, False]


def test_metrics_reach_wandb_with_their_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path)
    metrics = [call for call in wandb.run.calls if "train/loss" in call[1]]
    assert metrics == [(step, {"train/loss": 0.5}) for step in (1, 2, 3)]
    assert wandb.run.calls[-1] == "finish"


def test_samples_are_rows_of_one_growing_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path)
    shown = [call for call in wandb.run.calls if "rollout/samples" in call[1]]
    assert shown == [(1, {"rollout/samples": [row(1)]}), (3, {"rollout/samples": [row(1), row(3)]})]


def test_each_reward_function_has_a_column_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    tables: list[FakeTable] = []
    monkeypatch.setattr(wandb, "Table", lambda **given: tables.append(FakeTable(**given)) or tables[-1], raising=False)
    play(tmp_path)
    (table,) = tables
    assert table.columns == [
        "step", "shown_as", "prompt_id", "prompt", "completion", "reward", "reward/right", "reward/m:brief",
        "advantage", "length", "truncated",
    ]  # fmt: skip
    assert table.log_mode == "INCREMENTAL"


def test_samples_of_a_step_that_wandb_has_already_are_not_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    wandb.run.step = 3
    play(tmp_path)
    assert [call for call in wandb.run.calls if "rollout/samples" in call[1]] == [(3, {"rollout/samples": [row(3)]})]


def test_ledger_and_model_are_filed_with_what_identifies_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    play(tmp_path)
    ledger, model = wandb.run.artifacts["ledger"], wandb.run.artifacts["model"]
    assert (ledger.name, model.name) == ("ledger-abc", "model-abc")
    assert ledger.metadata == model.metadata == IDENTITY
    assert ledger.files == {"ledger.jsonl": str(tmp_path / "ledger.jsonl")}
    assert model.files == {
        "config.json": str(tmp_path / "model/config.json"),
        "part/w.safetensors": str(tmp_path / "model/part/w.safetensors"),
    }
    assert model.references == {}


def test_a_run_without_rollouts_is_tracked_by_the_same_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    tracker = WandbTracker()
    tracker.start(PretrainConfig(tracking=TrackingConfig(project="depth")), RunFolder(tmp_path), 1)
    tracker.log(1, {"train/loss": 0.5})
    assert wandb.init_arguments["project"] == "depth" and wandb.init_arguments["config"]["kind"] == "pretrain"
    assert wandb.run.calls == [(1, {"train/loss": 0.5})]


def test_a_large_model_is_filed_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path, max_model_gib=2 / 2**30)
    model = wandb.run.artifacts["model"]
    assert model.files == {}
    assert model.references == {
        "config.json": f"file://{tmp_path}/model/config.json",
        "part/w.safetensors": f"file://{tmp_path}/model/part/w.safetensors",
    }


def test_a_model_of_just_the_limit_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path, max_model_gib=3 / 2**30)
    assert len(wandb.run.artifacts["model"].files) == 2


def test_the_ledger_is_filed_without_the_model_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path, log_model=False)
    assert list(wandb.run.artifacts) == ["ledger"]


def test_only_online_are_uploads_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, offline in (("offline", True), ("online", False)):
        (tmp_path / name).mkdir()
        wandb = install(monkeypatch, offline=offline)
        play(tmp_path / name, upload_timeout_s=100.0)
        waited = [artifact.waited_s for artifact in wandb.run.artifacts.values()]
        assert waited == [None, None] if offline else all(1 <= seconds <= 100 for seconds in waited)


def test_the_summary_says_what_came_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    play(tmp_path)
    assert wandb.run.summary == IDENTITY | {
        "attempt": 1,
        "num_tokens": 20,
        "tokens_per_s": 5.0,
        "num_compared": 20,
        "num_mismatched": 0,
        "wall_s": 4.0,
        "held_out/before": 0.25,
        "held_out/after": 0.75,
    }


def test_a_run_is_filed_as_the_config_says_and_lies_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    start(tmp_path, seed=7, tracking=TrackingConfig(project="p", group="g", tags=["t"]))
    given = wandb.init_arguments
    assert (given["project"], given["group"], given["tags"]) == ("p", "g", ["t"])
    assert (given["dir"], given["name"]) == (str(tmp_path), tmp_path.name)
    assert given["config"]["seed"] == 7 and given["config"]["model"]["path"] == "m"
    assert given["settings"].console == "off" and given["settings"].save_code is False
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb")


def test_a_data_folder_that_the_user_chose_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setenv("WANDB_DATA_DIR", "/chosen")
    start(tmp_path)
    assert os.environ["WANDB_DATA_DIR"] == "/chosen"


def test_a_resumed_run_has_the_same_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    start(tmp_path)
    first = wandb.init_arguments["id"]
    start(tmp_path)
    assert wandb.init_arguments["id"] == first == (tmp_path / "wandb_run_id").read_text()
    assert wandb.init_arguments["resume"] == "allow"
    (tmp_path / "other").mkdir()
    assert run_id(tmp_path / "other") != first


def measured(run_dir: Path, *steps: int) -> RunFolder:
    """The folder of a run whose metrics have a line for each of `steps`."""
    folder = RunFolder(run_dir)
    for step in steps:
        folder.append_metrics(step, {"train/loss": step / 2, "run/attempt": 1})
    return folder


def losses(wandb: FakeWandb) -> list[tuple[int, float]]:
    return [(step, values["train/loss"]) for step, values in wandb.run.calls]


def test_an_offline_attempt_begins_with_all_that_earlier_ones_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = install(monkeypatch)
    measured(tmp_path, 1, 2)
    start(tmp_path, attempt=2).log(3, {"train/loss": 1.5, "run/attempt": 2})
    assert losses(wandb) == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert [values["run/attempt"] for _, values in wandb.run.calls] == [1, 1, 2]


def test_online_only_what_wandb_lacks_is_caught_up_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch, offline=False)
    wandb.run.resumed, wandb.run.step = True, 2
    measured(tmp_path, 1, 2, 3)
    start(tmp_path, attempt=2)
    assert losses(wandb) == [(2, 1.0), (3, 1.5)]


def test_steps_that_wandb_has_already_keep_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch, offline=False)
    wandb.run.resumed, wandb.run.step = True, 5
    tracker = start(measured(tmp_path, 1, 2).path, attempt=2)
    for step in (3, 4, 5):
        tracker.log(step, {"train/loss": -1.0})
    assert losses(wandb) == [(5, -1.0)]


def test_steps_done_again_within_an_attempt_keep_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    tracker = start(tmp_path)
    for step, loss in ((1, 0.1), (2, 0.2), (1, 0.3), (2, 0.4), (3, 0.5)):
        tracker.log(step, {"train/loss": loss})
        tracker.log_samples(step, [SAMPLE])
    assert [(step, call["train/loss"]) for step, call in wandb.run.calls if "train/loss" in call] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.5),
    ]
    assert wandb.run.calls[-1] == (3, {"rollout/samples": [row(1), row(2), row(3)]})


def test_two_kinds_of_values_of_a_step_are_both_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    tracker = start(tmp_path)
    tracker.log(1, {"held_out/accuracy": 0.5})
    tracker.log(1, {"train/loss": 0.1})
    assert wandb.run.calls == [(1, {"held_out/accuracy": 0.5}), (1, {"train/loss": 0.1})]


def test_the_attempt_is_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    start(tmp_path, attempt=3)
    assert wandb.run.summary == {"attempt": 3}


def test_an_interrupted_attempt_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch)
    with pytest.raises(KeyboardInterrupt), started_tracker(config(), RunFolder(tmp_path), 2):
        raise KeyboardInterrupt
    assert (wandb.run.calls, wandb.run.summary) == (["finish"], {"attempt": 2})


@pytest.mark.parametrize("fail_at", ["start", "log", "log samples", "file the ledger", "file the model", "finish"])
def test_a_wandb_that_fails_warns_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fail_at: str
) -> None:
    install(monkeypatch, fail_at)
    with caplog.at_level(logging.WARNING):
        play(tmp_path)
    assert [entry.getMessage().partition(" (")[0] for entry in caplog.records] == [f"wandb failed to {fail_at}"]


def test_a_wandb_that_failed_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch, "log")
    play(tmp_path)
    assert wandb.run.calls == [(1, {"train/loss": 0.5})]
    assert wandb.run.artifacts == {}


def test_samples_that_fail_are_given_up_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = install(monkeypatch, "log samples")
    play(tmp_path)
    loss = {"train/loss": 0.5}
    assert wandb.run.calls == [(1, loss), (1, {"rollout/samples": [row(1)]}), (2, loss), (3, loss), "finish"]
    assert set(wandb.run.artifacts) == {"ledger", "model"}


@pytest.mark.parametrize(("lost", "kept"), [("ledger", "model"), ("model", "ledger")])
def test_an_artifact_that_fails_does_not_lose_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, kept: str
) -> None:
    wandb = install(monkeypatch, f"file the {lost}")
    play(tmp_path)
    assert list(wandb.run.artifacts) == [kept]
    assert wandb.run.summary["final_hash"] == "f00d" and wandb.run.calls[-1] == "finish"


def test_an_upload_that_fails_does_not_lose_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Refused(FakeArtifact):
        def wait(self, timeout: float) -> None:
            raise ValueError("storage is full")

    wandb = install(monkeypatch, offline=False)
    monkeypatch.setattr(wandb, "Artifact", Refused, raising=False)
    play(tmp_path)
    assert [entry.getMessage().partition(" (")[0] for entry in caplog.records] == [
        "wandb failed to file the ledger",
        "wandb failed to file the model",
    ]
    assert wandb.run.calls[-1] == "finish"


def test_a_wandb_that_cannot_be_imported_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    play(tmp_path)
    assert len(caplog.records) == 1 and "the run goes on without it" in caplog.text


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


def test_wandb_itself_takes_a_whole_run(tmp_path: Path) -> None:
    """In a process of its own, so that whatever is said there was said by W&B."""
    code = f"from pathlib import Path; from tests.rl.test_tracking import play; play(Path({str(tmp_path)!r}))"
    variables = outside(WANDB_MODE="offline", WANDB_CACHE_DIR=str(tmp_path / "cache"))
    played = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False, env=variables
    )
    assert (played.returncode, played.stdout, played.stderr) == (0, "", "")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    tables = [json.loads(path.read_text()) for path in sorted((folder / "files/media/table/rollout").iterdir())]
    assert [table["data"] for table in tables] == [[row(1)], [row(3)]], "each upload holds the rows of its step"
    (written,) = folder.glob("*.wandb")
    assert b"None-" not in written.read_bytes(), "the parts of the table are numbered from 0"
    for part in ("ledger.jsonl", "part/w.safetensors", "config.json", "f00d", "c0de"):
        assert part.encode() in written.read_bytes(), part
