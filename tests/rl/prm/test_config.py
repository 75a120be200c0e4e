"""What a config is refused for, before anything starts."""

import pytest

from rl.errors import ConfigError
from rl.prm.config import load_prm_config, render_prm_config

from ..commands import REPO


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "judge.yaml"
    path.write_text("model: {path: tiny:llama}\nvariants: [{name: paper, family: pinball}]\n")
    return lambda *overrides: load_prm_config(path, overrides)


def test_what_is_written_down_is_read_back(load, tmp_path):
    config = load()
    assert config.run.dir == "runs/judge"
    (tmp_path / "again.yaml").write_text(render_prm_config(config))
    assert load_prm_config(tmp_path / "again.yaml") == config


@pytest.mark.parametrize("name", ["tiny_prm", "known_prm", "prm"])
def test_the_configs_that_come_along_are_sound(name):
    assert load_prm_config(REPO / "configs" / f"{name}.yaml").kind == "train-prm"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prm.quantiles=[0.1,0.5,1.0]", "prm.quantiles .*between 0 and 1, got 1.0"),
        ("prm.quantiles=[0.0,0.5]", "between 0 and 1, got 0.0"),
        ("prm.quantiles=[0.5,0.1]", "must ascend"),
        ("prm.quantiles=[]", "one at least"),
        ("prm.family=pinbal", "did you mean 'pinball'"),
        ("variants.0.family=bta", "variants.0.family .*did you mean 'beta'"),
        ("prm.tuning=ful", "did you mean 'full'"),
        ("prm.lora_rank=0", "prm.lora_rank must be at least 1, got 0"),
        ("collect.num_questions=2", "collect.num_questions must be at least 3"),
        ("collect.shares=[0.5,0.5]", "collect.shares must be 3 numbers"),
        ("collect.shares=[0.6,0.3,0.3]", "add up to 1"),
        ("collect.num_rollouts=1", "collect.num_rollouts must be at least 2, got 1"),
        ("collect.num_test_rollouts=1", "collect.num_test_rollouts must be at least 2, got 1"),
        ("collect.num_test_rollouts=-1", "collect.num_test_rollouts must be at least 2, got -1"),
        ("variants.0.num_rollouts=9", "from 0 to collect.num_rollouts=8, got 9"),
        ("variants.0.name=main", "must be its own"),
        ("variants.0.name=../x", "must be its own"),
        ("rollout.temperature=0", "rollout.temperature must be above 0"),
        ("rollout.top_p=0.9", "rollout.top_p"),
        ("rollout.max_new_tokens=1024", "leave room for the prompt"),
        ("batch_size=3", "batch_size"),
        ("reward.functions=[]", "at least one reward function"),
        ("collect.num_rolouts=3", "did you mean"),
        ("model.path=", "model.path must name the policy"),
        ("reward.process.prm=runs/prm", "reward.process is for `zerokl train`"),
        ("model.exit.measure=kl", "model.exit is for `zerokl sample`"),
    ],
)
def test_a_value_that_cannot_be_is_named(load, override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


def test_all_that_is_wrong_is_told_at_once(load):
    with pytest.raises(ConfigError) as error:
        load("epochs=0", "prm.tuning=none")
    assert "epochs must be at least 1" in str(error.value) and "prm.tuning" in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rollout.temperature=0.7", "must be 1.0"),
        ("prm.step_token=x", "must be empty"),
        ("collect.num_questions=5000", "at most 4096"),
    ],
)
def test_what_would_make_the_known_chances_wrong_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_prm_config(REPO / "configs" / "known_prm.yaml", [override])
