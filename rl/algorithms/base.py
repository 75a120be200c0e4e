"""What an algorithm is: advantages from rewards, and a loss from log-probabilities. One short file each."""

from collections.abc import Sequence
from typing import Protocol

import torch

from rl.types import BatchTotals, LossInputs, RewardedGroup


class Algorithm(Protocol):
    """Pure functions; no model, no Ray, no config object inside."""

    @property
    def min_group_size(self) -> int:
        """Rollouts a group must have for its advantages to say anything."""
        ...

    @property
    def needs_reference(self) -> bool:
        """True when the loss reads `LossInputs.reference_logprobs`."""
        ...

    @property
    def credits_steps(self) -> bool:
        """True when the loss reads `LossInputs.step_advantages`: each token can have an advantage of its own."""
        ...

    def keeps(self, group: RewardedGroup) -> bool:
        """False when the group is to be replaced by another prompt's, which is dynamic sampling."""
        ...

    def advantages(self, groups: Sequence[RewardedGroup], max_new_tokens: int) -> list[tuple[float, ...]]:
        """One advantage for each rollout of each group, from the whole batch at once.

        `max_new_tokens`: where sampling cut a rollout off. The same bits on every machine.
        """
        ...

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """The share of these rollouts in the batch's loss, an fp32 scalar.

        The shares of all micro-batches add up to the loss, and a token's gradient does not know how they were cut.
        """
        ...

    def is_silent(self, advantages: Sequence[float]) -> bool:
        """True when a group with these advantages has a gradient of exactly zero, so that it need not be formed."""
        ...
