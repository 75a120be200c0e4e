"""What an algorithm is: advantages from rewards, and a loss from log-probabilities. One short file each."""

from collections.abc import Sequence
from typing import Protocol

import torch

from rl.types import BatchTotals, LossInputs


class Algorithm(Protocol):
    """Pure functions; no model, no Ray, no config object inside."""

    def advantages(self, rewards: Sequence[float]) -> list[float]:
        """One advantage for each rollout of a group."""
        ...

    def loss(self, inputs: LossInputs, totals: BatchTotals) -> torch.Tensor:
        """The share of these rollouts in the batch's loss: shares of all micro-batches add up to the loss."""
        ...

    def is_silent(self, advantages: Sequence[float]) -> bool:
        """True when a group with these advantages has a gradient of exactly zero, so that it need not be formed."""
        ...
