import pytest

from reward.functions import BUILT_IN, as_conversational, load_reward_function
from reward.math import math_accuracy
from reward.reasoning_gym import reasoning_gym_score


def test_short_names_are_the_built_in_functions():
    assert load_reward_function("reasoning_gym") is reasoning_gym_score
    assert load_reward_function("math_accuracy") is math_accuracy


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_short_name_loads(name):
    assert callable(load_reward_function(name))


@pytest.mark.parametrize("path", ["reward.math:math_accuracy", "reward.math.math_accuracy"])
def test_import_path_with_colon_or_dot_loads(path):
    assert load_reward_function(path) is math_accuracy


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("reasoning_gin", "did you mean 'reasoning_gym'"),
        ("reward.math:math_acuracy", "did you mean 'math_accuracy'"),
        ("no_such_package.rewards:score", "PYTHONPATH"),
        ("reward.functions:BUILT_IN", "must be callable, got dict"),
        ("", "built in are reasoning_gym"),
    ],
)
def test_unknown_name_says_what_to_write_instead(path, message):
    with pytest.raises(ValueError, match=message):
        load_reward_function(path)


def test_conversational_function_gets_messages():
    seen = {}

    def function(prompts, completions, **columns):
        seen.update(prompts=prompts, completions=completions, **columns)
        return [0.5]

    assert as_conversational(function)(["6 * 7?"], ["42"], answer=["42"]) == [0.5]
    assert seen == {
        "prompts": [[{"role": "user", "content": "6 * 7?"}]],
        "completions": [[{"role": "assistant", "content": "42"}]],
        "answer": ["42"],
    }


def test_trl_format_reward_works_when_conversational():
    function = as_conversational(load_reward_function("trl.rewards:think_format_reward"))
    assert function(["?", "?"], ["<think>\nhm\n</think>\n42", "42"]) == [1.0, 0.0]
