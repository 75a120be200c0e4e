import pytest

from rollout.draws import DrawKey
from rollout.extension import Extension
from rollout.search.plain import Greedy, Temperature
from rollout.types import SamplingParams

from .toys import PROMPT, TOYS, law_of_draws, noise_floor, tasks, tools, total_variation

TOY = TOYS["ends_anywhere"]


def test_samples_are_the_rollouts_with_the_same_seed_prompt_and_sample():
    outcomes = Temperature(temperature=0.7, max_new_tokens=4).search(tasks(20), tools(TOY, seed=3)).outcomes
    sampling = SamplingParams(temperature=0.7, max_new_tokens=4, stop_token_ids=(TOY.end,))
    requests = [Extension(PROMPT, (), sampling, DrawKey(3, PROMPT.id, sample)) for sample in range(20)]
    assert [o.path.token_ids for o in outcomes] == [drawn.token_ids for drawn in TOY.extend(requests)]


def test_samples_follow_the_policy():
    paths = [o.path for o in Temperature(max_new_tokens=4).search(tasks(3000), tools(TOY)).outcomes]
    states = TOY.states(4)
    law = TOY.target(states, 1.0)
    assert total_variation(law_of_draws(paths, states), law) < noise_floor(law, 3000)


def test_greedy_takes_the_likeliest_token_at_every_place():
    paths = {o.path.token_ids for o in Greedy(max_new_tokens=4).search(tasks(5), tools(TOY)).outcomes}
    tokens = ()
    while len(tokens) < 4 and TOY.end not in tokens:
        tokens += (int(TOY.probs(tokens).argmax()),)
    assert paths == {tokens}


def test_a_sample_costs_what_it_returns():
    result = Temperature(max_new_tokens=4).search(tasks(9), tools(TOY))
    assert all(o.effort.tokens_sampled == o.effort.tokens_returned == len(o.path.token_ids) for o in result.outcomes)
    assert result.in_flight == (9,)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_below_0_or_not_finite_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number, 0 or more"):
        Temperature(temperature=temperature)
