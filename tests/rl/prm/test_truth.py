"""The truth, against trees that were added up by hand."""

import math

import numpy as np
import pytest

from rl.prm.known.places import known_tree
from rl.prm.known.task import NUM_STEPS, Vocabulary, answered_right, known_prompts, known_tokenizer
from rl.prm.known.truth import Tree, exact_truth, load_truth, save_truth, weighted_quantiles

from .drawn import prompt

TREE = Tree(((1, 3), (1, 4), (2, 3), (2, 4)), (True, False, True, False))
"""First token 1 or 2, then 3, which is right, or 4."""
FIRST = {0: 0.5, 1: 0.25}
"""The probability of token 1, by question."""
RIGHT = {(0, 1): 0.9, (0, 2): 0.3, (1, 1): 0.5, (1, 2): 0.1}
"""That of token 3, by question and first token."""


def likelihoods(groups):
    found = []
    for index, group in enumerate(groups):
        rows = []
        for first, second in (rollout.token_ids for rollout in group.rollouts):
            right = RIGHT[index, first]
            begun = FIRST[index] if first == 1 else 1 - FIRST[index]
            rows.append((math.log(begun), math.log(right if second == 3 else 1 - right)))
        found.append(rows)
    return found


@pytest.fixture
def truth():
    return exact_truth([prompt(0), prompt(1)], TREE, likelihoods)


def test_the_chance_is_the_share_of_right_completions_behind_a_prefix(truth):
    assert truth.at(0, ()) == pytest.approx(0.5 * 0.9 + 0.5 * 0.3)
    assert truth.at(1, ()) == pytest.approx(0.25 * 0.5 + 0.75 * 0.1)
    assert truth.at(0, (2,)) == pytest.approx(0.3)
    assert truth.at(1, (1, 3)) == 1.0
    assert truth.at(1, (1, 4)) == 0.0


def test_what_the_completions_leave_out_is_told(truth):
    assert truth.missing < 1e-15
    halved = exact_truth([prompt(0)], Tree(TREE.completions[:2], TREE.succeeds[:2]), likelihoods)
    assert halved.missing == pytest.approx(0.5)


def test_the_oracle_weighs_questions_by_how_likely_they_say_the_prefix(truth):
    """Behind token 1 stand question 0 with 0.9 and weight 2/3, and question 1 with 0.5 and weight 1/3."""
    assert truth.oracle((1,), (0.3, 0.34, 0.9)) == pytest.approx((0.5, 0.9, 0.9))


def test_it_is_read_back_to_the_bit(truth, tmp_path):
    save_truth(truth, tmp_path / "truth.jsonl")
    read = load_truth(TREE, tmp_path / "truth.jsonl")
    assert np.array_equal(read.reach, truth.reach) and np.array_equal(read.success, truth.success)


def test_a_weighted_quantile_is_the_least_value_that_reaches_the_level():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    assert weighted_quantiles(values, weights, (0.1, 0.5, 0.51, 0.75, 0.9)) == (1.0, 1.0, 2.0, 2.0, 3.0)


def test_the_task_can_say_all_careful_and_careless_steps_and_two_answers():
    tree = known_tree()
    assert len(set(tree.completions)) == 2 ** (NUM_STEPS + 1)
    assert sum(tree.succeeds) == 2**NUM_STEPS


def test_the_scorer_agrees_with_the_tree():
    tokenizer, tree = known_tokenizer(), known_tree()
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in tree.completions]
    assert answered_right([], texts) == [float(succeeds) for succeeds in tree.succeeds]


def test_every_question_has_a_name_of_its_own():
    prompts = known_prompts(known_tokenizer(), 50)
    assert len({asked.token_ids for asked in prompts}) == 50
    assert all(asked.token_ids[1] in Vocabulary().names for asked in prompts)
