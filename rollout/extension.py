"""Drawing on from a prefix: all that an algorithm which searches among completions asks of a policy.

algorithm ── Extension: prompt, prefix, how many tokens, draw key ──> ContinuationSampler
          <─ Continuation: tokens, log q and log p of each ──────────
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rollout.draws import DrawKey
from rollout.types import Prompt, SamplingParams


@dataclass(frozen=True)
class Scoring:
    """What is read off a token's logits besides its log-probability under the distribution it was drawn from."""

    temperature: float = 1.0
    """Of the distribution that scores; 1 is the policy itself."""
    num_top: int = 0
    """The confidence is formed over that many of the likeliest tokens; 0 leaves it out."""


@dataclass(frozen=True)
class Extension:
    """A request to draw on behind a prefix."""

    prompt: Prompt
    prefix: tuple[int, ...]
    """Completion tokens that are there already."""
    sampling: SamplingParams
    """The distribution that is drawn from; `max_new_tokens` counts from the end of the prefix."""
    key: DrawKey
    """Keys the draws. A draw's position is the token's place in the completion, the prefix counted, so that a
    completion drawn piece by piece under one key is the one drawn at once."""
    lane: int = 0
    """Requests of one prompt in the same lane go to the same engine, where their prefixes are cached."""
    scoring: Scoring | None = None
    """None costs nothing."""


@dataclass(frozen=True)
class Continuation:
    """The tokens drawn behind a prefix. Each float is exactly the fp32 value that the engine computed."""

    token_ids: tuple[int, ...]
    """At least one; the stop token included."""
    proposal_logprobs: tuple[float, ...]
    """log q of each token: the distribution it was drawn from, temperature applied."""
    policy_logprobs: tuple[float, ...] = ()
    """log p of each token at `Scoring.temperature`; empty where nothing was to be scored."""
    confidences: tuple[float, ...] = ()
    """Minus the mean log-probability of the `Scoring.num_top` likeliest tokens at each place; empty without them."""
    has_ended: bool = False
    """Whether the last token is a stop token."""


class ContinuationSampler(Protocol):
    """An engine, a pool of them, or a table of probabilities."""

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        """One continuation per request, in the order of the requests; each is a function of its request alone."""
        ...


def shares_by_lane(requests: Sequence[Extension], num_engines: int) -> list[list[int]]:
    """The indices of each engine's requests. Lanes of a prompt are dealt out in turn, so that a chain stays where its
    prefix is cached."""
    shares: list[list[int]] = [[] for _ in range(num_engines)]
    for index, request in enumerate(requests):
        shares[(zlib.crc32(request.prompt.id.encode()) + request.lane) % num_engines].append(index)
    return shares
