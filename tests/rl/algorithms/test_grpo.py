import pytest
import torch

from rl.algorithms.grpo import GRPO
from rl.types import BatchTotals

from .conftest import LENGTHS, SPREADS, advantages, inputs, loss_and_gradient, off_policy

REWARDS = [[1.0, 0.0, 0.0, 1.0], [0.3, -2.0, 7.0, 0.3], [0.0, 0.0, 0.0, 1e-3], [5.0, 5.0, 5.0, 5.0]]


def totals(num_rollouts, num_tokens):
    return BatchTotals(num_rollouts=num_rollouts, num_tokens=num_tokens, max_new_tokens=8)


def test_advantages_are_rewards_less_their_mean_over_their_standard_deviation():
    # mean 1/2; variance with n - 1: 4 * 1/4 / 3 = 1/3
    high = 0.5 / ((1 / 3) ** 0.5 + 1e-4)
    # mean 2; variance (4 + 0 + 4) / 2 = 4
    first, second = advantages(GRPO(), [1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 4.0])
    assert first == pytest.approx([high, -high, -high, high], rel=1e-12)
    assert second == pytest.approx([-2 / 2.0001, 0.0, 2 / 2.0001], rel=1e-12)


def test_what_is_added_to_the_standard_deviation_is_a_parameter():
    assert advantages(GRPO(std_eps=0.5), [0.0, 2.0, 4.0]) == [[-0.8, 0.0, 0.8]]
    assert advantages(GRPO(std_eps=0.0), [0.0, 2.0, 4.0], [1.0, 1.0]) == [[-1.0, 0.0, 1.0], [0.0, 0.0]]


def test_loss_written_out_by_hand():
    # Ratios 1.5 and 1 with advantage 1: min(1.5, 1.2) and 1, mean 1.1. Ratio 1/2 with advantage -2: min(-1, -1.6).
    rollout_logprobs = torch.tensor([-2.0, -1.0, -0.5])
    logprobs = rollout_logprobs + torch.tensor([1.5, 1.0, 0.5]).log()
    loss = GRPO().loss(inputs(logprobs, rollout_logprobs, [1.0, -2.0], [2, 1]), totals(2, 3))
    assert loss.item() == pytest.approx(-(1.1 - 1.6) / 2, abs=1e-6)


def test_the_clipping_range_is_a_parameter():
    rollout_logprobs = torch.tensor([-2.0])
    logprobs = rollout_logprobs + torch.tensor([1.5]).log()
    loss = GRPO(clip=0.4).loss(inputs(logprobs, rollout_logprobs, [1.0], [1]), totals(1, 1))
    assert loss.item() == pytest.approx(-1.4, abs=1e-6)


def test_on_policy_gradient_of_a_token_is_minus_its_advantage_over_rollouts_and_length():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2, -0.3, -0.4])
    leaf = logprobs.clone().requires_grad_()
    GRPO().loss(inputs(leaf, logprobs, [1.5, -0.5], [2, 4]), totals(2, 6)).backward()
    # -1.5 / (2 * 2) and 0.5 / (2 * 4): exact in fp32.
    assert leaf.grad.tolist() == [-0.375, -0.375, 0.0625, 0.0625, 0.0625, 0.0625]


def test_on_policy_gradient_is_independent_of_the_log_probabilities_in_all_bits():
    grads = []
    for seed in (0, 1):
        logprobs = -torch.rand(19, generator=torch.Generator().manual_seed(seed)) * 9
        leaf = logprobs.clone().requires_grad_()
        GRPO().loss(inputs(leaf, logprobs, [1.3, -0.7, 0.4, -1.1, 0.3, 0.9], LENGTHS), totals(6, 19)).backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
def test_loss_and_gradient_are_trls_on_and_off_policy(trl, kl_coef):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(GRPO(kl_coef=kl_coef), off_policy(spread))
        expected, expected_gradient, metrics = trl.grpo_loss(off_policy(spread), beta=kl_coef)
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
    # The last batch was clipped on both sides, by TRL's own account.
    assert metrics["clip_ratio/low_mean"][0] > 0
    assert metrics["clip_ratio/high_mean"][0] > 0


def test_advantages_are_trls(trl):
    torch.testing.assert_close(
        torch.tensor(advantages(GRPO(), *REWARDS)), trl.grpo_advantages(REWARDS), rtol=1e-5, atol=1e-6
    )
