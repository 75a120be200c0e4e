"""Whether an engine's KV cache holds a sequence at the depth that is asked for: known before anything starts."""

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


def require_deep_room(model_dir: Path, rollout: RolloutConfig, dtype: str) -> Any:
    """The checkpoint's Hugging Face config. Raises UserError where the KV cache is too small for its depth."""
    from transformers import AutoConfig

    register()
    model_config = AutoConfig.from_pretrained(model_dir)
    require_room(model_config, rollout, dtype)
    return model_config


def require_room(model_config: Any, rollout: RolloutConfig, dtype: str) -> None:
    """Nothing; raises UserError, in tokens and bytes, where the KV cache is too small for one sequence.

    Every run of a core layer keeps keys and values of its own: l_P + r·l_R + l_C layers of them. model_config: a
    Hugging Face config; one without a core passes, for vLLM says the same of it. dtype: `float32` or `bfloat16`.
    """
    recurrence = recurrence_of(model_config)
    if recurrence is None:
        return
    layer_bytes = _layer_bytes(model_config, dtype)
    num_layers, cache_bytes = model_config.num_hidden_layers, int(rollout.kv_cache_gib * GIB)
    needed = _needed_bytes(num_layers, layer_bytes, rollout.max_model_len)
    if needed <= cache_bytes:
        return
    fits = _deepest(model_config, layer_bytes, rollout.max_model_len, cache_bytes)
    raise UserError(
        f"recurrence {recurrence} makes {num_layers} layers, whose keys and values take {num_layers * layer_bytes:,} "
        f"bytes a token: {needed:,} bytes for one sequence of rollout.max_model_len={rollout.max_model_len} tokens, "
        f"and rollout.kv_cache_gib={rollout.kv_cache_gib:g} is {cache_bytes:,} bytes, room for "
        f"{_tokens(num_layers, layer_bytes, cache_bytes):,} tokens; set rollout.kv_cache_gib to "
        f"{_gib_up(needed):g} or more, lower rollout.max_model_len, or set model.recurrence "
        f"{f'to {fits} or less' if fits >= 1 else 'aside, for not even 1 fits'}"
    )


def _layer_bytes(model_config: Any, dtype: str) -> int:
    """Bytes of a token's key and value in one layer."""
    return 2 * int(model_config.num_key_value_heads) * head_size(model_config) * ITEMSIZE[dtype]


def _needed_bytes(num_layers: int, layer_bytes: int, num_tokens: int) -> int:
    return num_layers * layer_bytes * BLOCK_SIZE * (-(-num_tokens // BLOCK_SIZE) + SPARE_BLOCKS)


def _tokens(num_layers: int, layer_bytes: int, cache_bytes: int) -> int:
    blocks = cache_bytes // (num_layers * layer_bytes * BLOCK_SIZE)
    return int(max(0, blocks - SPARE_BLOCKS) * BLOCK_SIZE)


def _deepest(model_config: Any, layer_bytes: int, num_tokens: int, cache_bytes: int) -> int:
    """The largest recurrence that fits; 0 where none does."""
    num_layers = cache_bytes // _needed_bytes(1, layer_bytes, num_tokens)
    outside = model_config.num_prelude_layers + model_config.num_coda_layers
    return int(max(0, (num_layers - outside) // model_config.num_core_layers))


def _gib_up(num_bytes: int) -> float:
    """In GiB, rounded up to a hundredth."""
    return -(-num_bytes * 100 // GIB) / 100
