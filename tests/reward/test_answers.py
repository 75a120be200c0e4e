"""Answers read out of completions."""

import pytest

from reward.answers import read_answer


@pytest.mark.parametrize(
    ("completion", "oracle", "answer"),
    [
        ("12 + 30 = 42.", "42", "42"),
        ("so it is 1,234.50", "7", "2469/2"),
        (r"3 and 4 make \boxed{7}", "9", "7"),
        ("I cannot say", "9", None),
        ("<answer> I cannot say </answer>", "9", None),
        ("<answer>a b\n c</answer>", "x y", "a b c"),
        ("  ", "x y", None),
    ],
)
def test_a_task_is_read_as_its_grader_reads_it(completion, oracle, answer):
    assert read_answer(completion, {"entry": {"answer": oracle}}) == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [(r"so \boxed{\frac{1}{2}}", "1/2"), ("it is 0.5", "1/2"), ("no idea", None), (r"\boxed{9^{9^{9^9}}}", None)],
)
def test_other_questions_are_read_by_math_verify(completion, answer):
    assert read_answer(completion, {"answer": "1/2"}) == answer
