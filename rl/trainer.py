"""One trainer rank of an RL run: proves a batch on-policy and forms its losses; `rl.rank` does the rest of the step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kernels import seam
from kernels.digest import combined_digest
from kernels.linear import LinearPlan
from kernels.logprobs import TokenLogprobs
from kernels.recurrent.depth import note_trained, recurrence_of
from rl.algorithms import Algorithm
from rl.batching import MicroBatch, micro_batches
from rl.canonical_model import certified_plan, load_canonical
from rl.config import OptimizerConfig, TrainerConfig
from rl.proof import count_mismatched, require_on_policy, require_same_policy, require_same_recurrence
from rl.rank import Pass, Rank, Update
from rl.types import BatchTotals, LossInputs, ScoredGroup, Shard, StepProof, TrainingBatch


@dataclass(frozen=True)
class TrainerSettings:
    """All that a rank needs to start."""

    model_dir: str
    dtype: str
    """`float32` or `bfloat16`."""
    trainer: TrainerConfig
    optimizer: OptimizerConfig
    algorithm: Algorithm
    max_model_len: int | None = None
    """The longest sequence there will be; None is the model's own limit."""
    exact: bool = True
    """False lets rollouts differ from the trainer: they are compared, counted and reported, not refused."""

    def certified_plan(self) -> LinearPlan:
        """The linear that is certified on this machine for the model's shapes."""
        return certified_plan(self.model_dir, self.dtype, self.max_model_len)

    def make_rank(self, plan: LinearPlan) -> "TrainerRank":
        """The rank, in a process group that is up."""
        return TrainerRank(self, plan)


@dataclass
class _ProvenPass(Pass):
    """What a pass over rollouts finds besides."""

    is_first: bool = True
    """The pass in which the policy is the one that sampled, so that every log-probability is compared."""
    logprobs: dict[tuple[str, int], tuple[float, ...]] = field(default_factory=dict)
    entropy_sum: float = 0.0


class TrainerRank(Rank):
    """A rank in a process group that is already up."""

    def __init__(self, settings: TrainerSettings, plan: LinearPlan):
        super().__init__(load_canonical(settings.model_dir, settings.dtype, plan), settings, plan)
        self._settings = settings
        self._reference = (
            load_canonical(settings.model_dir, settings.dtype, plan) if settings.algorithm.needs_reference else None
        )

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of the optimizer step taken on `batch`, or of `trainer.updates_per_batch` of them.

        Raises BrokenGuarantee, before anything is updated, when a rollout is not from the policy held here.
        """
        require_same_policy(batch.policy, self.policy)
        require_same_recurrence(batch, recurrence_of(self._model.config))
        num_updates = self._settings.trainer.updates_per_batch
        updates = [self._update(batch, learning_rate, is_first=index == 0) for index in range(num_updates)]
        return self._proof(batch, updates, learning_rate)

    def _write_model(self, folder: Path) -> None:
        note_trained(self._model.config)
        super()._write_model(folder)

    def _update(self, batch: TrainingBatch, learning_rate: float, is_first: bool) -> tuple[_ProvenPass, Update]:
        progress = _ProvenPass(is_first=is_first)
        with self.ready_to_compute():
            for shard in self._own(batch.shards):
                self._add_shard(progress, self._shares(batch, shard, progress))
        return progress, self._take(batch.step, progress, learning_rate)

    def _shares(self, batch: TrainingBatch, shard: Shard, progress: _ProvenPass) -> Iterator[torch.Tensor]:
        """Proves every log-probability of the shard; its shares of the batch's loss."""
        silent = [g for g in shard.groups if self._settings.algorithm.is_silent(g.all_advantages)]
        learning = [g for g in shard.groups if not self._settings.algorithm.is_silent(g.all_advantages)]
        for micro_batch in self._micro_batches(silent) if progress.is_first else []:
            with torch.no_grad():
                self._logprobs(batch, micro_batch, progress)
        totals = _totals(batch)
        for micro_batch in self._micro_batches(learning):
            yield self._settings.algorithm.loss(self._loss_inputs(batch, micro_batch, progress), totals)

    def _micro_batches(self, groups: list[ScoredGroup]) -> list[MicroBatch]:
        return micro_batches(groups, self._settings.trainer.micro_batch_tokens)

    def _loss_inputs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _ProvenPass) -> LossInputs:
        logprobs = self._logprobs(batch, micro_batch, progress)
        return LossInputs(
            logprobs=logprobs,
            reference_logprobs=self._reference_logprobs(batch, micro_batch, progress),
            rollout_logprobs=micro_batch.rollout_logprobs,
            advantages=micro_batch.advantages,
            rollout_index=micro_batch.rollout_index,
            lengths=micro_batch.lengths,
            step_advantages=micro_batch.step_advantages,
        )

    def _logprobs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _ProvenPass) -> torch.Tensor:
        """(T,) fp32 log-probabilities; in the first pass proved equal to their rollouts' in all bits."""
        with progress.timed("forward"):
            scored = _score(self._model, micro_batch, batch.temperature)
        if progress.is_first:
            with progress.timed("proof"):
                if self._settings.exact:
                    require_on_policy(batch.step, micro_batch, scored.logprobs)
                _record(micro_batch, scored.logprobs, progress)
            progress.entropy_sum += float(scored.entropy.double().sum())
        return scored.logprobs

    def _reference_logprobs(
        self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _ProvenPass
    ) -> torch.Tensor | None:
        if self._reference is None:
            return None
        with progress.timed("reference"), torch.no_grad():
            return _score(self._reference, micro_batch, batch.temperature).logprobs

    def _proof(
        self, batch: TrainingBatch, updates: list[tuple[_ProvenPass, Update]], learning_rate: float
    ) -> StepProof:
        progress, first = updates[0]
        logprobs, entropy_sum = _gather_objects(progress.logprobs, progress.entropy_sum)
        num_tokens = sum(len(rollout) for rollout in logprobs.values())
        trainer_logprobs = tuple(
            tuple(logprobs[r.prompt_id, r.sample] for r in group.group.rollouts) for group in batch.groups
        )
        return StepProof(
            trainer_logprobs=trainer_logprobs,
            num_tokens=num_tokens,
            num_mismatched=count_mismatched(batch, trainer_logprobs),
            loss=first.loss,
            grad_norm=first.grad_norm,
            gradient=combined_digest([update.gradient for _, update in updates]),
            policy=self.policy,
            learning_rate=learning_rate,
            entropy=entropy_sum / num_tokens,
            off_policy=_off_policy(self._settings.exact, len(updates)),
            timings_s=_summed([one.timings_s for one, _ in updates]),
        )


def _score(model: Any, micro_batch: MicroBatch, temperature: float) -> TokenLogprobs:
    return seam.token_logprobs(
        model,
        micro_batch.token_ids,
        micro_batch.layout,
        micro_batch.predicting_rows,
        micro_batch.targets,
        temperature,
    )


def _off_policy(exact: bool, num_updates: int) -> str:
    """What of a step was not on-policy, by choice, in words; empty where all of it was."""
    parts = [] if exact else ["rollouts by stock vLLM"]
    if num_updates > 1:
        parts.append(f"updates 2 to {num_updates} of each batch")
    return " and ".join(parts)


def _summed(timings_s: list[dict[str, float]]) -> dict[str, float]:
    names = {name: None for timings in timings_s for name in timings}
    return {name: sum(timings.get(name, 0.0) for timings in timings_s) for name in names}


def _totals(batch: TrainingBatch) -> BatchTotals:
    rollouts = [rollout for group in batch.groups for rollout in group.group.rollouts]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    return BatchTotals(num_rollouts=len(rollouts), num_tokens=sum(lengths), max_new_tokens=batch.max_new_tokens)


def _record(micro_batch: MicroBatch, logprobs: torch.Tensor, progress: _ProvenPass) -> None:
    rollouts = [rollout for piece in micro_batch.slices for rollout in piece.rollouts]
    parts = logprobs.detach().split(micro_batch.lengths.tolist())
    for rollout, part in zip(rollouts, parts, strict=True):
        progress.logprobs[rollout.prompt_id, rollout.sample] = tuple(part.tolist())


def _gather_objects(
    logprobs: dict[tuple[str, int], tuple[float, ...]], entropy_sum: float
) -> tuple[dict[tuple[str, int], tuple[float, ...]], float]:
    if torch.distributed.get_world_size() == 1:
        return logprobs, entropy_sum
    parts: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, (logprobs, entropy_sum))
    return {key: value for part, _ in parts for key, value in part.items()}, sum(entropy for _, entropy in parts)
