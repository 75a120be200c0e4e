"""`zerokl train-prm` on the tiny model, as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..commands import REPO, final_hash, outside, refusal, zerokl

pytestmark = pytest.mark.engine
CONFIG = REPO / "configs" / "tiny_prm.yaml"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("prm")


@pytest.fixture(scope="module")
def whole(workplace) -> str:
    """The final hash of a run that went through."""
    return final_hash(zerokl("train-prm", CONFIG, "run.dir=whole", "variants=[]", cwd=workplace))


def drawn(workplace: Path, name: str) -> bytes:
    return (workplace / name / "data" / "questions.jsonl").read_bytes()


@pytest.mark.thorough
def test_killed_while_it_draws_and_resumed_it_ends_in_the_same_bytes_and_hash(workplace, whole):
    settings = ["run.dir=killed", "variants=[]", "rollout.max_num_seqs=8"]
    command = [sys.executable, "-m", "rl", "train-prm", str(CONFIG), *settings]
    lines = workplace / "killed" / "data" / "questions.jsonl"
    process = subprocess.Popen(command, cwd=workplace, env=outside(), stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (lines.is_file() and lines.stat().st_size):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(drawn(workplace, "killed").splitlines()) < len(drawn(workplace, "whole").splitlines())

    resumed = zerokl("resume", "killed", cwd=workplace)
    assert final_hash(resumed) == whole
    assert drawn(workplace, "killed") == drawn(workplace, "whole")


def test_it_leaves_a_checkpoint_with_head_and_recalibration_and_a_report(workplace, whole):
    names = {path.name for path in (workplace / "whole" / "model").iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "prm.json",
        "prm_head.safetensors",
        "recalibration.json",
        "calibration.json",
    } <= names
    assert (workplace / "whole" / "report" / "index.html").is_file()


def test_another_config_in_the_same_folder_is_refused(workplace, whole):
    told = refusal("train-prm", CONFIG, "run.dir=whole", "variants=[]", "epochs=2", cwd=workplace)
    assert "holds a run of another config" in told
