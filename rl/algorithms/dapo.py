"""DAPO (Yu et al., arXiv 2503.14476): clip-higher, token-level loss, overlong shaping, dynamic sampling."""

from dataclasses import dataclass

import torch

from rl.algorithms.advantages import informative
from rl.algorithms.family import GroupStandardised
from rl.algorithms.means import token_mean
from rl.algorithms.params import flag, number
from rl.algorithms.shaping import overlong_penalty
from rl.algorithms.surrogate import clipped, token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs, RewardedGroup


@dataclass(frozen=True, kw_only=True)
class DAPO(GroupStandardised):
    """Group-relative advantages of length-shaped rewards, the loss averaged over the tokens of the batch."""

    clip_low: float = number(0.2, above=0, at_most=1)
    clip_high: float = number(0.28, above=0)
    overlong_share: float = number(0.2, at_least=0, at_most=1)
    """Share of `rollout.max_new_tokens` over which a rollout's reward falls by up to 1 (4096 of 20480 in the paper); 0
    leaves lengths alone."""
    dynamic_sampling: bool = flag(False)
    """Replace groups whose rewards are all equal."""

    def keeps(self, group: RewardedGroup) -> bool:
        """False when dynamic sampling is on and the rewards are all equal (equation 11)."""
        return not self.dynamic_sampling or informative(group)

    def shaped(self, group: RewardedGroup, max_new_tokens: int) -> list[float]:
        """The group's rewards with the overlong penalty added (equation 13)."""
        rewards = super().shaped(group, max_new_tokens)
        lengths = [len(rollout.token_ids) for rollout in group.group.rollouts]
        penalties = [overlong_penalty(length, max_new_tokens, self.overlong_share) for length in lengths]
        return [reward + penalty for reward, penalty in zip(rewards, penalties, strict=True)]

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over tokens of KL penalty - min(ratio A, clip(ratio) A) (equation 12); fp32 scalar."""
        objective = clipped(token_ratio(inputs), token_advantages(inputs), self.clip_low, self.clip_high)
        return token_mean(self.kl_penalty(inputs) - objective, inputs, totals)
