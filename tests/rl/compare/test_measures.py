import dataclasses
import math

import pytest

from rl.compare.measures import Arm, ArmFigures, default_ks
from rl.evaluation.passk import wilson_interval
from rl.sample.folder import Candidate, QuestionSamples

from .arms import candidate, question, samples

BASE = Arm("base", "temperature", is_trained=False, training_tokens=0)


def figures(*questions: QuestionSamples, ks: tuple[int, ...] = ()) -> ArmFigures:
    return ArmFigures(BASE, samples(questions), ks)


def test_each_independent_sample_is_an_answer_and_costs_its_share() -> None:
    found = figures(question(0, [True, False, False, False], 40), question(1, [True] * 4, 24))
    assert found.correct == (0.25, 1.0)
    assert found.accuracy.value == 0.625
    assert {k: estimate.value for k, estimate in found.pass_at_k.items()} == {1: 0.625, 2: 0.75, 4: 1.0}
    assert (found.sampled_tokens, found.tokens_per_answer, found.tokens_to_answer_all) == (64, 8.0, 16.0)


def test_an_answer_costs_its_tokens_times_what_a_token_of_the_model_takes() -> None:
    asked = samples([question(0, [True, False], 40), question(1, [True, True], 24)])
    assert ArmFigures(BASE, dataclasses.replace(asked, flops_per_token=1000), ()).flops_per_answer == 16_000
    assert ArmFigures(BASE, asked, ()).flops_per_answer is None


def test_a_choice_among_candidates_is_one_answer_at_the_price_of_all() -> None:
    found = figures(question(0, [True, False, False, False], 40, [1]), question(1, [True] * 4, 24, [3]))
    assert found.correct == (0.0, 1.0)
    assert {k: estimate.value for k, estimate in found.pass_at_k.items()} == {1: 0.5}
    assert (found.accuracy.low, found.accuracy.high) == wilson_interval(0.5, 2)
    assert (found.num_answers, found.num_candidates, found.tokens_per_answer) == (1, 8, 32.0)


def test_questions_may_have_different_numbers_of_answers() -> None:
    found = figures(question(0, [True, False, False], 3), question(1, [True, False], 3))
    assert found.pass_at_k[2].value == pytest.approx((2 / 3 + 1.0) / 2)
    assert max(found.pass_at_k) == 2


def test_ks_that_were_asked_for_are_kept_to_what_the_answers_allow() -> None:
    found = figures(question(0, [True, False, False], 3), ks=(1, 3, 5))
    assert list(found.pass_at_k) == [1, 3]
    assert default_ks(8) == [1, 2, 4, 8] and default_ks(3) == [1, 2, 3]


def test_rates_count_candidates_and_distinct_answers_leave_out_what_cannot_be_read() -> None:
    unread = Candidate((5, 2), "well", None, False, True, None)
    first = QuestionSamples("a", (candidate(False, "7"), candidate(False, "8"), unread), (0,), 6, 10)
    second = QuestionSamples("b", (candidate(True, "7"), candidate(True, "7"), unread), (0,), 6, 20)
    found = figures(first, second)
    assert found.parse_rate == pytest.approx(4 / 6) and found.truncation_rate == pytest.approx(2 / 6)
    assert found.distinct_answers == 1.5
    assert found.scored_tokens == 30


def test_likelihoods_are_those_of_answers_and_unscored_ones_are_left_out() -> None:
    scored = (candidate(True, logprob=-1.5), candidate(True, logprob=-9.0))
    unscored = (Candidate((5, 2), "1", "1", True, False, None),)
    found = figures(QuestionSamples("a", scored, (0,), 4, 0), QuestionSamples("b", unscored, (0,), 2, 0))
    assert found.base_logprobs == (-1.5,)
    assert math.isclose(found.accuracy.value, 1.0)
