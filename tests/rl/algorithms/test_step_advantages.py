"""Advantages of a token beside those of its rollout."""

from dataclasses import replace

import pytest
import torch

from rl.algorithms import ALGORITHMS, make_algorithm

from .conftest import ADVANTAGES, LENGTHS, loss_and_gradient, off_policy

CREDITING = [name for name in ALGORITHMS if make_algorithm(name, {}).credits_steps]


def with_steps(batch, values):
    return replace(batch, step_advantages=torch.tensor(values))


def test_algorithms_that_clip_a_rollout_whole_do_not_credit_its_steps():
    assert set(ALGORITHMS) - set(CREDITING) == {"gspo", "rloo"}


@pytest.mark.parametrize("name", CREDITING)
def test_a_step_advantage_adds_to_that_of_the_rollout(name):
    algorithm = make_algorithm(name, {})
    halves = [value / 2 for value in ADVANTAGES]
    spread = [half for half, length in zip(halves, LENGTHS, strict=True) for _ in range(length)]
    whole = loss_and_gradient(algorithm, off_policy())
    parts = loss_and_gradient(algorithm, with_steps(off_policy(advantages=halves), spread))
    assert parts[0] == whole[0] and torch.equal(parts[1], whole[1])


@pytest.mark.parametrize("name", CREDITING)
def test_a_token_learns_from_the_advantage_of_its_own_step(name):
    batch = off_policy(spread=0.0, advantages=[0.0] * len(LENGTHS))
    values = [0.0] * sum(LENGTHS)
    values[1], values[7] = 0.5, -0.25
    _, gradient = loss_and_gradient(make_algorithm(name, {}), with_steps(batch, values))
    assert torch.equal(gradient.sign(), -torch.tensor(values).sign())
