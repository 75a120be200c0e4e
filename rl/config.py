"""The typed config of a run, and how it is read from YAML and dotted overrides.

    file.yaml ─┐
    key=value ─┴─ config_keys: every key known, every value of its type ─ Config ─ config_checks: keys that must agree

Defaults live in the dataclasses only: here, or beside the component that owns them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from reward.rubric import RewardConfig
from rl.config_checks import check
from rl.config_keys import check_tree, hint_at
from rl.data.config import DataConfig, with_task
from rl.durable import write_atomically
from rl.errors import ConfigError
from rollout.config import RolloutConfig

__all__ = ["Config", "ConfigError", "check", "load_as", "load_config", "render_config", "save_config"]

T = TypeVar("T")


@dataclass
class ExitConfig:
    """When a recurrent-depth model may stop before `model.recurrence`, question by question. For sampling only."""

    measure: str = ""
    """`kl`, of the next token, or `state`, the last hidden state (`kernels/recurrent/exit.py`); empty never stops."""
    threshold: float = 5e-4
    """A change from one run of the core to the next below this ends it."""


@dataclass
class ModelConfig:
    path: str
    """A Hugging Face checkpoint folder."""
    recurrence: int | None = None
    """How often a recurrent-depth model runs its core, in engines and trainer; none is what the checkpoint says."""
    exit: ExitConfig = field(default_factory=ExitConfig)


@dataclass
class RunConfig:
    dir: str = ""
    """Where the run's files go; empty takes `runs/<name of the config file>`."""


@dataclass
class AlgorithmConfig:
    name: str = "grpo"
    params: dict[str, Any] = field(default_factory=dict)
    """Handed to the algorithm, which checks them."""


@dataclass
class TrainerConfig:
    """`trainer:`. World size, stage, timeout and (on one machine) threads leave the bits alone."""

    world_size: int = 1
    """DeepSpeed ranks; each takes `num_shards / world_size` shards."""
    zero_stage: int = 1
    """What is cut among the ranks: 1 and 2 master weights and moments; 3 the weights as well, between passes."""
    num_shards: int = 4
    """Canonical shards of a batch, summed in a fixed binary tree."""
    dtype: str = "auto"
    """`bfloat16`, `float32`, or `auto`: bf16 where the machine's CPU multiplies it natively, else fp32. Optimizer and
    master weights are fp32 either way."""
    micro_batch_tokens: int = 4096
    """The most tokens of one forward and backward pass, packed without padding; a longer sequence has one to itself."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of the layers, and compute the rest again in the backward pass: less memory, more time."""
    updates_per_batch: int = 1
    """Optimizer steps on one batch. All after the first are off-policy; the first is proved as ever."""
    threads: int = 0
    """CPU threads of one rank; 0 divides the machine's cores among the ranks."""
    timeout_s: float = 300.0
    """The least that a call to a rank or a rollout actor may take, in seconds; what its work needs on a very slow
    machine comes on top (`rollout/deadlines.py`). A process that needs longer is taken for dead and replaced."""


@dataclass
class OptimizerConfig:
    """AdamW with decoupled weight decay, and the learning rate over the steps."""

    learning_rate: float = 1e-5
    warmup_steps: int = 0
    schedule: str = "constant"
    """After the warm-up: `constant`, or `linear` or `cosine` down to `min_learning_rate` at the last step."""
    min_learning_rate: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients longer than this are scaled down to it."""


@dataclass
class EvaluationConfig:
    """Held-out problems, before the first step and after the last."""

    num_prompts: int = 200
    every: int = 0
    """Also after every so many steps; 0 only before and after."""
    max_new_tokens: int = 64
    temperature: float = 0.0


@dataclass
class CheckpointConfig:
    every: int = 10
    """Steps from one checkpoint to the next; the last step always has one."""
    keep: int = 2
    """Older ones are deleted."""


@dataclass
class TrackingConfig:
    """How a run is filed by the tracker, and what is shown and kept of it there."""

    project: str = "zerokl"
    group: str = ""
    tags: list[str] = field(default_factory=list)
    name: str = ""
    """Empty takes the name of the run's folder."""
    samples_every: int = 10
    """Steps from one look at sample rollouts to the next, the first and the last step besides; 0 shows none."""
    log_model: bool = True
    """File the final model as an artifact."""
    max_model_gib: float = 2.0
    """A larger model is filed by reference: where it lies and what its files hash to, without uploading it."""
    upload_timeout_s: float = 300.0
    """How long the end of a run waits for its artifacts; what is left then lies in its folder for `wandb sync`."""


@dataclass(kw_only=True)
class Config:
    """Everything that `zerokl train` needs to know. Only `model.path` has no default."""

    seed: int = 0
    steps: int = 100
    model: ModelConfig
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    tracker: str = "wandb"
    """`wandb` or `none`."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the config in `path` with `overrides` (`rollout.group_size=4`) on top, checked.

    Raises `ConfigError` naming the file or override, the key, and what would be right.
    """
    config = load_as(Config, path, overrides)
    config.run.dir = config.run.dir or f"runs/{path.stem}"
    config.data = with_task(config.data)
    check(config)
    return config


def load_as(schema: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Return `path` with `overrides` on top as an instance of the dataclass `schema`: keys and types checked."""
    tree = OmegaConf.create(_read(path, schema))
    for override in overrides:
        key, value = _parse_override(override, schema)
        OmegaConf.update(tree, key, value)
    try:
        return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), tree)))
    except MissingMandatoryValue as error:
        raise ConfigError(f"{path}: {error.full_key} is required and not there; add it") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error.full_key}: {str(error).splitlines()[0]}") from error


def render_config(config: Config) -> str:
    """Return the config as YAML that `load_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def save_config(config: Config, path: Path) -> None:
    """Write the config as YAML to `path`."""
    write_atomically(path, render_config(config))


def _read(path: Path, schema: type) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"there is no config file at {path}; configs/ has some to start from")
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    except (OSError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: cannot be read as a config: {error}") from error
    check_tree(loaded, schema, "", str(path), root=schema)
    return cast(dict[str, Any], loaded)


def _parse_override(override: str, schema: type) -> tuple[str, Any]:
    """Return key and value of a `key=value` whose key is known and whose value is of its type."""
    source = f"override {override!r}"
    key, equals, text = override.partition("=")
    if not key or not equals:
        raise ConfigError(f"{source}: must be key=value, for example rollout.group_size=4")
    hint = hint_at(key, source, root=schema)
    try:
        # OmegaConf's YAML, where 1e-5 is a number.
        tree = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{source}: the value is not YAML: {error}") from error
    value = cast(dict[str, Any], tree)["value"]
    if hint is str and not isinstance(value, str):
        # `run.dir=7` and `tracking.group=` mean the text that was typed.
        value = text
    check_tree(value, hint, key, source, root=schema)
    return key, value
