import threading

import math_verify.parser
import pytest
from math_verify.errors import TimeoutException

from reward.math import _TIME_LIMIT_S, math_accuracy
from reward.rubric import RewardConfig


def score(answer, *completions):
    return math_accuracy(["?"] * len(completions), completions, answer=[answer] * len(completions), task=["x"])


def test_equal_values_written_differently_score_one():
    assert score("1/2", r"\boxed{0.5}", r"so $\frac{2}{4}$", "The answer is 1/2.", r"\boxed{2}") == [1.0, 1.0, 1.0, 0.0]


def test_formulas_are_compared_as_formulas():
    assert score("x^2 + x", r"\boxed{x(x+1)}", r"\boxed{x^2}") == [1.0, 0.0]


@pytest.mark.parametrize("garbage", ["", "\x00\ud800", r"\boxed{" * 200, "$" * 301, r"\boxed{((((}", r"\frac{}{}"])
def test_malformed_output_is_zero(garbage):
    assert score("5", garbage) == [0.0]


@pytest.mark.parametrize("tower", [r"9^{9^{9^{9}}}", r"2^{9^{9^9}+1}", r"1000000000!", r"7^{100000000000}"])
def test_expression_that_would_take_hours_is_zero(tower, monkeypatch):
    monkeypatch.setattr("reward.math._time_limit_s", lambda: None)  # so that only looking at the expression can help
    assert score("5", rf"\boxed{{{tower}}}") == [0.0]


def test_roots_in_exponents_are_not_taken_for_towers():
    assert score(r"2^{\sqrt{2}}", r"\boxed{2^{\sqrt{2}}}") == [1.0]


@pytest.mark.parametrize("answer", ["1234", "$1234$", r"\boxed{1234}", r"\(1234\)", "1,234", "1234.0"])
def test_answer_may_be_marked_up_or_not(answer):
    assert score(answer, "It is 1234.", "It is 123.") == [1.0, 0.0]


def test_answer_that_cannot_be_read_does_not_apply():
    assert score("", "4") == [None]


@pytest.fixture
def endless(monkeypatch):
    """What stands for a text that math-verify reads until its time is up."""
    text, read = "x^2 + x", math_verify.parser.extract_target_from_pred

    def extract(pred, *args, **options):
        if text in pred:
            raise TimeoutException
        return read(pred, *args, **options)

    monkeypatch.setattr(math_verify.parser, "extract_target_from_pred", extract)
    return text


def test_an_answer_of_the_data_that_is_not_read_in_time_is_an_error(endless):
    with pytest.raises(ValueError, match=r"the known answer 'x\^2 \+ x' cannot be read within 10 s; write it"):
        score(endless, "4")


def test_a_completion_that_is_not_read_in_time_is_zero(endless):
    assert score("4", endless, "4") == [0.0, 1.0]


def test_an_endless_completion_leaves_its_group_time():
    assert RewardConfig().time_limit_s > 2 * _TIME_LIMIT_S, "it is read, and it is compared"


def test_scores_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.extend(score("4", "it is 4", "it is 5")))
    thread.start()
    thread.join()
    assert results == [1.0, 0.0]
