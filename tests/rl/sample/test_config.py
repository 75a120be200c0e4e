import pytest

from rl.config import ModelConfig
from rl.errors import ConfigError
from rl.sample.config import SampleConfig, check
from rollout.config import RolloutConfig


def problems(config: SampleConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(config)
    return str(caught.value).splitlines()


def asked(**rollout: float) -> SampleConfig:
    return SampleConfig(model=ModelConfig("tiny:llama"), rollout=RolloutConfig(**rollout))  # type: ignore[arg-type]


def test_what_the_engines_are_may_be_set() -> None:
    check(asked(num_actors=2, max_model_len=512, kv_cache_gib=0.5, threads=1))


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("temperature", 0.5, "set temperature, and take it out"),
        ("max_new_tokens", 512, "set max_new_tokens, and take it out"),
        ("group_size", 4, "set num_samples, and take it out"),
        ("top_p", 0.9, "take it out"),
        ("top_k", 50, "take it out"),
        ("max_rounds", 1, "take it out"),
    ],
)
def test_what_of_rollout_is_for_training_is_refused(key: str, value: float, remedy: str) -> None:
    assert problems(asked(**{key: value})) == [f"rollout.{key} has no effect here, got {value}; {remedy}"]


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("num_actors", 0, "at least 1"),
        ("max_model_len", 0, "at least 1"),
        ("max_num_seqs", 0, "at least 1"),
        ("max_num_batched_tokens", 0, "at least 1"),
        ("threads", -1, "0 or more"),
        ("kv_cache_gib", -1, "above 0"),
    ],
)
def test_engines_that_cannot_be_are_refused(key: str, value: int, rule: str) -> None:
    assert problems(asked(**{key: value})) == [f"rollout.{key} must be {rule}, got {value}"]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    config = asked(num_actors=0)
    config.timeout_s, config.num_questions = 0.0, 0
    assert problems(config) == [
        "rollout.num_actors must be at least 1, got 0",
        "timeout_s must be above 0, got 0.0",
        "num_questions must be at least 1, got 0",
    ]
