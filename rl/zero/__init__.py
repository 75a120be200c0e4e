"""DeepSpeed's ZeRO stages, driven by gradients that were summed canonically outside of them.

    engine ─┬─ optimizer_shards   stages 1 and 2: master weights and moments are cut, weights are whole
            └─ weight_shards      stage 3: weights too

Each rank hands its partition of the flat gradient to DeepSpeed's `step()`. DeepSpeed's hooks, buckets and reductions,
whose order depends on the world size, are not used.
"""

import torch
from torch import nn

from rl.config import OptimizerConfig
from rl.zero.engine import ZeroEngine
from rl.zero.optimizer_shards import OptimizerShards
from rl.zero.weight_shards import WeightShards

__all__ = ["ZeroEngine", "start_zero"]


def start_zero(model: nn.Module, dtype: torch.dtype, zero_stage: int, config: OptimizerConfig) -> ZeroEngine:
    """`model` under ZeRO stage 1, 2 or 3, in the process group that is up."""
    return WeightShards(model, dtype, config) if zero_stage == 3 else OptimizerShards(model, dtype, zero_stage, config)
