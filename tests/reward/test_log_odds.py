import math

import numpy as np
import pytest

from reward.log_odds import IDENTITY, LEAST_SCALE, LogOddsMap, Outcome, fit_log_odds


def drawn(truth, num=4000, seed=0):
    """Outcomes of chances spread evenly, each right as often as `truth` of its chance says."""
    rng = np.random.default_rng(seed)
    chances = rng.uniform(0.02, 0.98, num)
    return [Outcome(float(p), bool(u < truth(p))) for p, u in zip(chances, rng.random(num), strict=True)]


def test_the_identity_leaves_every_bit_alone():
    assert [IDENTITY(p) for p in (0.0, 0.1, 1 / 3, 1.0)] == [0.0, 0.1, 1 / 3, 1.0]


def test_a_map_written_out_by_hand():
    # logit(.8) = log 4; twice that is log 16; less log 16 is 0.
    assert LogOddsMap(2.0, -math.log(16))(0.8) == pytest.approx(0.5)
    assert LogOddsMap(1.0, math.log(3))(0.5) == pytest.approx(0.75)


def test_what_was_drawn_through_a_map_gives_the_map_back():
    truth = LogOddsMap(0.5, -1.0)
    found = fit_log_odds(drawn(truth))
    assert (found.scale, found.shift) == pytest.approx((0.5, -1.0), abs=0.15)
    calibrated = fit_log_odds(drawn(lambda p: p))
    assert (calibrated.scale, calibrated.shift) == pytest.approx((1.0, 0.0), abs=0.15)


def test_the_gradient_is_0_at_what_is_found():
    outcomes = drawn(lambda p: p**2, 500)
    found = fit_log_odds(outcomes)
    misses = [found(o.chance) - o.is_right for o in outcomes]
    logits = [math.log(o.chance / (1 - o.chance)) for o in outcomes]
    assert abs(math.fsum(misses) + found.shift) < 0.05
    assert abs(math.fsum(m * x for m, x in zip(misses, logits, strict=True)) + found.scale - 1) < 0.05


def test_the_same_outcomes_give_the_same_bits():
    outcomes = drawn(lambda p: p / 2, 700)
    assert fit_log_odds(outcomes) == fit_log_odds(list(outcomes))


def test_chances_that_say_the_opposite_of_what_comes_still_rise():
    found = fit_log_odds(drawn(lambda p: 1 - p))
    assert found.scale == LEAST_SCALE
    assert found(0.2) < found(0.3)


def test_few_outcomes_move_it_little_and_none_not_at_all():
    assert fit_log_odds([]) == IDENTITY
    one = fit_log_odds([Outcome(0.5, True)])
    assert 0 < one.shift < 0.5 and abs(one.scale - 1) < 1e-6


def test_a_weight_counts_as_often_as_it_says():
    outcomes = drawn(lambda p: p / 2, 60)
    twice = fit_log_odds([o for o in outcomes for _ in range(2)])
    weighted = fit_log_odds([Outcome(o.chance, o.is_right, 2.0) for o in outcomes])
    assert (twice.scale, twice.shift) == pytest.approx((weighted.scale, weighted.shift), abs=1e-4)


def test_what_is_certain_stays_finite():
    found = fit_log_odds([Outcome(0.0, False), Outcome(1.0, True), Outcome(1.0, True)])
    assert math.isfinite(found(0.0)) and math.isfinite(found(1.0))
