"""The config of a comparison: which arms answer which questions.

An arm is a model and a way to sample from it. Every arm answers the same questions of every task, and the same graders
judge. Defaults live here, or beside the component that owns them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from reward.rubric import RewardConfig
from rl.config import ModelConfig, RunConfig, TrackingConfig, load_as
from rl.data import DataConfig
from rl.data.config import with_task
from rollout.config import RolloutConfig


@dataclass
class TaskConfig:
    """One entry of `tasks`: the first `num_questions` that `data` holds out."""

    name: str
    in_domain: bool = False
    """Whether RL was trained on questions of this kind."""
    data: DataConfig = field(default_factory=DataConfig)
    num_questions: int = 200
    max_new_tokens: int = 64


@dataclass
class ArmConfig:
    """One entry of `arms`."""

    name: str
    model: str = ""
    """Empty is the base model; else the folder of a run that has ended, or what `model.path` takes."""
    recurrence: int | None = None
    """As `model.recurrence`: the same model at another depth is another arm. None is what the checkpoint says, of the
    base model what `model.recurrence` does."""
    method: str = "temperature"
    """As in `zerokl sample`."""
    params: dict[str, Any] = field(default_factory=dict)
    """Handed to the method, which checks them."""
    prm: str = ""
    """The process reward model of a method that looks at every step, as in `zerokl sample`. With another one the same
    method is another arm."""
    num_samples: int = 1
    """What the method draws for a question: independent samples, candidates to choose from, or chains."""
    temperature: float = 1.0


@dataclass
class CompareConfig:
    """A config file of `zerokl compare`."""

    model: ModelConfig
    """The base model."""
    tasks: list[TaskConfig]
    arms: list[ArmConfig]
    base: str = "base"
    """Name of the arm that every other one is measured against."""
    seed: int = 0
    """Decides the questions and keys the draws. In-domain it must be that of training, whose held-out questions are
    asked."""
    dtype: str = "auto"
    """`auto`, `bfloat16` or `float32`, of every model."""
    ks: list[int] = field(default_factory=list)
    """Those of pass@k; empty takes the powers of two and the number of samples itself."""
    run: RunConfig = field(default_factory=RunConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """The engines. Group size, temperature and lengths are the arms' and the tasks'."""
    timeout_s: float = 600.0
    """An engine that says nothing for so long is taken for dead."""
    tracker: str = "wandb"
    """`wandb` or `none`."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def load_compare_config(path: Path, overrides: Sequence[str] = ()) -> CompareConfig:
    """The config in `path` with `overrides` (`arms.0.num_samples=4`) on top, with its keys and types checked.

    Raises `ConfigError` naming the file or override and the key. What the values mean together is checked by
    `rl.compare.checks.check`.
    """
    config = load_as(CompareConfig, path, overrides)
    config.run.dir = config.run.dir or f"runs/{path.stem}"
    for task in config.tasks:
        task.data = with_task(task.data)
    return config


def render_compare_config(config: CompareConfig) -> str:
    """The config as YAML that `load_compare_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
