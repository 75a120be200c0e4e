"""The exact transition matrix of the step that runs in production, by enumerating its random choices."""

import math

import numpy as np

from rollout.search.checks import horizons
from rollout.search.metropolis import Choice, Target, acceptance_probability, metropolis_step, resample_index
from rollout.search.types import Path

GRID = 7
"""Uniform draws tried in each interval of 1 / horizon."""


def transition_matrix(toy, states, target, temperature):
    """K[i, j], the probability of state j after a step from state i; (n, n).

    Every index and every suffix that the proposal can draw goes through `metropolis_step`, as chains of one batch.
    """
    cases = list(_cases(toy, states, target.horizon, temperature))
    moves = metropolis_step(
        [states[start] for start, *_ in cases],
        [Choice(index, 0.0) for _, index, *_ in cases],
        target,
        lambda cuts: [_continues(cases[cut.chain], cut) for cut in cuts],
    )
    place, matrix = {state.token_ids: i for i, state in enumerate(states)}, np.zeros((len(states), len(states)))
    for (start, _, _, probability), move in zip(cases, moves, strict=True):
        accepted = acceptance_probability(move.log_ratio)
        assert move.path == move.proposal  # a draw of 0 accepts everything that can be accepted
        matrix[start, place[move.proposal.token_ids]] += probability * accepted
        matrix[start, start] += probability * (1 - accepted)
    return matrix


def _cases(toy, states, horizon, temperature):
    """(state, index, suffix or None, probability) of everything a step can draw."""
    draws = (np.arange(GRID * horizon) + 0.5) / (GRID * horizon)
    chances = np.bincount([resample_index(float(draw), horizon) for draw in draws], minlength=horizon) / len(draws)
    for start, state in enumerate(states):
        for index in range(horizon):
            if index >= len(state.token_ids):
                yield start, index, None, chances[index]
                continue
            for drawn in toy.suffixes(state.token_ids[:index], horizon, temperature):
                yield start, index, drawn, chances[index] * math.exp(sum(drawn.proposal_logprobs))


def _continues(case, cut):
    _, index, drawn, _ = case
    assert len(cut.prefix.token_ids) == index and len(drawn.token_ids) <= cut.num_tokens
    return drawn


def law_of_method(toy, method):
    """The exact law of `PowerSampling`'s chains when they are handed back, and the states it is over."""
    states, law = [Path()], np.ones(1)
    for horizon in horizons(method.block_tokens, method.max_new_tokens):
        states, law = _extended(toy, states, law, horizon, method.tau)
        step = transition_matrix(toy, states, Target(method.alpha, horizon), method.tau)
        law = law @ np.linalg.matrix_power(step, method.num_steps)
    return states, law


def _extended(toy, states, law, horizon, temperature):
    longer = toy.states(horizon, temperature)
    place, extended = {state.token_ids: i for i, state in enumerate(longer)}, np.zeros(len(longer))
    for state, mass in zip(states, law, strict=True):
        if state.has_ended:
            extended[place[state.token_ids]] += mass
            continue
        for drawn in toy.suffixes(state.token_ids, horizon, temperature):
            end = place[state.token_ids + drawn.token_ids]
            extended[end] += mass * math.exp(sum(drawn.proposal_logprobs))
    return longer, extended
