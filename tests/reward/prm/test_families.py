import numpy as np
import pytest
import torch

from reward.prm.families import FAMILIES, make_family

from .known_truth import LAWS, LEVELS, features, known_head


def coverage_gap(name: str, law_name: str, num_rollouts: int) -> float:
    """The largest distance of a level from how often the true probability lies below its quantile, fitted and exact."""
    family, law = make_family(name, LEVELS), LAWS[law_name]
    head = known_head(name, law_name, num_rollouts)
    unseen = np.random.default_rng(1).standard_normal(20_000)
    quantiles = family.quantiles(torch.from_numpy(features(unseen) @ head)).numpy()
    return float(law.gaps(quantiles, unseen, np.array(LEVELS)).max())


@pytest.mark.parametrize("law_name", LAWS)
def test_the_marginal_likelihood_covers_the_true_probability_where_pinball_covers_its_noisy_estimate(law_name):
    with_noise_known, without = (coverage_gap(name, law_name, num_rollouts=8) for name in ("beta", "pinball"))
    assert with_noise_known <= 0.035 and without >= 0.06


@pytest.mark.parametrize("law_name", LAWS)
def test_coverage_holds_with_more_rollouts(law_name):
    assert coverage_gap("beta", law_name, num_rollouts=32) <= 0.03


@pytest.mark.parametrize("name", FAMILIES)
def test_quantiles_do_not_cross_and_a_row_depends_on_its_own_parameters(name):
    family = make_family(name, LEVELS)
    rows = torch.randn(200, family.num_parameters, generator=torch.Generator().manual_seed(0)) * 4
    quantiles, means = family.quantiles(rows), family.mean(rows)
    assert quantiles.shape == (200, 3)
    assert bool((quantiles.diff(dim=-1) >= 0).all())
    assert bool(((quantiles >= 0) & (quantiles <= 1)).all())
    assert bool(((means >= 0) & (means <= 1)).all())
    alone = torch.cat([family.quantiles(row[None]) for row in rows])
    torch.testing.assert_close(alone, quantiles)


@pytest.mark.parametrize("name", FAMILIES)
def test_quantiles_can_be_read_at_other_levels(name):
    family = make_family(name, LEVELS)
    rows = torch.randn(50, family.num_parameters, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(family.quantiles(rows, [0.1, 0.3, 0.9])[:, [0, 2]], family.quantiles(rows)[:, [0, 2]])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_down_the_gradient_lowers_the_loss(name):
    family = make_family(name, LEVELS)
    rows = torch.zeros(3, family.num_parameters, requires_grad=True)
    successes, trials = torch.tensor([8, 0, 5]), torch.tensor([8, 8, 8])
    losses = family.loss(rows, successes, trials)
    losses.sum().backward()
    assert bool((family.loss(rows.detach() - 0.05 * rows.grad, successes, trials) < losses.detach()).all())


def test_the_mean_of_pinball_is_the_area_under_its_quantiles():
    family = make_family("pinball", LEVELS)
    z = torch.logit(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64))
    steps = torch.expm1(z.diff()).log()  # the inverse of softplus
    mean = family.mean(torch.cat([z[:1], steps])[None])
    assert float(mean) == pytest.approx(0.1 * 0.2 + 0.4 * 0.35 + 0.4 * 0.7 + 0.1 * 0.9)


def test_unknown_families_and_levels_are_refused():
    with pytest.raises(ValueError, match="no family is called 'bet', did you mean 'beta'"):
        make_family("bet", LEVELS)
    with pytest.raises(ValueError, match="must ascend"):
        make_family("pinball", (0.9, 0.1))
