"""What the values of a pre-training config must be, alone and together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reward import mod_chain
from rl.config_checks import range_problems
from rl.data.nearest import nearest
from rl.errors import ConfigError
from rl.supervised.checks import supervised_problems

if TYPE_CHECKING:
    from rl.pretrain.config import ArchitectureConfig, PretrainConfig, RecurrenceConfig

_CHOICES = {
    "kind": ("pretrain",),
    "model.kind": ("recurrent", "static"),
    "model.initial_state": ("zero", "learned", "prelude"),
    "data.loss_on": ("answer", "all", "results"),
}
_AT_LEAST_ONE = (
    "steps",
    "model.hidden_size",
    "model.intermediate_size",
    "model.num_heads",
    "model.num_core_layers",
    "model.max_length",
    "data.batch_size",
    "evaluation.num_problems",
    "recurrence.mean",
)
_NOT_NEGATIVE = (
    "seed",
    "model.num_prelude_layers",
    "model.num_coda_layers",
    "model.num_static_layers",
    "recurrence.sigma",
    "recurrence.num_backpropagated",
    "data.curriculum_steps",
    "evaluation.every",
)


def check(config: PretrainConfig) -> None:
    """Nothing; raises ConfigError listing everything that is wrong with `config`, a line each."""
    problems = list(range_problems(config, _CHOICES, _AT_LEAST_ONE, _NOT_NEGATIVE, ())) or [
        *supervised_problems(config, "data.batch_size", config.data.batch_size),
        *_task(config),
        *_sizes(config.model),
        *_draws(config.recurrence),
        *_measured(config),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _task(config: PretrainConfig) -> Iterator[str]:
    data = config.data
    if data.task != mod_chain.NAME:
        yield f"data.task must be {mod_chain.NAME}, got {data.task!r}{nearest(data.task, [mod_chain.NAME])}"
        return
    yield from mod_chain.params_problems(data.params, "data.params", taken=("split",))
    if data.curriculum_steps > config.steps:
        yield (
            f"data.curriculum_steps must be at most steps={config.steps}, got {data.curriculum_steps}: the longest "
            "problems would never be seen; raise steps"
        )


def _sizes(model: ArchitectureConfig) -> Iterator[str]:
    if not model.path and model.hidden_size % model.num_heads:
        yield (
            f"model.hidden_size must be a multiple of model.num_heads={model.num_heads}, got {model.hidden_size}; "
            "change the one or the other"
        )


def _draws(recurrence: RecurrenceConfig) -> Iterator[str]:
    if recurrence.sigma == 0 and recurrence.mean != int(recurrence.mean):
        yield (
            "recurrence.mean must be a whole number with recurrence.sigma=0, where every step has it, got "
            f"{recurrence.mean}; round it, or raise sigma"
        )


def _measured(config: PretrainConfig) -> Iterator[str]:
    for key in ("operands", "recurrences"):
        values = getattr(config.evaluation, key)
        if any(value < 1 for value in values):
            yield f"evaluation.{key} must be numbers of at least 1, got {values}"
