"""pass@k: the chance that at least one of k samples of a question is right, and how far a figure can be trusted.

The unit is the question. Its samples are alike, so an interval that took each of them for a trial would be too narrow:
what is resampled, or counted, are questions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
BOOTSTRAP_SEED = 0
MIN_DIFFERENT = 10
"""Questions that must differ from the most frequent value before resampling says how far the mean moves."""
_BATCH = 250
"""Resamples in memory at once."""


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % confidence interval, all from 0 to 1."""

    value: float
    low: float
    high: float
    method: Literal["bca", "wilson"]
    """How the interval was formed: see `mean_over_questions`."""


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Return 1 - C(n-c, k) / C(n, k), unbiased for pass@k, of a question with c right answers among n samples.

    Chen et al. 2021 (arXiv 2107.03374, equation 1). They write it as a product of fractions, because binomials overflow
    a float; Python's integers do not, and one division of two of them is rounded once. Raises ValueError unless
    1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(
            f"pass@k needs k from 1 to the number of samples, got k={k} with {num_samples} samples a question; "
            "take more samples or a smaller k"
        )
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"right answers must be from 0 to {num_samples} samples, got {num_correct}")
    num_draws = math.comb(num_samples, k)
    return (num_draws - math.comb(num_samples - num_correct, k)) / num_draws


def estimate_pass_at_k(num_samples: int, num_correct: Sequence[int], k: int) -> Estimate:
    """Return pass@k over questions, each with `num_samples` samples and its own number of right ones."""
    return mean_over_questions([pass_at_k(num_samples, correct, k) for correct in num_correct])


def mean_over_questions(values: Sequence[float]) -> Estimate:
    """Return the mean of one value from 0 to 1 a question, with an interval over questions.

    `bca`: the bias-corrected and accelerated bootstrap (Efron 1987) on 10,000 resamples of the questions with a fixed
    seed. Near 0 and 1 the mean is skewed; there the plain percentile interval misses too often, and always on one side.

    `wilson`: Wilson's interval with the questions as trials. It is that of a proportion where every value is 0 or 1,
    and stands in where fewer than `MIN_DIFFERENT` questions differ from all others, so that resamples hardly would.
    There it is too wide rather than too narrow: a value between 0 and 1 varies at most as much as a coin of its mean.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("an estimate needs at least one question, got none")
    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if not _can_be_resampled(data):
        return Estimate(mean, *wilson_interval(mean, len(data)), "wilson")
    low, high = bootstrap_mean(data)
    return Estimate(mean, float(low), float(high), "bca")


def bootstrap_mean(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of the mean of each row of questions, by the same resamples of them for all rows.

    rows: (..., questions) float64; returns two arrays of the shape in front. The bias-corrected and accelerated
    bootstrap (Efron 1987), 10,000 resamples under a fixed seed.
    """
    # Here and not above: importing scipy.stats takes longer than most commands.
    from scipy.stats import bootstrap

    interval = bootstrap(
        (rows,),
        np.mean,
        axis=-1,
        n_resamples=NUM_RESAMPLES,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return interval.low, interval.high


def wilson_interval(share: float, num_trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (Wilson 1927).

    Unlike `scipy.stats.binomtest` it takes a share that is no whole number of trials.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    spread = z * z / num_trials
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _can_be_resampled(data: np.ndarray) -> bool:
    distinct, counts = np.unique(data, return_counts=True)
    is_proportion = set(distinct.tolist()) <= {0.0, 1.0}
    return not is_proportion and len(data) - int(counts.max()) >= MIN_DIFFERENT
