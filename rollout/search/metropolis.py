"""A Metropolis–Hastings step over completions: redraw a suffix, then accept it or keep the old one.

The target is pi(x) ∝ p(x)^alpha over completions of at most H tokens (Karan & Du, "Reasoning with Sampling",
arXiv 2510.14901, algorithm 1). A stop token is absorbing: behind it the sequence goes on to position H with stop tokens
of probability 1 under p and q alike, so that all states have the same length and

    index i     uniform over 0 … H-1, whatever the state: it needs no correction
    suffix      x'_i … drawn from q up to a stop token or position H
    log ratio   r = sum over t >= i of [alpha log p - log q](x'_t) - [alpha log p - log q](x_t)
    accept      with probability min(1, e^r)

An index behind the stop token redraws what is there with probability 1: the proposal is the state itself, and no token
is drawn. For each i the pair (x, x') is as likely as (x', x), so detailed balance holds term by term.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search.drawing import Cut, Draw
from rollout.search.types import Path


@dataclass(frozen=True)
class Target:
    """p^alpha over completions of at most `horizon` tokens."""

    alpha: float
    horizon: int


@dataclass(frozen=True)
class Choice:
    """The random choices of one step of one chain, tokens excepted."""

    index: int
    """First position that is redrawn, from 0 to horizon - 1."""
    uniform: float
    """In [0, 1): the proposal is accepted when it lies below the acceptance probability."""


@dataclass(frozen=True)
class Move:
    """What a step did to one chain."""

    path: Path
    """Where the chain is afterwards."""
    proposal: Path
    log_ratio: float
    accepted: bool
    has_drawn: bool
    """False when the index lay behind the stop token."""
    normaliser_gap: float = 0.0
    """See the function of this name."""


def resample_index(uniform: float, horizon: int) -> int:
    """The index of a uniform draw in [0, 1): each of 0 … horizon - 1 has probability 1 / horizon."""
    return int(uniform * horizon)


def log_weights(path: Path, alpha: float, start: int = 0) -> list[float]:
    """alpha log p - log q of each token from `start` on.

    With q ∝ p^alpha token by token it is log of the sum of p^alpha over the vocabulary: a function of the prefix alone.
    """
    pairs = zip(path.policy_logprobs[start:], path.proposal_logprobs[start:], strict=True)
    return [alpha * p - q for p, q in pairs]


def acceptance_log_ratio(current: Path, proposal: Path, index: int, alpha: float) -> float:
    """log of [p^alpha(x') q(x | x')] / [p^alpha(x) q(x' | x)] for a suffix redrawn from `index` on.

    Summed without rounding in between, so that the way back has exactly minus this value.
    """
    there, back = log_weights(proposal, alpha, index), log_weights(current, alpha, index)
    return math.fsum([*there, *(-weight for weight in back)])


def acceptance_probability(log_ratio: float) -> float:
    """min(1, e^r)."""
    return math.exp(min(0.0, log_ratio))


def normaliser_gap(current: Path, proposal: Path, index: int, alpha: float) -> float:
    """By how much the two suffixes disagree on the log-normaliser at their first position; nats.

    Both first tokens were drawn behind the same prefix. Where q ∝ p^alpha token by token the log-normaliser is read off
    either, so that anything above rounding means that p and q are not what the step takes them for.
    """
    return abs(log_weights(current, alpha, index)[0] - log_weights(proposal, alpha, index)[0])


def metropolis_step(paths: Sequence[Path], choices: Sequence[Choice], target: Target, draw: Draw) -> list[Move]:
    """One move per chain. All chains that redraw anything do so in one call of `draw`."""
    cuts = [
        Cut(chain, path.cut(choice.index), target.horizon - choice.index)
        for chain, (path, choice) in enumerate(zip(paths, choices, strict=True))
        if choice.index < len(path.token_ids)
    ]
    proposals = {cut.chain: cut.prefix.extended(drawn) for cut, drawn in zip(cuts, draw(cuts), strict=True)}
    return [
        _move(path, proposals.get(chain), choice, target)
        for chain, (path, choice) in enumerate(zip(paths, choices, strict=True))
    ]


def _move(current: Path, proposal: Path | None, choice: Choice, target: Target) -> Move:
    if proposal is None:
        return Move(current, current, 0.0, accepted=True, has_drawn=False)
    log_ratio = acceptance_log_ratio(current, proposal, choice.index, target.alpha)
    accepted = choice.uniform < acceptance_probability(log_ratio)
    gap = normaliser_gap(current, proposal, choice.index, target.alpha)
    return Move(proposal if accepted else current, proposal, log_ratio, accepted, has_drawn=True, normaliser_gap=gap)
