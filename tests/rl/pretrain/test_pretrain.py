"""The tiny run, in this process on the session's Ray: the same final hash however it is done."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rl.contract.recorded import ContractChanged
from rl.errors import UserError
from rl.interrupt import Stop
from rl.ledger import read_ledger
from rl.pretrain.config import PretrainConfig, load_pretrain_config
from rl.pretrain.run import begin, pretrain
from rl.run_folder import RunFolder
from rl.supervised.job import Summary

from ..commands import REPO

pytestmark = pytest.mark.engine
TINY = REPO / "configs" / "tiny_pretrain.yaml"
Go = Callable[..., Summary]


@pytest.fixture(scope="module")
def workplace(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def config(*overrides: str) -> PretrainConfig:
    return load_pretrain_config(TINY, overrides)


@pytest.fixture(scope="module")
def whole(workplace: Path) -> Summary:
    """The run, done in one go."""
    settings = config("run.dir=whole")
    return pretrain(settings, begin(settings))


def test_a_run_leaves_a_ledger_a_model_and_a_report(whole: Summary) -> None:
    folder = RunFolder(whole.run_dir)
    records = read_ledger(folder.ledger_path)
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert records[-1]["hash"] == whole.final_hash
    assert len({record["weights"] for record in records}) == 4
    report = json.loads((folder.report_dir / "summary.json").read_text())
    assert report["final_hash"] == whole.final_hash and len(report["accuracy"]) == 6
    assert {path.name for path in folder.model_dir.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert set(whole.before) == set(whole.after)


def test_stopped_and_gone_on_with_two_ranks_in_another_stage_it_comes_to_the_same_hash(whole: Summary) -> None:
    folder = begin(config("run.dir=stopped"))
    stop = Stop()
    stop.requested = True
    with pytest.raises(KeyboardInterrupt):
        pretrain(config("run.dir=stopped"), folder, stop=stop)
    assert len(read_ledger(folder.ledger_path)) == 1
    summary = pretrain(config("run.dir=stopped", "trainer.world_size=2", "trainer.zero_stage=3"), folder)
    assert summary.final_hash == whole.final_hash
    assert summary.after == whole.after
    attempts = [json.loads(line)["from_step"] for line in folder.attempts_path.read_text().splitlines()]
    assert attempts == [0, 1]


def test_a_run_that_has_ended_is_not_done_again(whole: Summary) -> None:
    folder = RunFolder(whole.run_dir)
    before = folder.metrics_path.read_bytes()
    again = pretrain(config("run.dir=whole"), folder)
    assert (again.final_hash, again.after) == (whole.final_hash, whole.after)
    assert folder.metrics_path.read_bytes() == before
    assert len(folder.attempts_path.read_text().splitlines()) == 1


def test_another_rate_is_another_contract(whole: Summary) -> None:
    with pytest.raises(ContractChanged, match="optimizer.learning_rate: 0.001 -> 0.002"):
        pretrain(config("run.dir=whole", "optimizer.learning_rate=2e-3"), RunFolder(whole.run_dir))


def test_a_folder_that_holds_a_run_is_refused(whole: Summary) -> None:
    with pytest.raises(UserError, match="already holds a run of 4 steps"):
        begin(config("run.dir=whole"))
