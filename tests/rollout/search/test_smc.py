import dataclasses
import itertools
import math

import numpy as np
import pytest

from rollout.search.checks import horizons
from rollout.search.smc import Particles, PowerSMC, effective_size, normalised, systematic_ancestors
from rollout.search.types import Path

from .toys import TOYS, law_of_draws, noise_floor, tasks, tools, total_variation

SHORT = PowerSMC(alpha=2.0, num_particles=4, block_tokens=1, max_new_tokens=4, min_effective=0.9)


def copies(weights, uniform):
    return np.bincount(systematic_ancestors(np.array(weights), uniform), minlength=len(weights))


TWO = dataclasses.replace(SHORT, num_particles=2, max_new_tokens=3)
START = Particles((Path(), Path()), np.zeros(2))


def every_cloud(toy, method):
    """(probability, particles) of everything that can come of `method`, by enumerating all of its random choices."""
    clouds = [(1.0, START)]
    for block, horizon in enumerate(horizons(method.block_tokens, method.max_new_tokens)):
        if block:
            clouds = [(p * q, after) for p, cloud in clouds for q, after in every_resampling(method, cloud)]
        clouds = [(p * q, after) for p, cloud in clouds for q, after in every_extension(toy, method, cloud, horizon)]
    return clouds


def every_resampling(method, cloud):
    # The ancestors are the same all over an interval between two breaks.
    breaks = np.sort([0.0, 1.0, *np.modf(2 * normalised(cloud.log_weights).cumsum()[:-1])[0]])
    for low, high in itertools.pairwise(breaks):
        if high > low:
            yield high - low, method.resampled(cloud, (low + high) / 2)


def every_extension(toy, method, cloud, horizon):
    options = [
        [(0.0, path)]
        if path.has_ended
        else [
            (sum(drawn.proposal_logprobs), path.extended(drawn))
            for drawn in toy.suffixes(path.token_ids, horizon, method.tau)
        ]
        for path in cloud.paths
    ]
    for drawn in itertools.product(*options):
        yield math.exp(sum(q for q, _ in drawn)), method.weighted(cloud, tuple(path for _, path in drawn))


@pytest.mark.parametrize("min_effective", [0.0, 1.0])
@pytest.mark.parametrize("temperature", [None, 1.0])
@pytest.mark.parametrize("name", ["ends_anywhere", "ends_in_the_middle", "never_ends"])
def test_the_weighted_particle_is_unbiased_for_every_completion(name, temperature, min_effective):
    # E[mean weight · 1(x handed back)] = p(x)^alpha, however few the particles (Del Moral, Feynman-Kac Formulae, 2004).
    toy = TOYS[name]
    method = dataclasses.replace(TWO, min_effective=min_effective, proposal_temperature=temperature)
    found = {state.token_ids: 0.0 for state in toy.states(3)}
    clouds = every_cloud(toy, method)
    for probability, cloud in clouds:
        for path, log_weight in zip(cloud.paths, cloud.log_weights, strict=True):
            found[path.token_ids] += probability * math.exp(log_weight) / 2  # mean weight · share of the weight
    expected = [math.exp(2.0 * sum(state.policy_logprobs)) for state in toy.states(3)]
    assert list(found.values()) == pytest.approx(expected, rel=1e-10)
    assert any(cloud.num_resamplings for _, cloud in clouds) == (min_effective > 0)


def test_runs_estimate_the_normaliser_and_follow_the_target():
    toy, count = TOYS["ends_anywhere"], 400
    method = dataclasses.replace(SHORT, num_particles=16)
    outcomes = method.search(tasks(count), tools(toy)).outcomes
    estimates, states = np.exp([o.log_normaliser for o in outcomes]), toy.states(4)
    total = sum(math.exp(2.0 * sum(state.policy_logprobs)) for state in states)
    assert abs(estimates.mean() - total) < 4 * estimates.std() / math.sqrt(count)
    law = toy.target(states, 2.0)
    drawn = law_of_draws([o.path for o in outcomes], states)
    assert total_variation(drawn, law) < noise_floor(law, count) + 1 / 16  # the bias of 16 particles
    assert any(o.num_resamplings for o in outcomes)


def test_one_particle_is_a_sample_of_the_proposal_with_its_weight():
    toy, method = TOYS["ends_anywhere"], dataclasses.replace(SHORT, num_particles=1)
    for outcome in method.search(tasks(20), tools(toy)).outcomes:
        path = outcome.path
        pairs = zip(path.policy_logprobs, path.proposal_logprobs, strict=True)
        assert outcome.log_normaliser == pytest.approx(sum(2 * p - q for p, q in pairs))
        assert outcome.effort.tokens_sampled == outcome.effort.tokens_returned == len(path.token_ids)


def test_at_alpha_1_all_weights_are_the_same_and_nothing_is_resampled():
    method = dataclasses.replace(SHORT, alpha=1.0, min_effective=1.0)
    outcomes = method.search(tasks(30), tools(TOYS["ends_anywhere"])).outcomes
    assert {(o.log_normaliser, o.num_resamplings) for o in outcomes} == {(0.0, 0)}


def test_without_a_threshold_particles_are_never_resampled():
    outcomes = dataclasses.replace(SHORT, min_effective=0.0).search(tasks(30), tools(TOYS["ends_anywhere"])).outcomes
    assert {o.num_resamplings for o in outcomes} == {0}


def test_a_task_does_not_depend_on_the_others():
    together = SHORT.search(tasks(6), tools(TOYS["ends_anywhere"])).outcomes
    alone = [SHORT.search([task], tools(TOYS["ends_anywhere"])).outcomes[0] for task in tasks(6)]
    assert list(together) == alone


def test_copies_are_proportional_to_weights_written_out_by_hand():
    # Quantiles at (u + j) / 4 of a weight that ends at .5, .75, 1.
    assert copies([0.5, 0.25, 0.25, 0.0], 0.0).tolist() == [2, 1, 1, 0]
    assert copies([0.5, 0.25, 0.25, 0.0], 0.999).tolist() == [2, 1, 1, 0]
    assert copies([0.6, 0.4], 0.0).tolist() == [2, 0]
    assert copies([0.6, 0.4], 0.3).tolist() == [1, 1]
    assert copies([0.9, 0.1], 0.0).tolist() == [2, 0]
    assert copies([0.9, 0.1], 0.9).tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_a_particle_has_its_share_of_copies_on_average_and_never_a_whole_one_off(seed):
    weights = np.random.default_rng(seed).dirichlet(np.full(7, 0.4))
    breaks = np.sort([0.0, 1.0, *np.modf(7 * weights.cumsum()[:-1])[0]])
    average = np.zeros(7)
    for low, high in itertools.pairwise(breaks):
        found = copies(weights, (low + high) / 2)  # the same all over an interval between two breaks
        assert (np.abs(found - 7 * weights) < 1).all()
        average += (high - low) * found
    assert np.abs(average - 7 * weights).max() < 1e-12


def test_a_place_that_rounds_up_to_the_end_is_the_last_particle_with_any_weight():
    assert systematic_ancestors(np.array([0.1] * 3 + [0.7, 0.0]), 1 - 2.0**-53)[-1] == 3


def test_the_effective_size_is_n_for_equal_weights_and_1_for_a_single_one():
    assert effective_size(np.full(4, 0.25)) == 4.0
    assert effective_size(np.array([0.0, 1.0, 0.0])) == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a finite number above 0"),
        ({"num_particles": 0}, "num_particles must be a whole number, at least 1, got 0; set num_particles"),
        ({"block_tokens": 5}, "block_tokens must be at most max_new_tokens=4"),
        ({"min_effective": 1.5}, "min_effective must be from 0 to 1, got 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SHORT, **wrong)
