"""GRPO (Shao et al., "DeepSeekMath", arXiv 2402.03300, equations 3 and 21)."""

from dataclasses import dataclass

import torch

from rl.algorithms.family import GroupStandardised
from rl.algorithms.means import rollout_mean
from rl.algorithms.params import number
from rl.algorithms.surrogate import clipped, token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs


@dataclass(frozen=True, kw_only=True)
class GRPO(GroupStandardised):
    """Group-relative advantages, the loss averaged over each rollout's tokens and then over rollouts."""

    clip: float = number(0.2, above=0, at_most=1)

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over rollouts of the mean over tokens of KL penalty - min(ratio A, clip(ratio) A); fp32 scalar."""
        objective = clipped(token_ratio(inputs), token_advantages(inputs), self.clip, self.clip)
        return rollout_mean(self.kl_penalty(inputs) - objective, inputs, totals)
