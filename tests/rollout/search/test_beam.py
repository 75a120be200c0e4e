import math

import pytest

from rollout.search.beam import DVTS, AdaptiveBeam, BeamSearch
from rollout.search.beam_trees import Beam
from rollout.search.plain import Temperature
from rollout.search.types import Path

from .ladders import COMMA, END, RIGHT, STEP, WRONG, Ladder, Oracle, questions, share_right, tokens_sampled, tools

LADDER = Ladder()
FIXED = BeamSearch(num_candidates=8, num_beams=2, max_new_tokens=10)
ADAPTIVE = AdaptiveBeam(num_candidates=8, num_beams=2, max_new_tokens=10)
TREES = DVTS(num_candidates=8, num_beams=2, max_new_tokens=10)
MIXED = questions([0.01, 0.3, 0.6, 0.05, 0.2] * 80)


def search(method, tasks, ladder=LADDER, scorer=None, seed=0):
    return method.search(tasks, tools(ladder, scorer or Oracle(ladder), seed)).outcomes


def beam(bound, score=0.5, is_done=False, token=0):
    return Beam(Path((token,)), score, bound, is_done)


def test_a_round_is_one_step_and_what_was_drawn_twice_is_read_once():
    ladder = Ladder()
    oracle = Oracle(ladder)
    (outcome,) = search(FIXED, questions([0.5]), ladder, oracle)
    right, wrong = (RIGHT, COMMA, STEP), (WRONG, COMMA, STEP)
    texts = [[reading.token_ids for reading in readings] for readings in oracle.readings]
    assert [sorted(found) for found in texts[:3]] == [
        [right, wrong],
        [(*right, *right), (*right, *wrong)],  # several first steps were right, and two of them were kept
        [(*right, *right, *right), (*right, *right, *wrong)],
    ]
    assert texts[3] == [(*right * 3, END)]
    assert outcome.path.token_ids == (*right * 3, END) and outcome.path.has_ended


def test_drawing_goes_on_behind_a_token_that_only_looks_like_the_end_of_a_step():
    ladder = Ladder(num_steps=2)
    search(BeamSearch(num_candidates=4, num_beams=1, max_new_tokens=10), questions([0.0]), ladder)
    # Step 1: to the comma, to its end, 4 copies. Step 2: the same. Then the end token.
    assert ladder.calls == [4, 4, 4, 4, 4]


def test_every_token_of_every_beam_is_counted():
    (outcome,) = search(FIXED, questions([0.0]))
    assert outcome.effort.tokens_sampled == 8 * 10  # three steps of three tokens, and the end token
    assert outcome.effort.tokens_scored == 4 + 7 + 10 + 11  # the question is one token; each reading is of it all
    assert outcome.effort.tokens_returned == 10


def test_a_search_beats_plain_samples_where_steps_often_fail():
    tasks = questions([0.6] * 50)
    plain = Temperature(max_new_tokens=10).search(tasks, tools(LADDER, None)).outcomes
    assert share_right(LADDER, plain) < 0.2
    for method in (FIXED, TREES):
        assert share_right(LADDER, search(method, tasks)) > 0.8


@pytest.fixture(scope="module")
def fixed():
    return search(FIXED, MIXED)


@pytest.mark.parametrize("adapts", ["both", "beams", "expansions"])
def test_adaptive_beams_draw_fewer_tokens_and_lose_no_more_than_each_round_leaves_open(adapts, fixed):
    method = AdaptiveBeam(num_candidates=8, num_beams=2, max_new_tokens=10, adapts=adapts)
    adaptive = search(method, MIXED)
    assert tokens_sampled(adaptive) < {"both": 0.6, "beams": 0.9, "expansions": 0.6}[adapts] * tokens_sampled(fixed)
    left_open = LADDER.num_steps * (1 - method.confidence)
    assert share_right(LADDER, adaptive) > share_right(LADDER, fixed) - left_open


def test_a_task_does_not_depend_on_the_others():
    for method in (FIXED, ADAPTIVE, TREES):
        together = search(method, MIXED[:6])
        assert together == tuple(search(method, [task])[0] for task in MIXED[:6])


def test_a_beam_that_is_truncated_is_a_solution_as_well():
    method = BeamSearch(num_candidates=4, num_beams=2, max_new_tokens=7)
    (outcome,) = search(method, questions([0.3]))
    assert len(outcome.path.token_ids) == 7 and not outcome.path.has_ended


def test_what_was_finished_on_the_way_is_chosen_from_in_the_end():
    (outcome,) = search(FIXED, questions([0.5]), Ladder(mend=0.4))
    assert len(outcome.candidates) > 1
    assert outcome.path == outcome.candidates[outcome.scores.index(max(outcome.scores))]


def test_trees_do_not_see_each_other():
    # The first is lost from the start where every first step of it is wrong; the other goes on.
    ladder = Ladder(num_steps=1)
    outcomes = search(DVTS(num_candidates=2, num_beams=2, max_new_tokens=10), questions([0.5] * 200), ladder)
    endings = {tuple(path.token_ids[0] for path in outcome.candidates) for outcome in outcomes}
    assert endings == {(RIGHT, RIGHT), (RIGHT, WRONG), (WRONG, RIGHT), (WRONG, WRONG)}
    assert share_right(ladder, outcomes) == pytest.approx(0.75, abs=0.1)


KEEPS = AdaptiveBeam(num_candidates=12, num_beams=3, max_new_tokens=10, confidence=0.99)


@pytest.mark.parametrize(
    ("bounds", "num_beams", "num_expansions"),
    [
        ((0.9, 0.9, 0.9), 1, 2),  # .1^4 < .01 with one; .1^2 = .01 with two steps
        ((0.7, 0.9, 0.9), 1, 4),  # .3^4 = .0081
        ((0.5, 0.5, 0.5), 2, 4),  # .5^4 is not enough; (.5 · .5)^4 = .0039, (.5 · .5)^3 = .0156
        ((0.3, 0.6, 0.9), 2, 4),  # .7^4 = .24; (.7 · .4)^4 = .0061, ^3 = .022
        ((0.1, 0.1, 0.1), 3, 4),  # never enough
        ((0.0, 0.0, 0.0), 3, 4),
        ((1.0, 0.0, 0.0), 1, 1),
        ((0.0, 0.99, 0.0), 2, 1),
    ],
)
def test_the_fewest_beams_are_kept_and_the_fewest_steps_drawn_that_suffice(bounds, num_beams, num_expansions):
    kept = KEEPS.keep([beam(bound, 1 - i / 10, token=i) for i, bound in enumerate(bounds)])
    assert (len(kept.beams), kept.num_expansions) == (num_beams, num_expansions)
    failure = math.prod((1 - b.bound) ** kept.num_expansions for b in kept.beams)
    assert failure <= 0.01 + 1e-12 or (num_beams, num_expansions) == (3, 4)


def test_a_solution_that_is_done_counts_once():
    done, going = beam(0.9, is_done=True), beam(0.9, token=1)
    assert len(KEEPS.keep([done, going]).beams) == 2  # .1 alone
    assert KEEPS.keep([done, going]).num_expansions == 1  # .1 · .1
    assert KEEPS.keep([beam(0.995, is_done=True), going]).beams == (beam(0.995, is_done=True),)


def test_what_does_not_adapt_stays_as_it_is():
    beams = [beam(0.9, token=i) for i in range(5)]
    only_k = AdaptiveBeam(num_candidates=12, num_beams=3, adapts="beams").keep(beams)
    only_m = AdaptiveBeam(num_candidates=12, num_beams=3, adapts="expansions").keep(beams)
    assert (len(only_k.beams), only_k.num_expansions) == (1, 4)
    assert (len(only_m.beams), only_m.num_expansions) == (3, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 3}, "num_beams must be a divisor of num_candidates=8, the steps of a round, got 3"),
        ({"num_beams": 0}, "num_beams must be a whole number, at least 1"),
        ({"adapts": "all"}, "adapts must be one of both, beams, expansions"),
        ({"confidence": 0.0}, "confidence must be above 0"),
        ({"aggregation": "sum"}, "aggregation must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveBeam(**settings)
