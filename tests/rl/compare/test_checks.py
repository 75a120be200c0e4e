from pathlib import Path

import pytest

from rl.compare.checks import check
from rl.compare.config import ArmConfig, CompareConfig, TaskConfig, load_compare_config, render_compare_config
from rl.config import ModelConfig
from rl.data import DataConfig
from rl.errors import ConfigError
from rollout.config import RolloutConfig

from .folders import comparison, trained_run


def problems(config: CompareConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(config)
    return str(caught.value).splitlines()


def test_a_comparison_that_can_be_made_passes(tmp_path: Path) -> None:
    check(comparison(tmp_path / "out", str(trained_run(tmp_path / "run"))))


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    config = CompareConfig(
        model=ModelConfig("m"),
        tasks=[TaskConfig("sums", num_questions=0), TaskConfig("Sums!", data=DataConfig(task="chain_sum"))],
        arms=[
            ArmConfig("bass", num_samples=4),
            ArmConfig("vote", method="votes"),
            ArmConfig("best", method="best_of_n"),
            ArmConfig("power", method="power", params={"alpha": 0, "block_tokens": 8}),
            ArmConfig("rl", model=str(tmp_path / "nowhere")),
        ],
        tracker="mlflow",
    )
    found = "\n".join(problems(config))
    for expected in (
        "tracker must be wandb or none, got 'mlflow'",
        "tasks: 2 would lie in the folder 'sums'",
        "base is 'base', and no arm is called so; did you mean 'bass'?",
        "tasks.0 (sums): num_questions must be at least 1, got 0",
        "arms.1 (vote): method 'votes' is not a way to sample; did you mean vote?",
        "arms.2 (best): num_samples must be at least 2 for best_of_n, got 1, which leaves no choice",
        "arms.3 (power): alpha must be",
        f"arms.4 (rl): model: there is no checkpoint at {tmp_path / 'nowhere'}",
    ):
        assert expected in found, found


def test_an_arm_that_looks_at_steps_names_its_process_reward_model_and_no_other_arm_does(tmp_path: Path) -> None:
    config = comparison(tmp_path)
    config.arms += [
        ArmConfig("calibrated", method="adaptive_best_of_n", num_samples=16, prm="runs/prm/model"),
        ArmConfig("uncalibrated", method="prm_best_of_n", num_samples=16),
        ArmConfig("votes", method="vote", num_samples=16, prm="runs/prm/model"),
    ]
    needs, has_no_use = problems(config)
    assert needs.startswith("arms.3 (uncalibrated): prm must be the path of a process reward model for prm_best_of_n")
    assert has_no_use.startswith("arms.4 (votes): method vote looks at no process reward model, got prm=runs/prm/model")


def test_a_block_longer_than_one_task_allows_is_said_of_that_task(tmp_path: Path) -> None:
    config = comparison(tmp_path)
    config.arms.append(ArmConfig("power", method="power", params={"block_tokens": 32}))
    config.tasks[1].max_new_tokens = 16
    (problem,) = problems(config)
    assert problem.startswith("arms.2 (power) on tasks.1 (legs): ") and "32" in problem


def test_what_of_rollout_is_wrong_is_said_once(tmp_path: Path) -> None:
    config = comparison(tmp_path)
    config.rollout = RolloutConfig(num_actors=0, temperature=0.5, max_new_tokens=512)
    config.timeout_s = 0.0
    assert problems(config) == [
        "rollout.num_actors must be at least 1, got 0",
        "timeout_s must be above 0, got 0.0",
        "rollout.temperature has no effect here, got 0.5; set temperature of every arm, and take it out",
        "rollout.max_new_tokens has no effect here, got 512; set max_new_tokens of every task, and take it out",
    ]


@pytest.mark.parametrize("k", [0, 3])
def test_k_may_not_be_above_what_the_base_arm_samples(tmp_path: Path, k: int) -> None:
    config = comparison(tmp_path)
    config.ks = [1, k]
    (problem,) = problems(config)
    assert f"got {k} with 2 samples a question" in problem


def test_the_base_arm_samples_the_base_model_plainly(tmp_path: Path) -> None:
    config = comparison(tmp_path / "out", str(trained_run(tmp_path / "run")))
    config.base = "RL"
    assert "must sample the base model" in problems(config)[0]
    config.base = "vote of 4"
    assert "must use method greedy or temperature, got vote" in problems(config)[0]


def test_in_domain_questions_must_be_among_those_that_training_held_out(tmp_path: Path) -> None:
    config = comparison(tmp_path / "out", str(trained_run(tmp_path / "run")))
    config.tasks[0].num_questions = 51
    assert problems(config) == [
        f"tasks.0 (sums): num_questions must not be above the 50 that {tmp_path / 'run'} held out of training, got 51"
    ]
    config.seed = 0
    assert "was trained with seed 3, here seed is 0" in problems(config)[0]
    config.tasks[0].data.params = {"min_terms": 3, "max_terms": 3}
    assert "was trained on other questions" in problems(config)[0]
    config.tasks[0].in_domain = False
    check(config)


def test_a_config_is_read_with_overrides_and_unknown_keys_have_a_nearest_match(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(render_compare_config(comparison(Path())).replace("dir: .", "dir: ''"))
    config = load_compare_config(path, ["arms.1.num_samples=6", "tasks.0.data.params.max_terms=3"])
    assert config.arms[1].num_samples == 6 and config.tasks[0].data.params["max_terms"] == 3
    assert config.run.dir == "runs/mine"
    with pytest.raises(ConfigError, match="did you mean arms.0.num_samples"):
        load_compare_config(path, ["arms.0.num_sampels=6"])
