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
    mean_loss = weighted_loss(family, outcomes)
    start = np.zeros(family.num_parameters)
    return tuple(minimise(lambda row: mean_loss(row.expand(len(outcomes.shares), -1)), start).tolist())


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
