"""Low-rank adapters by peft under the canonical ops: injected before the seam, merged without it.

peft puts an adapted layer in the place of each linear one and keeps the layer inside; the seam then gives that layer,
and the adapters' two, the canonical product. So a row's bits do not depend on what it is packed with, adapters
included.
"""

from typing import Any

import torch

_NAME = "default"
_TARGETS = "all-linear"
"""peft's word for every linear layer but the output projection."""


def inject_adapters(model: Any, rank: int, alpha: int, seed: int) -> None:
    """Nothing; every linear layer of `model` but its output has an adapter, which adds zero until it is trained.

    All else is frozen. The adapters' weights follow from the seed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=_TARGETS, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_NAME)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged(model: Any) -> Any:
    """A plain Hugging Face model with the adapters added to the weights, to be saved and not to be run.

    `model` stays as it is; tensors are shared where nothing was added.
    """
    from peft.tuners.lora import LoraLayer

    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    state = {_plain_name(name): tensor for name, tensor in model.state_dict().items() if "lora_" not in name}
    with torch.no_grad():
        for name, layer in adapted.items():
            state[f"{name}.weight"] = _merged_weight(layer)
    with torch.device("meta"):
        plain = type(model)(model.config)
    plain.load_state_dict(state, assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _merged_weight(layer: Any) -> torch.Tensor:
    """The layer's weight with its adapter, added in fp32 and rounded once."""
    weight, down, up = layer.get_base_layer().weight, layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight
    sharpened = weight.float() + layer.scaling[_NAME] * (up.float() @ down.float())
    return sharpened.to(weight.dtype)


def _plain_name(name: str) -> str:
    return name.replace(".base_layer.", ".")
