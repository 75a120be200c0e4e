"""Questions whose exact distribution of success probabilities is known, and a linear head fitted to rollouts of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.special import expit, logit, ndtr
from scipy.stats import beta

from reward.prm.families import Family, make_family
from reward.prm.fitting import minimise, weighted_loss
from reward.prm.outcomes import Outcomes

NUM_QUESTIONS = 2000
LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Law:
    """The distribution of the success probability given what a head sees, x: a density, and atoms at 0 and 1."""

    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Of the density, (N, L) quantiles and (N, 1) x."""
    at_zero: float = 0.0
    at_one: float = 0.0

    def probabilities(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        where = rng.random(len(x))
        inside = self.draw(x, rng)
        return np.where(where < self.at_zero, 0.0, np.where(where > 1 - self.at_one, 1.0, inside))

    def gaps(self, quantiles: np.ndarray, x: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """(L,) how far each level lies outside the exact shares of probabilities below, and at or below, it."""
        inside = (1 - self.at_zero - self.at_one) * self.cdf(quantiles, x[:, None])
        below = self.at_zero * (quantiles > 0) + inside
        at_or_below = self.at_zero + inside + self.at_one * (quantiles >= 1)
        return np.maximum(np.maximum(below.mean(0) - levels, levels - at_or_below.mean(0)), 0.0)


def _beta_shape(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = expit(1.2 * x)
    return 20 * mean, 20 * (1 - mean)


def _beta_draw(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.beta(*_beta_shape(x))


def _beta_cdf(quantiles: np.ndarray, x: np.ndarray) -> np.ndarray:
    return beta.cdf(quantiles, *_beta_shape(x))


LAWS = {
    "beta": Law(_beta_draw, _beta_cdf),
    "atoms": Law(_beta_draw, _beta_cdf, at_zero=0.3, at_one=0.15),
    # Not in the family that is fitted.
    "logit-normal": Law(
        lambda x, rng: expit(1.2 * x + 0.5 * rng.standard_normal(len(x))),
        lambda quantiles, x: ndtr((logit(quantiles.clip(1e-9, 1 - 1e-9)) - 1.2 * x) / 0.5),
    ),
}


def features(x: np.ndarray) -> np.ndarray:
    """(N, 3)"""
    return np.stack([np.ones_like(x), x, x * x], -1)


@cache
def known_head(family_name: str, law_name: str, num_rollouts: int) -> np.ndarray:
    """(3, P) weights of a linear head that was fitted to rollouts of a law, by name."""
    return fitted_head(make_family(family_name, LEVELS), *sampled(LAWS[law_name], num_rollouts, seed=0))


def sampled(law: Law, num_rollouts: int, seed: int) -> tuple[np.ndarray, Outcomes]:
    """x, (NUM_QUESTIONS,), and what rollouts said."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(NUM_QUESTIONS)
    counts = rng.binomial(num_rollouts, law.probabilities(x, rng))
    names = [f"q{i}" for i in range(NUM_QUESTIONS)]
    return x, Outcomes.of(counts.tolist(), [num_rollouts] * NUM_QUESTIONS, names)


def fitted_head(family: Family, x: np.ndarray, outcomes: Outcomes) -> np.ndarray:
    """(3, P) weights of a linear head, by the family's loss."""
    given, loss = torch.from_numpy(features(x)), weighted_loss(family, outcomes)
    shape = given.shape[1], family.num_parameters
    return minimise(lambda flat: loss(given @ flat.view(shape)), np.zeros(shape[0] * shape[1]), 1e-4).reshape(shape)
