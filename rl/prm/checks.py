"""What the values of a `train-prm` config must be. Checked when it is loaded, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rl.data.config import data_problems
from rl.data.nearest import nearest
from rl.errors import ConfigError
from rl.prm.known.task import MAX_QUESTIONS, is_known
from rl.supervised.checks import supervised_problems

if TYPE_CHECKING:
    from rl.prm.config import CollectConfig, TrainPRMConfig

TUNINGS = ("lora", "full")
PARTS = ("train", "calibration", "test")
"""What questions are for, in the order of `collect.shares`."""
MIN_ROLLOUTS = 2
"""Of a prefix: the binomial scatter of their share is estimated from them."""
MAIN = "main"
"""The name of the fit that `prm` asks for, beside the variants."""


def check(config: TrainPRMConfig) -> None:
    """Nothing; raises ConfigError listing everything that is wrong with `config`, a line each."""
    problems = list(_ranges(config)) or [
        *supervised_problems(config, "batch_size", config.batch_size),
        *data_problems(config.data),
        *_shares(config),
        *_lengths(config),
        *_families(config),
        *_variants(config),
        *_known(config),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _ranges(config: TrainPRMConfig) -> Iterator[str]:
    collect, prm = config.collect, config.prm
    at_least_one = {
        "collect.num_questions": collect.num_questions,
        "collect.num_trajectories": collect.num_trajectories,
        "prm.lora_rank": prm.lora_rank,
        "prm.lora_alpha": prm.lora_alpha,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "rollout.max_new_tokens": config.rollout.max_new_tokens,
        "rollout.max_num_seqs": config.rollout.max_num_seqs,
        "rollout.num_actors": config.rollout.num_actors,
    }
    yield from (f"{key} must be at least 1, got {value}" for key, value in at_least_one.items() if value < 1)
    if not config.rollout.temperature > 0:
        yield f"rollout.temperature must be above 0, got {config.rollout.temperature}: rollouts would all be the same"
    yield from _rollouts(collect)
    if not math.isfinite(collect.success_at):
        yield f"collect.success_at must be a finite number, got {collect.success_at}"
    if prm.tuning not in TUNINGS:
        yield f"prm.tuning must be {' or '.join(TUNINGS)}, got {prm.tuning!r}{nearest(prm.tuning, TUNINGS)}"
    if not config.model.path:
        yield "model.path must name the policy, got an empty text"
    if config.model.exit.measure:
        yield "model.exit is for `zerokl sample`; a policy goes equally deep for all questions here: take it out"
    if config.reward.process.prm:
        yield "reward.process is for `zerokl train`; success here is what reward.functions say it is: take it out"
    if not config.reward.functions:
        yield "reward.functions must name at least one reward function, got none"


def _rollouts(collect: CollectConfig) -> Iterator[str]:
    asked = {"num_rollouts": collect.num_rollouts}
    if collect.num_test_rollouts != 0:
        asked["num_test_rollouts"] = collect.num_test_rollouts
    for name, value in asked.items():
        if value < MIN_ROLLOUTS:
            yield (
                f"collect.{name} must be at least {MIN_ROLLOUTS}, got {value}; from fewer it cannot be told how far "
                "the share of successes scatters"
            )


def _shares(config: TrainPRMConfig) -> Iterator[str]:
    shares, num_questions = config.collect.shares, config.collect.num_questions
    if len(shares) != len(PARTS) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        yield (
            f"collect.shares must be {len(PARTS)} numbers above 0 that add up to 1, for questions to train on, to "
            f"calibrate on and to test on, got {shares}"
        )
    elif num_questions < len(PARTS):
        yield (
            f"collect.num_questions must be at least {len(PARTS)}, one to train on, one to calibrate on and one to "
            f"test on, got {num_questions}"
        )


def _lengths(config: TrainPRMConfig) -> Iterator[str]:
    if config.rollout.max_new_tokens >= config.rollout.max_model_len:
        yield (
            "rollout.max_new_tokens must leave room for the prompt in rollout.max_model_len="
            f"{config.rollout.max_model_len}, got {config.rollout.max_new_tokens}; lower the one or raise the other"
        )
    if config.rollout.top_p != 1.0 or config.rollout.top_k != 0:
        yield (
            "rollout.top_p and rollout.top_k must be 1.0 and 0: the success of a prefix is that of the policy itself; "
            "sharpen with rollout.temperature"
        )


def _families(config: TrainPRMConfig) -> Iterator[str]:
    from reward.prm.families import make_family  # here, for it brings torch

    named = {"prm": config.prm.family} | {f"variants.{i}": v.family for i, v in enumerate(config.variants)}
    for key, family in named.items():
        try:
            make_family(family, config.prm.quantiles)
        except ValueError as error:
            yield f"{key}.family {family} with prm.quantiles {list(config.prm.quantiles)}: {error}"


def _variants(config: TrainPRMConfig) -> Iterator[str]:
    names = [MAIN, *(variant.name for variant in config.variants)]
    for index, variant in enumerate(config.variants):
        if names.count(variant.name) > 1 or not variant.name.replace("-", "").replace("_", "").isalnum():
            yield (
                f"variants.{index}.name must be its own, of letters, digits, - and _, and not {MAIN!r}, which is the "
                f"fit of `prm`; got {variant.name!r}"
            )
        if not 0 <= variant.num_rollouts <= config.collect.num_rollouts:
            yield (
                f"variants.{index}.num_rollouts must be from 0 to collect.num_rollouts={config.collect.num_rollouts}, "
                f"got {variant.num_rollouts}"
            )


def _known(config: TrainPRMConfig) -> Iterator[str]:
    if not is_known(config.model.path):
        return
    if config.collect.num_questions > MAX_QUESTIONS:
        yield (
            f"collect.num_questions must be at most {MAX_QUESTIONS} for {config.model.path}, which has no more, got "
            f"{config.collect.num_questions}"
        )
    if config.rollout.temperature != 1.0:
        yield f"rollout.temperature must be 1.0 for {config.model.path}, whose chances are known there alone"
    if config.prm.step_token:
        yield f"prm.step_token must be empty for {config.model.path}, whose steps are tokens already"
