import math

import pytest
import torch
from scipy.stats import beta

from reward.prm.density import NUM_CELLS, log_masses, mean_of, points, quantiles_of

NEVER = -60.0
"""Log-odds of an atom that is not there."""


def parameters(mean, concentration, at_zero=NEVER, at_one=NEVER):
    log = 7 * math.atanh(math.log(concentration) / 7)
    return torch.tensor([[math.log(mean / (1 - mean)), log, at_zero, at_one]], dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "omega"), [(2.0, 5.0), (20.0, 4.0), (1.0, 1.0), (0.6, 0.9)])
def test_quantiles_are_those_of_the_beta_distribution(alpha, omega):
    masses = log_masses(parameters(alpha / (alpha + omega), alpha + omega)).exp()
    levels = (0.05, 0.1, 0.5, 0.9, 0.95)
    assert quantiles_of(masses, levels)[0].tolist() == pytest.approx(beta.ppf(levels, alpha, omega), abs=2e-3)
    assert float(mean_of(masses)) == pytest.approx(alpha / (alpha + omega), abs=2e-3)


def test_atoms_are_at_exactly_zero_and_one():
    masses = log_masses(parameters(0.5, 2.0, at_zero=math.log(3), at_one=math.log(1))).exp()
    assert masses[0, [0, -1]].tolist() == pytest.approx([0.6, 0.2])
    low, middle, high = quantiles_of(masses, (0.59, 0.7, 0.81))[0].tolist()
    assert (low, high) == (0.0, 1.0)
    assert middle == pytest.approx(0.5, abs=2e-3)
    assert float(mean_of(masses)) == pytest.approx(0.2 * 0.5 + 0.2, abs=2e-3)


def test_masses_are_a_distribution_and_quantiles_ascend_whatever_the_head_says():
    wild = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 40
    masses = log_masses(wild).exp()
    assert masses.shape == (500, NUM_CELLS + 2)
    assert masses.sum(-1).tolist() == pytest.approx([1.0] * 500)
    quantiles = quantiles_of(masses, [i / 50 for i in range(1, 50)])
    assert bool((quantiles.diff(dim=-1) >= 0).all())
    assert bool(((quantiles >= 0) & (quantiles <= 1)).all())


def test_points_ascend_from_zero_to_one():
    all_points = points(torch.float32)
    assert (float(all_points[0]), float(all_points[-1])) == (0.0, 1.0)
    assert bool((all_points.diff() > 0).all())


def test_float32_parameters_have_finite_gradients_at_the_ends():
    given = torch.tensor([[80.0, 90.0, -90.0, -90.0], [-80.0, -90.0, 90.0, 90.0]], requires_grad=True)
    log_masses(given)[:, [0, 5, -1]].sum().backward()
    assert bool(given.grad.isfinite().all())
