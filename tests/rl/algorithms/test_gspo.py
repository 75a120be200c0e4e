import pytest
import torch

from rl.algorithms.grpo import GRPO
from rl.algorithms.gspo import GSPO

from .conftest import SPREADS, advantages, inputs, loss_and_gradient, off_policy
from .test_grpo import REWARDS


def test_advantages_are_grpos():
    assert advantages(GSPO(), *REWARDS) == advantages(GRPO(), *REWARDS)


def test_a_rollout_is_clipped_by_the_geometric_mean_of_its_ratios():
    # Ratios 4 and 1/4 have the mean 1 and stay; ratios 2 and 2 have the mean 2 and are clipped whole.
    rollout_logprobs = torch.tensor([-2.0, -2.0, -2.0, -2.0])
    logprobs = (rollout_logprobs + torch.tensor([4.0, 0.25, 2.0, 2.0]).log()).requires_grad_()
    batch = inputs(logprobs, rollout_logprobs, [6.0, 6.0], [2, 2])
    loss, gradient = loss_and_gradient(GSPO(clip_low=0.2, clip_high=0.2), batch)
    assert loss == pytest.approx(-(6 * 1.0 + 6 * 1.2) / 6)
    assert gradient.tolist() == pytest.approx([-0.5, -0.5, 0.0, 0.0])


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
@pytest.mark.parametrize("clip", [(3e-4, 4e-4), (0.2, 0.3)])
def test_loss_and_gradient_are_trls_on_and_off_policy(trl, kl_coef, clip):
    for spread in SPREADS:
        algorithm = GSPO(kl_coef=kl_coef, clip_low=clip[0], clip_high=clip[1])
        loss, gradient = loss_and_gradient(algorithm, off_policy(spread))
        expected, expected_gradient, metrics = trl.grpo_loss(
            off_policy(spread),
            importance_sampling_level="sequence",
            beta=kl_coef,
            epsilon_low=clip[0],
            epsilon_high=clip[1],
        )
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
    assert metrics["clip_ratio/low_mean"][0] + metrics["clip_ratio/high_mean"][0] > 0


def test_the_default_range_is_the_papers():
    assert (GSPO().clip_low, GSPO().clip_high) == (3e-4, 4e-4)
