"""The config of `zerokl pretrain`: a model, a task, and how it is learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rl.config import CheckpointConfig, OptimizerConfig, RunConfig, TrackingConfig, TrainerConfig, load_as
from rl.pretrain.checks import check

KIND = "pretrain"
"""What a run's config says of which command it is."""


@dataclass
class ArchitectureConfig:
    """`model:`. A checkpoint to go on from, or the sizes of a model that starts from random weights."""

    path: str = ""
    """As `model.path` of `zerokl train`; empty starts from scratch."""
    kind: str = "recurrent"
    """From scratch: `recurrent`, or its `static` twin, a Llama of the same width."""
    hidden_size: int = 128
    intermediate_size: int = 384
    num_heads: int = 4
    num_prelude_layers: int = 1
    num_core_layers: int = 2
    num_coda_layers: int = 1
    num_static_layers: int = 0
    """Of the static twin; 0 gives it as many as cost the same training FLOPs."""
    initial_state: str = "zero"
    """What the recurrence starts from: `zero`, `learned` or `prelude`."""
    max_length: int = 256
    """Positions."""


@dataclass
class RecurrenceConfig:
    """How often a recurrent model's core is run in training, drawn anew for every step."""

    mean: float = 4.0
    sigma: float = 0.5
    """Of the log-normal in the log-normal Poisson; 0 runs the core `mean` times at every step."""
    num_backpropagated: int = 0
    """The gradient flows through so many last runs of the core; 0 is all."""


@dataclass
class ExamplesConfig:
    """`data:`. Problems made as they are needed; those of training and those held out have none in common."""

    task: str = "mod_chain"
    params: dict[str, Any] = field(default_factory=dict)
    """The task's own, but `split`."""
    batch_size: int = 128
    """Problems a step."""
    loss_on: str = "answer"
    """`answer`: the answer and the end of text behind it; `all`: every token of the problem as well; `results`: the
    answer, and behind every operand the result so far, which the text does not hold."""
    curriculum_steps: int = 0
    """Over so many first steps the most operands of a problem grow, one by one, from the fewest; 0 draws from all at
    once."""


@dataclass
class AccuracyConfig:
    """`evaluation:`. Held-out problems of each number of operands, before the first step and after the last."""

    every: int = 0
    """Also after every so many steps; 0 only before and after."""
    num_problems: int = 100
    """Of each number of operands."""
    operands: list[int] = field(default_factory=list)
    """Numbers of operands to measure at; empty takes those of training."""
    recurrences: list[int] = field(default_factory=list)
    """How often a recurrent model's core is run; empty takes 1, 2, 4 and so on to twice the mean of training."""


@dataclass(kw_only=True)
class PretrainConfig:
    """Everything that `zerokl pretrain` needs to know; all of it has a default."""

    kind: str = KIND
    """Always that: by it a run's folder says what it is."""
    seed: int = 0
    steps: int = 1000
    model: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    recurrence: RecurrenceConfig = field(default_factory=RecurrenceConfig)
    run: RunConfig = field(default_factory=RunConfig)
    data: ExamplesConfig = field(default_factory=ExamplesConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: AccuracyConfig = field(default_factory=AccuracyConfig)
    checkpoint: CheckpointConfig = field(default_factory=lambda: CheckpointConfig(every=100))
    tracker: str = "wandb"
    """`wandb` or `none`."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def load_pretrain_config(path: Path, overrides: Sequence[str] = ()) -> PretrainConfig:
    """The config in `path` with `overrides` on top, checked. Raises ConfigError naming every key that is wrong."""
    config = load_as(PretrainConfig, path, overrides)
    config.run.dir = config.run.dir or f"runs/{path.stem}"
    check(config)
    return config


def render_pretrain_config(config: PretrainConfig) -> str:
    """The config as YAML that `load_pretrain_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
