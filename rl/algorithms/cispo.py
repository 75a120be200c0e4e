"""CISPO (MiniMax-M1, arXiv 2506.13585, equations 4 and 5): the ratio is clipped as a weight, and no token is dropped.

Only the upper bound is used, as in the paper's runs; its value is ScaleRL's (arXiv 2510.13786).
"""

from dataclasses import dataclass

import torch

from rl.algorithms.family import GroupStandardised
from rl.algorithms.means import token_mean
from rl.algorithms.params import number
from rl.algorithms.surrogate import token_advantages, token_ratio
from rl.types import BatchTotals, LossInputs


@dataclass(frozen=True, kw_only=True)
class CISPO(GroupStandardised):
    """Group-relative advantages; REINFORCE weighted by a bounded ratio that carries no gradient."""

    max_ratio: float = number(5.0, at_least=1)
    """TRL's `epsilon_high` for this loss: the bound itself, not its distance from 1."""

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over tokens of KL penalty - min(ratio, max_ratio) A log-probability, the ratio detached; fp32 scalar."""
        weights = token_ratio(inputs).clamp(max=self.max_ratio).detach()
        objective = weights * token_advantages(inputs) * inputs.logprobs
        return token_mean(self.kl_penalty(inputs) - objective, inputs, totals)
