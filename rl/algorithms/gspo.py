"""GSPO (Zheng et al., "Group Sequence Policy Optimization", arXiv 2507.18071, equations 5 to 7)."""

from dataclasses import dataclass

import torch

from rl.algorithms.family import GroupStandardised
from rl.algorithms.means import rollout_mean
from rl.algorithms.params import number
from rl.algorithms.surrogate import clipped, mean_ratio
from rl.types import BatchTotals, LossInputs


@dataclass(frozen=True, kw_only=True)
class GSPO(GroupStandardised):
    """Group-relative advantages; a rollout has one ratio, and is clipped whole."""

    clip_low: float = number(3e-4, above=0, at_most=1)
    clip_high: float = number(4e-4, above=0)

    @property
    def credits_steps(self) -> bool:
        """False: a rollout is clipped whole, and has one advantage."""
        return False

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """Mean over rollouts of mean KL penalty - min(ratio A, clip(ratio) A), one ratio a rollout; fp32 scalar."""
        objective = clipped(mean_ratio(inputs), inputs.advantages, self.clip_low, self.clip_high)
        return rollout_mean(self.kl_penalty(inputs), inputs, totals) - objective.sum() / totals.num_rollouts
