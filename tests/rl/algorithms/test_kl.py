import math

import numpy as np
import pytest
import torch

from rl.algorithms.grpo import GRPO
from rl.algorithms.kl import ESTIMATORS

from .conftest import LENGTHS, loss_and_gradient, off_policy

LOG_RATIOS = [-2.0, -0.5, 0.0, 1e-3, 1.5]


def by_hand(name, log_ratio):
    ratio = math.exp(log_ratio)
    return {"k1": -math.log(ratio), "k2": math.log(ratio) ** 2 / 2, "k3": ratio - 1 - math.log(ratio)}[name]


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_estimators_are_schulmans(name):
    found = ESTIMATORS[name](torch.tensor(LOG_RATIOS, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), [by_hand(name, x) for x in LOG_RATIOS], rtol=1e-9, atol=1e-12)


def test_k3_keeps_its_digits_and_its_sign_next_to_the_reference():
    log_ratio = torch.tensor([1e-4, -1e-4, 3e-4])
    # x^2 / 2, to x^3; exp(x) - 1 - x in fp32 is off by tens of per cent here, and can be negative.
    assert ESTIMATORS["k3"](log_ratio).tolist() == pytest.approx((log_ratio**2 / 2).tolist(), rel=2e-3)


@pytest.mark.parametrize(("name", "expected"), [("k1", "none"), ("k2", "reverse"), ("k3", "forward")])
def test_mean_gradient_under_the_policy_is_the_one_that_is_documented(name, expected):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
    reference = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    # The exact mean over the tokens the policy draws; the draw itself carries no gradient.
    mean = (policy.detach().exp() * ESTIMATORS[name](reference - policy)).sum()
    (found,) = torch.autograd.grad(mean, logits, retain_graph=True)
    kl = {
        "none": policy.sum() * 0,
        "reverse": (policy.exp() * (policy - reference)).sum(),
        "forward": (reference.exp() * (reference - policy)).sum(),
    }[expected]
    torch.testing.assert_close(found, torch.autograd.grad(kl, logits)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_penalty_is_added_to_the_loss_with_its_coefficient(name):
    batch = off_policy()
    log_ratios = (batch.reference_logprobs - batch.logprobs.detach()).tolist()
    rollouts = np.split(np.array([by_hand(name, x) for x in log_ratios]), np.cumsum(LENGTHS)[:-1])
    expected = 0.3 * np.mean([np.mean(rollout) for rollout in rollouts])
    with_penalty, _ = loss_and_gradient(GRPO(kl_coef=0.3, kl_estimator=name), batch)
    without, _ = loss_and_gradient(GRPO(), batch)
    assert with_penalty - without == pytest.approx(expected, abs=1e-6)
