"""`zerokl` on a recurrent-depth model, as a user starts it."""

import json
import re
from pathlib import Path

import pytest

from ..commands import REPO, final_hash, ledger, refusal, zerokl

pytestmark = pytest.mark.engine
CONFIG = REPO / "configs" / "tiny_recurrent.yaml"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training."""
    workplace = tmp_path_factory.mktemp("recurrent")
    final_hash(zerokl("train", CONFIG, "run.dir=run", "steps=2", cwd=workplace))
    return workplace / "run"


def test_a_run_is_on_policy_and_says_how_deep_it_was(run_dir: Path) -> None:
    records = ledger(run_dir)
    assert [record["num_mismatched"] for record in records] == [0, 0]
    assert len({record["weights"] for record in records}) == 2
    lines = (run_dir / "rollouts" / "step_000002.jsonl").read_text().splitlines()
    assert {json.loads(line)["recurrence"] for line in lines} == {3}
    assert json.loads((run_dir / "model" / "config.json").read_text())["num_recurrences"] == 3
    contract = json.loads((run_dir / "contract.json").read_text())
    assert '"recurrence": 3' in json.dumps(contract)


@pytest.mark.thorough
def test_a_run_replays(run_dir: Path) -> None:
    verified = zerokl("verify", run_dir, cwd=run_dir.parent)
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
    told = refusal("train", CONFIG, "run.dir=run", *overrides, cwd=tmp_path)
    (line,) = [line for line in told.splitlines() if line.startswith("zerokl: ")]
    assert re.search(said, line), line
