import math

import pytest

from rl.config import OptimizerConfig
from rl.schedule import learning_rate


def rates(num_steps, **config):
    optimizer = OptimizerConfig(learning_rate=8.0, **config)
    return [learning_rate(step, num_steps, optimizer) for step in range(1, num_steps + 1)]


def test_warm_up_rises_in_equal_steps_to_the_full_rate():
    assert rates(6, warmup_steps=4, schedule="constant") == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]


def test_constant_without_warm_up_is_constant():
    assert rates(3, schedule="constant") == [8.0, 8.0, 8.0]


def test_linear_falls_in_equal_steps_to_the_minimum_at_the_last():
    assert rates(4, schedule="linear") == [6.0, 4.0, 2.0, 0.0]
    assert rates(4, schedule="linear", min_learning_rate=4.0) == [7.0, 6.0, 5.0, 4.0]


def test_linear_starts_falling_after_the_warm_up():
    assert rates(6, warmup_steps=2, schedule="linear") == [4.0, 8.0, 6.0, 4.0, 2.0, 0.0]


def test_cosine_is_halfway_down_in_the_middle_and_at_the_minimum_at_the_last():
    expected = [4 + 4 * math.sqrt(0.5), 4.0, 4 - 4 * math.sqrt(0.5), 0.0]
    assert rates(4, schedule="cosine") == pytest.approx(expected, abs=1e-12)
    assert rates(4, schedule="cosine", min_learning_rate=2.0)[1] == pytest.approx(5.0)
    assert rates(4, schedule="cosine", min_learning_rate=2.0)[-1] == 2.0


def test_cosine_after_a_warm_up():
    assert rates(4, warmup_steps=2, schedule="cosine") == pytest.approx([4.0, 8.0, 4.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_warm_up_as_long_as_the_run_never_divides_by_zero(schedule):
    assert rates(2, warmup_steps=2, schedule=schedule) == [4.0, 8.0]
