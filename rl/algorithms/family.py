"""What the algorithms have in common: a KL penalty in the loss, and rewards compared within a group."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rl.algorithms.advantages import standardised
from rl.algorithms.base import Algorithm
from rl.algorithms.kl import ESTIMATORS
from rl.algorithms.params import check, choice, flag, number
from rl.algorithms.shaping import rewarding_the_unlikely
from rl.types import LossInputs, RewardedGroup


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Algorithm):
    """An optional KL penalty. Parameters are checked when one is made: ValueError naming `algorithm.params.X`."""

    kl_coef: float = number(0.0, at_least=0)
    """Weight of the KL penalty in the loss; 0 needs no reference model."""
    kl_estimator: str = choice("k3", ESTIMATORS)

    def __post_init__(self) -> None:
        check(self)

    @property
    def min_group_size(self) -> int:
        """1: a rollout is not compared with its group."""
        return 1

    @property
    def needs_reference(self) -> bool:
        """True when there is a KL penalty."""
        return self.kl_coef > 0

    @property
    def credits_steps(self) -> bool:
        """True: ratios and clipping are a token's."""
        return True

    def keeps(self, group: RewardedGroup) -> bool:
        """True: every group is learnt from."""
        return True

    def is_silent(self, advantages: Sequence[float]) -> bool:
        """True when every advantage is 0 and no KL penalty acts on the group."""
        return not self.needs_reference and not any(advantages)

    def rewards(self, group: RewardedGroup) -> list[float]:
        """The group's rewards as they were given. Raises ValueError for a group that is too small."""
        if len(group.rewards) < self.min_group_size:
            raise ValueError(
                f"rollout.group_size must be at least {self.min_group_size} for {type(self).__name__}, which compares "
                f"a rollout with its group, got {len(group.rewards)}; set rollout.group_size"
            )
        return [reward.value for reward in group.rewards]

    def kl_penalty(self, inputs: LossInputs) -> torch.Tensor:
        """(T,) `kl_coef` times the KL estimate at each token; zeros without a penalty."""
        if not self.needs_reference:
            return torch.zeros_like(inputs.rollout_logprobs)
        assert inputs.reference_logprobs is not None, "kl_coef > 0 needs the reference's log-probabilities"
        return self.kl_coef * ESTIMATORS[self.kl_estimator](inputs.reference_logprobs - inputs.logprobs)


@dataclass(frozen=True, kw_only=True)
class GroupRelative(PolicyGradient):
    """Rollouts are compared with the others of their prompt."""

    unlikeliness: float = number(0.0, at_least=0, at_most=1)
    """beta_rank of the unlikeliness reward, 0.25 in its paper; 0 leaves rewards alone."""
    unlikeliness_per_token: bool = flag(False)
    """Rank by log-probability per token, not of the whole rollout."""

    @property
    def min_group_size(self) -> int:
        """2: a rollout and one to compare it with."""
        return 2

    def shaped(self, group: RewardedGroup, max_new_tokens: int) -> list[float]:
        """The group's rewards as they are compared. Raises ValueError for a group of one."""
        rewards = self.rewards(group)
        if self.unlikeliness == 0:
            return rewards
        return rewarding_the_unlikely(group, self.unlikeliness, self.unlikeliness_per_token)


@dataclass(frozen=True, kw_only=True)
class GroupStandardised(GroupRelative):
    """GRPO's advantages, which several losses share (arXiv 2402.03300, section 4.1.2)."""

    std_eps: float = number(1e-4, at_least=0)
    """Added to the group's standard deviation, as in TRL."""

    def advantages(self, groups: Sequence[RewardedGroup], max_new_tokens: int) -> list[tuple[float, ...]]:
        """(r - mean) / (std + std_eps) over each group, std with n - 1; equal rewards give exactly 0."""
        return [tuple(standardised(self.shaped(group, max_new_tokens), self.std_eps)) for group in groups]
