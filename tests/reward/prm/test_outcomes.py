import numpy as np
import pytest

from reward.prm.outcomes import Outcomes, split_questions

QUESTIONS = [f"q{i}" for i in range(20)]


def test_every_question_weighs_the_same_and_within_it_every_place():
    outcomes = Outcomes.of([1, 2, 0, 4], [4, 4, 2, 4], ["a", "b", "a", "a"])
    assert outcomes.shares.tolist() == [0.25, 0.5, 0.0, 1.0]
    assert outcomes.weights.tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])
    assert outcomes.take(np.array([False, True, True, False])).questions.tolist() == ["b", "a"]


def test_shares_are_turned_back_into_counts():
    assert Outcomes.of_shares([0.0, 1 / 3, 1.0], [3, 3, 8], ["a", "a", "b"]).successes.tolist() == [0, 1, 8]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Outcomes.of([], [], []), "one at least"),
        (lambda: Outcomes.of([1], [1, 2], ["a"]), "got 1, 2 and 1"),
        (lambda: Outcomes.of([5], [4], ["a"]), "got 5 of 4 for prefix 0 of question a"),
        (lambda: Outcomes.of([0, 0], [4, 0], ["a", "b"]), "got 0 of 0 for prefix 1 of question b"),
        (lambda: Outcomes.of_shares([0.5, 1.5], [2, 2], ["a", "a"]), "from 0 to 1, got 1.5 for prefix 1"),
        (lambda: Outcomes.of_shares([float("nan")], [2], ["a"]), "from 0 to 1, got nan"),
        (lambda: Outcomes.of_shares([0.4], [2], ["a"]), "0.4 of prefix 0 is no share of 2 rollouts"),
        (lambda: split_questions(["a", "b", "a"], [0.5, 0.3, 0.2], 0), "2 questions cannot be split into 3 parts"),
        (lambda: split_questions(["a", "b"], [0.5, 0.6], 0), "add up to 1"),
        (lambda: split_questions(["a", "b"], [1.0, 0.0], 0), "must be positive"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_split_keeps_questions_whole_and_gives_every_set_its_share():
    parts = split_questions(QUESTIONS * 3, [0.5, 0.3, 0.2], seed=1)
    assert [len(part) for part in parts] == [10, 6, 4]
    assert sorted(question for part in parts for question in part) == sorted(QUESTIONS)
    assert parts == split_questions(QUESTIONS, [0.5, 0.3, 0.2], seed=1), "how often a question occurs decides nothing"
    assert parts != split_questions(QUESTIONS, [0.5, 0.3, 0.2], seed=2)


def test_the_smallest_set_has_a_question():
    assert [len(part) for part in split_questions(["a", "b", "c"], [0.98, 0.01, 0.01], seed=0)] == [1, 1, 1]
    assert [len(part) for part in split_questions(QUESTIONS, [0.01, 0.98, 0.01], seed=0)] == [1, 18, 1]
