"""How deep each training step goes: r from the log-normal Poisson distribution of Geiping et al.

Section 3.3 of arXiv 2502.05171: τ ~ N(log r̄ - σ²/2, σ), r ~ Poisson(e^τ) + 1. It has a heavy tail, so that a model
learns to profit from far more runs than it mostly has. One r holds for a whole step, so that no bit depends on how the
batch is shared out, and it is a function of (seed, step) alone, so that a resumed run draws what it would have drawn.
"""

from dataclasses import dataclass

import numpy as np

from kernels.recurrent.depth import Depth

RANGE = (0.05, 0.95)
"""Quantiles of r that a model counts as trained between."""
NUM_FOR_RANGE = 4096


@dataclass(frozen=True)
class DepthDraws:
    """The distribution of r over training steps, and how far back the gradient goes."""

    mean: float
    """Of r itself, at least 1; the paper's r̄ is one less."""
    sigma: float = 0.5
    """Of log r̄; 0 trains at `mean`, which is a whole number then, in every step."""
    num_backpropagated: int | None = None
    """As in `Depth`; the paper has 8."""

    def __post_init__(self) -> None:
        if not self.mean >= 1:
            raise ValueError(f"the mean recurrence must be at least 1, got {self.mean}")
        if not self.sigma >= 0:
            raise ValueError(f"sigma of the recurrence must be 0 or more, got {self.sigma}")
        if self.sigma == 0 and self.mean != int(self.mean):
            raise ValueError(f"with sigma 0 every step has the mean recurrence, a whole number; got {self.mean}")
        Depth(1, self.num_backpropagated)

    def depth(self, seed: int, step: int) -> Depth:
        """The depth of training step `step`, from 1."""
        return Depth(self._draw(seed, step), self.num_backpropagated)

    @property
    def usual(self) -> Depth:
        """What a model that is trained so runs at when nobody asks for another depth: the mean, rounded."""
        return Depth(round(self.mean), self.num_backpropagated)

    def central_range(self) -> tuple[int, int]:
        """The 5th and the 95th percentile of r: what a checkpoint says it was trained at."""
        draws = sorted(self._draw(0, step) for step in range(NUM_FOR_RANGE))
        low, high = (draws[round(quantile * (NUM_FOR_RANGE - 1))] for quantile in RANGE)
        return low, high

    def _draw(self, seed: int, step: int) -> int:
        if self.sigma == 0 or self.mean == 1:
            return round(self.mean)
        # The step is the counter's upper half: a generator uses up the lower one.
        stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, step, 0]))
        rate = np.exp(stream.normal(np.log(self.mean - 1) - self.sigma**2 / 2, self.sigma))
        return int(stream.poisson(rate)) + 1
