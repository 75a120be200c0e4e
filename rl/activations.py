"""How much a forward pass keeps for its backward pass, counted by running the modelling code on shapes alone."""

import copy
from typing import Any

import torch

from kernels.recurrent.registration import register

SHAPES_ONLY = "zerokl_shapes"
"""The name of an attention that computes nothing."""
ROWS = 64


def kept_bytes(model_config: Any, dtype: torch.dtype) -> int:
    """Bytes that one row (a token) of a forward pass in `dtype` keeps until the backward pass, rounded up.

    model_config: of a Hugging Face causal LM. Weights are not counted, nor what the output projection keeps. It is the
    family's own code that runs, on torch's meta device, so whatever it does between linear layers is counted.
    """
    decoder = without_weights(model_config, dtype).get_decoder()
    weights = {_identity(parameter) for parameter in decoder.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _identity(tensor) not in weights:
            kept[_identity(tensor)] = tensor
        return tensor

    token_ids = torch.zeros(1, ROWS, dtype=torch.int64, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        decoder(input_ids=token_ids, position_ids=token_ids, use_cache=False)
    return -(-sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // ROWS)


def without_weights(model_config: Any, dtype: torch.dtype) -> Any:
    """The model on the meta device, with an attention that keeps what the canonical one keeps: query, key and value."""
    from transformers import AttentionInterface, AutoModelForCausalLM

    register()
    AttentionInterface.register(SHAPES_ONLY, _attention)  # without a mask function, so no mask is made
    config = copy.deepcopy(model_config)
    _fix_rotary(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.config._attn_implementation = SHAPES_ONLY
    return model


def _fix_rotary(config: Any) -> None:
    """Some rotary embeddings look at the positions, which the meta device has not; no size depends on the kind."""
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in [value for value in rope.values() if isinstance(value, dict)] or [rope]:
        if "rope_type" in parameters:
            parameters["rope_type"] = "default"


def _attention(module, query, key, value, attention_mask, **kwargs):  # type: ignore[no-untyped-def]
    """In the shape of transformers' attention functions. query, key, value: (1, heads, rows, head_dim)."""
    q, k, v = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))
    return _Keeping.apply(q, k, v)[None], None


class _Keeping(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(query, key, value)
        return torch.empty_like(query)


def _identity(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
