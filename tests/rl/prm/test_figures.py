"""The figures of a fit, on chances that are made up."""

import numpy as np
import pytest

from reward.prm.families import make_family
from reward.prm.fitting import fit_constant
from reward.prm.outcomes import Outcomes
from rl.prm.figures import Places, Read, fit_figures, law_of, oracle_figures

LEVELS = (0.1, 0.5, 0.9)
NUM_QUESTIONS, PLACES_EACH, NUM_ROLLOUTS = 1500, 3, 8


def places(seed):
    """Questions with a chance of their own, Beta(2, 3) distributed, at three places each, the last a finished end."""
    rng = np.random.default_rng(seed)
    chances = np.repeat(rng.beta(2, 3, NUM_QUESTIONS), PLACES_EACH)
    is_final = np.tile([False, False, True], NUM_QUESTIONS)
    counts = rng.binomial(NUM_ROLLOUTS, chances)
    counts[is_final] = NUM_ROLLOUTS * (rng.random(NUM_QUESTIONS) < chances[is_final])
    names = [f"{seed}/{i}" for i in range(NUM_QUESTIONS) for _ in range(PLACES_EACH)]
    outcomes = Outcomes.of(counts.tolist(), [NUM_ROLLOUTS] * len(counts), names)
    truth = np.where(is_final, counts / NUM_ROLLOUTS, chances)
    quantiles = np.tile(np.quantile(chances[~is_final], LEVELS), (len(counts), 1))
    return Places(outcomes, np.tile([0, 4, 9], NUM_QUESTIONS), is_final, truth, quantiles)


def unfinished(given):
    return Outcomes.of(
        given.outcomes.successes[~given.is_final].tolist(),
        given.outcomes.trials[~given.is_final].tolist(),
        given.outcomes.questions[~given.is_final].tolist(),
    )


@pytest.fixture(scope="module")
def figures():
    """A head that says the same everywhere: the constant that fits the places that are not finished."""
    family, calibration, test = make_family("beta", LEVELS), places(1), places(2)
    said = np.array(fit_constant(family, unfinished(calibration)))
    given = [Read(p, np.tile(said, (len(p.ends), 1))) for p in (calibration, test)]
    return fit_figures(family, *given)


def test_quantiles_are_measured_where_no_outcome_is_certain(figures):
    report = figures.quantiles["as learned"]
    assert report.num_places == 2 * NUM_QUESTIONS
    assert report.targets == "truth"


def test_the_noise_aware_constant_covers_the_true_chances(figures):
    covered = [level.at_or_below for level in figures.quantiles["as learned"].coverage]
    assert covered == pytest.approx(LEVELS, abs=0.05)


def test_estimates_are_measured_at_finished_ends_too(figures):
    assert {report.num_places for report in figures.estimators.values()} == {3 * NUM_QUESTIONS}
    assert next(iter(figures.estimators)) == "mean, as learned" and "base rate" in figures.estimators


def test_what_looks_at_nothing_is_worth_the_base_rate(figures):
    """Every estimate is a constant, so the best of them is the base rate, and isotonic regression finds it."""
    brier = {name: report.brier.value for name, report in figures.estimators.items()}
    assert brier["isotonic"] == pytest.approx(brier["base rate"], abs=1e-9)
    assert brier["base rate"] <= min(brier.values()) + 1e-3


def test_the_first_place_is_the_question_alone():
    """Three questions, one place each: the median is one half where nothing is said, shares are 0, 1/4 and 1."""
    outcomes = Outcomes.of([0, 1, 4, 2], [4, 4, 4, 4], ["a", "b", "c", "c"])
    given = Read(Places(outcomes, np.array([0, 0, 0, 5]), np.zeros(4, np.bool_)), np.zeros((4, 3)))
    pinball = make_family("pinball", (0.4, 0.5, 0.6))
    figures = fit_figures(pinball, given, given)
    median = law_of(figures.recalibration.of(pinball), given.parameters[:1]).medians[0]
    brier = np.mean([(median - share) ** 2 for share in (0, 0.25, 1)])
    assert figures.first_step.brier == pytest.approx(brier)
    assert figures.first_step.noise == pytest.approx(0.25 * 0.75 / 3 / 3)


def test_the_oracle_is_measured_like_any_other(figures):
    report = oracle_figures(places(2), LEVELS)
    assert [level.at_or_below for level in report.coverage] == pytest.approx(LEVELS, abs=0.01)
    assert report.pinball.value <= figures.quantiles["as learned"].pinball.value + 1e-3


def test_nothing_of_the_test_questions_decides_what_is_fitted():
    family, calibration = make_family("beta", LEVELS), places(1)
    said = np.random.default_rng(0).normal(size=(len(calibration.ends), 4))
    fits = [fit_figures(family, Read(calibration, said), Read(places(seed), said)) for seed in (2, 3)]
    assert fits[0].recalibration == fits[1].recalibration
