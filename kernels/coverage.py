"""What the seams cover: which decoders come out exact, and the reason for those that do not.

Nothing here knows a family by name. A model is judged by what its config and its modules say, and by whether the
canonical forward pass computes the same function as its own.
"""

from collections.abc import Iterator
from typing import Any

import torch

from kernels.logprobs import LogitTransform

HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""What vLLM's CPU attention kernel was compiled for (vLLM 0.32)."""
LAYER_TYPES = ("full_attention", "sliding_attention")
FIXED_ROPE = ("default", "linear", "llama3", "yarn", "proportional")
"""Rotary tables that do not depend on how long the sequences of a batch are."""
UNKNOWN_HEADS = ("output_multiplier_scale", "lm_head_multiplier", "logits_to_keep_scale")


def logit_transform(config: Any) -> LogitTransform:
    """What the family does to its logits, read off the text config."""
    return LogitTransform(
        multiplier=getattr(config, "logit_scale", None) or 1.0,
        divisor=getattr(config, "logits_scaling", None) or 1.0,
        soft_cap=getattr(config, "final_logit_softcapping", None) or 0.0,
    )


def head_size(config: Any) -> int:
    """Elements of a query or key of one head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def uncovered(model: Any, max_model_len: int | None = None) -> list[str]:
    """Why `model` (a Hugging Face model; its weights may be on the meta device) cannot be exact; empty when it can.

    max_model_len: the longest sequence that will be run; None is the model's own limit.
    """
    config = model.config
    if config.is_encoder_decoder or model.get_output_embeddings() is None:
        return [f"{config.model_type} is not a decoder that predicts tokens"]
    return [*_structure(model), *_attention(model), *_rotary(config, max_model_len), *_head(model)]


def _structure(model: Any) -> Iterator[str]:
    config = model.config
    if getattr(config, "quantization_config", None) is not None:
        yield "its weights are quantized, and a quantized product is not canonical; give the full-precision checkpoint"
    if config is not config.get_text_config():
        yield f"{config.model_type} has encoders for other inputs than text; give the text model alone"
    if any("experts" in name.split(".") for name, _ in model.named_modules()):
        yield "it routes tokens to experts, whose products are formed by load and not by row"
    other = sorted(set(getattr(config, "layer_types", None) or ()) - set(LAYER_TYPES))
    if other:
        yield f"it has layers of type {', '.join(other)}, which keep a state that prefill and decode round differently"


def _attention(model: Any) -> Iterator[str]:
    config = model.config
    if not getattr(model, "_supports_attention_backend", False):
        yield "its modelling code does not go through transformers' attention interface, so the seam cannot reach it"
    elif head_size(config) not in HEAD_SIZES:
        known = ", ".join(map(str, HEAD_SIZES))
        yield f"its heads have {head_size(config)} elements; vLLM's CPU attention knows {known}"
    if any("sinks" in name.split(".") for name, _ in model.named_parameters()):
        yield "its attention has sinks, which the canonical attention does not cover"


def _rotary(config: Any, max_model_len: int | None) -> Iterator[str]:
    parameters = getattr(config, "rope_parameters", None) or {}
    layers = [p for p in parameters.values() if isinstance(p, dict)] or [parameters]
    for rope in layers:
        kind = rope.get("rope_type", "default")
        limit = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        if kind not in FIXED_ROPE and (max_model_len or config.max_position_embeddings) > limit:
            yield (
                f"its {kind} rotary embedding changes with the longest sequence of a batch beyond {limit} positions; "
                f"set rollout.max_model_len to {limit} or less"
            )


def _head(model: Any) -> Iterator[str]:
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        yield "its output projection has a bias, which the canonical log-probabilities do not cover"
    for name in UNKNOWN_HEADS:
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            yield f"it scales its logits by {name}, which the seams do not cover"


def own_logits(model: Any, token_ids: torch.Tensor) -> torch.Tensor:
    """The logits of the model's own forward pass, by its plainest attention, which leaves nothing out.

    token_ids: (rows,) int64; returns (rows, vocabulary) fp32.
    """
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return model(input_ids=token_ids[None], use_cache=False).logits[0].float()


def relative_error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """|mine - theirs| / |theirs| in the Frobenius norm."""
    return float((mine.double() - theirs.double()).norm() / theirs.double().norm())
