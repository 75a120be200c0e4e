"""`zerokl compare` as a user runs it, on real engines."""

import json
import subprocess
from pathlib import Path

import pytest

from ..commands import REPO, refusal, zerokl

CONFIG = REPO / "configs" / "tiny_compare.yaml"
FEWER = ("tasks.0.num_questions=4", "tasks.1.num_questions=4")


@pytest.mark.engine
def test_every_method_is_compared_with_a_run_that_has_ended(
    workplace: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 0, done.stderr
    found = zerokl("compare", CONFIG, "run.dir=compared", "arms.8.model=run", *FEWER, cwd=workplace)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "report: compared/report/index.html"
    assert found.stdout.startswith("two terms (in-domain): ")
    summary = json.loads((workplace / "compared" / "report" / "summary.json").read_text())
    arms = {(arm["name"], arm["task"]): arm for arm in summary["arms"]}
    assert len(arms) == 20
    steps = [json.loads(line) for line in (workplace / "run" / "ledger.jsonl").read_text().splitlines()]
    trained, base = arms["RL", "two terms"], arms["base", "two terms"]
    assert trained["training_tokens"] == sum(step["num_tokens"] for step in steps)
    assert trained["policy"] == steps[-1]["weights"] and base["policy"] == steps[0]["policy"]
    assert base["num_answers"] == 4 and arms["vote of 4", "three terms"]["num_answers"] == 1
    assert 0 < arms["power", "two terms"]["acceptance_rate"] <= 1


def test_an_arm_without_its_checkpoint_ends_with_status_2_before_anything_starts(tmp_path: Path) -> None:
    told = refusal("compare", CONFIG, "arms.8.model=runs/nowhere", "base=bass", cwd=tmp_path)
    assert "arms.8 (RL): model: there is no checkpoint at runs/nowhere" in told
    assert "no arm is called so; did you mean 'base'?" in told
    assert list(tmp_path.iterdir()) == []
