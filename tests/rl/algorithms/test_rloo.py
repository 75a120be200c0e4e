import numpy as np
import pytest
import torch

from rl.algorithms.rloo import RLOO

from .conftest import LENGTHS, SPREADS, advantages, inputs, loss_and_gradient, off_policy
from .test_grpo import REWARDS


def test_advantages_are_rewards_less_the_mean_of_the_others():
    assert advantages(RLOO(), [4.0, 1.0, 1.0], [0.0, 3.0]) == [[3.0, -1.5, -1.5], [-3.0, 3.0]]


def test_advantages_are_trls(trl):
    expected = trl.rloo_advantages(REWARDS)
    torch.testing.assert_close(torch.tensor(advantages(RLOO(), *REWARDS)), expected, rtol=1e-5, atol=1e-6)


def test_on_policy_gradient_of_every_token_is_that_of_its_rollout():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2])
    leaf = logprobs.clone().requires_grad_()
    _, gradient = loss_and_gradient(RLOO(), inputs(leaf, logprobs, [1.5, -0.75], [1, 3]))
    assert gradient.tolist() == [-0.25, 0.125, 0.125, 0.125]


def test_loss_and_gradient_are_trls_on_and_off_policy(trl):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(RLOO(), off_policy(spread))
        expected, expected_gradient, metrics = trl.rloo_loss(off_policy(spread))
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
    assert metrics["clip_ratio/low_mean"][0] > 0
    assert metrics["clip_ratio/high_mean"][0] > 0


def test_the_kl_penalty_of_a_rollout_is_the_sum_over_its_tokens():
    batch = off_policy()
    log_ratios = np.split((batch.logprobs.detach() - batch.reference_logprobs).numpy(), np.cumsum(LENGTHS)[:-1])
    expected = np.mean([sum(x * x / 2 for x in rollout) for rollout in log_ratios])
    with_penalty, _ = loss_and_gradient(RLOO(kl_coef=0.5, kl_estimator="k2"), batch)
    without, _ = loss_and_gradient(RLOO(), batch)
    assert with_penalty - without == pytest.approx(0.5 * expected, abs=1e-6)
