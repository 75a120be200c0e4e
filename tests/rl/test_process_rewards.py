from pathlib import Path

import pytest

from rl.config import Config, ConfigError, load_config
from rl.credit import NoCredit
from rl.errors import UserError
from rl.process_rewards import _require_level, require_process_rewards, step_credit

from .commands import REPO

MINIMAL = """
model: {path: some/model}
reward:
  functions: [{name: reasoning_gym}]
  process: {prm: runs/prm/model}
"""


def load(folder: Path, *overrides: str) -> Config:
    path = folder / "small.yaml"
    path.write_text(MINIMAL)
    return load_config(path, overrides)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    process = load(tmp_path).reward.process
    assert (process.form, process.weight, process.level, process.recalibrate_every) == ("min", 1.0, 0.5, 0)


def test_the_config_that_comes_along_is_sound_at_either_level() -> None:
    for level in (0.1, 0.5):
        config = load_config(REPO / "configs" / "process.yaml", [f"reward.process.level={level}"])
        assert config.reward.process.level == level


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("reward.process.form=sum", "reward.process.form must be min or progress, got 'sum'"),
        ("reward.process.weight=0", "reward.process.weight must be a finite number above 0, got 0"),
        ("reward.process.weight=.nan", "reward.process.weight must be a finite number above 0, got nan"),
        ("reward.process.level=1", "reward.process.level must be above 0 and below 1, got 1"),
        ("reward.process.recalibrate_every=-1", "reward.process.recalibrate_every must be 0 or more, got -1"),
        ("reward.process.verifier=mine", "reward.process.verifier must be one of reward.functions, reasoning_gym"),
        ("reward.functions=[{name: digit_share}]", "process rewards stand beside a verifiable reward"),
        ("algorithm.name=gspo", "algorithm gspo clips a rollout whole, so its steps cannot have advantages"),
        ("algorithm.name=rloo", "set algorithm.name to grpo or dr_grpo or"),
        ("reward.process.forms=min", "form"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, override)
    assert said in str(caught.value)


def test_in_min_form_a_rollout_has_others_to_be_compared_with(tmp_path: Path) -> None:
    alone = ["algorithm.name=reinforce_pp", "rollout.group_size=1"]
    assert load(tmp_path, *alone, "reward.process.form=progress")
    with pytest.raises(ConfigError, match="rollout.group_size must be at least 2 for reward.process.form=min"):
        load(tmp_path, *alone)


def test_without_a_model_nothing_of_it_is_looked_at(tmp_path: Path) -> None:
    config = load(tmp_path, "reward.process.prm=''", "reward.process.form=sum", "algorithm.name=gspo")
    require_process_rewards(config.reward.process, tmp_path)
    with step_credit(config, tmp_path, print) as credit:
        assert isinstance(credit, NoCredit)


def test_a_level_that_the_model_does_not_reach_is_refused(tmp_path: Path) -> None:
    process = load(tmp_path, "reward.process.level=0.05").reward.process
    with pytest.raises(UserError, match="between the lowest and the highest quantile of runs/prm/model, 0.1 and 0.9"):
        _require_level(process, (0.1, 0.5, 0.9))
    _require_level(process, (0.05, 0.5))
