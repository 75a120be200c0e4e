from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, OPTConfig, Starcoder2Config

from rl.canonical_model import keep_only_layer_inputs

SIZE = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
MODELS = {
    "starcoder2": Starcoder2Config(
        **SIZE, num_key_value_heads=2, intermediate_size=16, residual_dropout=0.1, embedding_dropout=0.1
    ),
    "opt": OPTConfig(**SIZE, ffn_dim=16, word_embed_proj_dim=16, dropout=0.1, layerdrop=0.5),
}


@pytest.mark.parametrize("family", MODELS)
def test_training_mode_keeps_every_bit_of_the_logits(family: str) -> None:
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(MODELS[family]).eval()
    token_ids = torch.arange(24)[None]
    before = model(token_ids, use_cache=False).logits
    keep_only_layer_inputs(model)
    assert model.training
    assert torch.equal(model(token_ids, use_cache=False).logits, before)
