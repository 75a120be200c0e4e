import numpy as np
import pytest
from scipy.stats import bootstrap

from rl.compare.paired import paired_differences
from rl.evaluation.passk import BOOTSTRAP_SEED

RNG = np.random.default_rng(7)
EASY = RNG.integers(0, 9, 60) / 8
HARD = np.clip(EASY - RNG.integers(0, 4, 60) / 8, 0, 1)
OTHER = RNG.integers(0, 9, 60) / 8


def test_a_pair_is_resampled_question_by_question() -> None:
    (found,) = paired_differences([(list(EASY), list(HARD))])
    expected = bootstrap(
        (EASY - HARD,), np.mean, n_resamples=10_000, batch=250, method="BCa", rng=np.random.default_rng(BOOTSTRAP_SEED)
    ).confidence_interval
    assert found.value == (EASY - HARD).mean() and found.method == "bca"
    assert (found.low, found.high) == (float(expected.low), float(expected.high))
    assert found.is_told_from_nothing


def test_pairing_is_what_makes_the_interval_narrow() -> None:
    paired, shuffled = paired_differences([(list(EASY), list(HARD)), (list(EASY), list(RNG.permutation(HARD)))])
    assert paired.value == pytest.approx(shuffled.value)
    assert paired.high - paired.low < 0.6 * (shuffled.high - shuffled.low)


def test_every_pair_has_the_same_resamples_whatever_stands_beside_it() -> None:
    pairs = [(list(EASY), list(HARD)), (list(EASY), list(EASY)), (list(OTHER), list(HARD))]
    assert paired_differences(pairs) == [found for pair in pairs for found in paired_differences([pair])]


def test_where_few_questions_differ_agresti_and_mins_interval_stands_in() -> None:
    first, second = [1.0] * 3 + [0.0] + [1.0] * 46, [0.0] * 3 + [1.0] + [1.0] * 46
    (found,) = paired_differences([(first, second)])
    # Three gained and one lost of 50: (3.5 - 1.5) / 52, and 1.959964 * sqrt(5 - 4 / 52) / 52 on either side.
    assert (found.value, found.method) == (pytest.approx(0.04), "agresti-min")
    assert (found.low, found.high) == (pytest.approx(-0.045169, abs=1e-6), pytest.approx(0.122092, abs=1e-6))
    assert not found.is_told_from_nothing


def test_arms_that_never_differ_are_not_promised_to_be_alike() -> None:
    (found,) = paired_differences([([1.0] * 50, [1.0] * 50)])
    assert found.value == 0 and found.low < 0 < found.high


def test_the_other_way_round_is_the_negative() -> None:
    first, second = [1.0] * 3 + [0.0] * 47, [0.0] * 50
    forth, back = paired_differences([(first, second), (second, first)])
    assert (back.value, back.low, back.high) == (-forth.value, -forth.high, -forth.low)


def test_arms_must_have_answered_the_same_questions() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_differences([([1.0, 0.0], [1.0])])
    assert paired_differences([]) == []
