"""Training steps as a run takes them, timed by part: sampling, scoring, training, publishing, recording."""

import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.digest import weights_digest
from reward.surface import digit_share
from reward.types import Reward
from rl import weight_sync
from rl.algorithms.grpo import GRPO
from rl.batching import cut_into_shards
from rl.bench import BenchSettings
from rl.clock import Clock
from rl.config import OptimizerConfig, TrainerConfig
from rl.data import DataConfig, load_data
from rl.ledger import Ledger
from rl.models import load_tokenizer, stop_token_ids
from rl.records import step_record
from rl.run_folder import RunFolder
from rl.trainer import TrainerRank, TrainerSettings
from rl.trainer_group import TrainerGroup
from rl.types import RewardedGroup, ScoredGroup, TrainingBatch
from rollout.config import RolloutConfig
from rollout.pool import RolloutPool
from rollout.types import Prompt, RolloutGroup, SamplingParams

LEARNING_RATE = 1e-5
SUMS = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}


@dataclass(frozen=True)
class StepSize:
    """How much a step samples and learns from."""

    num_prompts: int
    group_size: int
    new_tokens: int
    num_shards: int = 4


@dataclass(frozen=True)
class OwnSteps:
    """What some steps took, the first of them a warm-up."""

    totals_s: list[float]
    """Of each step."""
    parts_s: dict[str, float]
    """Median by part; `train_...` are parts of `train`."""
    peak_bytes: int
    """Of trainer and engine together."""
    weights_digest_s: float
    """Of one digest of the weights; the trainer takes one a step, and so does each engine, while weights are synced."""


def sums_to_learn(settings: BenchSettings, size: StepSize, num_batches: int) -> list[list[Prompt]]:
    """Batches of questions such as `12 + 7`, in the model's chat format."""
    data = load_data(DataConfig(params=SUMS, num_held_out=1), load_tokenizer(settings.model_dir), 0).train
    return [data.batch(i * size.num_prompts, size.num_prompts) for i in range(num_batches)]


def take_steps(settings: BenchSettings, size: StepSize, batches: list[list[Prompt]]) -> OwnSteps:
    """A step for each batch, by one trainer rank and one engine."""
    algorithm, trainer_config = GRPO(), TrainerConfig(num_shards=size.num_shards)
    trainer = TrainerGroup(
        TrainerSettings(str(settings.model_dir), settings.dtype, trainer_config, OptimizerConfig(), algorithm)
    )
    pool = RolloutPool(RolloutConfig(max_model_len=256), seed=0)
    plan = trainer.certify()
    trainer.start(plan)
    pool.start(str(settings.model_dir), settings.dtype, plan)
    weight_sync.publish(trainer, pool, trainer.policy())
    with tempfile.TemporaryDirectory() as folder:
        totals, laps = _timed_steps(trainer, pool, algorithm, _sampling(settings, size), size, batches, Path(folder))
    peak, digest_s = trainer.call(peak_bytes) + pool.call(0, peak_bytes), trainer.call(_weights_digest_s)
    trainer.close()
    pool.close()
    parts = {name: statistics.median(lap[name] for lap in laps[1:]) for name in laps[0]}
    return OwnSteps(totals, parts, peak, digest_s)


def _sampling(settings: BenchSettings, size: StepSize) -> SamplingParams:
    stop_ids = stop_token_ids(settings.model_dir, load_tokenizer(settings.model_dir))
    return SamplingParams(max_new_tokens=size.new_tokens, stop_token_ids=stop_ids)


def _timed_steps(
    trainer: TrainerGroup,
    pool: RolloutPool,
    algorithm: GRPO,
    sampling: SamplingParams,
    size: StepSize,
    batches: list[list[Prompt]],
    folder: Path,
) -> tuple[list[float], list[dict[str, float]]]:
    totals, laps = [], []
    run = RunFolder(folder)
    run.create()
    ledger = Ledger(run.ledger_path)
    for step, prompts in enumerate(batches, start=1):
        clock = Clock()
        groups = pool.generate(prompts, sampling, size.group_size)
        clock.lap("sample")
        scored = _scored(groups, algorithm, size.new_tokens)
        shards = cut_into_shards(scored, size.num_shards)
        batch = TrainingBatch(step, groups[0].policy, sampling.temperature, size.new_tokens, shards)
        clock.lap("score")
        proof = trainer.step(batch, LEARNING_RATE)
        clock.lap("train")
        weight_sync.publish(trainer, pool, proof.policy)
        clock.lap("sync")
        ledger.append(step_record("", batch, proof))
        run.write_rollouts(step, batch, proof)
        clock.lap("ledger")
        totals.append(clock.total_s)
        laps.append(clock.laps_s | {f"train_{name}": seconds for name, seconds in proof.timings_s.items()})
    return totals, laps


def _scored(groups: list[RolloutGroup], algorithm: GRPO, new_tokens: int) -> list[ScoredGroup]:
    rewarded = [RewardedGroup(group, _rewards(group)) for group in groups]
    advantages = algorithm.advantages(rewarded, new_tokens)
    return [ScoredGroup(g.group, g.rewards, a) for g, a in zip(rewarded, advantages, strict=True)]


def _rewards(group: RolloutGroup) -> tuple[Reward, ...]:
    values = digit_share([], [rollout.text for rollout in group.rollouts])
    return tuple(Reward(value, {}) for value in values)


def _weights_digest_s(trainer: TrainerRank) -> float:
    start = time.perf_counter()
    weights_digest(trainer.weights())
    return time.perf_counter() - start


def peak_bytes(_: Any = None) -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
