"""What a fit is worth on questions that it has seen nothing of: its quantiles, and its estimate beside simpler ones.

Everything that is fitted after training (the head's recalibration, temperature, isotonic regression, base rate) is
fitted on the calibration questions, and measured on the test questions. The end of a finished solution counts where
estimates are measured, for solutions are ranked there too; quantiles are also measured without it, because an outcome
that is certain has no quantiles to be right about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reward.prm.calibration import CalibrationReport, calibration_report
from reward.prm.families import Family
from reward.prm.outcomes import Outcomes
from reward.prm.recalibration import BaseRate, HeadRecalibration, Isotonic, Temperature

MEDIAN = 0.5


@dataclass(frozen=True)
class Places:
    """The places of some questions, N in all."""

    outcomes: Outcomes
    ends: np.ndarray
    """(N,) int64: tokens of the solution in front of it."""
    is_final: np.ndarray
    """(N,) bool: whether it ends a finished solution."""
    truth: np.ndarray | None = None
    """(N,) float64: the exact chances, where they are known."""
    oracle: np.ndarray | None = None
    """(N, levels) float64: the best quantiles of them that could be said."""


@dataclass(frozen=True)
class Read:
    """Places, and what a fit's head said at each."""

    places: Places
    parameters: np.ndarray
    """(N, parameters) float64, before any recalibration."""


@dataclass(frozen=True)
class Law:
    """What is said of N places: quantiles, and the mean and median that they come with."""

    quantiles: np.ndarray
    """(N, levels) float64, ascending in a row."""
    means: np.ndarray
    """(N,)"""
    medians: np.ndarray
    """(N,)"""


@dataclass(frozen=True)
class FirstStep:
    """How good the recalibrated median is at the question alone: what can be measured again wherever it is used."""

    brier: float
    """Against the share of rollouts that succeeded, as it is."""
    noise: float
    """What the binomial scatter of those shares adds to it: mean of s (1 - s) / (n - 1), s the share of n rollouts."""


@dataclass(frozen=True)
class FitFigures:
    """All figures of one fit, on the test questions."""

    recalibration: HeadRecalibration
    estimators: Mapping[str, CalibrationReport]
    """By name: how good a number each says of a place."""
    quantiles: Mapping[str, CalibrationReport]
    """`as learned` and `recalibrated`, at all places that are not the end of a finished solution."""
    first_step: FirstStep


def law_of(family: Family, parameters: np.ndarray) -> Law:
    """What `family` makes of a head's outputs. parameters: (N, P) float64."""
    outputs = torch.from_numpy(parameters)
    medians = family.quantiles(outputs, (MEDIAN,))[:, 0]
    return Law(family.quantiles(outputs).numpy(), family.mean(outputs).numpy(), medians.numpy())


def fit_figures(family: Family, calibration: Read, test: Read) -> FitFigures:
    """The figures of a fit; nothing of `test` decides what is fitted."""
    recalibration = HeadRecalibration.fit(family, calibration.parameters, calibration.places.outcomes)
    learned, recalibrated = law_of(family, test.parameters), law_of(recalibration.of(family), test.parameters)
    said = {
        "mean, as learned": learned.means,
        "mean, recalibrated": recalibrated.means,
        "median, as learned": learned.medians,
        "median, recalibrated": recalibrated.medians,
        **_fitted_to(law_of(family, calibration.parameters).means, calibration.places.outcomes, learned.means),
    }
    places, levels = test.places, family.levels
    everywhere, unfinished = np.ones(len(places.ends), np.bool_), ~places.is_final
    return FitFigures(
        recalibration=recalibration,
        estimators={n: _report(places, everywhere, e, recalibrated.quantiles, levels) for n, e in said.items()},
        quantiles={
            name: _report(places, unfinished, law.medians, law.quantiles, levels)
            for name, law in (("as learned", learned), ("recalibrated", recalibrated))
        },
        first_step=_first_step(places, recalibrated.medians),
    )


def _fitted_to(estimates: np.ndarray, outcomes: Outcomes, applied_to: np.ndarray) -> dict[str, np.ndarray]:
    """What simpler methods, fitted to `outcomes`, make of the estimates `applied_to`."""
    return {
        "temperature": Temperature.fit(estimates, outcomes).apply(applied_to),
        "isotonic": Isotonic.fit(estimates, outcomes).apply(applied_to),
        "base rate": BaseRate.fit(outcomes).apply(applied_to),
    }


def oracle_figures(test: Places, levels: Sequence[float]) -> CalibrationReport:
    """The figures of the best quantiles that could be said, at all places but ends."""
    assert test.oracle is not None, "there is one where the truth is known"
    medians = np.array([np.interp(MEDIAN, levels, row) for row in test.oracle])
    return _report(test, ~test.is_final, medians, test.oracle, levels)


def _report(
    places: Places, rows: np.ndarray, estimates: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]
) -> CalibrationReport:
    truth = None if places.truth is None else places.truth[rows]
    oracle = None if places.oracle is None else places.oracle[rows]
    return calibration_report(estimates[rows], quantiles[rows], levels, places.outcomes.take(rows), truth, oracle)


def _first_step(places: Places, medians: np.ndarray) -> FirstStep:
    first = np.flatnonzero(places.ends == 0)
    outcomes = places.outcomes.take(first)
    shares, trials = outcomes.shares, outcomes.trials
    noise = shares * (1 - shares) / np.maximum(trials - 1, 1)
    errors = (medians[first] - shares) ** 2
    return FirstStep(float(outcomes.weights @ errors), float(outcomes.weights @ noise))
