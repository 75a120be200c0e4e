import errno
import json
import os
from pathlib import Path

import pytest

from reward.types import Reward
from rl.errors import UserError
from rl.ledger import Ledger
from rl.run_folder import RUN_ID_FILE, RunFolder
from rl.types import ScoredGroup, Shard, StepProof, StepRecord, TrainingBatch
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

POLICY = PolicyVersion(0, "d")


def scored(prompt_id: str) -> ScoredGroup:
    rollouts = (
        Rollout(prompt_id, 0, (5, 6), (-0.5, -1.0), "one\ntwo", False),
        Rollout(prompt_id, 1, (7,), (-0.0,), "é", True),
    )
    rewards = (Reward(1.0, {"right": 1.0}), Reward(0.1, {"right": 0.1}))
    return ScoredGroup(RolloutGroup(Prompt(prompt_id, "", (1, 2), {}), rollouts, POLICY), rewards, (1.0, -1.0))


SHARDS = (Shard((scored("a"),)), Shard((scored("b"),)))
BATCH = TrainingBatch(step=1, policy=POLICY, temperature=1.0, max_new_tokens=64, shards=SHARDS)


def proof(*logprobs: tuple[tuple[float, ...], ...]) -> StepProof:
    return StepProof(logprobs, 6, 0, 0.0, 0.0, "g", POLICY, 1e-5, 1.0, {})


LOGPROBS = ((-0.5, -1.0), (-0.0,))


def created(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    return folder


def begin(folder: RunFolder) -> None:
    Ledger(folder.ledger_path).append(
        StepRecord(1, "c", "p", "q", "t", "l", "l", "r", "g", 6, 0, "0x00000000", "0x00000000", "w")
    )


def test_paths_are_those_that_other_tools_rely_on() -> None:
    folder = RunFolder(Path("r"))
    assert folder.config_path == Path("r/config.yaml")
    assert folder.ledger_path == Path("r/ledger.jsonl")
    assert folder.metrics_path == Path("r/metrics.jsonl")
    assert folder.rollouts_path(1) == Path("r/rollouts/step_000001.jsonl")
    assert folder.checkpoint_path(10) == Path("r/checkpoints/step_000010")
    assert (folder.model_dir, folder.report_dir) == (Path("r/model"), Path("r/report"))


def test_rollouts_are_a_line_each_with_log_probabilities_in_hex(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.write_rollouts(1, BATCH, proof(LOGPROBS, LOGPROBS))
    lines = [json.loads(line) for line in folder.rollouts_path(1).read_text().splitlines()]
    assert [(line["prompt_id"], line["sample"]) for line in lines] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert lines[0] == {
        "prompt_id": "a",
        "sample": 0,
        "prompt_token_ids": [1, 2],
        "token_ids": [5, 6],
        "rollout_logprobs": ["-0x1.0000000000000p-1", "-0x1.0000000000000p+0"],
        "trainer_logprobs": ["-0x1.0000000000000p-1", "-0x1.0000000000000p+0"],
        "reward": 1.0,
        "text": "one\ntwo",
    }
    assert lines[1]["trainer_logprobs"] == ["-0x0.0p+0"]


def test_a_proof_of_fewer_groups_or_rollouts_than_the_batch_is_refused(tmp_path: Path) -> None:
    folder = created(tmp_path)
    for short in (proof(LOGPROBS), proof(LOGPROBS, LOGPROBS[:1])):
        with pytest.raises(ValueError, match="shorter"):
            folder.write_rollouts(1, BATCH, short)


def test_a_folder_that_is_prepared_again_keeps_the_run_in_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "parent" / "part")
    folder.prepare()
    folder.append_metrics(1, {"train/loss": 0.5})
    folder.prepare()
    assert folder.read_metrics() == [{"step": 1, "train/loss": 0.5}] and folder.checkpoints_dir.is_dir()


def test_rollouts_of_a_step_done_again_replace_the_old_ones(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.rollouts_dir.mkdir()
    folder.rollouts_path(1).write_text("cut sho")
    folder.write_rollouts(1, BATCH, proof(LOGPROBS, LOGPROBS))
    assert len(folder.rollouts_path(1).read_text().splitlines()) == 4
    assert os.listdir(folder.rollouts_dir) == ["step_000001.jsonl"]


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    begin(created(tmp_path))
    with pytest.raises(UserError, match="already holds a run of 1 steps.*zerokl resume.*run.dir"):
        RunFolder(tmp_path).create()


def test_a_folder_of_a_run_that_did_no_step_starts_over(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.append_metrics(0, {"evaluation/accuracy": 0.1})
    folder.ledger_path.write_text('{"cut sho')
    folder.contract_path.write_text("{}")
    folder.begin_attempt(0)
    (tmp_path / RUN_ID_FILE).write_text("abandoned")
    folder.create()
    assert not folder.metrics_path.exists() and not folder.contract_path.exists()
    assert not (tmp_path / RUN_ID_FILE).exists(), "W&B would go on with the other run"
    assert folder.begin_attempt(0) == 1


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'run'}"):
        created(tmp_path / "run")


def test_a_folder_without_a_config_is_no_run(tmp_path: Path) -> None:
    folder = created(tmp_path)
    with pytest.raises(UserError, match="is not a run's folder"):
        folder.require()
    folder.config_path.write_text("seed: 0\n")
    folder.require()


def test_truncate_metrics_forgets_later_steps_and_a_line_cut_short(tmp_path: Path) -> None:
    folder = created(tmp_path)
    for step in (1, 2, 3):
        folder.append_metrics(step, {"train/loss": step / 2})
    with folder.metrics_path.open("a") as file:
        file.write('{"step": 2, "tra')
    folder.truncate_metrics(2)
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    assert lines == [{"step": 1, "train/loss": 0.5}, {"step": 2, "train/loss": 1.0}]


def test_a_metric_that_is_not_finite_is_named(tmp_path: Path) -> None:
    folder = created(tmp_path)
    with pytest.raises(ValueError, match="train/loss must be finite, got nan at step 3"):
        folder.append_metrics(3, {"train/loss": float("nan")})
    assert not folder.metrics_path.exists()


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = created(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match="no space left to write .*metrics.jsonl"):
        folder.append_metrics(1, {"train/loss": 0.5})
    with pytest.raises(UserError, match="no space left to write .*step_000001.jsonl"):
        folder.write_rollouts(1, BATCH, proof(LOGPROBS, LOGPROBS))
    with pytest.raises(UserError, match="no space left to write .*ledger.jsonl"):
        begin(folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing_names_the_file(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.metrics_path.symlink_to("/dev/full")
    with pytest.raises(UserError, match="no space left to write .*metrics.jsonl"):
        folder.append_metrics(1, {"train/loss": 0.5})


def test_attempts_are_numbered_and_say_where_they_went_on(tmp_path: Path) -> None:
    folder = created(tmp_path)
    assert [folder.begin_attempt(step) for step in (0, 7)] == [1, 2]
    with folder.attempts_path.open("a") as file:
        file.write('{"attempt": 3, "from')
    assert folder.begin_attempt(7) == 3
    lines = [json.loads(line) for line in folder.attempts_path.read_text().splitlines()]
    assert [(line["attempt"], line["from_step"]) for line in lines] == [(1, 0), (2, 7), (3, 7)]
