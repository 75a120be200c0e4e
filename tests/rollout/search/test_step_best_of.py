import pytest

from rollout.search.plain import Temperature
from rollout.search.step_best_of import AdaptiveBestOfN, PRMBestOfN
from rollout.search.stepwise import StepScores
from rollout.search.types import Tools

from .ladders import END, Ladder, Oracle, questions, share_right, tokens_sampled, tools

LADDER = Ladder()
FIXED = PRMBestOfN(num_candidates=16, max_new_tokens=10)
ADAPTIVE = AdaptiveBestOfN(num_candidates=16, max_new_tokens=10)
MIXED = questions([0.01, 0.1, 0.3, 0.02, 0.2, 0.05] * 20)


def search(method, tasks, scorer=None, ladder=LADDER):
    return method.search(tasks, tools(ladder, scorer or Oracle(ladder))).outcomes


def test_the_candidate_that_is_scored_highest_is_handed_back_and_of_equals_the_first():
    (outcome,) = search(FIXED, questions([0.5]))
    assert sorted(set(outcome.scores)) == [0.0, 1.0]
    assert outcome.path == outcome.candidates[outcome.scores.index(1.0)]
    assert LADDER.is_right(outcome.path.token_ids)


def test_all_candidates_of_all_tasks_are_drawn_together_and_read_together():
    ladder, tasks = Ladder(), questions([0.2, 0.4])
    oracle = Oracle(ladder)
    outcomes = search(FIXED, tasks, oracle, ladder)
    assert ladder.calls == [32]
    assert [len(readings) for readings in oracle.readings] == [32]
    assert all(reading.has_ended for reading in oracle.readings[0])
    assert [o.effort.tokens_sampled for o in outcomes] == [160, 160]
    assert [o.effort.tokens_scored for o in outcomes] == [16 * 11] * 2


def test_candidates_are_the_plain_samples_and_an_adaptive_search_draws_the_first_of_them():
    tasks = questions([0.1, 0.3])
    sampler = Tools(LADDER, (END,), 0)
    fixed, adaptive = search(FIXED, tasks), search(ADAPTIVE, tasks)
    for task, all_of_them, first in zip(tasks, fixed, adaptive, strict=True):
        again = [type(task)(task.prompt, sample) for sample in range(16)]
        plain = [o.path for o in Temperature(max_new_tokens=10).search(again, sampler).outcomes]
        assert list(all_of_them.candidates) == plain
        assert list(first.candidates) == plain[: len(first.candidates)]


def test_each_question_gets_as_many_as_its_lowest_quantile_asks_for():
    oracle = Oracle(LADDER, spread=3.0)
    tasks = questions([0.05, 0.3, 0.9])
    sizes = [len(outcome.candidates) for outcome in search(ADAPTIVE, tasks, oracle)]
    # .95^3 = .857, a third of its odds: p = .667, so 5; .7^3 = .343 -> .148, 29 and the cap is 16; .001 -> the cap.
    assert sizes == [5, 16, 16]
    assert [len(reading.token_ids) for reading in oracle.readings[0]] == [0, 0, 0]


def test_the_question_that_was_read_first_is_counted():
    (outcome,) = search(ADAPTIVE, questions([0.0]))
    assert (outcome.effort.tokens_sampled, outcome.effort.tokens_scored) == (10, 1 + 11)


def test_far_fewer_tokens_give_no_lower_accuracy():
    fixed, adaptive = search(FIXED, MIXED), search(ADAPTIVE, MIXED)
    assert tokens_sampled(adaptive) < 0.5 * tokens_sampled(fixed)
    assert share_right(LADDER, adaptive) >= share_right(LADDER, fixed)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_chance_that_is_wanted_is_realised_wherever_the_cap_leaves_room(confidence):
    method = AdaptiveBestOfN(num_candidates=64, max_new_tokens=10, confidence=confidence)
    outcomes = search(method, questions([0.1, 0.2, 0.3] * 400))
    assert max(len(outcome.candidates) for outcome in outcomes) < 64
    realised = sum(any(LADDER.is_right(path.token_ids) for path in o.candidates) for o in outcomes) / len(outcomes)
    assert realised >= confidence


@pytest.mark.parametrize("aggregation", ["last", "min", "product"])
def test_how_steps_are_aggregated_decides_between_candidates(aggregation):
    # One that falls and mends itself, and one that never shines.
    medians = {True: (0.1, 0.9), False: (0.5, 0.5)}

    class Made(Oracle):
        def _scores(self, reading):
            rows = medians[reading is self.readings[-1][0]]
            return StepScores((0, 3, 6), ((0.5,), *((value,) for value in rows)), 1)

    method = PRMBestOfN(num_candidates=2, max_new_tokens=10, aggregation=aggregation)
    (outcome,) = search(method, questions([0.5]), Made(LADDER, levels=(0.5,)))
    assert outcome.path == outcome.candidates[{"last": 0, "min": 1, "product": 1}[aggregation]]


class Short(Oracle):
    def score(self, readings):
        return super().score(readings)[1:]


class NotANumber(Oracle):
    def _scores(self, reading):
        return StepScores((0,), ((float("nan"),),), 1)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [(Short(LADDER), "gave 15 scores for 16 solutions"), (NotANumber(LADDER), "a chance that is not a number")],
)
def test_a_scorer_that_does_not_score_each_is_an_error(scorer, message):
    with pytest.raises(ValueError, match=message):
        search(FIXED, questions([0.5]), scorer)


def test_without_a_step_scorer_there_is_an_error():
    with pytest.raises(ValueError, match="process reward model and none was given; set prm"):
        FIXED.search(questions([0.5]), Tools(LADDER, (END,), 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregation": "mean"}, "aggregation must be one of last, min, product"),
        ({"confidence": 1.0}, "confidence must be above 0 and below 1"),
        ({"num_candidates": 0}, "num_candidates must be a whole number, at least 1"),
        ({"temperature": -1.0}, "temperature must be a finite number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveBestOfN(**settings)
