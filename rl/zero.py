"""DeepSpeed's ZeRO stage 1 and 2, driven by gradients that were summed canonically outside of it.

ZeRO keeps all parameters of the one optimizer group as a flat vector, cut into one partition a rank. Each rank hands
its partition of the flat gradient to `engine.step()`; DeepSpeed's backward hooks, buckets and reductions, whose order
depends on the world size, are not used.
"""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from rl.config import OptimizerConfig

STATE_KEYS = ("exp_avg", "exp_avg_sq")


class ZeroEngine:
    """A model under DeepSpeed. Flat vectors are fp32, unpadded, in the order of the model's parameters."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, zero_stage: int, config: OptimizerConfig):
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=(config.betas[0], config.betas[1]),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,  # one pass over the flat vector, element by element, so partitions cannot matter
        )
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=_settings(dtype, zero_stage))
        for name, buffer in self.model.named_buffers():
            # DeepSpeed casts buffers with the weights; a RoPE table in bf16 is not what the engine computes with.
            buffer.data = buffers[name]
        self._zero = self._engine.optimizer
        self.parameters: list[nn.Parameter] = list(self._zero.bit16_groups[0])
        self.num_elements = sum(p.numel() for p in self.parameters)

    @property
    def model(self) -> Any:
        """The Hugging Face model, its parameters views into ZeRO's flat vector."""
        return self._engine.module

    def slices(self) -> Iterator[tuple[nn.Parameter, slice]]:
        """Each parameter with its place in a flat vector."""
        start = 0
        for parameter in self.parameters:
            yield parameter, slice(start, start + parameter.numel())
            start += parameter.numel()

    def step(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Nothing; one optimizer step with the flat gradient (num_elements,), the same on every rank."""
        for group in self._zero.param_groups:
            group["lr"] = learning_rate
        # What DeepSpeed's own reduction leaves behind for step(): this rank's partition, here as one tensor.
        self._zero.averaged_gradients[0] = [self._partition_of(gradient)]
        self._engine.step()

    def state(self) -> dict[str, torch.Tensor]:
        """Master weights and Adam moments as flat vectors, the same for every world size; empty but on rank 0."""
        master = self._zero.single_partition_of_fp32_groups[0]
        moments = self._zero.optimizer.state[master]
        parts = {"master": master, **{key: moments[key] for key in STATE_KEYS}}
        gathered = {key: _gather(part)[: self.num_elements] for key, part in parts.items()}
        return gathered if torch.distributed.get_rank() == 0 else {}

    def load_state(self, state: dict[str, torch.Tensor], num_steps: int) -> None:
        """Nothing; takes up what `state` returned after `num_steps` steps, in any world size."""
        master = self._zero.single_partition_of_fp32_groups[0]
        master.data.copy_(self._padded_partition(state["master"]))
        moments = self._zero.optimizer.state[master]
        for key in STATE_KEYS:
            moments[key] = self._padded_partition(state[key]).clone()
        moments["step"] = torch.tensor(float(num_steps), dtype=torch.float32)
        self._zero.update_lp_params()

    def _partition_of(self, flat: torch.Tensor) -> torch.Tensor:
        """This rank's part of a flat vector; the last rank's may be short, DeepSpeed pads it."""
        size, rank = int(self._zero.partition_size[0]), torch.distributed.get_rank()
        return flat[rank * size : (rank + 1) * size]

    def _padded_partition(self, flat: torch.Tensor) -> torch.Tensor:
        part = self._partition_of(flat)
        return nn.functional.pad(part, (0, int(self._zero.partition_size[0]) - part.numel()))


def _settings(dtype: torch.dtype, zero_stage: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": 0.0,  # clipped before, by a canonical norm
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": zero_stage, "overlap_comm": False, "compute_grad_norm": False},
    }
    if dtype == torch.bfloat16:
        # No `grad_accum_dtype`: it picks another optimizer class at stage 1, and what is handed over is fp32 anyway.
        settings["bf16"] = {"enabled": True}
    return settings


def _gather(part: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(part) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, part.detach().contiguous())
    return torch.cat(parts)
