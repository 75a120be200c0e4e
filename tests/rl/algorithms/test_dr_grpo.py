import pytest
import torch

from rl.algorithms.dr_grpo import DrGRPO

from .conftest import MAX_NEW_TOKENS, SPREADS, TOTALS, advantages, inputs, loss_and_gradient, off_policy
from .test_grpo import REWARDS


def test_advantages_are_rewards_less_their_mean_whatever_their_spread():
    assert advantages(DrGRPO(), [1.0, 0.0, 0.0, 1.0], [0.0, 8.0, 4.0]) == [[0.5, -0.5, -0.5, 0.5], [-4.0, 4.0, 0.0]]


def test_on_policy_gradient_of_a_token_does_not_know_how_long_its_rollout_is():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2, -0.3, -0.4])
    leaf = logprobs.clone().requires_grad_()
    _, gradient = loss_and_gradient(DrGRPO(), inputs(leaf, logprobs, [1.5, -1.5], [2, 4]))
    assert gradient.tolist() == pytest.approx([-x / (6 * MAX_NEW_TOKENS) for x in [1.5] * 2 + [-1.5] * 4])
    assert (TOTALS.num_rollouts, TOTALS.max_new_tokens) == (6, MAX_NEW_TOKENS)


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
def test_loss_and_gradient_are_trls_on_and_off_policy(trl, kl_coef):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(DrGRPO(kl_coef=kl_coef), off_policy(spread))
        expected, expected_gradient, _ = trl.grpo_loss(off_policy(spread), loss_type="dr_grpo", beta=kl_coef)
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)


def test_advantages_are_trls_without_scaling(trl):
    expected = trl.grpo_advantages(REWARDS, scale_rewards="none")
    torch.testing.assert_close(torch.tensor(advantages(DrGRPO(), *REWARDS)), expected, rtol=1e-5, atol=1e-6)
