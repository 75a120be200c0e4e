"""`zerokl` on a recurrent-depth model, as a user starts it."""

import json
import re
from pathlib import Path

import pytest

from ..commands import REPO, ledger, zerokl

pytestmark = pytest.mark.engine
CONFIG = REPO / "configs" / "tiny_recurrent.yaml"


def test_a_run_is_on_policy_and_says_how_deep_it_was(tmp_path: Path) -> None:
    done = zerokl("train", CONFIG, "run.dir=run", "steps=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = ledger(tmp_path / "run")
    assert [record["num_mismatched"] for record in records] == [0, 0]
    assert len({record["weights"] for record in records}) == 2
    lines = (tmp_path / "run" / "rollouts" / "step_000002.jsonl").read_text().splitlines()
    assert {json.loads(line)["recurrence"] for line in lines} == {3}
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["num_recurrences"] == 3
    contract = json.loads((tmp_path / "run" / "contract.json").read_text())
    assert '"recurrence": 3' in json.dumps(contract)
    verified = zerokl("verify", "run", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.recurrence=0"], "model.recurrence must be at least 1, got 0"),
        (["model.recurrence=4", "model.path=tiny:llama"], "model.recurrence=4 needs a recurrent-depth checkpoint"),
        (["model.recurrence=4000"], "4000 makes 8002 layers.*room for [0-9]+ tokens.*set model.recurrence to"),
    ],
)
def test_a_depth_that_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    done = zerokl("train", CONFIG, "run.dir=run", *overrides, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("zerokl: ")]
    assert re.search(said, line), line
