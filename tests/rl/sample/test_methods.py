"""Methods by name."""

import pytest

from rl.sample.methods import METHODS, STEPWISE, completions_of, make_method, require_prm
from rollout.search.best_of import BestOfOutcome
from rollout.search.types import Effort, Outcome, Path, Task
from rollout.search.vote import Ballot, VoteOutcome
from rollout.types import Prompt

TASK, EFFORT = Task(Prompt("p", "p", (1,), {})), Effort(3, 1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_had_with_its_defaults(name):
    params = {"block_tokens": 8} if name.startswith("power") or name == "deepconf_online" else {}
    num_samples = {"greedy": 1, "deepconf_offline": 32, "deepconf_online": 32}.get(name, 4)
    method = make_method(name, params, num_samples, temperature=1.0, max_new_tokens=16)
    assert method.search.max_new_tokens == 16
    chooses = name in ("best_of_n", "vote", "deepconf_offline", "deepconf_online", *STEPWISE)
    assert method.num_tasks == (1 if chooses else num_samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("powr", {}, 1, 1.0), "'powr' is not a way to sample; did you mean power"),
        (("power", {"alfa": 4}, 1, 1.0), "params.alfa is not a parameter of power; did you mean alpha"),
        (("power", {"alpha": 0}, 1, 1.0), "alpha"),
        (("power", {"alpha": "four"}, 1, 1.0), "alpha|wrong type"),
        (("power", {"block_tokens": 32}, 1, 1.0), "block_tokens"),
        (("power", {}, 1, 0.7), "draws at no temperature of its own"),
        (("temperature", {"max_new_tokens": 3}, 1, 1.0), "params.max_new_tokens is said by max_new_tokens"),
        (("vote", {"num_candidates": 3}, 1, 1.0), "said by num_samples"),
        (("greedy", {}, 4, 1.0), "all the same"),
        (("temperature", {}, 4, -1.0), "temperature"),
        (("deepconf_offline", {}, 16, 1.0), "params.keep_percent=10 leaves a vote to one trace alone"),
        (("deepconf_online", {"num_warmup": 2, "keep_percent": 50, "block_tokens": 8}, 4, 1.0), "to one trace alone"),
        (("power", {"block_tokens": 8.5}, 1, 1.0), "block_tokens must be a whole number, at least 1, got 8.5"),
        (("adaptive_best_of_n", {"confidense": 0.9}, 4, 1.0), "confidense is not a .* did you mean confidence"),
        (("prm_beam", {"num_beams": 3}, 8, 1.0), "num_beams must be a divisor of num_candidates=8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_method(*arguments, max_new_tokens=16)


def test_a_method_that_chooses_shows_what_it_chose_from():
    one, other = Path((1,)), Path((2,))
    vote = VoteOutcome(TASK, other, EFFORT, (one, other), ("1", "2"), Ballot("2", 1.0, 1))
    assert completions_of(vote) == ((one, other), 1)
    assert completions_of(BestOfOutcome(TASK, one, EFFORT, (one, other), (1.0, 0.0))) == ((one, other), 0)
    assert completions_of(Outcome(TASK, one, EFFORT)) == ((one,), 0)


@pytest.mark.parametrize("method", STEPWISE)
def test_a_method_that_looks_at_steps_needs_a_process_reward_model(method):
    require_prm(method, "runs/prm")
    with pytest.raises(ValueError, match=f"prm must be the path of a process reward model for {method}, got an empty"):
        require_prm(method, "")


def test_a_process_reward_model_that_nothing_looks_at_is_refused():
    require_prm("vote", "")
    with pytest.raises(ValueError, match="method vote looks at no process reward model, got prm=runs/prm"):
        require_prm("vote", "runs/prm")
