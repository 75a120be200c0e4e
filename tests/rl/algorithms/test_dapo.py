import pytest
import torch

from rl.algorithms.advantages import standardised
from rl.algorithms.dapo import DAPO
from rl.algorithms.grpo import GRPO

from .conftest import MAX_NEW_TOKENS, SPREADS, advantages, inputs, loss_and_gradient, off_policy, rewarded
from .test_grpo import REWARDS


def test_a_ratio_may_rise_further_than_it_may_fall():
    rollout_logprobs = torch.tensor([-2.0, -2.0])
    logprobs = (rollout_logprobs + torch.tensor([1.5, 0.5]).log()).requires_grad_()
    # min(1.5, 1.28) and min(-0.5, -0.8), over the 19 tokens of the batch.
    loss, _ = loss_and_gradient(DAPO(), inputs(logprobs, rollout_logprobs, [1.0, -1.0], [1, 1]))
    assert loss == pytest.approx(-(1.28 - 0.8) / 19, abs=1e-6)


def test_rewards_fall_with_length_over_the_last_share_of_the_tokens_allowed():
    group = rewarded([1.0, 1.0, 1.0, 0.0], lengths=[1, 5, MAX_NEW_TOKENS, MAX_NEW_TOKENS])
    # The last half of 8 tokens: 0 up to 4, -1/4 at 5, -1 at 8.
    (found,) = advantages(DAPO(overlong_share=0.5), group)
    assert found == standardised([1.0, 0.75, 0.0, -1.0], 1e-4)


def test_the_default_share_is_the_papers():
    assert DAPO().overlong_share == 4096 / 20480


def test_without_overlong_shaping_advantages_are_grpos():
    groups = [rewarded(rewards, lengths=[1, 4, 7, 8]) for rewards in REWARDS]
    assert advantages(DAPO(overlong_share=0.0), *groups) == advantages(GRPO(), *groups)
    assert advantages(DAPO(), *groups) != advantages(GRPO(), *groups)


def test_dynamic_sampling_keeps_groups_whose_rewards_differ():
    mixed, solved, failed = rewarded([1.0, 0.0]), rewarded([1.0, 1.0]), rewarded([0.0, 0.0])
    assert [DAPO(dynamic_sampling=True).keeps(group) for group in (mixed, solved, failed)] == [True, False, False]
    assert all(DAPO().keeps(group) for group in (mixed, solved, failed))


def test_dynamic_sampling_looks_at_rewards_before_their_lengths_shape_them():
    solved = rewarded([1.0, 1.0], lengths=[1, MAX_NEW_TOKENS])
    assert not DAPO(dynamic_sampling=True).keeps(solved)
    assert any(advantages(DAPO(), solved)[0])


@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
def test_loss_and_gradient_are_trls_on_and_off_policy(trl, kl_coef):
    for spread in SPREADS:
        loss, gradient = loss_and_gradient(DAPO(kl_coef=kl_coef), off_policy(spread))
        expected, expected_gradient, metrics = trl.grpo_loss(
            off_policy(spread), loss_type="dapo", beta=kl_coef, epsilon_high=0.28
        )
        assert loss == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-7)
    assert metrics["clip_ratio/low_mean"][0] > 0
    assert metrics["clip_ratio/high_mean"][0] > 0
