from types import SimpleNamespace

import pytest
import torch

from rollout.draws import DrawKey, uniforms
from rollout.extension import Scoring
from rollout.extra_args import SCORING, extra_args, temperatures_and_draws
from rollout.types import SamplingParams

KEYS = (DrawKey(3, "train/0/17", 1), DrawKey(3, "train/0/17", 2))


def request(key: DrawKey, temperature: float, first_position: int, num_drawn: int) -> SimpleNamespace:
    """A model runner's request, in whose own field vLLM has left what suits its own sampler."""
    told = extra_args(key, SamplingParams(temperature), first_position)
    own = SimpleNamespace(temperature=max(temperature, 0.01), extra_args=told)
    return SimpleNamespace(sampling_params=own, output_token_ids=[7] * num_drawn)


@pytest.mark.parametrize("asked", [0.0, 1e-6, 0.005, 0.25])
def test_every_temperature_reaches_the_sampler_as_it_was_asked_for(asked: float) -> None:
    temperatures, _ = temperatures_and_draws([request(KEYS[0], asked, 0, 0), request(KEYS[1], 1.0, 0, 0)])
    assert temperatures.tolist() == [torch.tensor(asked, dtype=torch.float32).item(), 1.0]


def test_a_draw_is_of_the_tokens_place_in_its_completion() -> None:
    _, draws = temperatures_and_draws([request(KEYS[0], 1.0, 5, 2), request(KEYS[1], 1.0, 0, 4)])
    assert draws.tolist() == uniforms([key.counter_words() for key in KEYS], [7, 4]).tolist()


def test_only_what_is_to_be_scored_carries_how() -> None:
    sampling = SamplingParams()
    assert extra_args(KEYS[0], sampling, 0, Scoring(0.5, 3))[SCORING] == (0.5, 3)
    assert SCORING not in extra_args(KEYS[0], sampling)
