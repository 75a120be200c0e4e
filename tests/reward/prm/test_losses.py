import math

import pytest
import torch

from reward.prm.losses import any_success, count_likelihood, pinball


def test_pinball_charges_a_miss_by_its_level():
    quantiles = torch.tensor([[0.2, 0.5], [0.2, 0.5]], dtype=torch.float64)
    shares = torch.tensor([0.0, 1.0], dtype=torch.float64)
    low = (0.9 * 0.2 + 0.5 * 0.5) / 2
    high = (0.1 * 0.8 + 0.5 * 0.5) / 2
    assert pinball(quantiles, shares, [0.1, 0.5]).tolist() == pytest.approx([low, high])


def test_the_likelihood_of_a_count_is_summed_over_the_distribution():
    points = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    masses = torch.tensor([[0.2, 0.5, 0.3]] * 3, dtype=torch.float64)
    found = count_likelihood(masses.log(), points, torch.tensor([0, 2, 4]), torch.tensor([4, 4, 4]))
    none, two, all_four = 0.2 + 0.5 * 0.75**4, 0.5 * 0.25**2 * 0.75**2, 0.5 * 0.25**4 + 0.3
    assert found.tolist() == pytest.approx([-math.log(none), -math.log(two), -math.log(all_four)])


def test_the_likelihood_has_a_gradient_where_an_atom_cannot_be():
    logits = torch.zeros(1, 3, requires_grad=True)
    points = torch.tensor([0.0, 0.5, 1.0])
    count_likelihood(logits.log_softmax(-1), points, torch.tensor([1]), torch.tensor([2])).sum().backward()
    assert logits.grad[0].tolist() == pytest.approx([1 / 3, -2 / 3, 1 / 3])


def test_a_hard_label_is_whether_any_rollout_came_out_right():
    logits = torch.tensor([0.0, 2.0, 2.0], dtype=torch.float64)
    found = any_success(logits, torch.tensor([1, 3, 0]))
    assert found.tolist() == pytest.approx([math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(2))])
