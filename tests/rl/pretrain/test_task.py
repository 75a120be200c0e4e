"""The task of pre-training as a source of questions for `zerokl train`."""

import pytest

from reward.mod_chain import split_of
from reward.reasoning_gym import reasoning_gym_score
from rl.data.gym import GymSource
from rl.errors import UserError

PARAMS = {"max_operands": 4, "modulus": 7, "split": "held_out"}


def test_questions_that_pre_training_has_not_seen_can_be_asked_for() -> None:
    source = GymSource("mod_chain", PARAMS, "data", "0")
    held_out = source.held_out(8)
    train = [source.train(held_out.keys).at(position)[1] for position in range(8)]
    texts = [question.text for question in (*held_out.questions, *train)]
    assert {split_of(text.partition(" ")[0]) for text in texts} == {"held_out"}
    assert not {question.text for question in train} & {question.text for question in held_out.questions}


def test_their_answers_are_graded() -> None:
    (question,) = GymSource("mod_chain", PARAMS, "data", "0").held_out(1).questions
    columns = {name: [value] * 2 for name, value in question.columns.items()}
    right = question.columns["answer"]
    assert reasoning_gym_score([question.text] * 2, [right, f"{right}1"], **columns) == [1.0, 0.0]


def test_a_parameter_that_it_does_not_have_is_refused_with_the_nearest_match() -> None:
    with pytest.raises(UserError, match="did you mean 'modulus'"):
        GymSource("mod_chain", {"modulo": 7}, "data", "0")
    with pytest.raises(UserError, match="modulus must be at least 2, got 1"):
        GymSource("mod_chain", {"modulus": 1}, "data", "0")
