"""Tiny random checkpoints of many decoder families, as their own config classes make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from rl.tiny_model import tiny_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
HEADS_OF_32 = {"head_dim": 32}
HIDDEN_128 = {"hidden_size": 128}
"""For families whose head size is hidden size over heads."""
WINDOW = 48
"""Shorter than the longer prompts."""

FAMILIES: dict[str, Callable[..., transformers.PreTrainedConfig]] = {
    "llama": lambda **s: transformers.LlamaConfig(**s | HEADS_OF_32, tie_word_embeddings=True),
    "llama_untied_biased": lambda **s: transformers.LlamaConfig(
        **s | HEADS_OF_32, tie_word_embeddings=False, attention_bias=True, mlp_bias=True
    ),
    "qwen2": lambda **s: transformers.Qwen2Config(**s | HIDDEN_128, tie_word_embeddings=True),
    "qwen3": lambda **s: transformers.Qwen3Config(**s | HEADS_OF_32, tie_word_embeddings=False),
    "mistral": lambda **s: transformers.MistralConfig(**s | HEADS_OF_32, sliding_window=WINDOW),
    "olmo2": lambda **s: transformers.Olmo2Config(**s | HIDDEN_128),
    "phi3": lambda **s: transformers.Phi3Config(**s | HIDDEN_128, sliding_window=WINDOW),
    "gemma2": lambda **s: transformers.Gemma2Config(
        **s | HEADS_OF_32,
        query_pre_attn_scalar=32,
        sliding_window=WINDOW,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3": lambda **s: transformers.Gemma3TextConfig(**s | HEADS_OF_32, sliding_window=WINDOW),
    "granite": lambda **s: transformers.GraniteConfig(
        **s | HIDDEN_128, logits_scaling=2.0, residual_multiplier=0.5, embedding_multiplier=3.0
    ),
    "cohere": lambda **s: transformers.CohereConfig(**s | HIDDEN_128, logit_scale=0.5),
    "smollm3": lambda **s: transformers.SmolLM3Config(**s | HIDDEN_128),
    "starcoder2": lambda **s: transformers.Starcoder2Config(**s | HIDDEN_128, sliding_window=WINDOW),
}


def write_family(name: str, folder: Path) -> Path:
    """`folder`, with a random checkpoint of the family and the tiny tokenizer."""
    tokenizer = tiny_tokenizer()
    config = FAMILIES[name](**SIZES, vocab_size=len(tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).float()
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms start at one (or zero) and biases at zero, which hides mistakes
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
