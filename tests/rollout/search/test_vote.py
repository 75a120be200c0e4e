import pytest

from rollout.search.plain import Temperature
from rollout.search.vote import Ballot, MajorityVote, count_votes

from .toys import TOYS, tasks, tools

TOY = TOYS["never_ends"]


@pytest.mark.parametrize(
    ("answers", "weights", "ballot"),
    [
        (["a", "b", "b"], [1, 1, 1], Ballot("b", 2 / 3, 1)),
        (["b", "a", "a", "b"], [1, 1, 1, 1], Ballot("b", 0.5, 0)),
        (["a", "b", "b"], [5, 1, 1], Ballot("a", 5 / 7, 0)),
        ([None, "a", None], [9, 1, 9], Ballot("a", 1.0, 1)),
        ([None, None], [1, 1], Ballot(None, 0.0, 0)),
        (["a", "b"], [0, 0], Ballot("a", 0.0, 0)),
    ],
)
def test_the_answer_with_the_most_weight_wins_and_of_equals_the_first(answers, weights, ballot):
    assert count_votes(answers, weights) == ballot


def test_the_first_candidate_that_gives_the_winner_is_handed_back():
    method = MajorityVote(num_candidates=5, max_new_tokens=3)
    (outcome,) = method.search(tasks(1), tools(TOY, extract=lambda prompt, ids: str(ids[-1]))).outcomes
    plain = [o.path for o in Temperature(max_new_tokens=3).search(tasks(5), tools(TOY)).outcomes]
    answers = tuple(str(path.token_ids[-1]) for path in plain)
    winner = max(sorted(set(answers)), key=answers.count)
    assert outcome.candidates == tuple(plain) and outcome.answers == answers
    assert (outcome.ballot.winner, outcome.path) == (winner, plain[answers.index(winner)])
    assert outcome.ballot.share == answers.count(winner) / 5
    assert (outcome.effort.tokens_sampled, outcome.effort.tokens_returned) == (15, 3)


def test_without_an_extractor_there_is_an_error():
    with pytest.raises(ValueError, match="nothing extracts"):
        MajorityVote().search(tasks(1), tools(TOY))
