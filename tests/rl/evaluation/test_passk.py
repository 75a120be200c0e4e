import math

import numpy as np
import pytest
from scipy.stats import binomtest

from rl.evaluation.passk import MIN_DIFFERENT, estimate_pass_at_k, mean_over_questions, pass_at_k, wilson_interval


def by_product(n: int, c: int, k: int) -> float:
    """As the paper computes it."""
    return 1.0 if n - c < k else 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (8, 2, 1, 1 / 4),
        (8, 4, 1, 0.5),
        (8, 2, 4, 11 / 14),
        (8, 0, 8, 0.0),
        (8, 1, 8, 1.0),
        (8, 8, 1, 1.0),
        (1, 0, 1, 0.0),
    ],
)
def test_small_cases_by_hand(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == expected


def test_every_count_up_to_twelve_samples_agrees_with_the_papers_product() -> None:
    for n in range(1, 13):
        for c in range(n + 1):
            for k in range(1, n + 1):
                assert pass_at_k(n, c, k) == pytest.approx(by_product(n, c, k), abs=1e-14), (n, c, k)


@pytest.mark.parametrize(("n", "c", "k"), [(4000, 1, 2000), (4000, 3, 1), (4000, 1999, 5), (4000, 17, 128)])
def test_samples_by_the_thousand_do_not_overflow(n: int, c: int, k: int) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(by_product(n, c, k), rel=1e-10)


def test_the_mean_over_all_draws_of_n_samples_is_pass_at_k() -> None:
    p, n = 0.3, 6
    for k in (1, 2, 5, 6):
        mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
        assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-14)


@pytest.mark.parametrize(("n", "c", "k"), [(8, 2, 9), (8, 2, 0), (0, 0, 1)])
def test_a_k_that_the_samples_cannot_answer_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"k from 1 to the number of samples, got k={k} with {n} samples"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize("c", [-1, 9])
def test_more_right_answers_than_samples_are_refused(c: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 8 samples, got {c}"):
        pass_at_k(8, c, 1)


@pytest.mark.parametrize(("correct", "total"), [(0, 50), (50, 50), (16, 200), (1, 1)])
def test_wilsons_interval_is_scipys_where_the_share_is_a_proportion(correct: int, total: int) -> None:
    theirs = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson_interval(correct / total, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_values_of_0_and_1_have_the_interval_of_a_proportion() -> None:
    found = estimate_pass_at_k(1, [1] * 30 + [0] * 70, 1)
    assert (found.value, found.method) == (0.3, "wilson")
    assert (found.low, found.high) == wilson_interval(0.3, 100)


@pytest.mark.parametrize(("correct", "value"), [(0, 0.0), (8, 1.0)])
def test_all_wrong_and_all_right_are_not_certain(correct: int, value: float) -> None:
    found = estimate_pass_at_k(8, [correct] * 50, 4)
    assert (found.value, found.method) == (value, "wilson")
    assert found.high - found.low == pytest.approx(0.0713, abs=1e-4)  # z^2 / (50 + z^2)


def test_questions_that_are_all_equally_hard_are_not_certain_either() -> None:
    found = estimate_pass_at_k(8, [4] * 50, 1)
    assert (found.value, found.method) == (0.5, "wilson")
    assert found.low < 0.4 and found.high > 0.6


def test_resampling_begins_where_enough_questions_differ() -> None:
    few, enough = MIN_DIFFERENT - 1, MIN_DIFFERENT
    assert mean_over_questions([0.0] * 90 + [0.5] * few).method == "wilson"
    assert mean_over_questions([0.0] * 90 + [0.5] * enough).method == "bca"


def test_the_bootstrap_agrees_with_the_normal_interval_where_both_hold() -> None:
    values = (np.arange(400) % 9 / 8).tolist()
    half = 1.959963984540054 * float(np.std(values, ddof=1)) / math.sqrt(400)
    found = mean_over_questions(values)
    assert found.method == "bca"
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.003)


def test_near_zero_the_bootstrap_leans_away_from_it() -> None:
    found = mean_over_questions([0.0] * 85 + [0.125] * 10 + [1.0] * 5)
    assert found.high - found.value > 1.2 * (found.value - found.low) > 0


def test_an_interval_is_the_same_each_time() -> None:
    values = [0.0, 0.25, 0.5, 1.0] * 30
    assert mean_over_questions(values) == mean_over_questions(values)


def test_an_estimate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        mean_over_questions([])
