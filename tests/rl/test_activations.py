import pytest
import torch
import transformers

from kernels import seam
from kernels.attention import PackedLayout, Sequence
from kernels.linear import LinearPlan
from rl.activations import kept_bytes

from ..families import FAMILIES, SIZES

LAYOUT = PackedLayout((Sequence(0, 96), Sequence(96, 64, 0, 96), Sequence(160, 32, 0, 96)))
"""192 rows, a multiple of what products are padded to, so that no storage is larger than its tensor."""


def really_kept(config, dtype):
    """Bytes a row that the trainer's own forward pass keeps, by the storages that autograd is handed."""
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    seam.install(model, LinearPlan("aten", 32))
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        seam.hidden_states(model, torch.arange(192) % 128, LAYOUT)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / LAYOUT.num_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen3", "olmo2", "phi3", "gemma2", "gemma3", "starcoder2"])
def test_what_is_counted_on_shapes_is_what_the_forward_pass_keeps(family, dtype):
    config = FAMILIES[family](**SIZES, vocab_size=128)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        really = really_kept(config, dtype)
    assert kept_bytes(config, dtype) == pytest.approx(really, rel=0.01)


def test_a_rotary_embedding_that_looks_at_positions_is_counted_too():
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0] * 16, "rope_theta": 1e4}
    sizes = SIZES | {"hidden_size": 128, "vocab_size": 128}
    plain = transformers.Phi3Config(**sizes)
    longer = transformers.Phi3Config(**sizes, rope_parameters=rope | {"original_max_position_embeddings": 256})
    assert kept_bytes(longer, torch.float32) == kept_bytes(plain, torch.float32)
    assert longer.rope_parameters["rope_type"] == "longrope"
