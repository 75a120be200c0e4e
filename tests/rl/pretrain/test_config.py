from pathlib import Path

import pytest

from rl.errors import ConfigError
from rl.pretrain.config import load_pretrain_config, render_pretrain_config

from ..commands import REPO

TINY = REPO / "configs" / "tiny_pretrain.yaml"


@pytest.mark.parametrize("name", ["tiny_pretrain.yaml", "recurrent.yaml", "heal.yaml"])
def test_the_configs_that_come_along_are_right_and_read_back_to_equal_ones(name: str, tmp_path: Path) -> None:
    config = load_pretrain_config(REPO / "configs" / name)
    (tmp_path / "config.yaml").write_text(render_pretrain_config(config))
    assert load_pretrain_config(tmp_path / "config.yaml", [f"run.dir={config.run.dir}"]) == config


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("kind=train", "kind must be pretrain, got 'train'"),
        ("steps=0", "steps must be at least 1, got 0"),
        ("model.kind=loop", "model.kind must be recurrent or static, got 'loop'"),
        ("model.num_core_layers=0", "model.num_core_layers must be at least 1, got 0"),
        ("model.num_heads=3", "model.hidden_size must be a multiple of model.num_heads=3, got 64"),
        ("recurrence.mean=0.5", "recurrence.mean must be at least 1, got 0.5"),
        ("recurrence={mean: 2.5, sigma: 0}", "recurrence.mean must be a whole number with recurrence.sigma=0.*got 2.5"),
        ("data.task=mod_chains", "did you mean 'mod_chain'?"),
        ("data.params.modulos=3", "data.params: mod_chain has no parameter 'modulos'"),
        ("data.params.split=all", "data.params: mod_chain has no parameter 'split'"),
        ("data.loss_on=nothing", "data.loss_on must be answer or all or results, got 'nothing'"),
        ("data.curriculum_steps=5", "data.curriculum_steps must be at most steps=4, got 5"),
        ("data.batch_size=18", "data.batch_size must be a multiple of trainer.num_shards=4"),
        ("evaluation.operands=[0]", r"evaluation.operands must be numbers of at least 1, got \[0\]"),
        ("trainer.world_size=3", "trainer.world_size must divide trainer.num_shards=4, got 3"),
        ("trainer.updates_per_batch=2", "trainer.updates_per_batch must be 1"),
        ("trainer.zero_stage=4", "trainer.zero_stage must be 1 or 2 or 3"),
        ("optimizer.schedule=step", "optimizer.schedule must be constant or linear or cosine"),
        ("modle.kind=static", "there is no key modle.kind; did you mean model.kind?"),
    ],
)
def test_what_cannot_be_run_is_refused_by_its_key(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_pretrain_config(TINY, [override])
