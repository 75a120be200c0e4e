"""The config of `zerokl sample`: a model, questions, and one way of sampling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from reward.rubric import RewardConfig
from rl.config import ExitConfig, ModelConfig, RunConfig, load_as
from rl.config_checks import range_problems
from rl.data.config import DataConfig, data_problems, with_task
from rl.errors import ConfigError
from rl.sample.methods import Method, make_method, require_prm
from rollout.config import RolloutConfig

INSTEAD = {"temperature": "temperature", "max_new_tokens": "max_new_tokens", "group_size": "num_samples"}
"""Keys of `rollout:` that are for training, and what is set in their place."""
_FOR_TRAINING = ("group_size", "max_rounds", "temperature", "top_p", "top_k", "max_new_tokens")
_AT_LEAST_ONE = ("num_actors", "max_model_len", "max_num_seqs", "max_num_batched_tokens")


@dataclass(kw_only=True)
class SampleConfig:
    """Everything that `zerokl sample` needs to know. Only `model.path` has no default."""

    seed: int = 0
    """Decides the questions and keys the draws."""
    model: ModelConfig
    base_model: str = ""
    """As `model.path`: under which model completions are scored for their likelihood; empty is the model itself."""
    base_recurrence: int | None = None
    """As `model.recurrence`, of `base_model`."""
    run: RunConfig = field(default_factory=RunConfig)
    method: str = "temperature"
    params: dict[str, Any] = field(default_factory=dict)
    """Handed to the method, which checks them."""
    prm: str = ""
    """The process reward model of methods that look at every step: a folder of `zerokl train-prm`, or a YAML file that
    describes somebody else's."""
    num_samples: int = 1
    """What is drawn for a question: samples or chains that are all returned, or candidates of which one is chosen."""
    temperature: float = 1.0
    """For methods that draw plain samples."""
    max_new_tokens: int = 64
    num_questions: int = 200
    data: DataConfig = field(default_factory=DataConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """The engines. How they sample stands above."""
    dtype: str = "auto"
    """`auto`, `bfloat16` or `float32`."""
    timeout_s: float = 600.0
    """An engine that says nothing for so long is taken for dead."""


def load_sample_config(path: Path, overrides: Sequence[str] = ()) -> SampleConfig:
    """The config in `path` with `overrides` on top, checked. Raises ConfigError naming every key that is wrong."""
    config = load_as(SampleConfig, path, overrides)
    config.run.dir = config.run.dir or f"runs/{path.stem}"
    check(config)
    return config


def check(config: SampleConfig) -> None:
    """Nothing; raises ConfigError listing everything that is wrong with `config`, a line each."""
    problems = [*engine_problems(config, INSTEAD), *sampling_problems(config)]
    if problems:
        raise ConfigError("\n".join(problems))


def sampling_problems(config: SampleConfig) -> list[str]:
    """What of all but the engines is wrong, a line each. Afterwards as many questions are held out as are asked."""
    config.data = with_task(config.data)
    config.data.num_held_out = max(config.data.num_held_out, config.num_questions)
    problems = list(data_problems(config.data))
    for key in ("num_questions", "num_samples", "max_new_tokens"):
        if getattr(config, key) < 1:
            problems.append(f"{key} must be at least 1, got {getattr(config, key)}")
    depths = {"model.recurrence": config.model.recurrence, "base_recurrence": config.base_recurrence}
    for key, recurrence in depths.items():
        if recurrence is not None and recurrence < 1:
            problems.append(f"{key} must be at least 1, got {recurrence}")
    problems += exit_problems(config.model.exit)
    if not config.reward.functions:
        problems.append("reward.functions must name at least one reward function, got none")
    if config.reward.process.prm:
        problems.append(
            "reward.process is for training; to sample with a process reward model set prm, and take it out"
        )
    for require in (lambda: method_of(config), lambda: require_prm(config.method, config.prm)):
        try:
            require()
        except ValueError as error:
            problems.append(str(error))
    return problems


def engine_problems(config: Any, instead: Mapping[str, str]) -> Iterator[str]:
    """What of `rollout` and `timeout_s` is wrong where nothing is trained, a line each.

    config: any that has both. instead: by key of `rollout`, what is set in its place.
    """
    counts = [f"rollout.{key}" for key in _AT_LEAST_ONE]
    yield from range_problems(config, {}, counts, ["rollout.threads"], ["rollout.kv_cache_gib", "timeout_s"])
    for key in _FOR_TRAINING:
        value = getattr(config.rollout, key)
        if value != getattr(RolloutConfig, key):
            remedy = f"set {instead[key]}, and take it out" if key in instead else "take it out"
            yield f"rollout.{key} has no effect here, got {value}; {remedy}"


def method_of(config: SampleConfig) -> Method:
    """The method that the config asks for. Raises ValueError saying what is wrong with its settings."""
    return make_method(config.method, config.params, config.num_samples, config.temperature, config.max_new_tokens)


def exit_problems(exit_: ExitConfig) -> list[str]:
    """What of `model.exit` is wrong, a line each."""
    from kernels.recurrent.exit import MEASURES  # here, for it brings torch

    problems = []
    if exit_.measure not in ("", *MEASURES):
        problems.append(f"model.exit.measure must be {' or '.join(MEASURES)}, or empty, got {exit_.measure!r}")
    if not exit_.threshold > 0:
        problems.append(f"model.exit.threshold must be above 0, got {exit_.threshold}")
    return problems


def base_of(config: SampleConfig) -> ModelConfig:
    """The model under which completions are scored; its path is empty where that is the one that samples."""
    return ModelConfig(config.base_model, config.base_recurrence)


def render_sample_config(config: SampleConfig) -> str:
    """The config as YAML that `load_sample_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
