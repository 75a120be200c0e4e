"""Fits a handful of numbers by a family's own loss: the constant that fits best, or a head's scale and shift."""

from collections.abc import Callable

import numpy as np
import torch

from reward.prm.families import Family
from reward.prm.outcomes import Floats, Outcomes

Objective = Callable[[torch.Tensor], torch.Tensor]


def fit_constant(family: Family, outcomes: Outcomes) -> tuple[float, ...]:
    """(P,) the parameters that fit best without looking at the prefix: the base rate, with its spread.

    A head starts from them, and what it must beat are them.
    """
    counts, index = np.unique(np.stack([outcomes.successes, outcomes.trials], -1), axis=0, return_inverse=True)
    weights = torch.from_numpy(np.bincount(index.ravel(), outcomes.weights))
    successes, trials = torch.from_numpy(counts).unbind(-1)

    def mean_loss(row: torch.Tensor) -> torch.Tensor:
        """Each different count once: the same is said of all places."""
        return (weights * family.loss(row.expand(len(counts), -1), successes, trials)).sum()

    return tuple(minimise(mean_loss, np.zeros(family.num_parameters)).tolist())


def weighted_loss(family: Family, outcomes: Outcomes) -> Objective:
    """The mean loss of (N, P) float64 parameters, in which every question weighs the same."""
    successes, trials = torch.from_numpy(outcomes.successes), torch.from_numpy(outcomes.trials)
    weights = torch.from_numpy(outcomes.weights)
    return lambda parameters: (weights * family.loss(parameters, successes, trials)).sum()


def minimise(objective: Objective, start: Floats, ridge: float = 1e-6) -> Floats:
    """Where `objective` plus `ridge` times the squared distance from `start` is least (L-BFGS-B), float64.

    The ridge holds what the data say nothing about.
    """
    from scipy.optimize import minimize  # here: it takes longer to import than most commands

    origin = torch.from_numpy(start)

    def value_and_gradient(at: Floats) -> tuple[float, Floats]:
        point = torch.tensor(at, requires_grad=True)
        value = objective(point) + ridge * (point - origin).square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        assert point.grad is not None
        return value.item(), point.grad.numpy()

    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, np.float64)
