from pathlib import Path

import pytest

from rl.errors import ConfigError, UserError
from rl.evaluation.settings import EvalOptions, settle

CONFIG = """
seed: 3
model: {path: "tiny:llama"}
data: {task: basic_arithmetic, params: {min_terms: 2}, num_held_out: 40}
rollout: {max_model_len: 256, num_actors: 2}
reward: {functions: [{name: math_accuracy}]}
trainer: {dtype: float32, timeout_s: 77}
evaluation: {num_prompts: 30, max_new_tokens: 12, temperature: 0.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(CONFIG)
    return path


def test_a_task_alone_is_enough() -> None:
    settings = settle(EvalOptions("tiny:llama", task="chain_sum", params=["min_terms=2", "max_terms=2"]))
    assert (settings.model, settings.data.task) == ("tiny:llama", "chain_sum")
    assert settings.data.params == {"min_terms": 2, "max_terms": 2}
    assert (settings.num_prompts, settings.data.num_held_out) == (200, 200)
    assert (settings.num_samples, settings.ks) == (8, (1, 2, 4, 8))
    assert (settings.rollout.temperature, settings.rollout.max_new_tokens) == (1.0, 64)
    assert (settings.seed, settings.data_seed, settings.rollout.num_actors) == (0, 0, 1)
    assert [function.name for function in settings.reward.functions] == ["reasoning_gym"]


def test_parameters_are_yaml() -> None:
    settings = settle(EvalOptions("tiny:llama", task="basic_arithmetic", params=['operators=["+"]', "share=1e-1"]))
    assert settings.data.params == {"operators": ["+"], "share": 0.1}


def test_a_config_brings_questions_graders_and_sampling(config: Path) -> None:
    settings = settle(EvalOptions("some/model", config=config))
    assert settings.model == "some/model"
    assert (settings.data.task, settings.data.num_held_out, settings.num_prompts) == ("basic_arithmetic", 40, 30)
    assert [function.name for function in settings.reward.functions] == ["math_accuracy"]
    assert (settings.rollout.temperature, settings.rollout.max_new_tokens, settings.dtype) == (0.0, 12, "float32")
    assert (settings.seed, settings.data_seed, settings.rollout.num_actors, settings.timeout_s) == (3, 3, 2, 77)


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [("tiny:recurrent", None, 5), ("tiny:recurrent", 3, 3), ("another/model", None, None), ("another/model", 3, 3)],
)
def test_a_config_says_how_deep_its_own_model_goes_and_no_other(
    model: str, asked: int | None, expected: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(CONFIG.replace('"tiny:llama"', '"tiny:recurrent", recurrence: 5'))
    assert settle(EvalOptions(model, recurrence=asked, config=path)).recurrence == expected


def test_greedy_samples_are_all_the_same_so_one_is_taken(config: Path) -> None:
    settings = settle(EvalOptions("some/model", config=config))
    assert (settings.num_samples, settings.ks) == (1, (1,))


def test_flags_go_over_the_config_and_leave_the_questions_alone(config: Path) -> None:
    options = EvalOptions(
        "some/model",
        config=config,
        num_prompts=7,
        num_samples=5,
        temperature=0.5,
        max_new_tokens=99,
        seed=11,
        num_actors=1,
    )
    settings = settle(options)
    assert (settings.num_prompts, settings.num_samples, settings.ks) == (7, 5, (1, 2, 4))
    assert (settings.rollout.temperature, settings.rollout.max_new_tokens, settings.rollout.num_actors) == (0.5, 99, 1)
    assert (settings.seed, settings.data_seed) == (11, 3)
    assert settings.data == settle(EvalOptions("some/model", config=config)).data


def test_without_a_config_the_seed_decides_the_questions_too() -> None:
    settings = settle(EvalOptions("tiny:llama", task="chain_sum", seed=5))
    assert (settings.seed, settings.data_seed) == (5, 5)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def test_a_runs_folder_stands_for_its_model_and_its_config(run: Path) -> None:
    settings = settle(EvalOptions(str(run)))
    assert settings.model == str(run / "model")
    assert (settings.data.task, settings.data_seed) == ("basic_arithmetic", 3)


def test_a_runs_folder_can_be_asked_something_else(run: Path) -> None:
    settings = settle(EvalOptions(str(run), task="chain_sum"))
    assert (settings.model, settings.data.task, settings.data.params) == (str(run / "model"), "chain_sum", {})


def test_a_run_of_another_command_stands_for_its_model_alone(run: Path) -> None:
    (run / "config.yaml").write_text("kind: pretrain\n")
    assert settle(EvalOptions(str(run), task="chain_sum")).model == str(run / "model")
    with pytest.raises(UserError, match="no questions to ask"):
        settle(EvalOptions(str(run)))


def test_a_run_that_has_not_ended_has_nothing_to_evaluate(run: Path) -> None:
    (run / "model").rmdir()
    with pytest.raises(UserError, match=f"has not ended.*zerokl resume {run}"):
        settle(EvalOptions(str(run)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no questions to ask; give --task"),
        ({"task": "chain_sum", "jsonl": Path("a.jsonl")}, "got --task and --jsonl; leave out all but one"),
        ({"jsonl": Path("a.jsonl"), "params": ["a=1"]}, "no task was named; add --task"),
        ({"task": "chain_sum", "params": ["min_terms"]}, "--param 'min_terms' must be key=value"),
        ({"task": "chain_sum", "params": ["a=[1"]}, "not YAML"),
        ({"task": "chain_sum", "ks": "1,16"}, "got --k 1,16 with 8 samples a question; raise --samples"),
        ({"task": "chain_sum", "ks": "0,1"}, "from 1 to the number of samples"),
        ({"task": "chain_sum", "ks": "1;2"}, "--k must be whole numbers with commas"),
        ({"task": "chain_sum", "ks": ""}, "--k must be whole numbers with commas"),
        ({"task": "chain_sum", "temperature": 0.0, "num_samples": 4}, "all samples of a question are the same"),
        ({"task": "chain_sum", "temperature": float("nan")}, "--temperature must be a finite number"),
    ],
)
def test_bad_input_says_what_to_do(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settle(EvalOptions("tiny:llama", **options))


def test_questions_that_are_not_held_out_are_refused(config: Path) -> None:
    with pytest.raises(UserError, match="asked for 41 questions and data.num_held_out is 40; lower --num-prompts"):
        settle(EvalOptions("some/model", config=config, num_prompts=41))


def test_a_config_without_evaluation_needs_a_number_of_questions(config: Path) -> None:
    config.write_text(CONFIG.replace("num_prompts: 30", "num_prompts: 0"))
    with pytest.raises(UserError, match="evaluation.num_prompts is 0.*give --num-prompts"):
        settle(EvalOptions("some/model", config=config))
    assert settle(EvalOptions("some/model", config=config, num_prompts=5)).num_prompts == 5


def test_a_config_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file at .*none.yaml"):
        settle(EvalOptions("some/model", config=tmp_path / "none.yaml"))


def test_every_k_is_asked_once_and_in_order() -> None:
    assert settle(EvalOptions("tiny:llama", task="chain_sum", ks="8,2,2,1")).ks == (1, 2, 8)
