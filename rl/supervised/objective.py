"""What is learned: the plug-in point of supervised training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from kernels.linear import LinearPlan


class Example(Protocol):
    """One thing to learn from: a frozen dataclass of plain values (numbers, texts, None, tuples of them)."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """What the model reads; micro-batches and deadlines count these."""


@dataclass(frozen=True)
class Totals:
    """Of the whole batch, so that a micro-batch knows its share of it."""

    step: int
    """Of the optimizer, from 1."""
    seed: int
    """Of the run. What an objective draws, it draws from seed and step alone."""
    num_examples: int
    num_targets: int
    """What a mean divides by."""


class Objective(Protocol):
    """A loss and the model it trains. A frozen dataclass of plain values: it travels to ranks and into the contract."""

    def certify(self, model_dir: str, dtype: str) -> LinearPlan:
        """The linear that is certified here for the model. Raises ValueError for one that cannot be exact."""

    def load(self, model_dir: str, dtype: str, plan: LinearPlan) -> nn.Module:
        """The model under the canonical seam, the same whenever it is loaded; `config` is its Hugging Face config.

        Its parameters that ask for a gradient are trained, the others stay as they are.
        """

    def num_targets(self, example: Any) -> int:
        """How much of the batch's mean the example is."""

    def loss(self, model: Any, examples: Sequence[Any], totals: Totals) -> torch.Tensor:
        """() fp32: the share of the batch's loss that a micro-batch has; the shares sum to the loss.

        examples: one or more, read in one forward pass; the weights are whole and packed.
        """

    def save(self, model: Any, folder: Path) -> None:
        """Nothing; writes the final model into `folder`, which is there."""
