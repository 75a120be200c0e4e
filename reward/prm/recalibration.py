"""Mends a PRM's estimates after training, on calibration questions that it has not seen. Nothing here sees test data.

Three baselines take a point estimate to a point estimate: temperature scaling (Guo et al. 2017, arXiv 1706.04599),
isotonic regression (Zadrozny and Elkan 2002) and the base rate. All take fractional targets, and count every question
the same.

`HeadRecalibration` mends whole distributions. First the head's outputs are scaled and shifted, so that the family's own
loss is least: that undoes an overconfident head. Then the levels are moved at which quantiles are read, so that the
share of true probabilities below each is its level, as in Kuleshov et al. 2018 (arXiv 1807.00263) but with the binomial
noise taken out (`reward.prm.coverage`).
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reward.prm.coverage import level_masses
from reward.prm.families import Family
from reward.prm.fitting import minimise, weighted_loss
from reward.prm.outcomes import Floats, Outcomes

RECALIBRATION_FILE = "recalibration.json"
PRIOR_QUESTIONS = 10.0
"""So many questions' worth of belief that a head is right as it is: fewer could hardly tell otherwise."""
_EDGE = 1e-6
"""Estimates are kept that far from 0 and 1, where a logit has no end."""


@dataclass(frozen=True)
class Temperature:
    """sigmoid(logit(p) / temperature)"""

    temperature: float

    @classmethod
    def fit(cls, estimates: Floats, outcomes: Outcomes) -> "Temperature":
        """The temperature from e^-5 to e^5 with the least cross-entropy. estimates: (N,)."""
        from scipy.optimize import minimize_scalar

        def cross_entropy(log_temperature: float) -> float:
            estimate = cls(float(np.exp(log_temperature))).apply(estimates).clip(_EDGE, 1 - _EDGE)
            shares = outcomes.shares
            return -float(outcomes.weights @ (shares * np.log(estimate) + (1 - shares) * np.log1p(-estimate)))

        return cls(float(np.exp(minimize_scalar(cross_entropy, bounds=(-5.0, 5.0), method="bounded").x)))

    def apply(self, estimates: Floats) -> Floats:
        """(N,) -> (N,)"""
        from scipy.special import expit, logit

        return np.asarray(expit(logit(estimates.clip(_EDGE, 1 - _EDGE)) / self.temperature))


@dataclass(frozen=True)
class Isotonic:
    """The non-decreasing function that is nearest to the shares in squares; in proportion between where it is known."""

    at: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, estimates: Floats, outcomes: Outcomes) -> "Isotonic":
        """By pooling adjacent violators; places with one estimate are one point. estimates: (N,)."""
        from scipy.optimize import isotonic_regression

        at, point = np.unique(estimates, return_inverse=True)
        weights = np.bincount(point, outcomes.weights)
        shares = np.bincount(point, outcomes.weights * outcomes.shares) / weights
        return cls(tuple(at.tolist()), tuple(isotonic_regression(shares, weights=weights).x.tolist()))

    def apply(self, estimates: Floats) -> Floats:
        """(N,) -> (N,)"""
        return np.interp(estimates, self.at, self.values)


@dataclass(frozen=True)
class BaseRate:
    """The same for every place."""

    rate: float

    @classmethod
    def fit(cls, outcomes: Outcomes) -> "BaseRate":
        """The mean share of right rollouts."""
        return cls(float(outcomes.weights @ outcomes.shares))

    def apply(self, estimates: Floats) -> Floats:
        """(N,) -> (N,)"""
        return np.full(len(estimates), self.rate)


@dataclass(frozen=True)
class HeadRecalibration:
    """What is done to a head's outputs, and where its quantiles are read instead."""

    scale: float
    shift: tuple[float, ...]
    """(P,) added to the scaled outputs."""
    levels: tuple[float, ...]
    """The levels that were calibrated."""
    read_levels: tuple[float, ...]
    """Where each of them is read, ascending."""

    @classmethod
    def fit(cls, family: Family, parameters: Floats, outcomes: Outcomes) -> "HeadRecalibration":
        """parameters: (N, P), a head's outputs at the places of `outcomes`."""
        given, loss = torch.from_numpy(parameters), weighted_loss(family, outcomes)
        # A normal prior on the log of the scale and on the shift, as strong as so many questions with nothing to mend.
        ridge = 0.5 * PRIOR_QUESTIONS / len(np.unique(outcomes.questions))
        found = minimise(lambda row: loss(row[0].exp() * given + row[1:]), np.zeros(1 + family.num_parameters), ridge)
        plain = cls(float(np.exp(found[0])), tuple(found[1:].tolist()), family.levels, family.levels)
        masses = level_masses(plain.of(family), parameters, outcomes, PRIOR_QUESTIONS)
        below = np.concatenate([[0.0], masses.cumsum()]) / masses.sum()
        return dataclasses.replace(plain, read_levels=_levels_at(family.levels, below, (0.0, *family.levels, 1.0)))

    def of(self, family: Family) -> Family:
        """`family`, recalibrated: it takes the outputs of the head as they are."""
        return _Recalibrated(family, self)

    def read_at(self, levels: Sequence[float]) -> tuple[float, ...]:
        """Where to read any levels."""
        return _levels_at(levels, (0.0, *self.levels, 1.0), (0.0, *self.read_levels, 1.0))


def _levels_at(levels: Sequence[float], at: Sequence[float] | Floats, values: Sequence[float]) -> tuple[float, ...]:
    return tuple(np.interp(levels, at, values).tolist())


@dataclass(frozen=True)
class _Recalibrated:
    family: Family
    recalibration: HeadRecalibration

    @property
    def levels(self) -> tuple[float, ...]:
        return self.family.levels

    @property
    def num_parameters(self) -> int:
        return self.family.num_parameters

    def loss(self, parameters: torch.Tensor, successes: torch.Tensor, trials: torch.Tensor) -> torch.Tensor:
        return self.family.loss(self._mended(parameters), successes, trials)

    def quantiles(self, parameters: torch.Tensor, levels: Sequence[float] | None = None) -> torch.Tensor:
        return self.family.quantiles(self._mended(parameters), self.recalibration.read_at(levels or self.levels))

    def mean(self, parameters: torch.Tensor) -> torch.Tensor:
        return self.family.mean(self._mended(parameters))

    def _mended(self, parameters: torch.Tensor) -> torch.Tensor:
        return self.recalibration.scale * parameters + torch.tensor(self.recalibration.shift, dtype=parameters.dtype)


def save_recalibration(recalibration: HeadRecalibration, folder: Path) -> None:
    """Nothing; writes it into a PRM's folder, where it is applied from then on."""
    (folder / RECALIBRATION_FILE).write_text(json.dumps(dataclasses.asdict(recalibration), indent=2) + "\n")


def load_recalibration(folder: Path) -> HeadRecalibration | None:
    """That of a PRM's folder; None where it has none. Raises ValueError for a file that cannot be read."""
    path = folder / RECALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text())
        lists = {name: tuple(map(float, read[name])) for name in ("shift", "levels", "read_levels")}
        return HeadRecalibration(scale=float(read["scale"]), **lists)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no recalibration ({error}); delete it, or write it again") from error
