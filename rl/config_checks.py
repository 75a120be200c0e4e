"""What the values of a config must be, alone and together. Checked when it is loaded, before anything starts."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reward.process import FORMS, verifier_of
from rl.data.config import data_problems
from rl.errors import ConfigError

if TYPE_CHECKING:
    from rl.config import Config, OptimizerConfig, TrackingConfig, TrainerConfig

_CHOICES = {
    "trainer.dtype": ("auto", "bfloat16", "float32"),
    "optimizer.schedule": ("constant", "linear", "cosine"),
    "tracker": ("wandb", "none"),
}
_AT_LEAST_ONE = (
    "steps",
    "data.num_prompts",
    "rollout.num_actors",
    "rollout.group_size",
    "rollout.max_rounds",
    "rollout.max_new_tokens",
    "rollout.max_model_len",
    "rollout.max_num_seqs",
    "rollout.max_num_batched_tokens",
    "reward.num_workers",
    "trainer.world_size",
    "trainer.num_shards",
    "trainer.micro_batch_tokens",
    "trainer.updates_per_batch",
    "evaluation.max_new_tokens",
    "checkpoint.every",
    "checkpoint.keep",
)
_NOT_NEGATIVE = (
    "seed",
    "rollout.threads",
    "trainer.threads",
    "optimizer.learning_rate",
    "optimizer.min_learning_rate",
    "optimizer.warmup_steps",
    "optimizer.weight_decay",
    "data.num_held_out",
    "evaluation.num_prompts",
    "evaluation.every",
    "evaluation.temperature",
    "tracking.samples_every",
    "tracking.max_model_gib",
)
_ABOVE_ZERO = (
    "rollout.temperature",
    "rollout.kv_cache_gib",
    "reward.time_limit_s",
    "trainer.timeout_s",
    "optimizer.eps",
    "optimizer.max_grad_norm",
    "tracking.upload_timeout_s",
)
_MAY_BE_INFINITE = ("optimizer.max_grad_norm", "tracking.max_model_gib")
_NOT_IN_A_PROJECT = "/\\#?%:"


def check(config: Config) -> None:
    """Raise `ConfigError` listing everything that is wrong with `config`, a line each."""
    # Relations between values only mean something once each value is in its own range.
    problems = list(_ranges(config)) or [
        *_truncation(config),
        *_lengths(config),
        *_engine(config),
        *_algorithm(config),
        *_process(config),
        *_batch(config),
        *_held_out(config),
        *data_problems(config.data),
        *optimizer_problems(config.optimizer),
        *tracking_problems(config.tracking),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _ranges(config: Config) -> Iterator[str]:
    yield from range_problems(config, _CHOICES, _AT_LEAST_ONE, _NOT_NEGATIVE, _ABOVE_ZERO)
    yield from zero_stage_problems(config.trainer)
    if not config.model.path:
        yield "model.path must name a checkpoint folder, got an empty text"
    if config.model.recurrence is not None and config.model.recurrence < 1:
        yield f"model.recurrence must be at least 1, got {config.model.recurrence}"
    if config.model.exit.measure:
        yield (
            f"model.exit is for `zerokl sample`, got measure {config.model.exit.measure!r}: in training all rollouts "
            "go as deep as the trainer, or nothing could be proved of them; take it out, or set model.recurrence"
        )
    if not config.reward.functions:
        yield "reward.functions must name at least one reward function, got none"


def range_problems(
    config: Any,
    choices: Mapping[str, Sequence[str]],
    at_least_one: Sequence[str],
    not_negative: Sequence[str],
    above_zero: Sequence[str],
) -> Iterator[str]:
    """What is out of its range, a line each. config: any of dataclasses; the others name its values by dotted key.

    Infinity is out of range too, but for `_MAY_BE_INFINITE`: limits that can be left off.
    """
    for key, allowed in choices.items():
        if _value(config, key) not in allowed:
            yield f"{key} must be {' or '.join(allowed)}, got {_value(config, key)!r}"
    for keys, holds, bound, rule in (
        (at_least_one, operator.ge, 1, "at least 1"),
        (not_negative, operator.ge, 0, "0 or more"),
        (above_zero, operator.gt, 0, "above 0"),
    ):
        for key in keys:
            value = _value(config, key)
            if not holds(value, bound):  # NaN fails every one of them
                yield f"{key} must be {rule}, got {value}"
            elif value == math.inf and key not in _MAY_BE_INFINITE:
                yield f"{key} must be finite, got {value}"


def zero_stage_problems(trainer: TrainerConfig) -> Iterator[str]:
    """A line where `trainer.zero_stage` is none."""
    if trainer.zero_stage not in (1, 2, 3):
        yield (
            f"trainer.zero_stage must be 1 or 2 or 3, got {trainer.zero_stage}; all give the same bits, so 1 will do"
        )


def _value(config: Any, key: str) -> float | str:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    assert isinstance(value, int | float | str), key
    return value


def _truncation(config: Config) -> Iterator[str]:
    for key, value, whole in (
        ("top_p", config.rollout.top_p, 1.0),
        ("top_k", config.rollout.top_k, 0),
    ):
        if value != whole:
            yield (
                f"rollout.{key} must be {whole} for training, got {value}: a rollout's log-probabilities would be "
                "renormalised over the tokens that were kept and the trainer's are over the whole vocabulary, so that "
                f"on-policy could not be proved; set rollout.{key}={whole} and sharpen with rollout.temperature"
            )


def _lengths(config: Config) -> Iterator[str]:
    for area, num_tokens in (
        ("rollout", config.rollout.max_new_tokens),
        ("evaluation", config.evaluation.max_new_tokens),
    ):
        if num_tokens >= config.rollout.max_model_len:
            yield (
                f"{area}.max_new_tokens must leave room for the prompt in rollout.max_model_len="
                f"{config.rollout.max_model_len}, got {num_tokens}; lower the one or raise the other"
            )


def _engine(config: Config) -> Iterator[str]:
    """What vLLM would refuse when an engine starts."""
    rollout = config.rollout
    if rollout.max_num_batched_tokens < rollout.max_num_seqs:
        yield (
            f"rollout.max_num_batched_tokens must be at least rollout.max_num_seqs={rollout.max_num_seqs}, so that "
            f"each request has a token in a step of an engine, got {rollout.max_num_batched_tokens}; raise the one or "
            "lower the other"
        )


def _algorithm(config: Config) -> Iterator[str]:
    from rl.algorithms import make_algorithm  # here, for it brings torch

    try:
        algorithm = make_algorithm(config.algorithm.name, config.algorithm.params)
    except ValueError as error:
        yield str(error)
        return
    if config.rollout.group_size < algorithm.min_group_size:
        yield (
            f"rollout.group_size must be at least {algorithm.min_group_size} for {config.algorithm.name}, which "
            f"compares a rollout with its group, got {config.rollout.group_size}; set rollout.group_size"
        )


def _process(config: Config) -> Iterator[str]:
    """What of `reward.process:` does not go together, where there are process rewards."""
    process = config.reward.process
    if not process.prm:
        return
    if process.form not in FORMS:
        yield f"reward.process.form must be {' or '.join(FORMS)}, got {process.form!r}"
    if not (math.isfinite(process.weight) and process.weight > 0):
        yield f"reward.process.weight must be a finite number above 0, got {process.weight}"
    if not 0 < process.level < 1:
        yield f"reward.process.level must be above 0 and below 1, got {process.level}"
    if process.recalibrate_every < 0:
        yield f"reward.process.recalibrate_every must be 0 or more, got {process.recalibrate_every}"
    if process.form == "min" and config.rollout.group_size < 2:
        yield (
            "rollout.group_size must be at least 2 for reward.process.form=min, which compares a rollout with its "
            f"group, got {config.rollout.group_size}; set rollout.group_size, or take form progress"
        )
    try:
        verifier_of(process, config.reward.weights)
    except ValueError as error:
        yield str(error)
    yield from _credits_steps(config)


def _credits_steps(config: Config) -> Iterator[str]:
    from rl.algorithms import ALGORITHMS, make_algorithm  # here, for it brings torch

    try:
        algorithm = make_algorithm(config.algorithm.name, config.algorithm.params)
    except ValueError:  # named already
        return
    if not algorithm.credits_steps:
        fits = [name for name in ALGORITHMS if make_algorithm(name, {}).credits_steps]
        yield (
            f"algorithm {config.algorithm.name} clips a rollout whole, so its steps cannot have advantages of their "
            f"own; set algorithm.name to {' or '.join(fits)}, or take reward.process.prm out"
        )


def _batch(config: Config) -> Iterator[str]:
    yield from shard_problems(config.trainer, "data.num_prompts", config.data.num_prompts, "groups")


def shard_problems(trainer: TrainerConfig, key: str, batch_size: int, unit: str) -> Iterator[str]:
    """What keeps a batch of `batch_size`, set with `key`, from being cut into shards of whole `unit`s for the ranks."""
    num_shards = trainer.num_shards
    if num_shards & (num_shards - 1):
        yield f"trainer.num_shards must be a power of two, the leaves of a binary tree, got {num_shards}"
        return
    if batch_size % num_shards:
        fits = [2**n for n in range(num_shards.bit_length()) if batch_size % 2**n == 0]
        yield (
            f"{key} must be a multiple of trainer.num_shards={num_shards}, so that a shard holds whole "
            f"{unit}, got {batch_size}; trainer.num_shards could be {_or(fits)}"
        )
    if num_shards % trainer.world_size:
        yield (
            f"trainer.world_size must divide trainer.num_shards={num_shards}, got {trainer.world_size}; it could be "
            f"{_or([2**n for n in range(num_shards.bit_length())])}"
        )


def _held_out(config: Config) -> Iterator[str]:
    if config.evaluation.num_prompts > config.data.num_held_out:
        yield (
            f"evaluation.num_prompts must not be above data.num_held_out={config.data.num_held_out}, "
            f"got {config.evaluation.num_prompts}; lower the one or raise the other"
        )


def optimizer_problems(optimizer: OptimizerConfig) -> Iterator[str]:
    """What of `optimizer:` does not go together."""
    if optimizer.min_learning_rate > optimizer.learning_rate:
        yield (
            f"optimizer.min_learning_rate must not be above optimizer.learning_rate={optimizer.learning_rate}, "
            f"got {optimizer.min_learning_rate}"
        )
    if len(optimizer.betas) != 2 or not all(0 <= beta < 1 for beta in optimizer.betas):
        yield f"optimizer.betas must be two numbers from 0 up to but not 1, got {optimizer.betas}"


def tracking_problems(tracking: TrackingConfig) -> Iterator[str]:
    """W&B's own rules, which it would tell only when the run has started."""
    project, tags = tracking.project, tracking.tags
    if not 1 <= len(project) <= 128 or set(project) & set(_NOT_IN_A_PROJECT):
        yield f"tracking.project must be 1 to 128 characters and none of {_NOT_IN_A_PROJECT}, got {project!r}"
    for tag in tags:
        if not 1 <= len(tag) <= 64:
            yield f"each of tracking.tags must be 1 to 64 characters, got {tag!r}"


def _or(sizes: list[int]) -> str:
    return " or ".join(str(size) for size in sizes)
