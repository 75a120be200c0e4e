"""DeepConf, offline and online, on a sampler that plays traces written out by hand."""

from dataclasses import replace

import pytest

from rollout.extension import Continuation
from rollout.search.deepconf import DeepConf, most_confident
from rollout.search.deepconf_online import DeepConfOnline
from rollout.search.types import Task, Tools
from rollout.types import Prompt

END = 9
PROMPT = Prompt("played", "", (), {})


class Player:
    """Sample s of the prompt is `traces[s]`: pairs of a token and its confidence."""

    def __init__(self, *traces):
        self.traces, self.drawn = traces, []

    def extend(self, requests):
        return [self._extended(r) for r in requests]

    def _extended(self, request):
        start = len(request.prefix)
        piece = self.traces[request.key.sample][start : start + request.sampling.max_new_tokens]
        tokens = tuple(token for token, _ in piece)
        self.drawn.append((request.key.sample, start, len(piece)))
        assert request.scoring.num_top == 20
        return Continuation(tokens, (0.0,) * len(piece), (), tuple(c for _, c in piece), tokens[-1] == END)


def trace(answer, *confidences):
    """Ends with the token `answer` and the end token; as many tokens as confidences."""
    tokens = [0] * (len(confidences) - 2) + [answer, END]
    return list(zip(tokens, confidences, strict=True))


def answer(prompt, token_ids):
    return str(token_ids[-2]) if token_ids[-1] == END and token_ids[-2] else None


def search(method, player):
    result = method.search([Task(PROMPT)], Tools(player, (END,), 0, answer))
    return result.outcomes[0], result


def test_the_most_confident_are_kept_and_of_equals_the_first():
    assert most_confident([1.0, 3.0, 2.0, 3.0], 2) == (False, True, False, True)
    assert most_confident([1.0, 3.0, 3.0], 1) == (False, True, False)
    assert most_confident([1.0, 2.0], 2) == (True, True)


def test_how_many_have_a_vote():
    assert [DeepConf(num_candidates=n, keep_percent=p).num_voters for n, p in ((16, 10), (20, 10), (4, 50))] == [
        1,
        2,
        2,
    ]
    online = [DeepConfOnline(num_warmup=n, keep_percent=p).num_voters for n, p in ((16, 10), (4, 75), (2, 50))]
    assert online == [2, 3, 1]


def test_offline_the_top_traces_vote_with_their_confidence_as_weight():
    player = Player(trace(1, 2, 2), trace(1, 3, 3), trace(2, 8, 8), trace(3, 4, 4))
    keep = DeepConf(num_candidates=4, keep_percent=75, window_tokens=1, max_new_tokens=4)
    outcome, _ = search(keep, player)
    assert outcome.confidences == (2.0, 3.0, 8.0, 4.0)
    assert outcome.has_vote == (False, True, True, True)
    assert (outcome.ballot.winner, outcome.ballot.share) == ("2", 8 / 15)
    assert outcome.path.token_ids == (2, END)


def test_offline_the_measure_is_that_of_the_settings():
    player = Player(trace(1, 9, 1, 9, 9), trace(2, 6, 6, 6, 6))
    winners = {
        measure: search(
            DeepConf(num_candidates=2, keep_percent=50, measure=measure, window_tokens=2, max_new_tokens=4), player
        )[0].ballot.winner
        for measure in ("mean", "tail", "lowest_group", "bottom_groups")
    }
    assert winners == {"mean": "1", "tail": "1", "lowest_group": "2", "bottom_groups": "2"}


def test_where_no_kept_trace_gives_an_answer_the_most_confident_is_handed_back():
    player = Player(trace(0, 2, 2), trace(0, 5, 5), trace(1, 1, 1))
    outcome, _ = search(DeepConf(num_candidates=3, keep_percent=70, window_tokens=1, max_new_tokens=4), player)
    assert (outcome.ballot.winner, outcome.path.confidences) == (None, (5, 5))


ONLINE = DeepConfOnline(
    num_candidates=6, num_warmup=3, wave_traces=2, keep_percent=50, window_tokens=2, block_tokens=2, max_new_tokens=6
)
WARMUP = trace(1, 4, 4), trace(2, 6, 6), trace(1, 8, 8)
"""The threshold is their median, 6."""


def test_online_a_trace_is_stopped_once_a_full_window_is_below_the_threshold():
    player = Player(*WARMUP, trace(3, 9, 9, 1, 1, 9, 9), trace(3, 7, 7, 7, 7, 7, 7), trace(3, 9, 3, 9, 9, 9, 9))
    outcome, result = search(ONLINE, player)
    assert outcome.has_vote == (False, True, True, False, True, True)
    assert [len(path.token_ids) for path in outcome.candidates] == [2, 2, 2, 3, 6, 6]
    assert outcome.confidences == (4.0, 6.0, 8.0, 5.0, 7.0, 6.0)
    assert (outcome.ballot.winner, outcome.ballot.share) == ("3", 13 / 27)
    assert outcome.effort.tokens_sampled == 6 + 4 + 6 + 6
    assert result.in_flight == (3, 2, 2, 1, 1, 1, 1)


def test_online_a_window_can_lie_across_two_blocks():
    player = Player(*WARMUP, trace(3, 9, 4, 4, 9, 9, 9), trace(4, 9, 9), trace(4, 9, 9))
    outcome, _ = search(ONLINE, player)
    assert outcome.candidates[3].confidences == (9, 4, 4)
    assert outcome.effort.tokens_sampled == 6 + 4 + 2 + 2


def test_online_a_task_whose_answer_is_clear_draws_no_more():
    outcome, result = search(replace(ONLINE, keep_percent=1), Player(*WARMUP))
    assert outcome.has_vote == (False, False, True)
    assert (outcome.ballot.winner, outcome.ballot.share, result.in_flight) == ("1", 1.0, (3,))


def test_online_sampling_goes_on_until_the_share_is_reached():
    method = replace(ONLINE, num_candidates=9, num_warmup=2, wave_traces=1, keep_percent=100)
    weights = ((1, 5), (2, 5), (2, 50), (2, 39), (2, 6), (2, 9))
    outcome, _ = search(method, Player(*(trace(answer, weight, weight) for answer, weight in weights)))
    # 5 of 10, 55 of 60 and 94 of 99 are below 0.95; 100 of 105 is above.
    assert [len(outcome.candidates), outcome.ballot.share] == [5, 100 / 105]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_candidates": 2}, "num_warmup must be at most the number of samples, 2, which includes it, got 3"),
        ({"keep_percent": 0}, "keep_percent must be above 0 and at most 100, got 0"),
        ({"consensus": 1.5}, "consensus must be above 0 and at most 1, got 1.5"),
        ({"block_tokens": 7}, "block_tokens must be at most max_new_tokens=6"),
        ({"wave_traces": 2.5}, "wave_traces must be a whole number, at least 1, got 2.5"),
        ({"window_tokens": 0}, "window_tokens must be a whole number, at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(ONLINE, **wrong)


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="measure must be one of mean, lowest_group, bottom_groups, tail, got 'best'"):
        DeepConf(measure="best")
