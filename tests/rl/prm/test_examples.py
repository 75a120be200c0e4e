"""From draws to counts at places."""

import numpy as np
import pytest

from reward.prm.steps import StepCutter, StepRule
from rl.errors import UserError
from rl.prm.examples import Counting, by_question, outcomes_of, places_of, read_solutions
from rl.prm.folder import Prefix, QuestionData, Trajectory
from rl.tiny_model import tiny_tokenizer

from .drawn import rewards


@pytest.fixture(scope="module")
def drawn(cutter):
    """`1\\n2<eos>`, right, and `1\\n3`, cut off; 1 of 4 rollouts from the question, 2 of 4 from behind `1\\n`."""
    encode = cutter._tokenizer.encode
    first, second, end = encode("1\n2"), encode("1\n3"), cutter._tokenizer.eos_token_id
    return QuestionData(
        "q",
        tuple(encode("1+1")),
        (
            Trajectory((*first, end), True, 1.0, (0, 2, 4)),
            Trajectory(tuple(second), False, None, (0, 2)),
        ),
        (Prefix(0, 0, rewards(1), (4,) * 4, ""), Prefix(0, 2, rewards(2), (4,) * 4, "")),
    )


def test_every_solution_is_read_at_all_its_places(drawn, cutter):
    first, second = read_solutions([drawn], cutter, Counting(1.0, 4))
    assert (first.successes, first.trials, first.is_final) == ((1, 2, 4), (4, 4, 4), (False, False, True))
    assert (second.successes, second.trials, second.is_final) == ((1, 2), (4, 4), (False, False))
    assert first.token_ids == drawn.prompt_token_ids + drawn.trajectories[0].token_ids
    assert first.positions == (2, 4, 6)


def test_what_stands_behind_the_last_place_is_not_read(drawn, cutter):
    second = read_solutions([drawn], cutter, Counting(1.0, 4))[1]
    assert second.token_ids == drawn.prompt_token_ids + drawn.trajectories[1].token_ids[:2]


def test_fewer_rollouts_are_the_first_of_them(drawn, cutter):
    first, _ = read_solutions([drawn], cutter, Counting(1.0, 2))
    assert (first.successes, first.trials) == ((1, 2, 2), (2, 2, 2))


def test_a_finished_solution_that_is_wrong_has_no_success(drawn, cutter):
    first, _ = read_solutions([drawn], cutter, Counting(2.0, 4))
    assert first.successes == (0, 0, 0)


def test_the_places_of_a_question_weigh_one_together(drawn, cutter):
    solutions = read_solutions([drawn], cutter, Counting(1.0, 4))
    assert sum(s.weight * len(s.ends) for s in solutions) == pytest.approx(1)


def test_a_question_is_read_once_for_all_its_solutions(drawn, cutter):
    first, second = read_solutions([drawn], cutter, Counting(1.0, 4))
    (question,) = by_question([first, second])
    asked = drawn.prompt_token_ids
    assert question.token_ids == asked + first.token_ids[len(asked) :] + second.token_ids[len(asked) :]
    assert question.num_places == 5


def test_outcomes_and_places_stand_in_the_same_order(drawn, cutter):
    solutions = read_solutions([drawn], cutter, Counting(1.0, 4))
    outcomes, (ends, is_final) = outcomes_of(solutions), places_of(solutions)
    assert outcomes.successes.tolist() == [1, 2, 4, 1, 2]
    assert np.flatnonzero(is_final).tolist() == [2]
    assert ends.tolist() == [0, 2, 4, 0, 2]


def test_another_separator_than_when_it_was_drawn_is_refused(drawn):
    with pytest.raises(UserError, match="other steps"):
        read_solutions([drawn], StepCutter(tiny_tokenizer(), StepRule("+")), Counting(1.0, 4))
