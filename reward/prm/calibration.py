"""How well a PRM's estimates and quantiles are calibrated, on questions that nothing was fitted on.

Targets are shares of right rollouts, or the true probabilities where they are known. Every question weighs the same,
within it every place, and intervals are over questions.

| figure         | what it is, e the estimate and y the target                                                   |
|----------------|-----------------------------------------------------------------------------------------------|
| Brier          | mean of (e - y)^2                                                                             |
| positive Brier | mean of max(e - y, 0)^2: the part of it that comes of overestimates                           |
| ECE            | sum over ten equal bins of e of their weight times |mean of e - mean of y| (Naeini et al. 2015) |
| adaptive ECE   | the same with ten bins of equal weight (Nixon et al. 2019, arXiv 1904.01685)                  |
| pinball        | of the quantiles, beside the best quantiles that are the same for every place                 |
| coverage       | share of targets below the quantile of a level, and share at it or below                      |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reward.prm.intervals import Figure, figure_of, means_by_question
from reward.prm.outcomes import Floats, Outcomes

NUM_BINS = 10


@dataclass(frozen=True)
class Coverage:
    """How a level is kept. With ties of target and quantile, at 0 or 1 say, it lies between two shares."""

    level: float
    below: float
    """Share of targets below the quantile."""
    at_or_below: float
    low: float
    """Of the 95 % interval of `below`."""
    high: float
    """Of the 95 % interval of `at_or_below`."""

    @property
    def gap(self) -> float:
        """How far the level lies outside of what ties leave open; 0 where it is kept."""
        return max(self.below - self.level, self.level - self.at_or_below, 0.0)


@dataclass(frozen=True)
class Bin:
    """Places with like estimates, a point of the reliability diagram."""

    mean_estimate: float
    mean_target: float
    weight: float
    """Share of all weight."""
    count: int


@dataclass(frozen=True)
class EstimateReport:
    """How good a number is that somebody says of N places of Q questions."""

    num_places: int
    num_questions: int
    brier: Figure
    """This and the next three are of the shares: the noise in them adds the same to all estimates."""
    positive_brier: Figure
    ece: Figure
    adaptive_ece: Figure
    reliability: tuple[Bin, ...]
    """By ascending estimate, ten bins of equal width, empty ones left out; of the truth where it is known."""


@dataclass(frozen=True)
class QuantileReport:
    """How good quantiles are at N places of Q questions."""

    num_places: int
    num_questions: int
    targets: Literal["truth", "shares"]
    """What all of it is of."""
    pinball: Figure
    pinball_constant: Figure
    """Of the weighted quantiles of the targets themselves."""
    pinball_oracle: Figure | None
    """Of the best quantiles that can be known, where they were given."""
    coverage: tuple[Coverage, ...]
    crossing_rate: float
    """Share of neighbouring quantiles that fall."""


def estimate_report(estimates: Floats, outcomes: Outcomes, truth: Floats | None = None) -> EstimateReport:
    """The figures of estimates, (N,). truth: (N,) success probabilities, where they are known."""
    errors = estimates - outcomes.shares
    return EstimateReport(
        num_places=len(estimates),
        num_questions=len(np.unique(outcomes.questions)),
        brier=_mean(errors**2, outcomes),
        positive_brier=_mean(errors.clip(min=0) ** 2, outcomes),
        ece=_expected_error(errors, outcomes, equal_width_bins(estimates)),
        adaptive_ece=_expected_error(errors, outcomes, equal_weight_bins(estimates, outcomes.weights)),
        reliability=reliability(estimates, outcomes.shares if truth is None else truth, outcomes.weights),
    )


def quantile_report(
    quantiles: Floats,
    levels: Sequence[float],
    outcomes: Outcomes,
    truth: Floats | None = None,
    oracle: Floats | None = None,
) -> QuantileReport:
    """The figures of quantiles, (N, levels), as are the oracle's; truth: (N,) success probabilities."""
    target = outcomes.shares if truth is None else truth
    constant = np.broadcast_to(constant_quantiles(target, outcomes.weights, levels), quantiles.shape)
    return QuantileReport(
        num_places=len(quantiles),
        num_questions=len(np.unique(outcomes.questions)),
        targets="shares" if truth is None else "truth",
        pinball=_mean(pinball_of(quantiles, target, levels), outcomes),
        pinball_constant=_mean(pinball_of(constant, target, levels), outcomes),
        pinball_oracle=None if oracle is None else _mean(pinball_of(oracle, target, levels), outcomes),
        coverage=tuple(_coverage(level, target, quantiles[:, column], outcomes) for column, level in enumerate(levels)),
        crossing_rate=crossing_rate(quantiles),
    )


def pinball_of(quantiles: Floats, targets: Floats, levels: Sequence[float]) -> Floats:
    """(N,) mean over levels of max(beta * u, (beta - 1) * u), u = target - quantile. quantiles: (N, levels)."""
    beta, excess = np.asarray(levels), targets[:, None] - quantiles
    return np.asarray(np.maximum(beta * excess, (beta - 1) * excess).mean(-1))


def constant_quantiles(targets: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """(levels,) the smallest target up to which the weight of all targets reaches each level."""
    order = np.argsort(targets, kind="stable")
    reached = np.searchsorted(weights[order].cumsum(), np.asarray(levels) * weights.sum() - 1e-12)
    return np.asarray(targets[order][reached.clip(max=len(targets) - 1)])


def crossing_rate(quantiles: Floats) -> float:
    """The share of neighbouring quantiles of which the second is less than the first; 0 with one level."""
    falls = np.diff(quantiles, axis=-1) < 0
    return float(falls.mean()) if falls.size else 0.0


def equal_width_bins(estimates: Floats) -> np.ndarray:
    """(N,) which tenth of [0, 1] each estimate lies in; 1 itself lies in the last."""
    return np.minimum((np.asarray(estimates) * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def equal_weight_bins(estimates: Floats, weights: Floats) -> np.ndarray:
    """(N,) which of ten bins of equal weight, by ascending estimate; equal estimates lie in one bin."""
    points, point = np.unique(estimates, return_inverse=True)
    weight = np.bincount(point, weights, minlength=len(points))
    middle = (weight.cumsum() - weight / 2) / weight.sum()
    return np.asarray(np.minimum((middle * NUM_BINS).astype(np.int64), NUM_BINS - 1)[point])


def reliability(estimates: Floats, targets: Floats, weights: Floats) -> tuple[Bin, ...]:
    """The points of the reliability diagram: estimates, targets and weights, (N,) each, in ten bins of equal width."""
    bins = equal_width_bins(estimates)
    rows = [bins == index for index in range(NUM_BINS)]
    return tuple(
        Bin(
            float(np.average(estimates[row], weights=weights[row])),
            float(np.average(targets[row], weights=weights[row])),
            float(weights[row].sum() / weights.sum()),
            int(row.sum()),
        )
        for row in rows
        if row.any()
    )


def _mean(values: Floats, outcomes: Outcomes) -> Figure:
    return figure_of(means_by_question(values, outcomes.questions), lambda means: means[..., 0])


def _expected_error(errors: Floats, outcomes: Outcomes, bins: np.ndarray) -> Figure:
    """The bins stay as they are in every resample; what moves is what lies in them."""
    by_bin = np.zeros((len(errors), NUM_BINS))
    by_bin[np.arange(len(errors)), bins] = errors
    return figure_of(means_by_question(by_bin, outcomes.questions), lambda means: np.abs(means).sum(-1))


def _coverage(level: float, targets: Floats, quantiles: Floats, outcomes: Outcomes) -> Coverage:
    below = _mean((targets < quantiles).astype(np.float64), outcomes)
    at_or_below = _mean((targets <= quantiles).astype(np.float64), outcomes)
    return Coverage(level, below.value, at_or_below.value, below.low, at_or_below.high)
