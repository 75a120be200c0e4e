"""How often the true success probability lies below each quantile, where only rollouts have seen it.

The true probability falls somewhere in the distribution that a PRM predicted; where, is known only through a count. The
intervals between levels are cut into parts, and the counts are a mixture over the parts, fitted by expectation
maximisation (Dempster et al. 1977) from the masses that the levels say. It is stopped early: what many rounds would
still add is fitted to noise, for counts say little about neighbouring parts (as in Richardson-Lucy deconvolution). So a
PRM that is right is found right, and one that is wrong a little less wrong than it is.
"""

import numpy as np
import torch

from reward.prm.families import Family
from reward.prm.outcomes import Floats, Outcomes

PARTS_PER_INTERVAL = 4
POINTS_PER_PART = 4
"""At which the quantile function is read in a part."""
NUM_ROUNDS = 30


def estimated_coverage(family: Family, parameters: Floats, outcomes: Outcomes) -> tuple[float, ...]:
    """The share of true probabilities below the quantile at each of the family's levels, binomial noise taken out.

    parameters: (N, P), a head's outputs at the places of `outcomes`.
    """
    masses = level_masses(family, parameters, outcomes, prior=0.0)
    return tuple((masses.cumsum()[:-1] / masses.sum()).tolist())


def level_masses(family: Family, parameters: Floats, outcomes: Outcomes, prior: float) -> Floats:
    """(levels + 1,) masses of the intervals between 0, the levels and 1; they add up to 1.

    prior: so many questions' worth of belief that the levels are right.
    """
    edges = _edges(family.levels)
    likelihood = _part_likelihood(family, parameters, outcomes, edges)
    num_questions = len(np.unique(outcomes.questions))
    nominal = np.diff(edges)
    masses = nominal
    for _ in range(NUM_ROUNDS):
        joint = masses * likelihood
        belonging = outcomes.weights @ (joint / joint.sum(-1, keepdims=True))
        masses = (num_questions * belonging + prior * nominal) / (num_questions + prior)
    return np.asarray(masses.reshape(-1, PARTS_PER_INTERVAL).sum(-1))


def _edges(levels: tuple[float, ...]) -> Floats:
    """Of the parts, from 0 to 1."""
    bounds = np.array([0.0, *levels, 1.0])
    parts = np.arange(PARTS_PER_INTERVAL) / PARTS_PER_INTERVAL
    return np.append((bounds[:-1, None] + np.diff(bounds)[:, None] * parts).ravel(), 1.0)


def _part_likelihood(family: Family, parameters: Floats, outcomes: Outcomes, edges: Floats) -> Floats:
    """(N, parts) how likely each count is if the probability lies in a part, up to a factor a row."""
    inside = (np.arange(POINTS_PER_PART) + 0.5) / POINTS_PER_PART
    levels = (edges[:-1, None] + np.diff(edges)[:, None] * inside).ravel()
    quantiles = family.quantiles(torch.from_numpy(parameters), levels.tolist())
    # A count is never quite impossible, however sure the prediction was.
    log = _log_likelihoods(quantiles.clamp(1e-6, 1 - 1e-6), outcomes).numpy()
    by_part = np.exp(log - log.max(-1, keepdims=True)).reshape(len(parameters), -1, POINTS_PER_PART)
    return np.asarray(by_part.mean(-1))


def _log_likelihoods(quantiles: torch.Tensor, outcomes: Outcomes) -> torch.Tensor:
    """Of quantiles (N, U), each for its place's count."""
    k, n = (torch.from_numpy(counts)[:, None] for counts in (outcomes.successes, outcomes.trials))
    return k * quantiles.log() + (n - k) * (1 - quantiles).log()
