from pathlib import Path

import pytest

from rl.pretrain.scratch import model_config, training_flops
from rl.recurrent.draws import DepthDraws

from .models import DRAWS, TOKENIZER, made, sizes

LAYER = 4 * 64 * 64 + 3 * 64 * 128
"""Weights of a layer."""
ADAPTER, HEAD = 2 * 64 * 64, 64 * 64


@pytest.mark.parametrize("kind", ["recurrent", "static"])
def test_a_seed_decides_the_weights_and_a_checkpoint_is_made_once(kind: str, tmp_path: Path) -> None:
    one, again, other = made(kind, tmp_path / "a"), made(kind, tmp_path / "b"), made(kind, tmp_path / "a", seed=1)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (one, again, other)]
    assert weights[0] == weights[1] != weights[2]
    assert made(kind, tmp_path / "a") == one != other
    assert one.name.startswith(f"{kind}-") and (one / "tokenizer.json").is_file()


def test_a_recurrent_model_runs_at_the_mean_of_training_unless_told_otherwise() -> None:
    config = model_config(sizes("recurrent"), DepthDraws(3.4, 0.5, 2), TOKENIZER)
    assert (config.num_recurrences, config.num_backpropagated, config.num_core_layers) == (3, 2, 2)


def test_runs_of_the_core_that_no_gradient_reaches_cost_a_forward_pass_alone() -> None:
    config = model_config(sizes("recurrent"), DRAWS, TOKENIZER)
    outside, core = 2 * (2 * LAYER + HEAD), 2 * (2 * LAYER + ADAPTER)
    assert training_flops(config, DepthDraws(3, 0), 0, 5) == 3 * outside + 3 * 3 * core
    assert training_flops(config, DepthDraws(3, 0, 2), 0, 5) == 3 * outside + (2 * 3 + 1) * core


def test_the_static_twin_costs_what_the_recurrent_model_does_to_within_half_a_layer() -> None:
    cost = training_flops(model_config(sizes("recurrent"), DRAWS, TOKENIZER), DRAWS, 0, 1000)
    twin = model_config(sizes("static"), DRAWS, TOKENIZER)
    assert training_flops(twin, DRAWS, 0, 1) == 6 * (twin.num_hidden_layers * LAYER + HEAD)
    assert abs(training_flops(twin, DRAWS, 0, 1) - cost) <= 6 * LAYER / 2


def test_a_static_model_has_as_many_layers_as_it_is_told() -> None:
    assert model_config(sizes("static", num_static_layers=3), DRAWS, TOKENIZER).num_hidden_layers == 3
