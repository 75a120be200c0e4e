"""ZeRO stage 3: at rest a rank holds its share of every weight, and of master weights and moments.

DeepSpeed cuts each parameter into as many equal pieces as there are ranks, the last one padded; a rank's partition is
its pieces in the order of the parameters. For a pass over the batch all weights are gathered at once, and let go after
it: gathering layer by layer, as DeepSpeed's hooks do, would take a pass that DeepSpeed drives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rl.config import OptimizerConfig
from rl.zero.engine import ZeroEngine

ONE_GROUP = 2**62
"""Elements of a sub-group, so that all parameters are in one."""


class WeightShards(ZeroEngine):
    """Stage 3."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, config: OptimizerConfig):
        settings: dict[str, Any] = {
            "stage": 3,
            "sub_group_size": ONE_GROUP,
            "stage3_param_persistence_threshold": 0,  # small parameters are cut as well
            "contiguous_gradients": False,  # no buffer for a reduction that is not used
        }
        super().__init__(model, dtype, settings, config)
        self._zero.parameter_offload.destroy()  # the hooks that gather layer by layer

    @contextmanager
    def whole(self) -> Iterator[None]:
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(self.model.parameters())):
            yield

    def _master(self) -> torch.Tensor:
        return self._zero.fp32_partitioned_groups_flat[0]

    def _take_up_master(self) -> None:
        self._zero._reassign_or_swap_out_partitioned_parameters(0)

    def _partition(self, flat: torch.Tensor) -> torch.Tensor:
        rank = torch.distributed.get_rank()
        return torch.cat([self._pieces(flat[place])[rank] for place in self.slices()])

    def _joined(self, partitions: list[torch.Tensor]) -> torch.Tensor:
        lengths = [-(-size // len(partitions)) for size in self.sizes]
        by_parameter = zip(*(partition.split(lengths) for partition in partitions), strict=True)
        return torch.cat([torch.cat(pieces)[:size] for size, pieces in zip(self.sizes, by_parameter, strict=True)])

    def _pieces(self, values: torch.Tensor) -> torch.Tensor:
        """(ranks, length of a piece), padded with zeros."""
        num_ranks = torch.distributed.get_world_size()
        return F.pad(values, (0, -len(values) % num_ranks)).view(num_ranks, -1)
