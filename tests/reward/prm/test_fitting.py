import numpy as np
import pytest
import torch

from reward.prm.families import make_family
from reward.prm.fitting import fit_constant, minimise
from reward.prm.outcomes import Outcomes

LEVELS = (0.1, 0.5, 0.9)


def outcomes(counts, trials=8):
    return Outcomes.of(counts, [trials] * len(counts), [str(i) for i in range(len(counts))])


def test_a_constant_says_the_base_rate_and_its_spread():
    rng = np.random.default_rng(0)
    counts = rng.binomial(8, rng.beta(4, 2, size=5000)).tolist()
    family = make_family("beta", LEVELS)
    row = torch.tensor([fit_constant(family, outcomes(counts))])
    assert float(family.mean(row)) == pytest.approx(4 / 6, abs=0.01)
    assert family.quantiles(row)[0].tolist() == pytest.approx([0.416, 0.686, 0.888], abs=0.02)  # of Beta(4, 2)


def test_a_constant_of_the_pinball_loss_has_the_quantiles_of_the_shares():
    counts = [0] * 20 + [2] * 20 + [4] * 30 + [8] * 30
    family = make_family("pinball", LEVELS)
    row = torch.tensor([fit_constant(family, outcomes(counts))])
    assert family.quantiles(row)[0].tolist() == pytest.approx([0.0, 0.5, 1.0], abs=0.05)


def test_a_constant_of_hard_labels_is_how_often_any_rollout_came_out_right():
    family = make_family("hard_label", LEVELS)
    row = torch.tensor([fit_constant(family, outcomes([0, 1, 2, 8]))])
    assert float(family.mean(row)) == pytest.approx(0.75, abs=1e-3)


def test_the_ridge_holds_what_the_objective_says_nothing_about():
    found = minimise(lambda row: (row[0] - 3).square(), np.array([0.0, 2.0]))
    assert found.tolist() == pytest.approx([3.0, 2.0], abs=1e-4)
