import dataclasses
import re

import pytest

from rl.algorithms import ALGORITHMS, make_algorithm
from rl.algorithms.dapo import DAPO
from rl.algorithms.grpo import GRPO


def test_an_algorithm_is_made_by_name_with_the_parameters_given():
    assert make_algorithm("grpo", {}) == GRPO()
    assert make_algorithm("dapo", {"clip_high": 0.3}) == DAPO(clip_high=0.3)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("gropo", {}, "algorithm.name 'gropo' is not an algorithm; did you mean grpo?"),
        ("xyz", {}, "algorithm.name 'xyz' is not an algorithm; there are grpo, dr_grpo, bnpo, dapo, gspo, cispo, rloo"),
        ("grpo", {"clips": 1}, "algorithm.params.clips is not a parameter of grpo; did you mean clip?"),
        ("grpo", {"zz": 1}, "algorithm.params.zz is not a parameter of grpo; there are kl_coef, kl_estimator"),
        ("gspo", {"clip": 1}, "algorithm.params.clip is not a parameter of gspo; did you mean clip_low?"),
        ("reinforce_pp", {"unlikeliness": 0.25}, "algorithm.params.unlikeliness is not a parameter of reinforce_pp"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_match(name, params, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_algorithm(name, params)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("grpo", {"clip": 0}, "algorithm.params.clip must be a number above 0 and at most 1, got 0"),
        ("grpo", {"clip": 1.5}, "algorithm.params.clip must be a number above 0 and at most 1, got 1.5"),
        ("grpo", {"clip": "high"}, "algorithm.params.clip must be a number above 0 and at most 1, got 'high'"),
        ("grpo", {"clip": True}, "algorithm.params.clip must be a number above 0 and at most 1, got True"),
        ("grpo", {"clip": None}, "algorithm.params.clip must be a number above 0 and at most 1, got None"),
        ("grpo", {"std_eps": -1e-9}, "algorithm.params.std_eps must be a number at least 0, got -1e-09"),
        ("grpo", {"std_eps": float("nan")}, "algorithm.params.std_eps must be a number at least 0, got nan"),
        ("rloo", {"kl_coef": float("inf")}, "algorithm.params.kl_coef must be a number at least 0, got inf"),
        ("rloo", {"kl_estimator": "k4"}, "algorithm.params.kl_estimator must be k1 or k2 or k3, got 'k4'"),
        ("gspo", {"unlikeliness": 1.01}, "algorithm.params.unlikeliness must be a number at least 0 and at most 1"),
        ("dapo", {"overlong_share": 2}, "algorithm.params.overlong_share must be a number at least 0 and at most 1"),
        ("dapo", {"dynamic_sampling": 1}, "algorithm.params.dynamic_sampling must be true or false, got 1"),
        ("cispo", {"max_ratio": 0.2}, "algorithm.params.max_ratio must be a number at least 1, got 0.2"),
        ("reinforce_pp", {"group_baseline": "yes"}, "algorithm.params.group_baseline must be true or false, got 'yes'"),
    ],
)
def test_values_out_of_range_are_refused_with_the_rule(name, params, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_algorithm(name, params)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_whole_numbers_are_numbers_and_bounds_belong_to_the_range(name):
    made = make_algorithm(name, {"kl_coef": 1})
    assert made.kl_coef == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.kl_coef = 2
    assert make_algorithm("grpo", {"clip": 1, "std_eps": 0, "unlikeliness": 1}).clip == 1
