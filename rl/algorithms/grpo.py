"""GRPO (Shao et al., "DeepSeekMath", arXiv 2402.03300, equations 3 and 21).

Sampler and trainer agree bit for bit and each batch is used once, so the ratio is exactly 1 and clipping never acts;
both stay in the formula because they carry the gradient. No KL term: there is no drift to hold back within a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl.types import BatchTotals, LossInputs


@dataclass(frozen=True)
class GRPO:
    """Group-relative advantages, the loss averaged over each rollout's tokens and then over rollouts."""

    clip: float = 0.2
    std_eps: float = 1e-4
    """Added to the group's standard deviation, as in TRL."""

    def advantages(self, rewards: Sequence[float]) -> list[float]:
        """(r - mean) / (std + std_eps) over the group, std with n - 1; equal rewards give exactly 0."""
        if len(set(rewards)) == 1:
            return [0.0] * len(rewards)
        values = torch.tensor(rewards, dtype=torch.float64)
        return ((values - values.mean()) / (values.std() + self.std_eps)).tolist()

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """-(1/R) sum over rollouts of the mean over tokens of min(ratio · A, clip(ratio) · A); fp32 scalar."""
        ratio = torch.exp(inputs.logprobs - inputs.rollout_logprobs)
        advantages = inputs.advantages[inputs.rollout_index]
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        objective = torch.minimum(ratio * advantages, clipped * advantages)
        per_token = objective / inputs.lengths[inputs.rollout_index]
        return -per_token.sum() / totals.num_rollouts

    def is_silent(self, advantages: Sequence[float]) -> bool:
        """True when every advantage is 0."""
        return not any(advantages)
