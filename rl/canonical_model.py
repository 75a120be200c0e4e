"""A checkpoint under the canonical ops, and the linear that is certified for it."""

from typing import Any

import torch

from kernels import seam
from kernels.certify import certify_linear
from kernels.linear import LinearPlan
from kernels.recurrent.registration import register


def certified_plan(model_dir: str, dtype: str, max_model_len: int | None = None) -> LinearPlan:
    """The linear implementation that is certified on this machine for the model's shapes.

    Raises ValueError for a model that cannot be exact with sequences of up to `max_model_len` tokens.
    """
    import transformers

    register()
    config = transformers.AutoConfig.from_pretrained(model_dir)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    seam.refuse_uncovered(model, max_model_len)
    return certify_linear(seam.linear_shapes(model), getattr(torch, dtype))


def load_canonical(model_dir: str, dtype: str, plan: LinearPlan) -> Any:
    """The Hugging Face model in `model_dir`. Dropout is off: it would make the trainer another policy."""
    import transformers

    register()
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
    seam.install(model, plan)
    return model


def keep_only_layer_inputs(model: Any) -> None:
    """Nothing; the backward pass then computes each layer again instead of keeping what it computed.

    transformers does that in training mode only, so what is dropped at random there, values or layers, is set to zero.
    """
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():  # `resid_pdrop`, `attention_dropout`, `layerdrop`
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
