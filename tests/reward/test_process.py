import pytest

from reward.log_odds import IDENTITY, LogOddsMap
from reward.process import ProcessConfig, min_form, over_tokens, progress, step_values, verifier_of, verifiers_of
from rollout.search.stepwise import StepScores

GROUP = [(0.5, 0.75, 0.25, 1.0), (0.5, 0.5), (0.5, 1.0, 1.0)]
"""v_0 … v_S of three rollouts."""


def test_in_min_form_a_step_earns_the_least_of_what_is_to_come_less_what_the_others_came_to():
    # min(v_1 …) of the rollouts: .25, .5, 1; of the others on average: .75, .625, .375
    assert min_form(GROUP) == [(-0.5, -0.5, 0.25), (-0.125,), (0.625, 0.625)]


def test_as_progress_a_step_earns_what_it_changed():
    assert progress(GROUP) == [(0.25, -0.5, 0.75), (0.0,), (0.5, 0.0)]


def test_progress_adds_up_to_where_a_rollout_came_from_where_it_began():
    for values, earned in zip(GROUP, progress(GROUP), strict=True):
        assert sum(earned) == values[-1] - values[0]


def test_more_steps_earn_no_more_in_min_form():
    short, long = min_form([(0.5, 0.75), (0.5, *(0.75,) * 9)])
    assert set(short) == set(long) == {0.0}


def test_alone_in_its_group_a_rollout_has_nothing_to_be_less():
    assert min_form([(0.5, 0.75, 0.25)]) == [(0.25, 0.25)]


def test_every_token_of_a_step_has_what_the_step_earned():
    assert over_tokens((0, 2, 3, 6), (0.5, -1.0, 2.0)) == (0.5, 0.5, -1.0, 2.0, 2.0, 2.0)


def test_values_are_the_quantile_that_is_asked_for_after_the_map():
    scores = StepScores((0, 2), ((0.1, 0.5, 0.9), (0.25, 0.5, 0.75)), 3)
    levels = (0.1, 0.5, 0.9)
    assert step_values(scores, levels, 0.1, IDENTITY) == (0.1, 0.25)
    assert step_values(scores, levels, 0.5, IDENTITY) == (0.5, 0.5)
    assert step_values(scores, levels, 0.9, LogOddsMap(-1.0 + 2.0, -1.0986122886681098)) == pytest.approx((0.75, 0.5))


@pytest.mark.parametrize(
    ("verifier", "weights", "found"),
    [
        ("", {"digit_share": 0.1, "reasoning_gym": 1.0}, "reasoning_gym"),
        ("", {"math_accuracy": 0.0, "reasoning_gym_partial": 1.0}, "reasoning_gym_partial"),
        ("mine:right", {"reasoning_gym": 1.0, "mine:right": 0.5}, "mine:right"),
    ],
)
def test_the_verifier_is_the_one_that_is_named_or_the_first_of_ours(verifier, weights, found):
    assert verifier_of(ProcessConfig(verifier=verifier), weights) == found


def test_what_says_whether_a_rollout_is_right_is_the_one_named_and_then_ours_that_count():
    weights = {
        "digit_share": 0.1,
        "math_accuracy": 0.0,
        "reasoning_gym_partial": 1.0,
        "reasoning_gym": 0.5,
        "mine:r": 0.0,
    }
    ours = ("reasoning_gym_partial", "reasoning_gym")
    assert verifiers_of(ProcessConfig(), weights) == ours
    assert verifiers_of(ProcessConfig(verifier="mine:r"), weights) == ("mine:r", *ours)
    assert verifiers_of(ProcessConfig(verifier="reasoning_gym"), weights) == ours[::-1]
    assert verifiers_of(ProcessConfig(verifier="other:r"), {"digit_share": 1.0}) == ()


@pytest.mark.parametrize(
    ("verifier", "weights", "message"),
    [
        ("", {"digit_share": 1.0}, "beside a verifiable reward with a weight above 0, and reward.functions has none"),
        ("", {"reasoning_gym": 0.0}, "and reward.functions has none"),
        ("mine:right", {"mine:right": -1.0}, "and reward.functions has none"),
        ("mine:right", {"reasoning_gym": 1.0}, "must be one of reward.functions, reasoning_gym, got 'mine:right'"),
    ],
)
def test_without_a_verifiable_reward_there_are_no_process_rewards(verifier, weights, message):
    with pytest.raises(ValueError, match=message):
        verifier_of(ProcessConfig(verifier=verifier), weights)
