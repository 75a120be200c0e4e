"""What the areas of a config must be that every supervised run has."""

from collections.abc import Iterator
from typing import Protocol

from rl.config import CheckpointConfig, OptimizerConfig, TrackingConfig, TrainerConfig
from rl.config_checks import (
    optimizer_problems,
    range_problems,
    shard_problems,
    tracking_problems,
    zero_stage_problems,
)

_CHOICES = {
    "trainer.dtype": ("auto", "bfloat16", "float32"),
    "optimizer.schedule": ("constant", "linear", "cosine"),
    "tracker": ("wandb", "none"),
}
_AT_LEAST_ONE = (
    "trainer.world_size",
    "trainer.num_shards",
    "trainer.micro_batch_tokens",
    "checkpoint.every",
    "checkpoint.keep",
)
_NOT_NEGATIVE = (
    "trainer.threads",
    "optimizer.learning_rate",
    "optimizer.min_learning_rate",
    "optimizer.warmup_steps",
    "optimizer.weight_decay",
    "tracking.max_model_gib",
)
_ABOVE_ZERO = ("trainer.timeout_s", "optimizer.eps", "optimizer.max_grad_norm", "tracking.upload_timeout_s")


class SupervisedConfig(Protocol):
    """A config with these areas among others."""

    @property
    def trainer(self) -> TrainerConfig: ...

    @property
    def optimizer(self) -> OptimizerConfig: ...

    @property
    def checkpoint(self) -> CheckpointConfig: ...

    @property
    def tracker(self) -> str: ...

    @property
    def tracking(self) -> TrackingConfig: ...


def supervised_problems(config: SupervisedConfig, batch_key: str, batch_size: int) -> list[str]:
    """What is wrong, a line each. batch_key: what sets the number of examples of a step."""
    problems = [
        *range_problems(config, _CHOICES, _AT_LEAST_ONE, _NOT_NEGATIVE, _ABOVE_ZERO),
        *zero_stage_problems(config.trainer),
    ]
    return problems or list(_together(config, batch_key, batch_size))


def _together(config: SupervisedConfig, batch_key: str, batch_size: int) -> Iterator[str]:
    yield from shard_problems(config.trainer, batch_key, batch_size, "examples")
    yield from optimizer_problems(config.optimizer)
    yield from tracking_problems(config.tracking)
    if config.trainer.updates_per_batch != 1:
        yield (
            "trainer.updates_per_batch must be 1 where examples are given and not sampled, got "
            f"{config.trainer.updates_per_batch}; raise the number of steps"
        )
