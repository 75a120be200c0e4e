import pytest
from transformers import LlamaConfig

from kernels.recurrent.configuration import RecurrentDepthConfig
from rl.recurrent.flops import flops_per_token

SIZES = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
LAYER = 2 * 64 * 128 + 2 * 64 * 64 + 3 * 64 * 96
"""Weights of one: q and o, k and v, gate, up and down."""
HEAD = 64 * 128


def test_every_weight_that_a_token_meets_costs_two_operations() -> None:
    assert flops_per_token(LlamaConfig(**SIZES, num_hidden_layers=3)) == 2 * (3 * LAYER + HEAD)


@pytest.mark.parametrize("recurrence", [1, 4])
def test_the_core_and_its_adapter_cost_as_often_as_they_are_run(recurrence: int) -> None:
    config = RecurrentDepthConfig(
        **SIZES, num_prelude_layers=2, num_core_layers=3, num_coda_layers=1, num_recurrences=recurrence
    )
    adapter = 2 * 64 * 64
    assert flops_per_token(config) == 2 * (3 * LAYER + recurrence * (3 * LAYER + adapter) + HEAD)
