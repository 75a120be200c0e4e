from pathlib import Path

import pytest

from rl.config import Config, ConfigError, load_config, render_config, save_config

MINIMAL = """
model: {path: some/model}
reward:
  functions:
    - name: right
"""


def load(folder: Path, *overrides: str, text: str = MINIMAL) -> Config:
    path = folder / "small.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def complaint(folder: Path, *overrides: str, text: str = MINIMAL) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *overrides, text=text)
    return str(caught.value)


def test_what_a_file_leaves_out_has_the_default_of_its_dataclass(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.seed, config.steps, config.tracker) == (0, 100, "wandb")
    assert (config.rollout.group_size, config.trainer.num_shards, config.optimizer.betas) == (8, 4, [0.9, 0.999])
    assert config.reward.functions[0].weight == 1.0


def test_the_run_folder_is_named_after_the_config_unless_it_is_given(tmp_path: Path) -> None:
    assert load(tmp_path).run.dir == "runs/small"
    assert load(tmp_path, "run.dir=elsewhere").run.dir == "elsewhere"


def test_overrides_reach_every_kind_of_value(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "steps=3",
        "optimizer.learning_rate=1e-4",
        "rollout.prefix_caching=false",
        "tracker=none",
        "tracking.tags=[a, b]",
        "reward.functions.0.weight=2",
        "algorithm.params.clip=0.2",
        "data.params={min_terms: 2}",
        "data.suffix=Answer with a = b",
    )
    assert (config.steps, config.optimizer.learning_rate, config.rollout.prefix_caching) == (3, 1e-4, False)
    assert (config.tracker, config.tracking.tags, config.reward.functions[0].weight) == ("none", ["a", "b"], 2.0)
    assert (config.algorithm.params, config.data.params) == ({"clip": 0.2}, {"min_terms": 2})
    assert config.data.suffix == "Answer with a = b"


@pytest.mark.parametrize(("typed", "meant"), [("007", "007"), ("", ""), ("null", "null"), ("'7'", "7"), ("a=b", "a=b")])
def test_text_in_an_override_is_what_was_typed(tmp_path: Path, typed: str, meant: str) -> None:
    assert load(tmp_path, f"tracking.name={typed}").tracking.name == meant


def test_a_depth_that_nobody_asked_for_is_the_checkpoints(tmp_path: Path) -> None:
    assert load(tmp_path).model.recurrence is None
    assert load(tmp_path, "model.recurrence=null", "model.recurrence=8").model.recurrence == 8
    assert load(tmp_path, "model.recurrence=8", "model.recurrence=null").model.recurrence is None


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, "steps=3", "steps=4", text=MINIMAL + "steps: 2\n").steps == 4


def test_a_saved_config_loads_to_an_equal_one(tmp_path: Path) -> None:
    settings = ("optimizer.learning_rate=3e-6", "data.params={a: [1, x]}", "tracking.tags=[t]", "model.recurrence=4")
    config = load(tmp_path, *settings)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert (tmp_path / "config.yaml").read_text() == render_config(config)


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("rollout.temprature=1", "did you mean rollout.temperature?"),
        ("group_size=4", "did you mean rollout.group_size?"),
        ("modle.path=x", "did you mean model.path?"),
        ("reward.functions.0.wieght=1", "did you mean reward.functions.0.weight?"),
        ("seed.x=1", "there is no key seed.x"),
        ("qqqq=1", "at the top there are seed, steps, model"),
    ],
)
def test_an_unknown_key_in_an_override_is_named_with_the_nearest_one(
    tmp_path: Path, override: str, suggestion: str
) -> None:
    said = complaint(tmp_path, override)
    assert said.startswith(f"override {override!r}: there is no key {override.partition('=')[0]};"[:-1])
    assert suggestion in said


def test_an_unknown_key_in_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    said = complaint(tmp_path, text=MINIMAL + "trainer: {zero_stge: 1}\n")
    assert said == f"{tmp_path / 'small.yaml'}: there is no key trainer.zero_stge; did you mean trainer.zero_stage?"
    assert "reward.functions.0.nmae" in complaint(tmp_path, text=MINIMAL.replace("name", "nmae"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=many", "steps must be an integer, got 'many'"),
        ("steps=1.5", "steps must be an integer, got 1.5"),
        ("steps=true", "steps must be an integer, got True"),
        ("steps=null", "steps must be an integer, got None"),
        ("rollout.temperature=hot", "rollout.temperature must be a number, got 'hot'"),
        ("rollout.prefix_caching=1", "rollout.prefix_caching must be true or false, got 1"),
        ("rollout.temperature=true", "rollout.temperature must be a number, got True"),
        ("optimizer.betas=0.9", "optimizer.betas must be a list, got 0.9"),
        ("optimizer.betas=[0.9, x]", "optimizer.betas.1 must be a number, got 'x'"),
        ("model=x", "model must be a mapping with keys path, recurrence, exit, got 'x'"),
        ("algorithm.params=x", "algorithm.params must be a mapping, got 'x'"),
        ("model.recurrence=deep", "model.recurrence must be an integer or null, got 'deep'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_key(tmp_path: Path, override: str, said: str) -> None:
    assert complaint(tmp_path, override) == f"override {override!r}: {said}"


def test_a_value_of_the_wrong_type_in_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    assert complaint(tmp_path, text=MINIMAL + "steps: many\n").endswith(
        "small.yaml: steps must be an integer, got 'many'"
    )
    assert "model must be a mapping" in complaint(tmp_path, text="model:\n")
    assert "tracker must be text, got 1" in complaint(tmp_path, text=MINIMAL + "tracker: 1\n")


@pytest.mark.parametrize("override", ["steps", "=3", ""])
def test_an_override_without_key_or_value_is_refused(tmp_path: Path, override: str) -> None:
    assert complaint(tmp_path, override).startswith(f"override {override!r}: must be key=value")


def test_an_override_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    assert "override 'tracking.tags=[a': the value is not YAML" in complaint(tmp_path, "tracking.tags=[a")


def test_a_required_key_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "model.path is required" in complaint(tmp_path, text=MINIMAL.replace("path: some/model", ""))
    assert "reward.functions[0].name is required" in complaint(tmp_path, "reward.functions=[{weight: 2}]")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config file at .*absent.yaml"):
        load_config(tmp_path / "absent.yaml", [])
    with pytest.raises(ConfigError, match="there is no config file at"):
        load_config(tmp_path, [])


@pytest.mark.parametrize("text", ["model: {path: x", "a: 1\na: 2\n", "- 1\n", "just words\n", "\x00"])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str) -> None:
    assert str(tmp_path / "small.yaml") in complaint(tmp_path, text=text)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="small.yaml"):
        load_config(tmp_path / "small.yaml", [])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rollout.group_size=1"], "rollout.group_size must be at least 2 for grpo"),
        (["trainer.zero_stage=0"], "trainer.zero_stage must be 1 or 2 or 3, got 0"),
        (["trainer.num_shards=3"], "trainer.num_shards must be a power of two"),
        (["data.num_prompts=6"], "multiple of trainer.num_shards=4.*got 6; trainer.num_shards could be 1 or 2$"),
        (["trainer.world_size=3"], "must divide trainer.num_shards=4, got 3; it could be 1 or 2 or 4$"),
        (["trainer.world_size=8"], "must divide trainer.num_shards=4, got 8; it could be 1 or 2 or 4$"),
        (["rollout.top_p=0.9"], "rollout.top_p must be 1.0 for training, got 0.9: .*whole vocabulary"),
        (["rollout.top_k=50"], "rollout.top_k must be 0 for training, got 50: .*whole vocabulary"),
        (["rollout.temperature=0"], "rollout.temperature must be above 0, got 0"),
        (["rollout.temperature=.nan"], "rollout.temperature must be above 0, got nan"),
        (["rollout.temperature=.inf"], "rollout.temperature must be finite, got inf"),
        (["optimizer.learning_rate=.inf"], "optimizer.learning_rate must be finite, got inf"),
        (["trainer.timeout_s=.inf"], "trainer.timeout_s must be finite, got inf"),
        (
            ["rollout.max_num_batched_tokens=64"],
            "rollout.max_num_batched_tokens must be at least rollout.max_num_seqs=256, .*, got 64; raise the one",
        ),
        (["rollout.max_new_tokens=1024"], "rollout.max_new_tokens must leave room for the prompt"),
        (["evaluation.max_new_tokens=2000"], "evaluation.max_new_tokens must leave room for the prompt"),
        (["tracker=tensorboard"], "tracker must be wandb or none, got 'tensorboard'"),
        (["trainer.dtype=float16"], "trainer.dtype must be auto or bfloat16 or float32"),
        (["optimizer.schedule=step"], "optimizer.schedule must be constant or linear or cosine"),
        (["steps=0"], "steps must be at least 1, got 0"),
        (["rollout.num_actors=-1"], "rollout.num_actors must be at least 1, got -1"),
        (["trainer.num_shards=0"], "trainer.num_shards must be at least 1, got 0"),
        (["optimizer.learning_rate=-1.0"], "optimizer.learning_rate must be 0 or more"),
        (["optimizer.min_learning_rate=1.0"], "optimizer.min_learning_rate must not be above"),
        (["evaluation.num_prompts=300"], "evaluation.num_prompts must not be above data.num_held_out=256, got 300"),
        (["optimizer.betas=[0.9]"], "optimizer.betas must be two numbers"),
        (["optimizer.betas=[0.9, 1.0]"], "optimizer.betas must be two numbers"),
        (["reward.functions=[]"], "reward.functions must name at least one"),
        (["model.path="], "model.path must name"),
        (["model.exit.measure=kl"], "model.exit is for `zerokl sample`, got measure 'kl': .*nothing could be proved"),
        (["model.recurrence=0"], "model.recurrence must be at least 1, got 0"),
        (["tracking.samples_every=-1"], "tracking.samples_every must be 0 or more, got -1"),
        (["tracking.max_model_gib=-1"], "tracking.max_model_gib must be 0 or more"),
        (["tracking.upload_timeout_s=0"], "tracking.upload_timeout_s must be above 0"),
        (["tracking.project=a/b"], "tracking.project must be 1 to 128 characters and none of .*, got 'a/b'"),
        (["tracking.project="], "tracking.project must be 1 to 128 characters"),
        (["tracking.tags=[ok, '']"], "each of tracking.tags must be 1 to 64 characters, got ''"),
    ],
)
def test_values_that_cannot_be_run_are_refused_before_anything_starts(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, *overrides)


@pytest.mark.parametrize("key", ["optimizer.max_grad_norm", "tracking.max_model_gib"])
def test_a_limit_that_can_be_left_off_may_be_infinite(tmp_path: Path, key: str) -> None:
    load(tmp_path, f"{key}=.inf")


def test_an_engine_whose_requests_all_have_a_token_in_a_step_is_accepted(tmp_path: Path) -> None:
    load(tmp_path, "rollout.max_num_batched_tokens=64", "rollout.max_num_seqs=64")


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, "rollout.group_size=1", "rollout.top_k=5", "trainer.world_size=3").splitlines()) == 3


def test_a_group_of_one_is_for_the_algorithm_to_judge(tmp_path: Path) -> None:
    assert load(tmp_path, "rollout.group_size=1", "algorithm.name=reinforce_pp").rollout.group_size == 1
    assert "at least 2 for rloo" in complaint(tmp_path, "rollout.group_size=1", "algorithm.name=rloo")


def test_an_algorithm_is_checked_with_the_rest_of_the_config(tmp_path: Path) -> None:
    assert "algorithm.name" in complaint(tmp_path, "algorithm.name=mine")
    assert "algorithm.params.kl_coef" in complaint(tmp_path, "algorithm.params.kl_coef=-1")


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_world_size_that_divides_the_shards_is_accepted(tmp_path: Path, world_size: int) -> None:
    assert load(tmp_path, f"trainer.world_size={world_size}").trainer.world_size == world_size
