import pytest

from rl.sample.folder import Candidate, QuestionSamples
from rl.sample.realised import realised_success, render_realised
from rollout.search.step_best_of import AdaptiveBestOfN, PRMBestOfN

METHOD = AdaptiveBestOfN(num_candidates=4, confidence=0.9)


def question(*correct):
    candidates = tuple(Candidate((1,), "", None, right, False, None) for right in correct)
    return QuestionSamples("p", candidates, (0,), 9, 9)


def test_a_question_below_the_cap_succeeds_with_one_right_candidate_whichever_is_returned():
    questions = [question(False, True), question(True), question(False, False, False), question(*[False] * 4)]
    found = realised_success(METHOD, questions)
    assert found["value"] == pytest.approx(2 / 3) and found["low"] < 2 / 3 < found["high"]
    assert found["value_of_all"] == 0.5
    assert (found["num_below_cap"], found["num_at_cap"], found["cap"]) == (3, 1, 4)
    assert (found["confidence"], found["mean_candidates"]) == (0.9, 2.5)
    text = render_realised(found)
    assert text.startswith("66.7 %")
    assert "90 % wanted, over the 3 questions below the cap of 4 candidates; 1 at it" in text


def test_at_the_cap_nothing_was_promised():
    found = realised_success(METHOD, [question(*[True] * 4)])
    assert found["value"] is found["low"] is found["high"] is None and found["value_of_all"] == 1.0
    assert render_realised(found) == "90 % wanted; all 1 questions were at the cap of 4 candidates"


def test_a_method_that_draws_a_fixed_number_promises_nothing():
    assert realised_success(PRMBestOfN(num_candidates=4), [question(True)]) is None
