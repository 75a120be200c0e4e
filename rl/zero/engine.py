"""What the ZeRO stages have in common: an optimizer step from a flat gradient, and state as flat vectors."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from rl.adamw import CanonicalAdamW
from rl.config import OptimizerConfig

STATE_KEYS = ("exp_avg", "exp_avg_sq")


class ZeroEngine(ABC):
    """A model under DeepSpeed. Flat vectors are fp32, unpadded, in the order of the parameters that are trained.

    Those are the ones that ask for a gradient; frozen ones stay as they were loaded and are in no state.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, zero_settings: dict[str, Any], config: OptimizerConfig):
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self.parameters: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.num_elements = sum(self.sizes)
        optimizer = CanonicalAdamW(
            self.parameters, config.learning_rate, (config.betas[0], config.betas[1]), config.eps, config.weight_decay
        )
        settings = _settings(dtype, zero_settings)
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
        for name, buffer in self.model.named_buffers():
            # DeepSpeed casts buffers with the weights; a RoPE table in bf16 is not what the engine computes with.
            buffer.data = buffers[name]
        self._zero = self._engine.optimizer

    @property
    def model(self) -> Any:
        """The Hugging Face model."""
        return self._engine.module

    def slices(self) -> Iterator[slice]:
        """Each parameter's place in a flat vector."""
        start = 0
        for size in self.sizes:
            yield slice(start, start + size)
            start += size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.parameters[0].device

    @abstractmethod
    def whole(self) -> AbstractContextManager[None]:
        """Within, every rank holds all weights. All ranks enter together."""

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Nothing; one optimizer step with the flat gradient (num_elements,), the same on every rank."""
        for group in self._zero.param_groups:
            group["lr"] = learning_rate
        # What DeepSpeed's own reduction leaves behind for step(): this rank's partition, here as one tensor.
        self._zero.averaged_gradients[0] = [self._partition(gradient)]
        self._engine.step()

    def state(self) -> dict[str, torch.Tensor]:
        """Master weights and Adam moments as flat vectors, whatever world size and stage; empty but on rank 0."""
        master = self._master()
        moments = self._zero.optimizer.state.get(master, {})
        parts = {"master": master, **{key: moments.get(key, torch.zeros_like(master)) for key in STATE_KEYS}}
        joined = {key: self._joined(_gather(part.detach())) for key, part in parts.items()}
        return joined if torch.distributed.get_rank() == 0 else {}

    def load_state(self, state: dict[str, torch.Tensor], num_steps: int) -> None:
        """Nothing; takes up what `state` returned after `num_steps` steps, in any world size and stage."""
        master = self._master()
        master.data.copy_(self._partition(state["master"]))
        moments = {key: self._partition(state[key]).clone() for key in STATE_KEYS}
        step = torch.tensor(float(num_steps), dtype=torch.float32, device=master.device)
        self._zero.optimizer.state[master] = {"step": step, **moments}
        self._take_up_master()

    @abstractmethod
    def _master(self) -> torch.Tensor:
        """This rank's partition of the master weights, fp32."""

    @abstractmethod
    def _take_up_master(self) -> None:
        """Nothing; sets the weights to the master weights, on all ranks together."""

    @abstractmethod
    def _partition(self, flat: torch.Tensor) -> torch.Tensor:
        """This rank's part of a flat vector, padded with zeros to the length of `_master()`."""

    @abstractmethod
    def _joined(self, partitions: list[torch.Tensor]) -> torch.Tensor:
        """The flat vector of which these are the ranks' partitions."""


def _settings(dtype: torch.dtype, zero_settings: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": 0.0,  # clipped before, by a canonical norm
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"overlap_comm": False, **zero_settings},
    }
    if dtype == torch.bfloat16:
        # No `grad_accum_dtype`: it picks another optimizer class at stage 1, and what is handed over is fp32 anyway.
        settings["bf16"] = {"enabled": True}
    return settings


def _gather(part: torch.Tensor) -> list[torch.Tensor]:
    parts = [torch.empty_like(part) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, part.contiguous())
    return parts
