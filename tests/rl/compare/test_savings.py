import json

import pytest

from rl.compare.comparison import Comparison
from rl.compare.page import render_page
from rl.compare.report import summary_json
from rl.compare.savings import savings

from .arms import arm, task

RIGHT = [True] * 30 + [False] * 20
BASE = arm("base", [False] * 50)
FIXED = arm("best of 16", RIGHT, tokens=160, method="prm_best_of_n")
ADAPTIVE = arm("as needed", [*RIGHT[1:], False], tokens=40, method="adaptive_best_of_n")
BEAM = arm("beam", RIGHT, tokens=80, method="prm_beam")
TASK = task(BASE, FIXED, ADAPTIVE, BEAM)


def test_an_adaptive_arm_is_held_against_the_fixed_one_of_its_kind():
    (saving,) = savings(TASK)
    assert (saving.contrast.first, saving.contrast.second) == (ADAPTIVE, FIXED)
    assert saving.token_share == 0.25 and saving.contrast.difference.value == pytest.approx(-0.02)
    assert saving.sentence.startswith(
        "as needed samples 25 % of the tokens of best of 16, at a difference in accuracy of -2.0 points (95 %"
    )
    assert saving.sentence.endswith("which cannot be told from nothing")


def test_arms_of_other_weights_are_not_held_against_each_other():
    trained = arm("rl", RIGHT, tokens=160, method="prm_best_of_n", trained=True)
    assert savings(task(BASE, ADAPTIVE, trained)) == []


def test_arms_that_ask_different_reward_models_are_not_held_against_each_other():
    assert (
        savings(task(BASE, FIXED, arm("as needed", RIGHT, tokens=40, method="adaptive_best_of_n", prm="other"))) == []
    )


def test_it_stands_in_the_summary_and_on_the_page():
    compared = Comparison("mine", "tiny:llama", (TASK,))
    (entry,) = json.loads(summary_json(compared))["savings"]
    assert (entry["arm"], entry["less"], entry["token_share"]) == ("as needed", "best of 16", 0.25)
    assert "as needed samples 25 %" in render_page(compared)
