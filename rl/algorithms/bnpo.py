"""BNPO as TRL 1.16 has it: GRPO averaged over tokens instead of rollouts.

TRL divides by the tokens of the local batch, so its loss depends on how a batch is cut; here the batch is whole. The
Beta normalisation of the paper of that name (Xiao et al., arXiv 2506.02864) is not part of it.
"""

from dataclasses import dataclass

import torch

from rl.algorithms.family import GroupStandardised
from rl.algorithms.means import token_mean
from rl.algorithms.params import number
from rl.algorithms.surrogate import clipped, token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs


@dataclass(frozen=True, kw_only=True)
class BNPO(GroupStandardised):
    """Group-relative advantages, the loss averaged over the tokens of the batch."""

    clip: float = number(0.2, above=0, at_most=1)

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over tokens of KL penalty - min(ratio A, clip(ratio) A); fp32 scalar."""
        objective = clipped(token_ratio(inputs), token_advantages(inputs), self.clip, self.clip)
        return token_mean(self.kl_penalty(inputs) - objective, inputs, totals)
