"""One trainer rank: proves a batch on-policy, forms its gradient from canonical shards, takes the optimizer step.

shard 0 ─ gradient ─┐
shard 1 ─ gradient ─┴─┐
shard 2 ─ gradient ─┐ ├─ flat gradient ─ norm, clip ─ DeepSpeed step ─ digest
shard 3 ─ gradient ─┴─┘       (a fixed binary tree, within and across ranks)

The weights are whole, and packed for the canonical products, only during a pass over the batch.
"""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kernels import seam
from kernels.attention import BLOCK_SIZE, attention_isa
from kernels.contract import Contract, build_contract
from kernels.coverage import head_size, logit_transform
from kernels.digest import combined_digest, weights_digest
from kernels.linear import LinearPlan
from kernels.logprobs import TokenLogprobs
from rl.algorithms import Algorithm
from rl.batching import MicroBatch, micro_batches
from rl.canonical_model import keep_only_layer_inputs, load_canonical
from rl.config import OptimizerConfig, TrainerConfig
from rl.durable import naming
from rl.gradient import TreeSum, clip_factor
from rl.proof import count_mismatched, require_on_policy, require_same_policy
from rl.reduction import Reduction
from rl.types import BatchTotals, LossInputs, ScoredGroup, Shard, StepProof, TrainingBatch
from rl.zero import start_zero
from rollout.types import PolicyVersion


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


@dataclass
class _Pass:
    """What accumulates while a rank goes through its shards."""

    is_first: bool
    """The pass in which the policy is the one that sampled, so that every log-probability is compared."""
    gradients: TreeSum = field(default_factory=TreeSum)
    losses: TreeSum = field(default_factory=TreeSum)
    logprobs: dict[tuple[str, int], tuple[float, ...]] = field(default_factory=dict)
    entropy_sum: float = 0.0
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class _Update:
    """One optimizer step and the pass over the batch that led to it."""

    progress: _Pass
    loss: float
    grad_norm: float
    gradient: str
    """sha256 hex."""


class TrainerRank:
    """A rank in a process group that is already up."""

    def __init__(self, settings: TrainerSettings, plan: LinearPlan):
        self._settings, self._plan = settings, plan
        self._dtype = getattr(torch, settings.dtype)
        model = load_canonical(settings.model_dir, settings.dtype, plan)
        seam.unpack(model)
        self._zero = start_zero(model, self._dtype, settings.trainer.zero_stage, settings.optimizer)
        self._reduction = Reduction(self._zero.num_elements)
        self._padding = torch.zeros(self._reduction.num_padded - self._zero.num_elements, device=self._zero.device)
        self._model = self._zero.model
        if settings.trainer.gradient_checkpointing:
            keep_only_layer_inputs(self._model)
        self._reference = (
            load_canonical(settings.model_dir, settings.dtype, plan) if settings.algorithm.needs_reference else None
        )
        self.policy = self._current_policy(0)

    def contract(self) -> Contract:
        """What this rank runs."""
        config = self._model.config
        return build_contract(
            linear=self._plan,
            logits=logit_transform(config),
            tiles_queries=True,
            attention_isa=attention_isa(self._dtype, head_size(config)),
            block_size=BLOCK_SIZE,
            splits_kv=False,
            dtype=self._dtype,
        )

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of the optimizer step taken on `batch`, or of `trainer.updates_per_batch` of them.

        Raises BrokenGuarantee, before anything is updated, when a rollout is not from the policy held here.
        """
        require_same_policy(batch.policy, self.policy)
        num_updates = self._settings.trainer.updates_per_batch
        updates = [self._update(batch, learning_rate, is_first=index == 0) for index in range(num_updates)]
        return self._proof(batch, updates, learning_rate)

    def _update(self, batch: TrainingBatch, learning_rate: float, is_first: bool) -> _Update:
        progress = _Pass(is_first)
        with self.ready_to_compute():
            for shard in self._own_shards(batch):
                self._add_shard(batch, shard, progress)
        with progress.timed("reduce"):
            subtotal = self._or_zeros(progress.gradients.total(), self._reduction.num_padded)
            piece = self._reduction.sum(subtotal)
            loss = self._reduction.sum_scalar(self._or_zeros(progress.losses.total(), 1))
        norm, digest = self._measure(piece, progress)
        _require_finite(batch.step, loss, norm)
        with progress.timed("reduce"):
            if (factor := clip_factor(norm, self._settings.optimizer.max_grad_norm)) < 1.0:
                piece.mul_(factor)
            gradient = self._reduction.gather(piece, out=subtotal)
        with progress.timed("optimizer"):
            self._zero.step(gradient, learning_rate)
        with progress.timed("digest"):
            self.policy = self._current_policy(batch.step)
        return _Update(progress, loss, norm, digest)

    def _measure(self, piece: torch.Tensor, progress: _Pass) -> tuple[float, str]:
        """Norm and digest of the gradient of which `piece` is this rank's slice."""
        # Hashing leaves the interpreter lock alone, so it runs beside what only reads the same memory.
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(self._reduction.digests, piece)
            with progress.timed("reduce"):
                norm = self._reduction.norm(piece)
            with progress.timed("digest"):
                return norm, self._reduction.digest(hashing.result())

    @contextmanager
    def ready_to_compute(self) -> Iterator[None]:
        """Within, the weights are whole and packed. All ranks enter together."""
        with self._zero.whole():
            seam.repack(self._model)
            try:
                yield
            finally:
                seam.unpack(self._model)

    def weights(self) -> dict[str, torch.Tensor]:
        """The policy's weights by name, tied ones once, in the dtype of the forward pass. All ranks call together."""
        with self._zero.whole():
            return {name: parameter.data for name, parameter in self._model.named_parameters()}

    def save(self, folder: Path) -> None:
        """Nothing; writes master weights and optimizer state (from rank 0) into `folder`."""
        from safetensors.torch import save_file

        state = self._zero.state()
        if state:
            path = folder / "trainer.safetensors"
            with naming(path):
                save_file({key: part.contiguous() for key, part in state.items()}, path)

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after taking up what `save` wrote after `step` steps."""
        from safetensors.torch import load_file

        self._zero.load_state(
            load_file(folder / "trainer.safetensors"), step * self._settings.trainer.updates_per_batch
        )
        self.policy = self._current_policy(step)
        return self.policy

    def save_model(self, folder: Path) -> None:
        """Nothing; writes the weights (from rank 0) as a plain Hugging Face checkpoint."""
        with self._zero.whole():
            if torch.distributed.get_rank() == 0:
                with naming(folder):
                    self._model.save_pretrained(folder)

    def _own_shards(self, batch: TrainingBatch) -> tuple[Shard, ...]:
        share = len(batch.shards) // torch.distributed.get_world_size()
        rank = torch.distributed.get_rank()
        return batch.shards[rank * share : (rank + 1) * share]

    def _add_shard(self, batch: TrainingBatch, shard: Shard, progress: _Pass) -> None:
        """Proves every log-probability of the shard and adds its gradient and loss to the trees."""
        silent = [g for g in shard.groups if self._settings.algorithm.is_silent(g.advantages)]
        learning = [g for g in shard.groups if not self._settings.algorithm.is_silent(g.advantages)]
        gradient = loss = None
        for micro_batch in self._micro_batches(silent) if progress.is_first else []:
            with torch.no_grad():
                self._logprobs(batch, micro_batch, progress)
        totals = _totals(batch)
        for micro_batch in self._micro_batches(learning):
            share = self._settings.algorithm.loss(self._loss_inputs(batch, micro_batch, progress), totals)
            loss = share.detach().view(1) if loss is None else loss + share.detach()
            with progress.timed("backward"):
                gradient = self._accumulate(gradient, torch.autograd.grad(share, self._zero.parameters))
        with progress.timed("reduce"):
            progress.gradients.add(gradient)
            progress.losses.add(loss)

    def _micro_batches(self, groups: list[ScoredGroup]) -> list[MicroBatch]:
        return micro_batches(groups, self._settings.trainer.micro_batch_tokens)

    def _loss_inputs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _Pass) -> LossInputs:
        logprobs = self._logprobs(batch, micro_batch, progress)
        return LossInputs(
            logprobs=logprobs,
            reference_logprobs=self._reference_logprobs(batch, micro_batch, progress),
            rollout_logprobs=micro_batch.rollout_logprobs,
            advantages=micro_batch.advantages,
            rollout_index=micro_batch.rollout_index,
            lengths=micro_batch.lengths,
        )

    def _logprobs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _Pass) -> torch.Tensor:
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
        self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _Pass
    ) -> torch.Tensor | None:
        if self._reference is None:
            return None
        with progress.timed("reference"), torch.no_grad():
            return _score(self._reference, micro_batch, batch.temperature).logprobs

    def _accumulate(self, flat: torch.Tensor | None, gradients: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """`flat` (num_padded,) with the parameters' gradients added, in fp32; None counts as zeros."""
        if flat is None:
            return torch.cat([*(gradient.flatten().float() for gradient in gradients), self._padding])
        for gradient, place in zip(gradients, self._zero.slices(), strict=True):
            flat[place] += gradient.flatten()
        return flat

    def _or_zeros(self, total: torch.Tensor | None, num_elements: int) -> torch.Tensor:
        return torch.zeros(num_elements, device=self._zero.device) if total is None else total

    def _current_policy(self, step: int) -> PolicyVersion:
        return PolicyVersion(step, weights_digest(self.weights()))

    def _proof(self, batch: TrainingBatch, updates: list[_Update], learning_rate: float) -> StepProof:
        first = updates[0]
        logprobs, entropy_sum = _gather_objects(first.progress.logprobs, first.progress.entropy_sum)
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
            gradient=combined_digest([update.gradient for update in updates]),
            policy=self.policy,
            learning_rate=learning_rate,
            entropy=entropy_sum / num_tokens,
            off_policy=_off_policy(self._settings.exact, len(updates)),
            timings_s=_summed([update.progress.timings_s for update in updates]),
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


def _require_finite(step: int, loss: float, norm: float) -> None:
    """Raises RuntimeError when a step would spoil the weights; they are still those before it."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RuntimeError(
            f"step {step} has loss {loss} and gradient norm {norm}, so it was not taken; "
            "lower optimizer.learning_rate or look for rewards that are out of proportion"
        )


def _totals(batch: TrainingBatch) -> BatchTotals:
    rollouts = [rollout for group in batch.groups for rollout in group.group.rollouts]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    return BatchTotals(num_rollouts=len(rollouts), num_tokens=sum(lengths), max_new_tokens=batch.max_new_tokens)


def _record(micro_batch: MicroBatch, logprobs: torch.Tensor, progress: _Pass) -> None:
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


def join_process_group(rank: int, world_size: int, address: str, port: int) -> None:
    """Nothing; afterwards this process is rank `rank` of a gloo group that DeepSpeed uses."""
    os.environ.update(
        DS_ACCELERATOR="cpu",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_SIZE=str(world_size),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    import deepspeed

    _skip_compiled_collectives(deepspeed)
    deepspeed.init_distributed("gloo", verbose=False)


def _skip_compiled_collectives(deepspeed: Any) -> None:
    """Switches off `deepspeed.comm.torch.build_shm_op` (DeepSpeed 0.19), which compiles C++ at its first start.

    A run must not need a compiler, and the order in which that op adds up is its own. Remove when DeepSpeed has a
    setting for it.
    """
    from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
