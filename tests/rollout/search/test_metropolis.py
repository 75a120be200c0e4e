"""The step's exact transition matrix against the enumerated target."""

import math

import numpy as np
import pytest

from rollout.search.metropolis import (
    Choice,
    Target,
    acceptance_log_ratio,
    acceptance_probability,
    metropolis_step,
    normaliser_gap,
    resample_index,
)
from rollout.search.types import Path

from .chains import transition_matrix
from .toys import TOYS

HORIZON = 4
HORIZONS = {name: 3 if toy.num_words > 2 else HORIZON for name, toy in TOYS.items()}
PROPOSALS = [(4.0, 0.25), (0.5, 2.0), (1.0, 1.0), (2.0, 1.0), (4.0, 0.6)]
"""(alpha, temperature of the proposal); in the first three the proposal is p^alpha token by token."""


def pairs(toy, horizon, temperature):
    """(current, proposal, index) of every pair of states that differ first at or behind `index`."""
    states = toy.states(horizon, temperature)
    for current in states:
        for index in range(len(current.token_ids)):
            for drawn in toy.suffixes(current.token_ids[:index], horizon, temperature):
                yield current, current.cut(index).extended(drawn), index


@pytest.mark.parametrize(("alpha", "temperature"), PROPOSALS)
@pytest.mark.parametrize("name", TOYS)
def test_detailed_balance_holds_and_the_target_is_invariant(name, alpha, temperature):
    toy, horizon = TOYS[name], HORIZONS[name]
    states = toy.states(horizon, temperature)
    target = toy.target(states, alpha)
    matrix = transition_matrix(toy, states, Target(alpha, horizon), temperature)
    flow = target[:, None] * matrix
    assert np.abs(matrix.sum(1) - 1).max() < 1e-10
    assert np.abs(flow - flow.T).max() < 1e-10
    assert np.abs(target @ matrix - target).max() < 1e-10


@pytest.mark.parametrize("name", TOYS)
def test_every_start_leads_to_the_target(name):
    toy, horizon = TOYS[name], HORIZONS[name]
    states = toy.states(horizon, 0.5)
    matrix = transition_matrix(toy, states, Target(2.0, horizon), 0.5)
    assert np.abs(np.linalg.matrix_power(matrix, 5000) - toy.target(states, 2.0)).max() < 1e-8


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_each_stage_has_its_own_target(horizon):
    toy = TOYS["ends_anywhere"]
    states = toy.states(horizon, 0.25)
    target = toy.target(states, 4.0)
    assert np.abs(target @ transition_matrix(toy, states, Target(4.0, horizon), 0.25) - target).max() < 1e-10


def test_an_index_within_the_state_without_its_correction_would_show():
    # Public code draws the index from the state's own length, and leaves log t - log s out of the ratio.
    toy = TOYS["ends_anywhere"]
    states = toy.states(HORIZON, 0.5)
    target, matrix = toy.target(states, 2.0), np.zeros((len(states), len(states)))
    place = {state.token_ids: i for i, state in enumerate(states)}
    for current, proposal, index in pairs(toy, HORIZON, 0.5):
        start, end = place[current.token_ids], place[proposal.token_ids]
        chance = math.exp(sum(proposal.proposal_logprobs[index:])) / len(current.token_ids)
        accepted = acceptance_probability(acceptance_log_ratio(current, proposal, index, 2.0))
        matrix[start, end] += chance * accepted
        matrix[start, start] += chance * (1 - accepted)
    assert np.abs(matrix.sum(1) - 1).max() < 1e-10
    assert np.abs(target @ matrix - target).max() > 5e-3


@pytest.mark.parametrize("alpha", [0.5, 2.0, 4.0])
def test_the_log_ratio_is_the_difference_of_the_suffixes_log_normalisers(alpha):
    toy = TOYS["more_words"]

    def normalisers(path, index):
        tables = [toy.probs(path.token_ids[:t]) for t in range(index, len(path.token_ids))]
        return sum(math.log((table[table > 0] ** alpha).sum()) for table in tables)

    for current, proposal, index in pairs(toy, 3, 1 / alpha):
        expected = normalisers(proposal, index) - normalisers(current, index)
        assert acceptance_log_ratio(current, proposal, index, alpha) == pytest.approx(expected, abs=1e-12)
        assert normaliser_gap(current, proposal, index, alpha) < 1e-12


def test_a_proposal_of_another_temperature_leaves_a_gap_in_the_normaliser():
    gaps = [normaliser_gap(*pair, 4.0) for pair in pairs(TOYS["more_words"], 3, 0.5)]
    assert max(gaps) > 0.5


def test_the_way_back_has_exactly_minus_the_log_ratio():
    for current, proposal, index in pairs(TOYS["ends_anywhere"], 4, 0.4):
        there = acceptance_log_ratio(current, proposal, index, 3.0)
        assert acceptance_log_ratio(proposal, current, index, 3.0) == -there


def test_at_alpha_1_and_temperature_1_every_log_ratio_is_exactly_0():
    ratios = {acceptance_log_ratio(*pair, 1.0) for pair in pairs(TOYS["ends_anywhere"], 4, 1.0)}
    assert ratios == {0.0}
    assert acceptance_probability(0.0) == 1.0


def test_the_log_ratio_written_out_by_hand():
    # p: 1/2 · 1/4 against 1/2 · 1/8; q: 1 · 1/2 against 1 · 1/4; the token before the index cancels.
    half, quarter, eighth = (math.log(p) for p in (1 / 2, 1 / 4, 1 / 8))
    current = Path((7, 1, 2), (0.1, 0.0, quarter), (0.2, half, eighth))
    proposal = Path((7, 3, 4), (0.1, 0.0, half), (0.2, half, quarter))
    ratio = acceptance_log_ratio(current, proposal, 1, 3.0)
    assert ratio == pytest.approx(3 * math.log((1 / 8) / (1 / 16)) - math.log((1 / 2) / (1 / 4)))


def test_a_proposal_is_accepted_when_the_draw_is_below_the_probability():
    toy = TOYS["ends_anywhere"]
    current, proposal, index = next(p for p in pairs(toy, 3, 0.5) if -2 < acceptance_log_ratio(*p, 4.0) < -0.1)
    chance = math.exp(acceptance_log_ratio(current, proposal, index, 4.0))
    suffix = toy.continuation(current.token_ids[:index], proposal.token_ids[index:], 0.5)
    for uniform, ends_at in ((chance - 1e-9, proposal), (chance, current), (chance + 1e-9, current)):
        (move,) = metropolis_step([current], [Choice(index, uniform)], Target(4.0, 3), lambda cuts: [suffix])
        assert (move.path, move.accepted) == (ends_at, ends_at is proposal)


def test_only_chains_cut_before_their_end_draw_and_only_what_is_missing():
    toy = TOYS["ends_anywhere"]
    ended = Path().extended(toy.continuation((), (0, toy.end), 1.0))
    full = Path().extended(toy.continuation((), (0, 1, 0, 1), 1.0))
    seen = []

    def draw(cuts):
        seen.extend((cut.chain, cut.prefix.token_ids, cut.num_tokens) for cut in cuts)
        return [toy.continuation(cut.prefix.token_ids, (toy.end,), 1.0) for cut in cuts]

    choices = [Choice(2, 0.0), Choice(1, 0.0), Choice(3, 0.0)]
    moves = metropolis_step([ended, ended, full], choices, Target(1.0, 4), draw)
    assert seen == [(1, (0,), 3), (2, (0, 1, 0), 1)]
    assert [(move.has_drawn, move.path.token_ids) for move in moves] == [
        (False, (0, 2)),
        (True, (0, 2)),
        (True, (0, 1, 0, 2)),
    ]


def test_every_index_has_an_interval_of_the_same_length():
    assert [resample_index(draw, 4) for draw in (0.0, 0.2499, 0.25, 0.4999, 0.5, 0.75, 1 - 2.0**-53)] == [
        *(0, 0, 1, 1, 2, 3, 3)
    ]
