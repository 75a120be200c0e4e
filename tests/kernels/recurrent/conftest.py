from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernels.recurrent.configuration import RecurrentDepthConfig
from kernels.recurrent.modelling import RecurrentDepthForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """Makes a random model of the given settings, with norms that are not all ones."""

    def make(**settings: Any) -> RecurrentDepthForCausalLM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = RecurrentDepthForCausalLM(RecurrentDepthConfig(**SIZES | settings)).float().eval()
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.data += 0.2 * torch.randn_like(parameter)
        return model

    return make
