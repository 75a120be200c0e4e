import pytest

from rollout.search.stepwise import StepScores, aggregated, lower_bound, medians, quantile

LEVELS = (0.1, 0.5, 0.9)
SCORES = StepScores((0, 3, 6), ((0.1, 0.2, 0.3), (0.2, 0.5, 0.8), (0.1, 0.25, 0.9)), 9)
QUESTION = StepScores((0,), ((0.1, 0.2, 0.3),), 4)


@pytest.mark.parametrize(("aggregation", "score"), [("last", 0.25), ("min", 0.25), ("product", 0.125)])
def test_a_solution_has_the_medians_of_its_steps_aggregated_without_that_of_the_question(aggregation, score):
    assert aggregated(SCORES, LEVELS, aggregation) == score
    assert aggregated(QUESTION, LEVELS, aggregation) == 0.2


def test_the_least_step_is_not_always_the_last():
    falls = StepScores((0, 3, 6), ((0.9,), (0.1,), (0.6,)), 9)
    assert [aggregated(falls, (0.5,), how) for how in ("last", "min")] == [0.6, 0.1]


def test_the_lower_bound_is_the_lowest_quantile_at_the_last_place():
    assert lower_bound(SCORES) == 0.1 and lower_bound(QUESTION) == 0.1
    assert medians(SCORES, LEVELS) == (0.2, 0.5, 0.25)


def test_a_level_between_two_is_interpolated_and_one_outside_is_the_nearest():
    row = (0.2, 0.5, 0.8)
    assert [quantile(row, LEVELS, level) for level in LEVELS] == list(row)
    assert quantile(row, LEVELS, 0.3) == pytest.approx(0.35)
    assert quantile(row, LEVELS, 0.05) == 0.2 and quantile((0.7,), (0.5,), 0.1) == 0.7
