import pytest
import torch

from rl.algorithms.bnpo import BNPO
from rl.algorithms.grpo import GRPO

from .conftest import SPREADS, advantages, inputs, loss_and_gradient, off_policy
from .test_grpo import REWARDS


def test_advantages_are_grpos():
    assert advantages(BNPO(), *REWARDS) == advantages(GRPO(), *REWARDS)


def test_on_policy_gradient_of_a_token_is_minus_its_advantage_over_the_tokens_of_the_batch():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2])
    leaf = logprobs.clone().requires_grad_()
    _, gradient = loss_and_gradient(BNPO(), inputs(leaf, logprobs, [1.9, -3.8], [1, 3]))
    assert gradient.tolist() == pytest.approx([-0.1, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
def test_loss_and_gradient_are_trls_where_its_local_batch_is_the_whole(trl, kl_coef):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(BNPO(kl_coef=kl_coef), off_policy(spread))
        expected, expected_gradient, _ = trl.grpo_loss(off_policy(spread), loss_type="bnpo", beta=kl_coef)
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
