import numpy as np
import pytest
import torch

from rl.algorithms.reinforce_pp import ReinforcePP

from .conftest import LENGTHS, SPREADS, advantages, inputs, loss_and_gradient, off_policy, rewarded

GROUPS = [
    rewarded([1.0, 0.0, 0.25], lengths=[2, 5, 1]),
    rewarded([1.0, 1.0, 1.0], lengths=[1, 1, 8]),
    rewarded([-1.0, 0.0, 1.0], lengths=[3, 3, 4]),
]


def by_token(groups, baseline):
    """Equation 10 with a row for every token, as the paper indexes it."""
    tokens = []
    for group in groups:
        rewards = np.array([reward.value for reward in group.rewards])
        for reward, rollout in zip(rewards - baseline * rewards.mean(), group.group.rollouts, strict=True):
            tokens += [reward] * len(rollout.token_ids)
    normalised = (np.array(tokens) - np.mean(tokens)) / np.std(tokens)
    ends = np.cumsum([len(rollout.token_ids) for group in groups for rollout in group.group.rollouts])
    return normalised[ends - 1].reshape(len(groups), -1)


@pytest.mark.parametrize("baseline", [False, True])
def test_advantages_are_normalised_over_the_tokens_of_the_batch(baseline):
    found = advantages(ReinforcePP(group_baseline=baseline, std_eps=0.0), *GROUPS)
    np.testing.assert_allclose(found, by_token(GROUPS, baseline), rtol=1e-12)


def test_a_groups_advantages_depend_on_the_other_groups():
    assert advantages(ReinforcePP(), GROUPS[0], GROUPS[1])[0] != advantages(ReinforcePP(), GROUPS[0], GROUPS[2])[0]


def test_a_group_of_equal_rewards_still_says_that_its_prompt_went_better_than_most():
    (_, solved, _) = advantages(ReinforcePP(), *GROUPS)
    assert solved[0] == solved[1] == solved[2] > 0


def test_what_is_added_to_the_standard_deviation_is_a_parameter():
    # Mean 1, standard deviation with n: 1.
    assert advantages(ReinforcePP(std_eps=1.0), [0.0, 2.0]) == [[-0.5, 0.5]]


@pytest.mark.parametrize("baseline", [False, True])
def test_a_batch_of_equal_rewards_has_advantages_of_exactly_zero(baseline):
    groups = [rewarded([0.1] * 3, lengths=[1, 2, 3]), rewarded([0.1] * 3, lengths=[7, 1, 1])]
    assert advantages(ReinforcePP(group_baseline=baseline, std_eps=0.0), *groups) == [[0.0] * 3] * 2


def test_groups_of_one_are_enough_without_a_group_baseline():
    assert ReinforcePP().min_group_size == 1
    assert advantages(ReinforcePP(std_eps=0.0), [0.0], [1.0]) == [[-1.0], [1.0]]
    assert ReinforcePP(group_baseline=True).min_group_size == 2
    with pytest.raises(ValueError, match=r"rollout.group_size must be at least 2 for ReinforcePP, .* got 1"):
        advantages(ReinforcePP(group_baseline=True), [0.0], [1.0])


def test_loss_is_the_clipped_objective_averaged_over_tokens():
    for spread in SPREADS:
        batch = off_policy(spread)
        loss, gradient = loss_and_gradient(ReinforcePP(), batch)
        total, slopes = 0.0, []
        per_token = np.repeat(batch.advantages.numpy(), LENGTHS)
        for new, old, advantage in zip(
            batch.logprobs.tolist(), batch.rollout_logprobs.tolist(), per_token, strict=True
        ):
            ratio = np.exp(new - old)
            total -= min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
            is_clipped = (ratio > 1.2 and advantage > 0) or (ratio < 0.8 and advantage < 0)
            slopes.append(0.0 if is_clipped else -ratio * advantage / 19)
        assert loss == pytest.approx(total / 19, abs=1e-6)
        np.testing.assert_allclose(gradient.numpy(), slopes, rtol=1e-5, atol=1e-7)


def test_on_policy_gradient_of_a_token_is_minus_its_advantage_over_the_tokens_of_the_batch():
    logprobs = torch.tensor([-1.0, -2.0, -0.1, -0.2])
    leaf = logprobs.clone().requires_grad_()
    _, gradient = loss_and_gradient(ReinforcePP(), inputs(leaf, logprobs, [1.9, -3.8], [1, 3]))
    assert gradient.tolist() == pytest.approx([-0.1, 0.2, 0.2, 0.2])
