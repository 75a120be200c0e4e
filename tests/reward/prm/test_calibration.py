import numpy as np
import pytest

from reward.prm.calibration import (
    Coverage,
    constant_quantiles,
    crossing_rate,
    equal_weight_bins,
    equal_width_bins,
    estimate_report,
    pinball_of,
    quantile_report,
    reliability,
)
from reward.prm.outcomes import Outcomes

LEVELS = (0.1, 0.5, 0.9)


def estimated(estimates, counts, trials, questions):
    return estimate_report(np.asarray(estimates, np.float64), Outcomes.of(counts, trials, questions))


def test_brier_counts_every_question_the_same_and_its_positive_part_only_overestimates():
    found = estimated([0.5, 0.5, 1.0], [4, 2, 1], [4, 4, 4], ["a", "a", "b"])
    assert found.brier.value == pytest.approx((0.25 + 0.0) / 2 / 2 + 0.75**2 / 2)
    assert found.positive_brier.value == pytest.approx(0.75**2 / 2)
    assert (found.num_places, found.num_questions) == (3, 2)


def test_ece_adds_up_what_the_bins_are_off_by():
    found = estimated([0.05, 0.06, 0.95, 0.96], [0, 1, 4, 2], [4, 4, 4, 4], ["a", "b", "c", "d"])
    assert found.ece.value == pytest.approx(0.5 * abs(0.055 - 0.125) + 0.5 * abs(0.955 - 0.75))
    assert found.adaptive_ece.value == pytest.approx(sum(map(abs, (0.05, 0.06 - 0.25, 0.95 - 1, 0.96 - 0.5))) / 4)


def test_bins_of_equal_width_and_of_equal_weight():
    assert equal_width_bins(np.array([0.0, 0.09, 0.1, 0.55, 1.0])).tolist() == [0, 0, 1, 5, 9]
    weights = np.full(20, 0.05)
    spread = np.linspace(0.0, 0.1, 20)
    assert np.bincount(equal_weight_bins(spread, weights)).tolist() == [2] * 10
    assert len(set(equal_weight_bins(np.full(20, 0.3), weights).tolist())) == 1, "equal estimates are one point"


def test_coverage_lies_between_the_shares_that_ties_leave_open():
    quantiles = [[0.0, 0.5, 0.8], [0.0, 0.4, 1.0], [0.1, 0.6, 1.0], [0.2, 0.2, 0.2]]
    outcomes = Outcomes.of([0] * 4, [4] * 4, list("abcd"))
    found = quantile_report(np.array(quantiles), LEVELS, outcomes, truth=np.array([0.0, 0.5, 1.0, 0.1]))
    low, middle, high = found.coverage
    assert (low.below, low.at_or_below) == (0.25, 0.5)
    assert (middle.below, middle.at_or_below) == (0.5, 0.5)
    assert (high.below, high.at_or_below) == (0.75, 1.0)
    assert [coverage.gap for coverage in found.coverage] == pytest.approx([0.15, 0.0, 0.0])
    assert found.targets == "truth"
    assert Coverage(0.9, 0.2, 0.5, 0.1, 0.6).gap == pytest.approx(0.4)


def test_pinball_stands_beside_constant_and_oracle_quantiles():
    truth = np.array([0.2, 0.8])
    oracle = np.stack([truth] * 3, -1)
    halves, outcomes = np.full((2, 3), 0.5), Outcomes.of([1, 3], [4, 4], ["a", "b"])
    found = quantile_report(halves, LEVELS, outcomes, truth, oracle)
    assert found.pinball.value == pytest.approx(0.5 * 0.3)
    assert found.pinball_constant.value == pytest.approx((0.1 * 0.6 + 0.5 * 0.6 + 0.1 * 0.6) / 3 / 2)
    assert found.pinball_oracle.value == 0.0
    of_shares = quantile_report(halves, LEVELS, outcomes)
    assert (of_shares.pinball_oracle, of_shares.targets) == (None, "shares")


def test_pinball_of_one_miss():
    assert pinball_of(np.array([[0.2, 0.5]]), np.array([1.0]), (0.1, 0.5))[0] == pytest.approx((0.08 + 0.25) / 2)


def test_constant_quantiles_go_by_weight():
    found = constant_quantiles(np.array([0.3, 0.1, 0.2]), np.array([0.1, 0.6, 0.3]), (0.1, 0.6, 0.7, 0.95))
    assert found.tolist() == [0.1, 0.1, 0.2, 0.3]


def test_crossings_are_counted():
    assert crossing_rate(np.array([[0.1, 0.5, 0.4], [0.2, 0.2, 0.3]])) == 0.25
    assert crossing_rate(np.array([[0.1], [0.2]])) == 0.0


def test_reliability_has_a_point_for_every_bin_that_is_used():
    points = reliability(np.array([0.11, 0.13, 0.9]), np.array([0.0, 1.0, 1.0]), np.array([0.5, 0.25, 0.25]))
    assert [(point.count, point.weight) for point in points] == [(2, 0.75), (1, 0.25)]
    assert points[0].mean_estimate == pytest.approx((0.11 * 2 + 0.13) / 3)
    assert points[0].mean_target == pytest.approx(1 / 3)
