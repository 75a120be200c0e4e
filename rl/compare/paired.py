"""Differences of arms that answered the same questions, each with an interval.

Question by question one arm's share of right answers is taken from the other's, and what is resampled are questions.
So what makes a question hard for both cancels. An interval covers the choice of questions and the draws of tokens. It
leaves out what another training seed would have given: there is one checkpoint.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rl.evaluation.passk import CONFIDENCE, MIN_DIFFERENT, bootstrap_mean


@dataclass(frozen=True)
class Difference:
    """Accuracy of one arm less that of another, from -1 to 1, with its 95 % confidence interval."""

    value: float
    low: float
    high: float
    method: Literal["bca", "agresti-min"]
    """How the interval was formed: see `paired_differences`."""

    @property
    def is_told_from_nothing(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


Pair = tuple[Sequence[float], Sequence[float]]
"""Shares of right answers of two arms, in question order."""


def paired_differences(pairs: Sequence[Pair]) -> list[Difference]:
    """The first less the second of every pair, all over the same questions.

    `bca`: the bias-corrected and accelerated bootstrap (Efron 1987) with 10,000 resamples of the questions under a
    fixed seed, the same resamples for every pair.

    `agresti-min`: Wald's interval after half a question is added to each of the four outcomes (Agresti and Min 2005,
    doi 10.1002/sim.1781). It stands in where fewer than `MIN_DIFFERENT` questions differ from the most frequent
    difference, so that resamples hardly would. Between -1 and 1 a difference varies at most as much as one of right and
    wrong, so it is too wide there rather than too narrow.

    Raises ValueError where two arms have not answered equally many questions, or none.
    """
    rows = [_row(first, second) for first, second in pairs]
    resampled = iter(_bootstrap([row for row in rows if _can_be_resampled(row)]))
    return [next(resampled) if _can_be_resampled(row) else _agresti_min(row) for row in rows]


def _row(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    if len(first) != len(second) or not first:
        raise ValueError(f"paired arms answer the same questions, got {len(first)} and {len(second)} answers")
    return np.asarray(first, np.float64) - np.asarray(second, np.float64)


def _can_be_resampled(row: np.ndarray) -> bool:
    counts = np.unique(row, return_counts=True)[1]
    return len(row) - int(counts.max()) >= MIN_DIFFERENT


def _bootstrap(rows: Sequence[np.ndarray]) -> list[Difference]:
    if not rows:
        return []
    data = np.stack(rows)
    found = zip(data.mean(axis=-1), *bootstrap_mean(data), strict=True)
    return [Difference(float(value), float(low), float(high), "bca") for value, low, high in found]


def _agresti_min(row: np.ndarray) -> Difference:
    from scipy.special import ndtri

    total = len(row) + 2
    gained, lost = float(row.clip(min=0).sum()) + 0.5, float((-row).clip(min=0).sum()) + 0.5
    centre = (gained - lost) / total
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(gained + lost - (gained - lost) ** 2 / total) / total
    return Difference(float(row.mean()), max(-1.0, centre - half), min(1.0, centre + half), "agresti-min")
