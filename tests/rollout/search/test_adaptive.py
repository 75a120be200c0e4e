import math

import pytest

from rollout.search.adaptive import draws_needed, log_failure, require_confidence, samples_needed


@pytest.mark.parametrize(
    ("success", "confidence", "needed"),
    [
        (0.5, 0.99, 7),  # 1/128 is below 1/100, 1/64 is not
        (0.5, 0.75, 2),
        (0.9, 0.99, 2),
        (0.99, 0.99, 1),
        (0.999, 0.99, 1),
        (0.1, 0.99, 44),  # .9^43 = .0108, .9^44 = .0097
        (0.1, 0.5, 7),
        (0.04, 0.99, 64),  # 113 without a cap
        (0.0, 0.99, 64),
        (1.0, 0.99, 1),
        (-1e-9, 0.99, 64),
        (1e-300, 0.99, 64),
        (5e-324, 0.99, 64),  # more are needed than there are numbers
    ],
)
def test_as_many_are_needed_as_the_formula_says_from_1_to_the_cap(success, confidence, needed):
    assert samples_needed(success, confidence, 64) == needed


@pytest.mark.parametrize(
    ("wanted", "each", "needed"),
    [(-4.0, -2.0, 2), (-4.1, -2.0, 3), (0.0, -2.0, 1), (-4.0, 0.0, 8), (-4.0, -math.inf, 1), (-4.0, -5e-324, 8)],
)
def test_draws_are_as_many_as_make_it_unlikely_that_all_fail(wanted, each, needed):
    assert draws_needed(wanted, each, 8) == needed


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99, 0.999])
def test_it_is_the_least_number_with_the_wanted_chance(confidence):
    for success in (0.01, 0.05, 0.2, 0.37, 0.6, 0.83, 0.97):
        needed = samples_needed(success, confidence, 10_000)
        assert 1 - (1 - success) ** needed >= confidence
        assert needed == 1 or 1 - (1 - success) ** (needed - 1) < confidence


def test_a_sure_success_cannot_fail():
    assert log_failure(1.0) == -math.inf and log_failure(0.0) == 0.0
    assert log_failure(0.5) == math.log(0.5)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, float("nan")])
def test_a_chance_that_cannot_be_wanted_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1"):
        require_confidence(confidence)
