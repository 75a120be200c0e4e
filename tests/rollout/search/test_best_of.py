import pytest

from rollout.search.best_of import BestOfN
from rollout.search.plain import Temperature
from rollout.search.types import Scorer

from .toys import TOYS, tasks, tools

TOY = TOYS["never_ends"]
METHOD = BestOfN(num_candidates=3, max_new_tokens=3)


def search(scorer, count=2):
    return METHOD.search(tasks(count), tools(TOY, scorer=scorer)).outcomes


def test_the_candidate_with_the_highest_score_is_handed_back():
    scorer = Scorer(lambda candidates: [0.1, 0.9, 0.5, 0.7, -1.0, 0.2])
    first, second = search(scorer)
    assert (first.path, second.path) == (first.candidates[1], second.candidates[0])
    assert (first.scores, second.scores) == ((0.1, 0.9, 0.5), (0.7, -1.0, 0.2))


def test_of_equal_scores_the_first_wins():
    (outcome,) = search(Scorer(lambda candidates: [0.0, 1.0, 1.0]), 1)
    assert outcome.path is outcome.candidates[1]


def test_candidates_are_the_plain_samples_of_the_prompt():
    outcomes = search(Scorer(lambda candidates: [0.0] * len(candidates)))
    plain = Temperature(max_new_tokens=3).search(tasks(6), tools(TOY)).outcomes
    assert [path for o in outcomes for path in o.candidates] == [o.path for o in plain]


def test_all_candidates_are_counted_and_read_only_by_a_model():
    for is_model, scored in ((False, 0), (True, 9)):
        (outcome,) = search(Scorer(lambda candidates: [0.0] * 3, is_model), 1)
        effort = outcome.effort
        assert (effort.tokens_sampled, effort.tokens_returned, effort.tokens_scored) == (9, 3, scored)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (None, "best of n chooses by a score and none was given"),
        (Scorer(lambda candidates: [0.0]), "gave 1 scores for 3 completions"),
        (Scorer(lambda candidates: [0.0, float("nan"), 0.0]), "a score that is not a number"),
    ],
)
def test_without_a_score_for_each_there_is_an_error(scorer, message):
    with pytest.raises(ValueError, match=message):
        search(scorer, 1)


def test_fewer_than_one_candidate_is_refused():
    with pytest.raises(ValueError, match="num_candidates must be a whole number, at least 1, got 0"):
        BestOfN(num_candidates=0)
