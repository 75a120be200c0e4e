"""Figures over questions, each with a confidence interval. The question is the unit: its places are alike."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reward.prm.outcomes import Floats

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
_SEED = 0
_BATCH = 250
"""Resamples in memory at once."""
MIN_DIFFERENT = 10
"""Questions that must differ from the most frequent value before resampling says how far a figure moves."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def figure_of(parts: Floats, statistic: Callable[[Floats], Floats]) -> Figure:
    """`statistic` of the mean over questions of `parts`, between the ends of a bootstrap over questions.

    parts: (questions, K); statistic: (..., K) means -> (...,) from 0 to 1. Bias-corrected and accelerated (Efron 1987),
    2,000 resamples under a fixed seed; Wilson's interval of a share where questions or resamples hardly differ.
    """
    value = float(statistic(parts.mean(0)))
    if not _can_be_resampled(parts):
        return Figure(value, *_wilson(value, len(parts)))
    low, high = _bootstrapped(parts, statistic)
    return Figure(value, low, high) if math.isfinite(low + high) else Figure(value, *_wilson(value, len(parts)))


def means_by_question(values: Floats, questions: np.ndarray) -> Floats:
    """(questions, K) the mean over each question's places of `values`, (N, K) or (N,)."""
    _, index, counts = np.unique(questions, return_inverse=True, return_counts=True)
    columns = values[:, None] if values.ndim == 1 else values
    sums = np.stack([np.bincount(index, column, minlength=len(counts)) for column in columns.T], -1)
    return np.asarray(sums / counts[:, None], np.float64)


def _bootstrapped(parts: Floats, statistic: Callable[[Floats], Floats]) -> tuple[float, float]:
    """The ends; not numbers where resamples of the statistic all lie on one side of it."""
    from scipy.stats import DegenerateDataWarning, bootstrap  # here: it takes longer to import than most commands

    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.arange(len(parts)),),
            lambda questions, axis: statistic(parts[questions].mean(-2)),
            n_resamples=NUM_RESAMPLES,
            batch=_BATCH,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
    return float(found.low), float(found.high)


def _can_be_resampled(parts: Floats) -> bool:
    counts = np.unique(parts, axis=0, return_counts=True)[1]
    return len(parts) - int(counts.max()) >= MIN_DIFFERENT


def _wilson(value: float, num_questions: int) -> tuple[float, float]:
    """Wilson 1927. Too wide rather than too narrow: a value from 0 to 1 varies at most as a coin of its mean does."""
    from scipy.special import ndtri

    share = min(1.0, max(0.0, value))
    z = float(ndtri((1 + CONFIDENCE) / 2))
    spread = z * z / num_questions
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
