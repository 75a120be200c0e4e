import pytest
from transformers import Gemma2Config, LlamaConfig, MambaConfig, MistralConfig, OPTConfig

from kernels.recurrent.configuration import RecurrentDepthConfig
from rl.errors import UserError
from rl.room import GIB, require_room, sequence_bytes
from rollout.config import RolloutConfig

LAYER_BYTES = 2 * 2 * 32 * 4
"""A token's key and value, 2 heads of 32 elements, fp32."""


def config(recurrence: int) -> RecurrentDepthConfig:
    return RecurrentDepthConfig(
        num_recurrences=recurrence, hidden_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=32
    )


def rollout(num_layers: int, num_tokens: int) -> RolloutConfig:
    """With a cache of just so many layers of so many tokens, and vLLM's own block."""
    return RolloutConfig(max_model_len=num_tokens, kv_cache_gib=num_layers * LAYER_BYTES * (num_tokens + 32) / GIB)


def test_the_deepest_that_fits_passes_and_one_more_is_refused() -> None:
    room = rollout(num_layers=1 + 5 * 2 + 1, num_tokens=256)
    require_room(config(5), room, "float32")
    with pytest.raises(UserError) as caught:
        require_room(config(6), room, "float32")
    said = str(caught.value)
    assert "recurrence 6 makes 14 layers, whose keys and values take 7,168 bytes a token" in said
    assert f"{14 * LAYER_BYTES * 288:,} bytes for one sequence of rollout.max_model_len=256 tokens" in said
    assert f"is {12 * LAYER_BYTES * 288:,} bytes, room for 192 tokens" in said
    assert "set model.recurrence to 5 or less" in said


def test_half_the_bytes_hold_twice_the_layers() -> None:
    require_room(config(11), rollout(num_layers=12, num_tokens=256), "bfloat16")


def test_where_not_even_one_run_fits_this_is_said() -> None:
    with pytest.raises(UserError, match="not even 1 fits"):
        require_room(config(2), rollout(num_layers=3, num_tokens=256), "float32")


def test_a_model_of_8_billion_parameters_needs_more_than_the_default_for_long_sequences() -> None:
    model = LlamaConfig(
        hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, head_dim=128
    )
    with pytest.raises(UserError) as caught:
        require_room(model, RolloutConfig(max_model_len=8192), "bfloat16")
    assert str(caught.value) == (
        "the model has 32 layers, whose keys and values take 131,072 bytes a token: 1,077,936,128 bytes for one "
        "sequence of rollout.max_model_len=8192 tokens, and rollout.kv_cache_gib=1 is 1,073,741,824 bytes, room for "
        "8,160 tokens; set rollout.kv_cache_gib to 1.01 or more, or lower rollout.max_model_len"
    )
    require_room(model, RolloutConfig(max_model_len=8160), "bfloat16")
    require_room(model, RolloutConfig(max_model_len=8192, kv_cache_gib=1.01), "bfloat16")


def test_without_heads_of_their_own_keys_and_values_have_those_of_the_queries() -> None:
    model = OPTConfig(hidden_size=128, num_hidden_layers=3, num_attention_heads=4)
    assert sequence_bytes(model, 256, "float32") == 3 * 2 * (2 * 2 * 32 * 4) * 288


def test_a_layer_with_a_window_keeps_no_more_than_it_looks_back_on() -> None:
    size = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    alternating = Gemma2Config(**size, num_hidden_layers=4, sliding_window=64)
    assert sequence_bytes(alternating, 256, "float32") == 2 * LAYER_BYTES * (288 + 96)
    assert sequence_bytes(alternating, 48, "float32") == 4 * LAYER_BYTES * 96
    everywhere = MistralConfig(**size, num_hidden_layers=4, sliding_window=64)
    assert sequence_bytes(everywhere, 256, "float32") == 4 * LAYER_BYTES * 96


def test_a_model_without_attention_is_left_to_what_refuses_it() -> None:
    require_room(MambaConfig(), RolloutConfig(kv_cache_gib=1e-6), "float32")
