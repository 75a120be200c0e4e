"""The figures of a fit, on chances that are made up."""

import dataclasses

import numpy as np
import pytest

from reward.prm.families import HardLabel, make_family
from reward.prm.fitting import fit_constant
from reward.prm.outcomes import Outcomes
from rl.prm.figures import AS_LEARNED, RECALIBRATED, Places, Read, fit_figures, law_of, oracle_figures

LEVELS = (0.1, 0.5, 0.9)
FAMILY = make_family("beta", LEVELS)
NUM_QUESTIONS, PLACES_EACH, NUM_ROLLOUTS = 600, 3, 8


def places(seed, num_questions=NUM_QUESTIONS):
    """Questions with a chance of their own, Beta(2, 3) distributed, at three places each, the last a finished end."""
    rng = np.random.default_rng(seed)
    chances = np.repeat(rng.beta(2, 3, num_questions), PLACES_EACH)
    is_final = np.tile([False, False, True], num_questions)
    counts = rng.binomial(NUM_ROLLOUTS, chances)
    counts[is_final] = NUM_ROLLOUTS * (rng.random(num_questions) < chances[is_final])
    names = [f"{seed}/{i}" for i in range(num_questions) for _ in range(PLACES_EACH)]
    outcomes = Outcomes.of(counts.tolist(), [NUM_ROLLOUTS] * len(counts), names)
    truth = np.where(is_final, counts / NUM_ROLLOUTS, chances)
    quantiles = np.tile(np.quantile(chances[~is_final], LEVELS), (len(counts), 1))
    return Places(outcomes, np.tile([0, 4, 9], num_questions), is_final, truth, quantiles)


def unfinished(given):
    return Outcomes.of(
        given.outcomes.successes[~given.is_final].tolist(),
        given.outcomes.trials[~given.is_final].tolist(),
        given.outcomes.questions[~given.is_final].tolist(),
    )


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """No test here looks at an interval."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reward.prm.intervals.NUM_RESAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def given():
    """A head that says the same everywhere: the constant that fits the places that are not finished."""
    calibration, test = places(1), places(2)
    said = np.array(fit_constant(FAMILY, unfinished(calibration)))
    return [Read(p, np.tile(said, (len(p.ends), 1))) for p in (calibration, test)]


@pytest.fixture(scope="module")
def figures(given):
    return fit_figures(FAMILY, *given)


def test_quantiles_are_measured_where_no_outcome_is_certain(figures):
    report = figures.quantiles[AS_LEARNED]
    assert report.num_places == 2 * NUM_QUESTIONS
    assert report.targets == "truth"


def test_the_noise_aware_constant_covers_the_true_chances(figures):
    covered = [level.at_or_below for level in figures.quantiles[AS_LEARNED].coverage]
    assert covered == pytest.approx(LEVELS, abs=0.05)
    assert figures.estimated_coverage is None, "nothing is to be estimated where the truth is known"


def test_without_the_truth_its_coverage_is_estimated_and_the_shares_are_measured(given):
    calibration, test = given
    hidden = Read(dataclasses.replace(test.places, truth=None, oracle=None), test.parameters)
    figures = fit_figures(FAMILY, calibration, hidden)
    assert figures.estimated_coverage[AS_LEARNED] == pytest.approx(LEVELS, abs=0.05)
    assert set(figures.estimated_coverage) == set(figures.quantiles) == {AS_LEARNED, RECALIBRATED}
    assert figures.quantiles[AS_LEARNED].targets == "shares"


def test_no_coverage_is_estimated_of_a_head_that_says_one_number(given):
    calibration, test = (Read(read.places, read.parameters[:, :1]) for read in given)
    hidden = Read(dataclasses.replace(test.places, truth=None, oracle=None), test.parameters)
    assert fit_figures(HardLabel(LEVELS), calibration, hidden).estimated_coverage is None


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
    noise = [0.0, 0.25 * 0.75 / 3, 0.0]
    first_step = figures.first_step[RECALIBRATED]
    assert first_step.brier == pytest.approx(brier)
    assert first_step.noise == pytest.approx(np.mean(noise))
    errors = [(median - share) ** 2 - own for share, own in zip((0, 0.25, 1), noise, strict=True)]
    assert first_step.standard_error == pytest.approx(np.std(errors, ddof=1) / 3**0.5)
    learned = law_of(pinball, given.parameters[:1]).medians[0]
    as_learned = np.mean([(learned - share) ** 2 for share in (0, 0.25, 1)])
    assert figures.first_step[AS_LEARNED].brier == pytest.approx(as_learned)


def test_the_oracle_is_measured_like_any_other(figures):
    report = oracle_figures(places(2), LEVELS)
    assert [level.at_or_below for level in report.coverage] == pytest.approx(LEVELS, abs=0.01)
    assert report.pinball.value <= figures.quantiles[AS_LEARNED].pinball.value + 1e-3


def test_nothing_of_the_test_questions_decides_what_is_fitted():
    calibration = places(1, num_questions=30)
    said = np.random.default_rng(0).normal(size=(len(calibration.ends), 4))
    fits = [fit_figures(FAMILY, Read(calibration, said), Read(places(seed, 30), said)) for seed in (2, 3)]
    assert fits[0].recalibration == fits[1].recalibration
