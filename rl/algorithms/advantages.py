"""Rewards to advantages: float64, sums rounded once (`math.fsum`), so that no machine and no order moves a bit."""

import math
from collections.abc import Sequence

from rl.types import RewardedGroup


def informative(group: RewardedGroup) -> bool:
    """True when the rewards, before any shaping, are not all equal.

    With right and wrong as the only rewards, DAPO's condition 0 < number of right answers < G (arXiv 2503.14476,
    equation 11).
    """
    return len({reward.value for reward in group.rewards}) > 1


def centred(values: Sequence[float]) -> list[float]:
    """Values less their mean; exactly 0 where all are equal."""
    if len(set(values)) == 1:
        return [0.0] * len(values)
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def standardised(values: Sequence[float], std_eps: float) -> list[float]:
    """Values less their mean, over standard deviation (n - 1) plus `std_eps`; exactly 0 where all are equal."""
    deviations = centred(values)
    if not any(deviations):
        return deviations
    std = math.sqrt(math.fsum(d * d for d in deviations) / (len(values) - 1))
    return [d / (std + std_eps) for d in deviations]


def less_the_others(values: Sequence[float]) -> list[float]:
    """Each value less the mean of all others: its distance from the mean times n / (n - 1)."""
    size = len(values)
    return [d * size / (size - 1) for d in centred(values)]


def standardised_over_tokens(values: Sequence[float], lengths: Sequence[int], std_eps: float) -> list[float]:
    """Values less mean, over standard deviation (n) plus `std_eps`, where a rollout counts once for each of its tokens.

    Exactly 0 where all are equal.
    """
    if len(set(values)) == 1:
        return [0.0] * len(values)
    num_tokens = sum(lengths)
    mean = math.fsum(v * n for v, n in zip(values, lengths, strict=True)) / num_tokens
    variance = math.fsum(n * (v - mean) ** 2 for v, n in zip(values, lengths, strict=True)) / num_tokens
    return [(value - mean) / (math.sqrt(variance) + std_eps) for value in values]
