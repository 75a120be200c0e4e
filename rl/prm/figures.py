"""What a fit is worth on questions that it has seen nothing of: its quantiles, and its estimate beside simpler ones.

Everything that is fitted after training (the head's recalibration, temperature, isotonic regression, base rate) is
fitted on the calibration questions, and measured on the test questions. The end of a finished solution counts where
estimates are measured, for solutions are ranked there too; quantiles are also measured without it, because an outcome
that is certain has no quantiles to be right about.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reward.prm.calibration import EstimateReport, QuantileReport, estimate_report, quantile_report
from reward.prm.coverage import estimated_coverage
from reward.prm.families import Family, HardLabel
from reward.prm.intervals import means_by_question
from reward.prm.outcomes import Outcomes
from reward.prm.recalibration import BaseRate, HeadRecalibration, Isotonic, Temperature

MEDIAN = 0.5
AS_LEARNED, RECALIBRATED = "as learned", "recalibrated"


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
    """How good the median is at the question alone: what can be measured again wherever the model is used."""

    brier: float
    """Against the share of rollouts that succeeded, as it is."""
    noise: float
    """What the binomial scatter of those shares adds to it: mean of s (1 - s) / (n - 1), s the share of n rollouts."""
    standard_error: float
    """Of the one less the other, over questions."""


@dataclass(frozen=True)
class FitFigures:
    """All figures of one fit, on the test questions. What is said `AS_LEARNED` stands beside what is `RECALIBRATED`."""

    recalibration: HeadRecalibration
    estimators: Mapping[str, EstimateReport]
    """By name: how good a number each says of a place."""
    quantiles: Mapping[str, QuantileReport]
    """At all places that are not the end of a finished solution."""
    estimated_coverage: Mapping[str, tuple[float, ...]] | None
    """At the same places, by level: how often the chance itself lies below a quantile, judged by the counts; None where
    the chances are known, and for a head that says one number."""
    first_step: Mapping[str, FirstStep]


def law_of(family: Family, parameters: np.ndarray) -> Law:
    """What `family` makes of a head's outputs. parameters: (N, P) float64."""
    outputs = torch.from_numpy(parameters)
    medians = family.quantiles(outputs, (MEDIAN,))[:, 0]
    return Law(family.quantiles(outputs).numpy(), family.mean(outputs).numpy(), medians.numpy())


def fit_figures(family: Family, calibration: Read, test: Read) -> FitFigures:
    """The figures of a fit; nothing of `test` decides what is fitted."""
    recalibration = HeadRecalibration.fit(family, calibration.parameters, calibration.places.outcomes)
    families = {AS_LEARNED: family, RECALIBRATED: recalibration.of(family)}
    laws = {name: law_of(own, test.parameters) for name, own in families.items()}
    before = law_of(family, calibration.parameters).means
    said = {
        **{f"mean, {name}": law.means for name, law in laws.items()},
        **{f"median, {name}": law.medians for name, law in laws.items()},
        **_fitted_to(before, calibration.places.outcomes, laws[AS_LEARNED].means),
    }
    places = test.places
    return FitFigures(
        recalibration=recalibration,
        estimators={name: estimate_report(e, places.outcomes, places.truth) for name, e in said.items()},
        quantiles={name: _quantile_report(places, law.quantiles, family.levels) for name, law in laws.items()},
        estimated_coverage=_estimated_coverage(families, test),
        first_step={name: _first_step(places, law.medians) for name, law in laws.items()},
    )


def _fitted_to(estimates: np.ndarray, outcomes: Outcomes, applied_to: np.ndarray) -> dict[str, np.ndarray]:
    """What simpler methods, fitted to `outcomes`, make of the estimates `applied_to`."""
    return {
        "temperature": Temperature.fit(estimates, outcomes).apply(applied_to),
        "isotonic": Isotonic.fit(estimates, outcomes).apply(applied_to),
        "base rate": BaseRate.fit(outcomes).apply(applied_to),
    }


def oracle_figures(test: Places, levels: Sequence[float]) -> QuantileReport:
    """The figures of the best quantiles that could be said, at all places but ends."""
    assert test.oracle is not None, "there is one where the truth is known"
    return _quantile_report(test, test.oracle, levels)


def _quantile_report(places: Places, quantiles: np.ndarray, levels: Sequence[float]) -> QuantileReport:
    rows = ~places.is_final
    truth = None if places.truth is None else places.truth[rows]
    oracle = None if places.oracle is None else places.oracle[rows]
    return quantile_report(quantiles[rows], levels, places.outcomes.take(rows), truth, oracle)


def _estimated_coverage(families: Mapping[str, Family], test: Read) -> dict[str, tuple[float, ...]] | None:
    """None where the truth is known, and for a head whose quantiles are all one number: it spreads a chance nowhere."""
    if test.places.truth is not None or isinstance(families[AS_LEARNED], HardLabel):
        return None
    rows = ~test.places.is_final
    outcomes, parameters = test.places.outcomes.take(rows), test.parameters[rows]
    return {name: estimated_coverage(family, parameters, outcomes) for name, family in families.items()}


def _first_step(places: Places, medians: np.ndarray) -> FirstStep:
    first = np.flatnonzero(places.ends == 0)
    outcomes = places.outcomes.take(first)
    shares, trials = outcomes.shares, outcomes.trials
    noise = shares * (1 - shares) / (trials - 1)
    errors = (medians[first] - shares) ** 2
    by_question = means_by_question(errors - noise, outcomes.questions)[:, 0]
    spread = float(by_question.std(ddof=1)) if len(by_question) > 1 else 0.0
    return FirstStep(
        float(outcomes.weights @ errors), float(outcomes.weights @ noise), spread / math.sqrt(len(by_question))
    )
