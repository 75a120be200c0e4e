"""Ratios of the policy being trained to the one that sampled, and the clipped surrogate objective."""

import torch

from rl.algorithms.means import rollout_sums
from rl.types import LossInputs


def token_ratio(inputs: LossInputs) -> torch.Tensor:
    """(T,) probability ratio of each token."""
    return torch.exp(_log_ratio(inputs))


def rollout_ratio(inputs: LossInputs) -> torch.Tensor:
    """(R,) probability ratio of each rollout: the product of its tokens' ratios."""
    return torch.exp(rollout_sums(_log_ratio(inputs), inputs))


def mean_ratio(inputs: LossInputs) -> torch.Tensor:
    """(R,) geometric mean of the ratios of each rollout's tokens."""
    return torch.exp(rollout_sums(_log_ratio(inputs), inputs) / inputs.lengths)


def token_advantages(inputs: LossInputs) -> torch.Tensor:
    """(T,) the advantage of the rollout that each token belongs to, with what its step has besides."""
    advantages = inputs.advantages[inputs.rollout_index]
    return advantages if inputs.step_advantages is None else advantages + inputs.step_advantages


def clipped(ratio: torch.Tensor, advantages: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """min(ratio A, clip(ratio, 1 - low, 1 + high) A), elementwise (Schulman et al., PPO, arXiv 1707.06347, eq. 7)."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def _log_ratio(inputs: LossInputs) -> torch.Tensor:
    return inputs.logprobs - inputs.rollout_logprobs
