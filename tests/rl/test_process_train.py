"""A run with process rewards on the tiny model, as a user starts it."""

import json
from pathlib import Path

import pytest

from .commands import CONFIG, final_hash, ledger, zerokl
from .tiny_prm import write_tiny_prm

pytestmark = pytest.mark.engine


def test_a_run_with_process_rewards_replays_from_a_checkpoint_to_the_same_hash(
    tiny_model: Path, tmp_path: Path
) -> None:
    write_tiny_prm(tmp_path / "prm", tiny_model)
    settings = ("reward.process.prm=prm", "reward.process.recalibrate_every=1", "checkpoint.every=2")
    hash_ = final_hash(zerokl("train", CONFIG, "run.dir=run", *settings, cwd=tmp_path))
    replayed = zerokl("verify", "run", "--from", 3, cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert hash_ in replayed.stdout and "replayed from the checkpoint of step 2" in replayed.stdout
    assert all(record["num_mismatched"] == 0 for record in ledger(tmp_path / "run"))
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shifts = [line["process/map_shift"] for line in metrics if "process/map_shift" in line]
    assert shifts[0] == 0.0 and len(set(shifts)) == 3
