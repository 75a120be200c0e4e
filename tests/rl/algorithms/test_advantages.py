import random

import pytest

from rl.algorithms.advantages import centred, informative, less_the_others, standardised, standardised_over_tokens

from .conftest import rewarded

COMPUTATIONS = {
    "centred": lambda values, lengths: centred(values),
    "standardised": lambda values, lengths: standardised(values, 1e-4),
    "less_the_others": lambda values, lengths: less_the_others(values),
    "standardised_over_tokens": lambda values, lengths: standardised_over_tokens(values, lengths, 1e-4),
}


@pytest.fixture(params=COMPUTATIONS)
def compute(request):
    return COMPUTATIONS[request.param]


# Three times 0.1, rounded and divided by 3, is not 0.1.
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1 / 3, 1e9])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_equal_values_give_exactly_zero(compute, value, size):
    assert compute([value] * size, range(1, size + 1)) == [0.0] * size


@pytest.mark.parametrize("seed", range(10))
def test_no_order_moves_a_bit(compute, seed):
    generator = random.Random(seed)
    values = [generator.uniform(-1, 1) * 10 ** generator.randint(-6, 6) for _ in range(33)]
    lengths = [generator.randint(1, 99) for _ in values]
    order = generator.sample(range(33), 33)
    in_order = compute(values, lengths)
    assert compute([values[i] for i in order], [lengths[i] for i in order]) == [in_order[i] for i in order]


def test_a_rollout_counts_once_for_each_of_its_tokens():
    # 1 three times and 5 once: mean 2, variance (3 * 1 + 9) / 4 = 3.
    assert standardised_over_tokens([1.0, 5.0], [3, 1], 0.0) == pytest.approx([-1 / 3**0.5, 3 / 3**0.5], rel=1e-12)


def test_a_group_is_informative_when_its_rewards_differ():
    assert informative(rewarded([0.0, 0.0, 1e-9]))
    assert not informative(rewarded([0.5, 0.5, 0.5]))
