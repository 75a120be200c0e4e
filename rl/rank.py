"""One rank of any trainer: sums the gradients of canonical shards, takes the optimizer step, keeps its state.

shard 0 ─ gradient ─┐
shard 1 ─ gradient ─┴─┐
shard 2 ─ gradient ─┐ ├─ flat gradient ─ norm, clip ─ DeepSpeed step ─ digest
shard 3 ─ gradient ─┴─┘       (a fixed binary tree, within and across ranks)

What a shard's losses are is the trainer's own. The weights are whole, and packed for the canonical products, only
during a pass over the batch.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from kernels import seam
from kernels.attention import BLOCK_SIZE, attention_isa
from kernels.contract import Contract, build_contract
from kernels.coverage import head_size, logit_transform
from kernels.digest import weights_digest
from kernels.linear import LinearPlan
from kernels.recurrent.depth import recurrence_of
from rl.canonical_model import keep_only_layer_inputs
from rl.config import OptimizerConfig, TrainerConfig
from rl.durable import naming
from rl.gradient import TreeSum, clip_factor
from rl.reduction import Reduction
from rl.zero import start_zero
from rollout.types import PolicyVersion

ShardT = TypeVar("ShardT")


class RankSettings(Protocol):
    """All that a rank needs to start; travels to its process."""

    @property
    def model_dir(self) -> str: ...

    @property
    def dtype(self) -> str:
        """`float32` or `bfloat16`."""

    @property
    def trainer(self) -> TrainerConfig: ...

    @property
    def optimizer(self) -> OptimizerConfig: ...

    def certified_plan(self) -> LinearPlan:
        """The linear that is certified on this machine for what will be trained."""

    def make_rank(self, plan: LinearPlan) -> Any:
        """The `Rank`, in a process group that is up."""


@dataclass
class Pass:
    """What accumulates while a rank goes through its shards."""

    gradients: TreeSum = field(default_factory=TreeSum)
    losses: TreeSum = field(default_factory=TreeSum)
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Update:
    """One optimizer step."""

    loss: float
    """fp32 value, exactly."""
    grad_norm: float
    """fp32 value before clipping, exactly."""
    gradient: str
    """sha256 hex over the summed gradient, before clipping."""


class Rank:
    """A rank in a process group that is already up."""

    def __init__(self, model: nn.Module, settings: RankSettings, plan: LinearPlan):
        """model: under the canonical seam with `plan`; those of its parameters that ask for a gradient are trained."""
        self._plan, self._trainer, self._optimizer = plan, settings.trainer, settings.optimizer
        self._dtype = getattr(torch, settings.dtype)
        seam.unpack(model)
        self._zero = start_zero(model, self._dtype, self._trainer.zero_stage, self._optimizer)
        self._reduction = Reduction(self._zero.num_elements)
        self._padding = torch.zeros(self._reduction.num_padded - self._zero.num_elements, device=self._zero.device)
        self._model = self._zero.model
        if self._trainer.gradient_checkpointing:
            keep_only_layer_inputs(self._model)
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
            recurrence=recurrence_of(config),
            dtype=self._dtype,
        )

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

        self._zero.load_state(load_file(folder / "trainer.safetensors"), step * self._trainer.updates_per_batch)
        self.policy = self._current_policy(step)
        return self.policy

    def save_model(self, folder: Path) -> None:
        """Nothing; writes the weights (from rank 0) as a plain Hugging Face checkpoint."""
        with self._zero.whole():
            if torch.distributed.get_rank() == 0:
                with naming(folder):
                    self._write_model(folder)

    def _write_model(self, folder: Path) -> None:
        self._model.save_pretrained(folder)

    def _own(self, shards: Sequence[ShardT]) -> Sequence[ShardT]:
        """This rank's shards of a batch."""
        share = len(shards) // torch.distributed.get_world_size()
        rank = torch.distributed.get_rank()
        return shards[rank * share : (rank + 1) * share]

    def _add_shard(self, progress: Pass, shares: Iterable[torch.Tensor]) -> None:
        """Adds a shard's gradient and loss to the trees. shares: of the batch's loss, 0-d, made as they are asked for.

        Every rank has as many shards, so a shard without any share is added as well.
        """
        gradient = loss = None
        for share in shares:
            loss = share.detach().view(1) if loss is None else loss + share.detach()
            with progress.timed("backward"):
                found = torch.autograd.grad(share, self._zero.parameters, materialize_grads=True)
                gradient = self._accumulate(gradient, found)
        with progress.timed("reduce"):
            progress.gradients.add(gradient)
            progress.losses.add(loss)

    def _take(self, step: int, progress: Pass, learning_rate: float) -> Update:
        """The optimizer step on what all ranks' passes found.

        Raises RuntimeError, before anything is updated, where loss or gradient is not finite.
        """
        with progress.timed("reduce"):
            subtotal = self._or_zeros(progress.gradients.total(), self._reduction.num_padded)
            piece = self._reduction.sum(subtotal)
            loss = self._reduction.sum_scalar(self._or_zeros(progress.losses.total(), 1))
        norm, digest = self._measure(piece, progress)
        _require_finite(step, loss, norm)
        with progress.timed("reduce"):
            if (factor := clip_factor(norm, self._optimizer.max_grad_norm)) < 1.0:
                piece.mul_(factor)
            gradient = self._reduction.gather(piece, out=subtotal)
        with progress.timed("optimizer"):
            self._zero.step(gradient, learning_rate)
        with progress.timed("digest"):
            self.policy = self._current_policy(step)
        return Update(loss, norm, digest)

    def _measure(self, piece: torch.Tensor, progress: Pass) -> tuple[float, str]:
        """Norm and digest of the gradient of which `piece` is this rank's slice."""
        # Hashing leaves the interpreter lock alone, so it runs beside what only reads the same memory.
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(self._reduction.digests, piece)
            with progress.timed("reduce"):
                norm = self._reduction.norm(piece)
            with progress.timed("digest"):
                return norm, self._reduction.digest(hashing.result())

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


def _require_finite(step: int, loss: float, norm: float) -> None:
    """Raises RuntimeError when a step would spoil the weights; they are still those before it."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RuntimeError(
            f"step {step} has loss {loss} and gradient norm {norm}, so it was not taken; "
            "lower optimizer.learning_rate or look for rewards or targets that are out of proportion"
        )
