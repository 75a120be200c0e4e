"""The seam: puts the canonical linear and attention under an unmodified Hugging Face decoder.

Modelling code stays as it is. Every `nn.Linear` multiplies by its packed weight, and the attention interface of
transformers is pointed at `kernels.attention`; the packed layout travels as a keyword argument of the forward call.
"""

from typing import Any, cast

import torch
from torch import nn

from kernels.attention import PackedLayout, attention
from kernels.linear import LinearPlan, PackedWeight, linear

ATTENTION_NAME = "zerokl"
UNSUPPORTED_ATTENTION = ("sliding_window", "softcap", "s_aux")
UNSUPPORTED_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier_scale")


class CanonicalLinear(nn.Linear):
    """An `nn.Linear` whose product has the canonical bits. Made by `install` out of the model's own layers."""

    packed: PackedWeight

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return linear(input, self.weight, self.bias, self.packed)


def install(model: Any, plan: LinearPlan) -> None:
    """Nothing; afterwards `model` (a Hugging Face causal LM) computes with the canonical ops.

    Raises ValueError for a model whose forward pass has parts that the seams do not cover.
    """
    _refuse_unsupported(model.config)
    _register_attention()
    model.config._attn_implementation = ATTENTION_NAME
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = CanonicalLinear
            cast(CanonicalLinear, module).packed = PackedWeight(module.weight, plan)


def repack(model: nn.Module) -> None:
    """Nothing; packs every weight anew. Call after each change of the weights, before the next forward pass."""
    for module in model.modules():
        if isinstance(module, CanonicalLinear):
            module.packed = PackedWeight(module.weight, module.packed.plan)


def linear_shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(N, K) of every linear layer of the model: what has to be certified.

    The engine merges projections that read the same input; each column keeps its own bits, so the parts stand for
    the whole.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return sorted({(layer.out_features, layer.in_features) for layer in layers})


def hidden_states(model: Any, token_ids: torch.Tensor, layout: PackedLayout) -> torch.Tensor:
    """The decoder's last hidden states for packed tokens. token_ids: (rows,) int64; returns (rows, hidden)."""
    decoder = model.get_decoder()
    output = decoder(
        input_ids=token_ids[None], position_ids=layout.positions[None], use_cache=False, packed_layout=layout
    )
    return output.last_hidden_state[0]


def _register_attention() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION_NAME, _packed_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, lambda *args, **kwargs: None)


def _packed_attention(  # type: ignore[no-untyped-def]
    module, query, key, value, attention_mask, scaling, packed_layout=None, **kwargs
):
    """In the shape of transformers' attention functions. query, key, value: (1, heads, rows, head_dim)."""
    if packed_layout is None:
        raise RuntimeError("the canonical attention needs a packed_layout; call kernels.seam.hidden_states")
    unsupported = [name for name in UNSUPPORTED_ATTENTION if kwargs.get(name) is not None]
    if unsupported:
        raise ValueError(f"canonical attention does not cover {', '.join(unsupported)}, which this model uses")
    q, k, v = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
    return attention(q, k, v, cast(PackedLayout, packed_layout), scaling)[None], None


def _refuse_unsupported(config: Any) -> None:
    """Raises ValueError naming what makes the model inexact."""
    used = [name for name in UNSUPPORTED_HEAD if getattr(config, name, None) not in (None, 1, 1.0)]
    if used:
        raise ValueError(
            f"{config.model_type} scales its logits ({', '.join(used)}), which is not covered by the seams"
        )
