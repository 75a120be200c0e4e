"""ZeRO stages 1 and 2: every rank holds the weights, and its share of master weights and moments.

DeepSpeed keeps all parameters of its one group as a flat vector, cut into one partition a rank. The stages differ in
what DeepSpeed's own backward pass keeps of the gradients, which is not used here.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rl.config import OptimizerConfig
from rl.zero.engine import ZeroEngine


class OptimizerShards(ZeroEngine):
    """Stage 1 or 2."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, zero_stage: int, config: OptimizerConfig):
        settings: dict[str, Any] = {"stage": zero_stage, "compute_grad_norm": False}
        super().__init__(model, dtype, settings, config)

    def whole(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _master(self) -> torch.Tensor:
        return self._zero.single_partition_of_fp32_groups[0]

    def _take_up_master(self) -> None:
        self._zero.update_lp_params()

    def _partition(self, flat: torch.Tensor) -> torch.Tensor:
        size, rank = int(self._zero.partition_size[0]), torch.distributed.get_rank()
        part = flat[rank * size : (rank + 1) * size]
        missing = size - part.numel()
        return F.pad(part, (0, missing)) if missing else part

    def _joined(self, partitions: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(partitions)[: self.num_elements]
