"""One trainer rank: proves a batch on-policy, forms its gradient from canonical shards, takes the optimizer step.

shard 0 ─ gradient ─┐
shard 1 ─ gradient ─┴─┐
shard 2 ─ gradient ─┐ ├─ flat gradient ─ norm, clip ─ DeepSpeed step ─ repack, digest
shard 3 ─ gradient ─┴─┘       (a fixed binary tree, within and across ranks)
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
from kernels.certify import certify_linear
from kernels.contract import Contract, build_contract
from kernels.digest import tensor_digest, weights_digest
from kernels.linear import LinearPlan
from kernels.logprobs import projected_logprobs
from rl.algorithms import Algorithm
from rl.batching import MicroBatch, micro_batches
from rl.config import OptimizerConfig, TrainerConfig
from rl.gradient import TreeSum, clip_factor, global_norm, tree_sum
from rl.proof import count_mismatched, require_on_policy, require_same_policy
from rl.types import BatchTotals, LossInputs, ScoredGroup, Shard, StepProof, TrainingBatch
from rl.zero import ZeroEngine
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


@dataclass
class _Pass:
    """What accumulates while a rank goes through its shards."""

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


def certified_plan(model_dir: str, dtype: str) -> LinearPlan:
    """The linear implementation that is certified on this machine for the model's shapes."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(model_dir)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return certify_linear(seam.linear_shapes(model), getattr(torch, dtype))


class TrainerRank:
    """A rank in a process group that is already up."""

    def __init__(self, settings: TrainerSettings, plan: LinearPlan):
        import transformers

        self._settings, self._plan = settings, plan
        self._dtype = getattr(torch, settings.dtype)
        model = transformers.AutoModelForCausalLM.from_pretrained(settings.model_dir, dtype=self._dtype)
        seam.install(model, plan)
        self._zero = ZeroEngine(model, self._dtype, settings.trainer.zero_stage, settings.optimizer)
        self._model = self._zero.model.train()
        seam.repack(self._model)
        self.policy = self._current_policy(0)

    def contract(self) -> Contract:
        """What this rank runs."""
        config = self._model.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return build_contract(
            linear=self._plan,
            tiles_queries=True,
            attention_isa=attention_isa(self._dtype, head_dim),
            block_size=BLOCK_SIZE,
            splits_kv=False,
            dtype=self._dtype,
        )

    def step(self, batch: TrainingBatch, learning_rate: float) -> StepProof:
        """Proof of the optimizer step taken on `batch`.

        Raises BrokenGuarantee, before anything is updated, when a rollout is not from the policy held here.
        """
        require_same_policy(batch.policy, self.policy)
        progress = _Pass()
        for shard in self._own_shards(batch):
            self._add_shard(batch, shard, progress)
        gradient = self._sum_over_ranks(progress.gradients.total(), self._zero.num_elements)
        loss = self._sum_over_ranks(progress.losses.total(), 1)
        # Hashing leaves the interpreter lock alone, so it runs beside what only reads the same memory.
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(tensor_digest, gradient)
            with progress.timed("optimizer"):
                norm = global_norm(gradient)
                _require_finite(batch.step, float(loss), norm)
            with progress.timed("digest"):
                gradient_digest = hashing.result()
            with progress.timed("optimizer"):
                gradient.mul_(clip_factor(norm, self._settings.optimizer.max_grad_norm))
                self._zero.step(gradient, learning_rate)
                hashing_weights = beside.submit(self._current_policy, batch.step)
                seam.repack(self._model)
            with progress.timed("digest"):
                self.policy = hashing_weights.result()
        return self._proof(batch, progress, float(loss), norm, gradient_digest, learning_rate)

    def weights(self) -> dict[str, torch.Tensor]:
        """The policy's weights by name, tied ones once, in the dtype of the forward pass."""
        return {name: parameter.data for name, parameter in self._model.named_parameters()}

    def save(self, folder: Path) -> None:
        """Nothing; writes master weights and optimizer state (from rank 0) into `folder`."""
        from safetensors.torch import save_file

        state = self._zero.state()
        if state:
            save_file({key: part.contiguous() for key, part in state.items()}, folder / "trainer.safetensors")

    def load(self, folder: Path, step: int) -> PolicyVersion:
        """The version held after taking up what `save` wrote after `step` steps."""
        from safetensors.torch import load_file

        self._zero.load_state(load_file(folder / "trainer.safetensors"), step)
        seam.repack(self._model)
        self.policy = self._current_policy(step)
        return self.policy

    def save_model(self, folder: Path) -> None:
        """Nothing; writes the weights (from rank 0) as a plain Hugging Face checkpoint."""
        if torch.distributed.get_rank() == 0:
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
        for micro_batch in self._micro_batches(silent):
            with torch.no_grad():
                self._proved_logprobs(batch, micro_batch, progress)
        totals = _totals(batch)
        for micro_batch in self._micro_batches(learning):
            share = self._settings.algorithm.loss(self._loss_inputs(batch, micro_batch, progress), totals)
            loss = share.detach().view(1) if loss is None else loss + share.detach()
            with progress.timed("backward"):
                gradient = self._accumulate(gradient, torch.autograd.grad(share, self._zero.parameters))
        progress.gradients.add(gradient)
        progress.losses.add(loss)

    def _micro_batches(self, groups: list[ScoredGroup]) -> list[MicroBatch]:
        return micro_batches(groups, self._settings.trainer.micro_batch_tokens)

    def _loss_inputs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _Pass) -> LossInputs:
        logprobs = self._proved_logprobs(batch, micro_batch, progress)
        return LossInputs(
            logprobs=logprobs,
            rollout_logprobs=micro_batch.rollout_logprobs,
            advantages=micro_batch.advantages,
            rollout_index=micro_batch.rollout_index,
            lengths=micro_batch.lengths,
        )

    def _proved_logprobs(self, batch: TrainingBatch, micro_batch: MicroBatch, progress: _Pass) -> torch.Tensor:
        """(T,) fp32 log-probabilities, each equal to its rollout's in all bits."""
        with progress.timed("forward"):
            hidden = seam.hidden_states(self._model, micro_batch.token_ids, micro_batch.layout)
            head = self._model.get_output_embeddings()
            scored = projected_logprobs(
                hidden[micro_batch.predicting_rows], head.weight, head.packed, micro_batch.targets, batch.temperature
            )
        with progress.timed("proof"):
            require_on_policy(batch.step, micro_batch, scored.logprobs)
            _record(micro_batch, scored.logprobs, progress)
        progress.entropy_sum += float(scored.entropy.double().sum())
        return scored.logprobs

    def _accumulate(self, flat: torch.Tensor | None, gradients: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """`flat` with the parameters' gradients added, in fp32; None counts as zeros."""
        if flat is None:
            return torch.cat([gradient.flatten().float() for gradient in gradients])
        for gradient, (_, place) in zip(gradients, self._zero.slices(), strict=True):
            flat[place] += gradient.flatten()
        return flat

    def _sum_over_ranks(self, subtotal: torch.Tensor | None, num_elements: int) -> torch.Tensor:
        """The tree continued over the ranks' subtotals; the same on every rank."""
        world_size = torch.distributed.get_world_size()
        if subtotal is None:
            subtotal = torch.zeros(num_elements)
        if world_size == 1:
            return subtotal
        subtotals = [torch.empty_like(subtotal) for _ in range(world_size)]
        torch.distributed.all_gather(subtotals, subtotal)
        return tree_sum(subtotals)

    def _current_policy(self, step: int) -> PolicyVersion:
        return PolicyVersion(step, weights_digest(self.weights()))

    def _proof(
        self, batch: TrainingBatch, progress: _Pass, loss: float, norm: float, digest: str, learning_rate: float
    ) -> StepProof:
        logprobs, entropy_sum = _gather_objects(progress.logprobs, progress.entropy_sum)
        num_tokens = sum(len(rollout) for rollout in logprobs.values())
        trainer_logprobs = tuple(
            tuple(logprobs[r.prompt_id, r.sample] for r in group.group.rollouts) for group in batch.groups
        )
        return StepProof(
            trainer_logprobs=trainer_logprobs,
            num_tokens=num_tokens,
            num_mismatched=count_mismatched(batch, trainer_logprobs),
            loss=loss,
            grad_norm=norm,
            gradient=digest,
            policy=self.policy,
            learning_rate=learning_rate,
            entropy=entropy_sum / num_tokens,
            timings_s=progress.timings_s,
        )


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
