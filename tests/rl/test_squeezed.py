import pytest
from transformers import LlamaConfig

from rl.parity import NEW_TOKENS, PROMPT_TOKENS, SQUEEZED, _prompts, squeezed
from rl.room import require_room

LLAMA_2_7B = LlamaConfig(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, max_position_embeddings=4096)
TINY = LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_cache_holds_two_sequences_of_any_model(dtype: str) -> None:
    room = squeezed(LLAMA_2_7B, dtype)
    require_room(LLAMA_2_7B, room, dtype)
    assert room.kv_cache_gib == 2 * 32 * 2 * 32 * 128 * (256 + 32) * {"float32": 4, "bfloat16": 2}[dtype] / 2**30


def test_a_small_model_is_squeezed_as_ever() -> None:
    assert squeezed(TINY, "float32") == SQUEEZED
    assert len(_prompts(100, SQUEEZED.max_model_len)) == len(PROMPT_TOKENS)


def test_no_sequence_is_longer_than_the_model_takes() -> None:
    short = LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=128)
    room = squeezed(short, "float32")
    assert room.max_model_len == 128
    lengths = [len(prompt.token_ids) for prompt in _prompts(100, room.max_model_len)]
    assert lengths == [3, 40, 90] and max(lengths) + NEW_TOKENS + 1 <= 128
