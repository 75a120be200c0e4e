import pytest
from transformers import LlamaConfig

from kernels.recurrent.configuration import RecurrentDepthConfig
from rl.errors import UserError
from rl.recurrent.room import GIB, require_room
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


def test_other_models_are_left_to_vllm() -> None:
    require_room(LlamaConfig(), RolloutConfig(kv_cache_gib=1e-6), "float32")
