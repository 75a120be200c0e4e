"""REINFORCE++ (Hu et al., arXiv 2501.03262): advantages normalised over the batch, not within a group.

The paper takes the KL penalty (k1) of its first variant out of the reward, and has that of its second (k2) in the loss;
here it is in the loss for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl.algorithms.advantages import centred, standardised_over_tokens
from rl.algorithms.family import PolicyGradient
from rl.algorithms.means import token_mean
from rl.algorithms.params import flag, number
from rl.algorithms.surrogate import clipped, token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs, RewardedGroup


@dataclass(frozen=True, kw_only=True)
class ReinforcePP(PolicyGradient):
    """Globally normalised advantages, the loss averaged over the tokens of the batch."""

    clip: float = number(0.2, above=0, at_most=1)
    std_eps: float = number(1e-4, at_least=0)
    group_baseline: bool = flag(False)
    """Take the group's mean off first: REINFORCE++ w/ Baseline."""

    @property
    def min_group_size(self) -> int:
        """2 with a group baseline, 1 without."""
        return 2 if self.group_baseline else 1

    def advantages(self, groups: Sequence[RewardedGroup], max_new_tokens: int) -> list[tuple[float, ...]]:
        """(r - mean) / (std + std_eps) over all tokens of the batch, std with n; equal rewards give exactly 0.

        With `group_baseline`, r - mean of the group takes the place of r.
        """
        rewards = [self._compared(group) for group in groups]
        lengths = [len(rollout.token_ids) for group in groups for rollout in group.group.rollouts]
        flat = iter(standardised_over_tokens([r for group in rewards for r in group], lengths, self.std_eps))
        return [tuple(next(flat) for _ in group) for group in rewards]

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over tokens of KL penalty - min(ratio A, clip(ratio) A); fp32 scalar."""
        objective = clipped(token_ratio(inputs), token_advantages(inputs), self.clip, self.clip)
        return token_mean(self.kl_penalty(inputs) - objective, inputs, totals)

    def _compared(self, group: RewardedGroup) -> list[float]:
        rewards = self.rewards(group)
        return centred(rewards) if self.group_baseline else rewards
