import sys

import pytest

from reward.reasoning_gym import (
    _let_pycosat_be_missing,
    _Missing,
    extract_answer,
    load_reasoning_gym,
    reasoning_gym_partial_score,
    reasoning_gym_score,
)

SUM = {"question": "12 + 30 =", "answer": "42", "metadata": {}}


def score(*completions, entry=SUM, task="chain_sum", function=reasoning_gym_score, **columns):
    num = len(completions)
    return function(["?"] * num, list(completions), task=[task] * num, entry=[entry] * num, **columns)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("12 + 30 = 42.", "42"),
        ("The answer is -7", "-7"),
        ("The answer is \u22127", "-7"),
        ("1,234", "1234"),
        ("$1,234,567.5", "1234567.5"),
        ("one of 1,2,3", "3"),
        ("in 2024, about 12345", "12345"),
        ("12 - 30 = -18.50, I think", "-18.50"),
        ("4-1", "1"),
        ("x = .5", ".5"),
        ("$42$", "42"),
        ("no idea ", "no idea"),
        ("", ""),
        ("<answer>3</answer> or 4 <answer> 5 </answer> 6", "5"),
        (r"\boxed{\frac{1}{2}} and 9", r"\frac{1}{2}"),
        (r"<answer>1</answer> then \boxed{2}", "2"),
        (r"\boxed{2} then <answer>1</answer>", "1"),
        (r"<answer>\boxed{8}</answer>", "8"),
        (r"7 \boxed{never closed", "7"),
    ],
)
def test_answer_is_what_the_completion_commits_to(completion, answer):
    assert extract_answer(completion) == answer


def test_answer_of_a_task_in_words_is_the_whole_text():
    assert extract_answer(" 3 red balls ", numeric=False) == "3 red balls"


def test_only_full_marks_count_when_exact():
    assert score("It is 42.", "It is 142", "42.0", "forty-two", "") == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_partial_credit_is_the_tasks_own():
    # chain_sum gives the share of the answer's characters that are right: "42" within "<answer>142</answer>".
    assert score("142", "42", function=reasoning_gym_partial_score) == [2 / 3, 1.0]


def test_task_of_words_is_scored_on_the_whole_text():
    entry = {"question": "Reverse: ab cd", "answer": "dc ba", "metadata": {}}
    assert score("dc ba", "ab cd", entry=entry, task="leg_counting") == [1.0, 0.0]


def test_malformed_output_that_the_task_cannot_read_is_zero():
    gym = load_reasoning_gym()
    entry = gym.create_dataset("countdown", seed=1, size=1)[0]
    outputs = ["\x00", "((((", "<answer>import os</answer>", "<answer></answer>", "[[[]", "é" * 1000]
    assert score(*outputs, entry=entry, task="countdown") == [0.0] * 6


def test_arithmetic_that_would_take_hours_is_zero_at_once():
    entry = load_reasoning_gym().create_dataset("countdown", seed=1, size=1)[0]
    outputs = [
        "<answer>9**9**9**9</answer>",
        "<answer>2**(9*9**9)</answer>",
        "<answer>7**99999999999</answer>",
        "<answer>99999999!</answer>",
    ]
    assert score(*outputs, entry=entry, task="countdown") == [0.0] * 4


def test_right_answer_of_a_task_that_parses_expressions_scores_one():
    entry = load_reasoning_gym().create_dataset("countdown", seed=1, size=1)[0]
    expression = entry["metadata"]["expression"]
    assert score(f"<answer>{expression}</answer>", entry=entry, task="countdown") == [1.0]


def test_answer_that_the_task_chokes_on_is_zero_but_a_broken_entry_raises(monkeypatch):
    monkeypatch.setattr("reward.reasoning_gym._scorer", lambda task, params: lambda answer, entry: float(int(answer)))
    assert score("<answer>one</answer>", entry={"answer": "1"}) == [0.0]
    with pytest.raises(ValueError, match="'broken'"):
        score("<answer>one</answer>", entry={"answer": "broken"})


def test_parameters_of_the_task_reach_its_scoring():
    entry = {"question": "1 / 3 =", "answer": "0.333", "metadata": {}}
    strict, loose = ({"max_num_decimal_places": places, "min_num_decimal_places": 1} for places in (3, 2))
    assert score("0.337", entry=entry, task="decimal_arithmetic", params=[strict]) == [0.0]
    assert score("0.337", entry=entry, task="decimal_arithmetic", params=[loose]) == [1.0]


@pytest.mark.parametrize("function", [reasoning_gym_score, reasoning_gym_partial_score])
@pytest.mark.parametrize("columns", [{"answer": ["42"] * 2}, {"task": ["chain_sum"] * 2}, {"entry": [SUM] * 2}])
def test_question_of_another_kind_of_source_is_left_to_other_rewards(function, columns):
    assert function(["12 + 30 ="] * 2, ["42", "41"], **columns) == [None, None]


def test_missing_module_can_be_imported_but_not_used():
    module = _Missing("pycosat")
    assert not hasattr(module, "__path__")
    with pytest.raises(ImportError, match="pip install pycosat"):
        _ = module.itersolve


def test_placeholder_leaves_an_importable_pycosat_alone(monkeypatch):
    real = type(sys)("pycosat")
    monkeypatch.setitem(sys.modules, "pycosat", real)
    _let_pycosat_be_missing()
    assert sys.modules["pycosat"] is real
