"""The config of `zerokl train-prm`: a policy, questions, rollouts from prefixes, and how quantiles are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from reward.rubric import RewardConfig
from rl.config import CheckpointConfig, ModelConfig, OptimizerConfig, RunConfig, TrackingConfig, TrainerConfig, load_as
from rl.data.config import DataConfig, with_task
from rl.prm.checks import check
from rollout.config import RolloutConfig

KIND = "train-prm"


@dataclass
class CollectConfig:
    """`collect:`: what is drawn, and what counts as success."""

    num_questions: int = 300
    num_trajectories: int = 8
    """Solutions of a question; they are cut into prefixes."""
    num_rollouts: int = 8
    """Continuations of a prefix, at least 2; their share of successes is the target."""
    num_test_rollouts: int = 0
    """The same for questions to test on, 0 or at least 2; 0 is `num_rollouts`. Fewer will do where the true
    probabilities are known."""
    success_at: float = 1.0
    """A finished solution is a success where its reward is this or more."""
    shares: list[float] = field(default_factory=lambda: [0.6, 0.2, 0.2])
    """Of the questions, to train on, to calibrate on and to test on."""


@dataclass
class PRMConfig:
    """`prm:`: the model that reads prefixes."""

    backbone: str = ""
    """As `model.path`; empty is the policy itself. It must have the policy's vocabulary."""
    quantiles: list[float] = field(default_factory=lambda: [0.1, 0.5, 0.9])
    family: str = "beta"
    """What the head says and learns by: `beta` knows that a share of successes is a noisy count, `pinball` takes it as
    it is, `hard_label` says no more than one number."""
    tuning: str = "lora"
    """`lora` trains low-rank adapters, which are merged when the model is saved; `full` trains every weight."""
    lora_rank: int = 16
    lora_alpha: int = 32
    """Adapters are scaled by `lora_alpha / lora_rank`."""
    separator: str = "\n"
    """Ends a step of a solution."""
    step_token: str = ""
    """Put behind every step and read there; empty reads the last token of the step."""


@dataclass
class VariantConfig:
    """One entry of `variants`: another fit on the same data, for the report to compare with."""

    name: str
    family: str
    num_rollouts: int = 0
    """Fits to so many of the rollouts of each prefix, the first; 0 takes all."""
    recalibrate: bool = True
    """Whether its model is served recalibrated; where not, as it was learned. The report has the figures of both."""


@dataclass(kw_only=True)
class TrainPRMConfig:
    """Everything that `zerokl train-prm` needs to know. Only `model.path` has no default."""

    kind: str = KIND
    """By which `zerokl resume` knows what to go on with."""
    seed: int = 0
    model: ModelConfig
    """The policy whose solutions are judged."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    """Questions to learn from; those that it holds out are never asked."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """Engines, temperature and lengths: those that the policy is used with."""
    collect: CollectConfig = field(default_factory=CollectConfig)
    prm: PRMConfig = field(default_factory=PRMConfig)
    epochs: int = 3
    batch_size: int = 8
    """Questions of one optimizer step, with all their solutions; a multiple of `trainer.num_shards`."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=lambda: CheckpointConfig(every=100))
    variants: list[VariantConfig] = field(default_factory=list)
    tracker: str = "wandb"
    """`wandb` or `none`; watches the fit of `prm`."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def load_prm_config(path: Path, overrides: Sequence[str] = ()) -> TrainPRMConfig:
    """The config in `path` with `overrides` on top, checked. Raises ConfigError naming every key that is wrong."""
    config = load_as(TrainPRMConfig, path, overrides)
    config.run.dir = config.run.dir or f"runs/{path.stem}"
    config.data = with_task(config.data)
    check(config)
    return config


def render_prm_config(config: TrainPRMConfig) -> str:
    """The config as YAML that `load_prm_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
