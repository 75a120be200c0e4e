"""What a request tells the canonical sampler: entries of vLLM's `SamplingParams.extra_args`, handed on untouched.

Its own fields are made to suit its own sampler: it turns every temperature between 0 and 0.01 into 0.01.
"""

from collections.abc import Sequence
from typing import Any

import torch

from rollout.draws import DrawKey, uniforms
from rollout.extension import Scoring
from rollout.types import SamplingParams

DRAW_KEY = "zerokl_draw_key"
"""The entry that carries `DrawKey.counter_words`."""
FIRST_POSITION = "zerokl_first_position"
"""The entry that carries the place of the first drawn token in its completion."""
TEMPERATURE = "zerokl_temperature"
"""The entry that carries `SamplingParams.temperature`."""
SCORING = "zerokl_scoring"
"""The entry that carries (temperature, num_top) of a `Scoring`; a request without one is not scored."""


def extra_args(
    key: DrawKey, sampling: SamplingParams, first_position: int = 0, scoring: Scoring | None = None
) -> dict[str, Any]:
    """The entries of one request."""
    told = {DRAW_KEY: key.counter_words(), FIRST_POSITION: first_position, TEMPERATURE: sampling.temperature}
    return told | {SCORING: (scoring.temperature, scoring.num_top)} if scoring else told


def temperatures_and_draws(requests: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What each request's next token is drawn with, as `rollout.sampler.sample_tokens` takes it.

    requests: a model runner's, with `sampling_params` and the `output_token_ids` so far. Returns ((n,) fp32,
    (n,) float64).
    """
    told = [request.sampling_params.extra_args for request in requests]
    positions = [own[FIRST_POSITION] + len(r.output_token_ids) for own, r in zip(told, requests, strict=True)]
    draws = torch.from_numpy(uniforms([own[DRAW_KEY] for own in told], positions))
    return torch.tensor([own[TEMPERATURE] for own in told], dtype=torch.float32), draws
