"""What every algorithm keeps to, whoever wrote it."""

import dataclasses
import pickle

import pytest
import torch

from rl.algorithms import ALGORITHMS, make_algorithm

from .conftest import ADVANTAGES, LENGTHS, TOTALS, advantages, inputs, loss_and_gradient, off_policy, rewarded

CUTS = ([6], [2, 4], [1, 1, 1, 1, 1, 1], [5, 1], [3, 2, 1])
"""Rollouts in each micro-batch."""
GROUPS = (
    rewarded([1.0, 0.0, 1.0], logprobs=[[-1.0] * 2, [-0.1] * 7, [-2.0] * 8]),
    rewarded([0.0, 0.0, 0.0], lengths=[8, 8, 8]),
    rewarded([0.1, 0.2, 0.3], lengths=[1, 2, 3]),
)


@pytest.fixture(params=ALGORITHMS)
def name(request):
    return request.param


@pytest.fixture(params=[0.0, 0.1], ids=["no-kl", "kl"])
def algorithm(request, name):
    return make_algorithm(name, {"kl_coef": request.param})


def micro_batches(batch, cut):
    """The rollouts of `batch` in runs of so many, each a batch of its own over the same leaf."""
    tokens, rollouts = 0, 0
    for size in cut:
        some, num_tokens = slice(rollouts, rollouts + size), sum(LENGTHS[rollouts : rollouts + size])
        part = slice(tokens, tokens + num_tokens)
        yield inputs(
            batch.logprobs[part],
            batch.rollout_logprobs[part],
            batch.advantages[some].tolist(),
            LENGTHS[some],
            batch.reference_logprobs[part],
        )
        tokens, rollouts = tokens + num_tokens, rollouts + size


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_shares_of_micro_batches_add_up_to_the_loss_and_no_bit_of_the_gradient_knows_the_cut(algorithm, spread):
    batch = off_policy(spread)
    whole, gradient = loss_and_gradient(algorithm, batch)
    for cut in CUTS:
        shares = [algorithm.loss(part, TOTALS) for part in micro_batches(batch, cut)]
        assert sum(share.item() for share in shares) == pytest.approx(whole, rel=1e-5, abs=1e-7)
        assert torch.equal(torch.autograd.grad(sum(shares), batch.logprobs)[0], gradient)
    assert gradient.abs().max() > 0.01


def test_a_share_is_of_the_whole_batch(algorithm):
    doubled = dataclasses.replace(TOTALS, num_rollouts=2 * TOTALS.num_rollouts, num_tokens=2 * TOTALS.num_tokens)
    whole, gradient = loss_and_gradient(algorithm, off_policy())
    half, half_gradient = loss_and_gradient(algorithm, off_policy(), doubled)
    assert half == whole / 2
    assert torch.equal(half_gradient, gradient / 2)


def test_no_bit_of_loss_or_gradient_depends_on_the_number_of_threads(algorithm):
    lengths, generator = [9000] * 5, torch.Generator().manual_seed(0)
    rollout_logprobs = -torch.rand(45000, generator=generator)
    logprobs, reference_logprobs = (
        rollout_logprobs + torch.randn(45000, generator=generator) * spread for spread in (1e-3, 0.1)
    )
    batch = inputs(logprobs.requires_grad_(), rollout_logprobs, ADVANTAGES[:5], lengths, reference_logprobs)
    found = []
    before = torch.get_num_threads()
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        found.append(loss_and_gradient(algorithm, batch))
    torch.set_num_threads(before)
    assert found[0][0] == found[1][0] == found[2][0]
    assert torch.equal(found[0][1], found[1][1]) and torch.equal(found[0][1], found[2][1])


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_a_silent_group_has_a_gradient_of_exactly_zero_and_any_other_one_has_not(algorithm, spread):
    zeros = [0.0] * len(LENGTHS)
    _, gradient = loss_and_gradient(algorithm, off_policy(spread, zeros))
    assert algorithm.is_silent(zeros) == torch.equal(gradient, torch.zeros_like(gradient))
    assert algorithm.is_silent(zeros) != algorithm.needs_reference
    assert not algorithm.is_silent(ADVANTAGES)
    assert not algorithm.is_silent([0.0, -1e-30])


def test_on_policy_and_without_a_penalty_no_bit_of_the_gradient_depends_on_the_log_probabilities(name):
    gradients = []
    for seed in (0, 1):
        logprobs = -torch.rand(sum(LENGTHS), generator=torch.Generator().manual_seed(seed)) * 9
        batch = inputs(logprobs.clone().requires_grad_(), logprobs, ADVANTAGES, LENGTHS)
        gradients.append(loss_and_gradient(make_algorithm(name, {}), batch)[1])
    assert torch.equal(*gradients)
    signs = torch.repeat_interleave(torch.tensor(ADVANTAGES), torch.tensor(LENGTHS)).sign()
    assert torch.equal(gradients[0].sign(), -signs)


def test_advantages_come_for_every_rollout_as_plain_floats(algorithm):
    found = algorithm.advantages(list(GROUPS), 8)
    assert [len(group) for group in found] == [3, 3, 3]
    assert {type(value) for group in found for value in group} == {float}
    assert any(value != 0 for group in found for value in group)


def test_the_order_of_rollouts_and_of_groups_moves_no_bit_of_the_advantages(name):
    params = {"unlikeliness": 0.25} if name != "reinforce_pp" else {"group_baseline": True}
    algorithm = make_algorithm(name, params)
    turned = [
        dataclasses.replace(
            group,
            group=dataclasses.replace(group.group, rollouts=group.group.rollouts[::-1]),
            rewards=group.rewards[::-1],
        )
        for group in GROUPS[::-1]
    ]
    assert [group[::-1] for group in advantages(algorithm, *turned)[::-1]] == advantages(algorithm, *GROUPS)


def test_equal_rewards_in_rollouts_of_equal_length_are_silent_without_a_penalty(name):
    algorithm = make_algorithm(name, {})
    groups = [rewarded([0.1] * 7, lengths=[3] * 7, prompt=f"train/0/{i}") for i in range(2)]
    found = advantages(algorithm, *groups)
    assert found == [[0.0] * 7] * 2
    assert all(map(algorithm.is_silent, found))


def test_a_group_of_one_is_refused_where_it_says_nothing(name):
    algorithm = make_algorithm(name, {})
    if algorithm.min_group_size == 1:
        assert len(advantages(algorithm, [1.0], [0.0])) == 2
    else:
        with pytest.raises(ValueError, match=r"rollout.group_size must be at least 2 for \w+, .* got 1"):
            advantages(algorithm, [1.0], [0.0])


def test_it_travels_to_a_trainer_rank(algorithm):
    assert pickle.loads(pickle.dumps(algorithm)) == algorithm
