"""RLOO (Ahmadian et al., "Back to Basics", arXiv 2402.14740; Kool et al., 2019).

A rollout is one action: its ratio is that of the whole sequence, and on-policy the gradient is REINFORCE's, summed over
tokens. The clipping is TRL's; the papers have one update per batch and none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl.algorithms.advantages import less_the_others
from rl.algorithms.family import GroupRelative
from rl.algorithms.means import mean_of_sums
from rl.algorithms.params import number
from rl.algorithms.surrogate import clipped, rollout_ratio
from rl.types import BatchTotals, LossInputs, RewardedGroup


@dataclass(frozen=True, kw_only=True)
class RLOO(GroupRelative):
    """Leave-one-out advantages; a rollout has one ratio, and is clipped whole."""

    clip: float = number(0.2, above=0, at_most=1)

    @property
    def credits_steps(self) -> bool:
        """False: a rollout is clipped whole, and has one advantage."""
        return False

    def advantages(self, groups: Sequence[RewardedGroup], max_new_tokens: int) -> list[tuple[float, ...]]:
        """r - mean of the others in the group; equal rewards give exactly 0."""
        return [tuple(less_the_others(self.shaped(group, max_new_tokens))) for group in groups]

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over rollouts of summed KL penalty - min(ratio A, clip(ratio) A), one ratio a rollout; fp32 scalar."""
        objective = clipped(rollout_ratio(inputs), inputs.advantages, self.clip, self.clip)
        return mean_of_sums(self.kl_penalty(inputs), inputs, totals) - objective.sum() / totals.num_rollouts
