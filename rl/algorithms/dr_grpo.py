"""Dr. GRPO (Liu et al., "Understanding R1-Zero-Like Training", arXiv 2503.20783).

GRPO without its two divisors: the standard deviation, which weighs questions by how hard they are, and the length,
which weighs rollouts by how short they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl.algorithms.advantages import centred
from rl.algorithms.family import GroupRelative
from rl.algorithms.means import fixed_length_mean
from rl.algorithms.params import number
from rl.algorithms.surrogate import clipped, token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs, RewardedGroup


@dataclass(frozen=True, kw_only=True)
class DrGRPO(GroupRelative):
    """Advantages without a standard deviation, the loss summed over tokens with a constant divisor."""

    clip: float = number(0.2, above=0, at_most=1)

    def advantages(self, groups: Sequence[RewardedGroup], max_new_tokens: int) -> list[tuple[float, ...]]:
        """r - mean over each group; equal rewards give exactly 0."""
        return [tuple(centred(self.shaped(group, max_new_tokens))) for group in groups]

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Sum over tokens of KL penalty - min(ratio A, clip(ratio) A), over rollouts times `max_new_tokens`."""
        objective = clipped(token_ratio(inputs), token_advantages(inputs), self.clip, self.clip)
        return fixed_length_mean(self.kl_penalty(inputs) - objective, inputs, totals)
