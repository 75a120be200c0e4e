import pytest
import torch

from rl.algorithms.cispo import CISPO
from rl.algorithms.grpo import GRPO

from .conftest import SPREADS, advantages, inputs, loss_and_gradient, off_policy
from .test_grpo import REWARDS


def test_advantages_are_grpos():
    assert advantages(CISPO(), *REWARDS) == advantages(GRPO(), *REWARDS)


def test_a_clipped_ratio_still_weighs_its_tokens_gradient():
    # Ratio 8, bounded to 5; GRPO's clipping would leave the token no gradient at all.
    rollout_logprobs = torch.tensor([-4.0])
    batch = inputs((rollout_logprobs + torch.tensor([8.0]).log()).requires_grad_(), rollout_logprobs, [1.9], [1])
    _, gradient = loss_and_gradient(CISPO(), batch)
    assert gradient.tolist() == pytest.approx([-5 * 1.9 / 19])
    assert loss_and_gradient(GRPO(), batch)[1].tolist() == [0.0]


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
@pytest.mark.parametrize("max_ratio", [1.1, 5.0])
def test_loss_and_gradient_are_trls_on_and_off_policy(trl, kl_coef, max_ratio):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(CISPO(kl_coef=kl_coef, max_ratio=max_ratio), off_policy(spread))
        expected, expected_gradient, metrics = trl.grpo_loss(
            off_policy(spread), loss_type="cispo", beta=kl_coef, epsilon_high=max_ratio
        )
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
    assert (metrics["cispo_clip_ratio"][0] > 0) == (max_ratio == 1.1)
