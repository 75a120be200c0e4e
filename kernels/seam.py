"""The seam: puts the canonical linear and attention under an unmodified Hugging Face decoder.

Modelling code stays as it is. Every `nn.Linear` multiplies by its packed weight, and the attention interface of
transformers is pointed at `kernels.attention`; the packed layout travels as a keyword argument of the forward call.
"""

from typing import Any, cast

import torch
from torch import nn

from kernels.attention import PackedLayout, Scores, Sequence, attention
from kernels.coverage import logit_transform, own_logits, relative_error, uncovered
from kernels.linear import LinearPlan, PackedWeight, linear
from kernels.logprobs import TokenLogprobs, projected_logprobs
from kernels.recurrent.depth import Depth

ATTENTION_NAME = "zerokl"
PROBE_TOKENS = 96
"""Tokens on which the canonical forward pass is held against the model's own."""
SAME_FUNCTION = {torch.float32: 1e-3, torch.bfloat16: 1e-1}
"""Relative error of the logits above which two forward passes are not of the same function."""


class CanonicalLinear(nn.Linear):
    """An `nn.Linear` whose product has the canonical bits. Made by `install` out of the model's own layers."""

    plan: LinearPlan
    packed: PackedWeight

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return linear(input, self.weight, self.bias, self.packed)


def install(model: Any, plan: LinearPlan) -> None:
    """Nothing; afterwards `model` (a Hugging Face causal LM) computes with the canonical ops.

    Raises ValueError with the reasons for a model that they do not cover, and for one of which they compute another
    function than its own modelling code does.
    """
    refuse_uncovered(model)
    token_ids = torch.arange(PROBE_TOKENS) * 7 % model.config.get_text_config().vocab_size
    expected = own_logits(model, token_ids)
    _register_attention()
    model.config._attn_implementation = ATTENTION_NAME
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = CanonicalLinear
            cast(CanonicalLinear, module).plan = plan
    repack(model)
    _require_same_function(model, token_ids, expected)


def refuse_uncovered(model: Any, max_model_len: int | None = None) -> None:
    """Nothing; raises ValueError with every reason why `model` cannot be exact. See `kernels.coverage.uncovered`."""
    reasons = uncovered(model, max_model_len)
    if reasons:
        raise ValueError(f"{model.config.model_type} cannot be exact here: " + "; ".join(reasons))


def repack(model: nn.Module) -> None:
    """Nothing; packs every weight anew. Call after each change of the weights, before the next forward pass."""
    for module in model.modules():
        if isinstance(module, CanonicalLinear):
            module.packed = PackedWeight(module.weight, module.plan)


def unpack(model: nn.Module) -> None:
    """Nothing; gives the packed weights' memory back. `repack` before the next forward pass."""
    for module in model.modules():
        if isinstance(module, CanonicalLinear):
            del module.packed


def linear_shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(N, K) of every linear layer of the model: what has to be certified.

    The engine merges projections that read the same input; each column keeps its own bits, so the parts stand for
    the whole.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return sorted({(layer.out_features, layer.in_features) for layer in layers})


def hidden_states(
    model: Any, token_ids: torch.Tensor, layout: PackedLayout, depth: Depth | None = None
) -> torch.Tensor:
    """The decoder's last hidden states for packed tokens. token_ids: (rows,) int64; returns (rows, hidden).

    depth: of a recurrent-depth model, for this pass; None is what the model's config says, and what all others need.
    """
    output = model.get_decoder()(
        input_ids=token_ids[None],
        position_ids=layout.positions[None],
        use_cache=False,
        packed_layout=layout,
        **(depth.arguments() if depth else {}),
    )
    return output.last_hidden_state[0]


def token_logprobs(
    model: Any,
    token_ids: torch.Tensor,
    layout: PackedLayout,
    predicting_rows: torch.Tensor,
    targets: torch.Tensor,
    temperature: float,
    depth: Depth | None = None,
) -> TokenLogprobs:
    """Log-probability of each target, with the canonical bits and a gradient.

    token_ids: (rows,) int64, packed as `layout` says; predicting_rows: (T,) int64, the row that predicts each of
    targets: (T,) int64; depth: as in `hidden_states`.
    """
    hidden = hidden_states(model, token_ids, layout, depth)[predicting_rows]
    head, transform = model.get_output_embeddings(), logit_transform(model.config)
    return projected_logprobs(hidden, head.weight, head.packed, targets, temperature, transform)


def _require_same_function(model: Any, token_ids: torch.Tensor, expected: torch.Tensor) -> None:
    layout = PackedLayout((Sequence(0, len(token_ids)),))
    with torch.no_grad():
        hidden = hidden_states(model, token_ids, layout)
        logits = logit_transform(model.config)(model.get_output_embeddings()(hidden)).float()
    error = relative_error(logits, expected)
    if not error <= SAME_FUNCTION[hidden.dtype]:
        raise ValueError(
            f"{model.config.model_type} cannot be exact here: the canonical forward pass differs from the model's own "
            f"by {error:.1e} of its logits, so its modelling code does something that the seams do not cover"
        )


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
    scores = Scores(scaling, kwargs.get("sliding_window"), kwargs.get("softcap") or 0.0)
    q, k, v = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
    return attention(q, k, v, cast(PackedLayout, packed_layout), scores)[None], None
