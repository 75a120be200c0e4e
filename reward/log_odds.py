"""A monotone map from chances to chances, fitted to what became of them: two numbers in the log-odds.

    p -> sigmoid(scale · logit(p) + shift)          (Platt, 1999; Cox, 1958)

Steps that differ before the map differ after it, which an isotonic fit would not keep: it has flat pieces.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

EDGE = 1e-6
"""How near to 0 and 1 a chance may be taken for."""
LEAST_SCALE = 0.05
"""The map rises, even where chances say less than nothing."""
PRIOR = 1.0
"""Weight, in outcomes, of a Gaussian prior around the identity: few outcomes move the map little."""


@dataclass(frozen=True)
class LogOddsMap:
    """The map; at scale 1 and shift 0 the identity, to the bit."""

    scale: float
    """Above 0."""
    shift: float

    def __call__(self, chance: float) -> float:
        """The chance after the map."""
        if self == IDENTITY:
            return chance
        return 1 / (1 + math.exp(-(self.scale * _logit(chance) + self.shift)))


IDENTITY = LogOddsMap(1.0, 0.0)


@dataclass(frozen=True)
class Outcome:
    """What became of a solution, seen from one place of it."""

    chance: float
    """To come out right, before any map."""
    is_right: bool
    weight: float = 1.0


def fit_log_odds(outcomes: Sequence[Outcome]) -> LogOddsMap:
    """The map under which the outcomes are likeliest, with a prior of weight `PRIOR` on the identity.

    Float64 throughout, and the same bits for the same outcomes in the same order. The identity without any.
    """
    import numpy as np
    from scipy.optimize import minimize

    if not outcomes:
        return IDENTITY
    logits = np.array([_logit(outcome.chance) for outcome in outcomes])
    right = np.array([float(outcome.is_right) for outcome in outcomes])
    weights = np.array([outcome.weight for outcome in outcomes])

    def loss(parameters: "np.ndarray") -> tuple[float, "np.ndarray"]:
        """Minus the log-likelihood less that of the prior, and its gradient."""
        scale, shift = parameters
        odds = scale * logits + shift
        misses = weights * (1 / (1 + np.exp(-odds)) - right)
        likelihood = weights * (np.logaddexp(0.0, odds) - right * odds)
        prior = PRIOR / 2 * ((scale - 1) ** 2 + shift**2)
        gradient = [(misses * logits).sum() + PRIOR * (scale - 1), misses.sum() + PRIOR * shift]
        return float(likelihood.sum() + prior), np.array(gradient)

    bounds = [(LEAST_SCALE, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return LogOddsMap(float(found.x[0]), float(found.x[1]))


def _logit(chance: float) -> float:
    inside = min(max(chance, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))
