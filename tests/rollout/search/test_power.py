"""Power sampling as it runs, against its exact law and the target."""

import dataclasses
import math

import numpy as np
import pytest

from rollout.search.power import PowerSampling
from rollout.search.types import Task
from rollout.types import Prompt

from .chains import law_of_method
from .toys import TOYS, law_of_draws, noise_floor, tasks, tools, total_variation

NUM_CHAINS = 1500
TWO_WORDS = [name for name, toy in TOYS.items() if toy.num_words == 2]
SHORT = PowerSampling(alpha=4.0, block_tokens=2, max_new_tokens=4, num_steps=3)


def paths(result):
    return [outcome.path for outcome in result.outcomes]


@pytest.mark.parametrize(
    ("name", "temperature"), [("ends_anywhere", None), ("ends_in_the_middle", 0.5), ("never_ends", None)]
)
def test_draws_follow_the_exact_law_of_the_method(name, temperature):
    method = dataclasses.replace(SHORT, proposal_temperature=temperature)
    states, law = law_of_method(TOYS[name], method)
    drawn = law_of_draws(paths(method.search(tasks(NUM_CHAINS), tools(TOYS[name]))), states)
    assert total_variation(drawn, law) < noise_floor(law, NUM_CHAINS)


@pytest.mark.parametrize("name", TWO_WORDS)
def test_with_enough_steps_the_law_is_the_target(name):
    method = dataclasses.replace(SHORT, num_steps=5000)
    states, law = law_of_method(TOYS[name], method)
    assert total_variation(law, TOYS[name].target(states, method.alpha)) < 1e-3


def test_draws_lie_within_the_noise_of_the_enumerated_target():
    toy, method = TOYS["ends_in_the_middle"], dataclasses.replace(SHORT, alpha=2.0, num_steps=8)
    states, law = law_of_method(toy, method)
    target = toy.target(states, method.alpha)
    still_missing = total_variation(law, target)
    drawn = law_of_draws(paths(method.search(tasks(NUM_CHAINS), tools(toy))), states)
    assert still_missing < 0.01
    assert total_variation(drawn, target) < noise_floor(law, NUM_CHAINS) + still_missing


@pytest.mark.parametrize("name", TWO_WORDS)
def test_at_alpha_1_the_law_is_the_policy_after_any_number_of_steps(name):
    method = dataclasses.replace(SHORT, alpha=1.0, num_steps=1, block_tokens=1)
    states, law = law_of_method(TOYS[name], method)
    assert np.abs(law - TOYS[name].target(states, 1.0)).max() < 1e-12


def test_at_alpha_1_and_temperature_1_every_proposal_is_accepted():
    result = dataclasses.replace(SHORT, alpha=1.0).search(tasks(200), tools(TOYS["ends_anywhere"]))
    assert {outcome.effort.acceptance_rate for outcome in result.outcomes if outcome.effort.num_proposals} == {1.0}
    assert sum(outcome.effort.num_proposals for outcome in result.outcomes) > 500


def test_a_chain_does_not_depend_on_the_others_or_on_their_order():
    toy = TOYS["ends_anywhere"]
    wanted = [Task(Prompt(f"toy/{i % 3}", "", (), {}), i) for i in range(9)]
    together = SHORT.search(wanted, tools(toy)).outcomes
    assert SHORT.search(wanted[::-1], tools(toy)).outcomes == together[::-1]
    assert [SHORT.search([task], tools(toy)).outcomes[0] for task in wanted] == list(together)
    assert len({outcome.path.token_ids for outcome in together}) > 1
    assert paths(SHORT.search(wanted, tools(toy, seed=1))) != [outcome.path for outcome in together]


def test_all_chains_are_advanced_in_one_call_and_every_token_is_counted():
    toy = dataclasses.replace(TOYS["never_ends"], calls=[])
    drawn = []
    extend = toy.extend
    toy.extend = lambda requests: drawn.extend(extend(requests)) or drawn[-len(requests) :]
    result = SHORT.search(tasks(5), tools(toy))
    assert toy.calls == [5] * (2 * (1 + 3))
    assert (result.in_flight, result.mean_in_flight) == (tuple(toy.calls), 5.0)
    assert sum(o.effort.tokens_sampled for o in result.outcomes) == sum(len(c.token_ids) for c in drawn)
    assert {(o.effort.num_proposals, o.effort.tokens_returned, o.effort.tokens_scored) for o in result.outcomes} == {
        (6, 4, 0)
    }
    assert all(o.normaliser_gap < 1e-12 for o in result.outcomes)


def test_chains_that_have_ended_take_the_steps_of_later_stages():
    method = dataclasses.replace(SHORT, block_tokens=1, num_steps=1)
    outcomes = method.search(tasks(300), tools(TOYS["ends_at_once"])).outcomes
    # One token to begin with and one in the first step; in the stages after that an index of 0 draws again.
    ended_at_once = [o for o in outcomes if len(o.path.token_ids) == 1]
    assert len(ended_at_once) > 250
    assert sum(o.effort.tokens_sampled > 2 for o in ended_at_once) > len(ended_at_once) / 2


def test_the_log_normaliser_is_not_tested_with_another_proposal():
    method = dataclasses.replace(SHORT, proposal_temperature=1.0)
    (outcome,) = method.search(tasks(1), tools(TOYS["never_ends"])).outcomes
    assert math.isnan(outcome.normaliser_gap)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a finite number above 0, got 0.0"),
        ({"alpha": -1.0}, "alpha must be a finite number above 0, got -1.0"),
        ({"alpha": math.nan}, "alpha must be a finite number above 0"),
        ({"proposal_temperature": 0.0}, "proposal_temperature must be a finite number above 0"),
        ({"block_tokens": 5}, "block_tokens must be at most max_new_tokens=4, the horizon, got 5; lower"),
        ({"block_tokens": 0}, "block_tokens must be a whole number, at least 1"),
        ({"num_steps": 0}, "num_steps must be a whole number, at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SHORT, **wrong)


def test_a_model_without_an_end_token_is_refused():
    with pytest.raises(ValueError, match="names no end token"):
        dataclasses.replace(tools(TOYS["never_ends"]), stop_token_ids=())
