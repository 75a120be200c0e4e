from dataclasses import replace

import numpy as np
import pytest

from reward.types import Reward
from rl.algorithms.advantages import standardised
from rl.algorithms.grpo import GRPO
from rl.algorithms.rloo import RLOO
from rl.algorithms.shaping import overlong_penalty, rewarding_the_unlikely

from .conftest import advantages, rewarded

GROUP = rewarded(
    [1.0, 1.0, 0.0, 1.0],
    logprobs=[[-1.0, -1.0, -1.0], [-0.5], [-2.0], [-2.5, -2.5]],
)
"""Log-probabilities -3, -0.5, -2, -5; per token -1, -0.5, -2, -2.5."""


def test_right_answers_keep_less_of_their_reward_the_likelier_they_are():
    # Ranks 2, 0, 1, 3 of 4.
    assert rewarding_the_unlikely(GROUP, 0.25, per_token=False) == [
        1 - 0.25 * 2 / 4,
        1 - 0.25 * 4 / 4,
        0.0,
        1 - 0.25 * 1 / 4,
    ]


def test_only_what_the_verifier_calls_right_is_lowered():
    penalised, flattered = Reward(0.5, {"right": 1.0}, "right"), Reward(1.5, {"right": 0.0}, "right")
    group = replace(rewarded([0.0, 0.0], logprobs=[[-1.0], [-2.0]]), rewards=(penalised, flattered))
    assert rewarding_the_unlikely(group, 0.25, per_token=False) == [0.5 * (1 - 0.25 * 2 / 2), 1.5]


def test_ranking_by_log_probability_per_token_is_an_option():
    # Ranks 1, 0, 2, 3 of 4.
    assert rewarding_the_unlikely(GROUP, 0.25, per_token=True) == [
        1 - 0.25 * 3 / 4,
        1 - 0.25 * 4 / 4,
        0.0,
        1 - 0.25 * 1 / 4,
    ]


def test_rewards_of_random_groups_are_the_papers():
    generator = np.random.default_rng(0)
    for size in (2, 5, 16):
        logprobs = [list(-generator.random(generator.integers(1, 9))) for _ in range(size)]
        rewards = generator.integers(0, 2, size).astype(float)
        order = np.argsort([-sum(tokens) for tokens in logprobs])
        expected = np.array(rewards)
        for rank, index in enumerate(order):
            expected[index] = rewards[index] * (1 - 0.25 * (size - rank) / size)
        found = rewarding_the_unlikely(rewarded(list(rewards), logprobs=logprobs), 0.25, per_token=False)
        assert found == pytest.approx(expected.tolist(), rel=1e-12)


def test_rewards_below_that_of_a_right_answer_are_left_alone():
    assert rewarding_the_unlikely(rewarded([-1.0, 0.5, 0.99]), 0.25, per_token=False) == [-1.0, 0.5, 0.99]


def test_equally_likely_rollouts_share_a_rank():
    group = rewarded([1.0, 1.0, 1.0], logprobs=[[-1.0], [-2.0], [-1.0]])
    assert rewarding_the_unlikely(group, 0.75, per_token=False) == [0.25, 0.75, 0.25]


def test_unlikeliness_acts_before_normalisation():
    (found,) = advantages(GRPO(unlikeliness=0.25), GROUP)
    assert found == standardised([0.875, 0.75, 0.0, 0.9375], 1e-4)
    (found,) = advantages(GRPO(unlikeliness=0.25, unlikeliness_per_token=True), GROUP)
    assert found == standardised([0.8125, 0.75, 0.0, 0.9375], 1e-4)


def test_a_solved_group_learns_from_its_unlikely_rollouts_and_a_failed_one_nothing():
    solved = rewarded([1.0, 1.0], logprobs=[[-1.0], [-2.0]])
    failed = rewarded([0.0, 0.0], logprobs=[[-1.0], [-2.0]])
    # 1 - 0.5 and 1 - 0.25, each less the other.
    assert advantages(RLOO(unlikeliness=0.5), solved, failed) == [[-0.25, 0.25], [0.0, 0.0]]


@pytest.mark.parametrize(("num_tokens", "expected"), [(1, 0.0), (15, 0.0), (16, -0.2), (19, -0.8), (20, -1.0)])
def test_the_overlong_penalty_falls_to_minus_one_over_the_last_tokens(num_tokens, expected):
    assert overlong_penalty(num_tokens, 20, share=0.25) == expected


def test_the_overlong_penalty_is_trls():
    from trl.rewards import get_soft_overlong_punishment

    theirs = get_soft_overlong_punishment(max_completion_len=64, soft_punish_cache=16)
    lengths = list(range(1, 65))
    expected = theirs(completion_ids=[[0] * length for length in lengths])
    assert [overlong_penalty(length, 64, share=0.25) for length in lengths] == expected
    assert [overlong_penalty(length, 64, share=0.0) for length in lengths] == [0.0] * 64
