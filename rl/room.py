"""Whether an engine's KV cache holds one sequence: known before anything starts."""

from bisect import bisect_right
from pathlib import Path
from typing import Any

from kernels.attention import BLOCK_SIZE
from kernels.coverage import head_size
from kernels.recurrent.depth import recurrence_of
from kernels.recurrent.registration import register
from rl.errors import UserError
from rollout.config import RolloutConfig

GIB = 2**30
ITEMSIZE = {"float32": 4, "bfloat16": 2}
SPARE_BLOCKS = 1
"""One block is vLLM's own."""
_OF_ATTENTION = ("num_hidden_layers", "num_attention_heads", "hidden_size")


def require_model_room(model_dir: Path, rollout: RolloutConfig, dtype: str) -> Any:
    """The checkpoint's Hugging Face config. Raises UserError where the KV cache is too small for one sequence."""
    from transformers import AutoConfig

    register()
    model_config = AutoConfig.from_pretrained(model_dir)
    require_room(model_config, rollout, dtype)
    return model_config


def require_room(model_config: Any, rollout: RolloutConfig, dtype: str) -> None:
    """Nothing; raises UserError, in tokens and bytes, where the KV cache is too small for one sequence.

    model_config: a Hugging Face config; dtype: `float32` or `bfloat16`.
    """
    cache_bytes = int(rollout.kv_cache_gib * GIB)
    needed = sequence_bytes(model_config, rollout.max_model_len, dtype)
    if needed <= cache_bytes:
        return
    config, recurrence = model_config.get_text_config(), recurrence_of(model_config)
    found = f"recurrence {recurrence} makes" if recurrence else "the model has"
    raise UserError(
        f"{found} {config.num_hidden_layers} layers, whose keys and values take "
        f"{config.num_hidden_layers * _layer_bytes(config, dtype):,} bytes a token: {needed:,} bytes for one sequence "
        f"of rollout.max_model_len={rollout.max_model_len} tokens, and rollout.kv_cache_gib={rollout.kv_cache_gib:g} "
        f"is {cache_bytes:,} bytes, room for {_longest(model_config, rollout.max_model_len, dtype, cache_bytes):,} "
        f"tokens; set rollout.kv_cache_gib to {_gib_up(needed):g} or more, "
        + (_or_shallower(config, needed, cache_bytes) if recurrence else "or lower rollout.max_model_len")
    )


def sequence_bytes(model_config: Any, num_tokens: int, dtype: str) -> int:
    """Bytes of KV cache that an engine must have for a sequence of `num_tokens`; 0 without attention.

    A layer with a sliding window keeps that many tokens, for which vLLM may ask a little more. Every run of a recurrent
    core's layer keeps keys and values of its own: l_P + r·l_R + l_C layers of them.
    """
    config = model_config.get_text_config()
    if not all(hasattr(config, name) for name in _OF_ATTENTION):
        return 0
    windows = _windows(config)
    blocks = sum(-(-min(num_tokens, window or num_tokens) // BLOCK_SIZE) + SPARE_BLOCKS for window in windows)
    return blocks * BLOCK_SIZE * _layer_bytes(config, dtype)


def _windows(config: Any) -> list[int | None]:
    """How many tokens each layer looks back on; None is all."""
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in types]


def _layer_bytes(config: Any, dtype: str) -> int:
    """Bytes of a token's key and value in one layer."""
    num_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * int(num_heads) * head_size(config) * ITEMSIZE[dtype]


def _longest(model_config: Any, most: int, dtype: str, cache_bytes: int) -> int:
    """Tokens of the longest sequence, in whole blocks, that fits; fewer than `most`."""
    lengths = range(BLOCK_SIZE, most + 1, BLOCK_SIZE)
    return BLOCK_SIZE * bisect_right(lengths, cache_bytes, key=lambda n: sequence_bytes(model_config, n, dtype))


def _or_shallower(config: Any, needed: int, cache_bytes: int) -> str:
    num_layers = cache_bytes * config.num_hidden_layers // needed
    outside = config.num_prelude_layers + config.num_coda_layers
    fits = (num_layers - outside) // config.num_core_layers
    lower = f"to {fits} or less" if fits >= 1 else "aside, for not even 1 fits"
    return f"lower rollout.max_model_len, or set model.recurrence {lower}"


def _gib_up(num_bytes: int) -> float:
    """In GiB, rounded up to a hundredth."""
    return -(-num_bytes * 100 // GIB) / 100
