import hashlib
import json

import numpy as np
import pytest
import torch

from kernels.digest import tensor_digest, weights_digest


def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        "layers.1.weight": torch.randn(3, 4, generator=generator),
        "layers.0.weight": torch.randn(2, 6, generator=generator).bfloat16(),
        "norm.weight": torch.ones(4, dtype=torch.bfloat16),
    }


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_the_digest_can_be_recomputed_with_hashlib_json_and_numpy():
    values = np.array([[1.0, -2.5], [0.1, 3e-8]], dtype="<f4")
    # bf16 is the upper half of fp32: 1.0 is 0x3f80, -2.0 is 0xc000.
    mine = weights_digest({"b": torch.from_numpy(values), "a": torch.tensor([1.0, -2.0], dtype=torch.bfloat16)})
    entries = [
        ["a", "torch.bfloat16", [2], sha256(bytes([0x80, 0x3F, 0x00, 0xC0]))],
        ["b", "torch.float32", [2, 2], sha256(values.tobytes())],
    ]
    assert mine == sha256(json.dumps(entries, separators=(",", ":")).encode())


@pytest.mark.parametrize("name", weights())
@pytest.mark.parametrize("bit", [0, 14])
def test_one_flipped_bit_changes_the_digest(name, bit):
    changed = weights()
    flat = changed[name].view({4: torch.int32, 2: torch.int16}[changed[name].element_size()]).flatten()
    flat[-1] ^= 1 << bit
    assert weights_digest(changed) != weights_digest(weights())


def test_minus_zero_and_zero_have_different_digests():
    assert tensor_digest(torch.tensor([0.0])) != tensor_digest(torch.tensor([-0.0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w | {"norm.bias": w.pop("norm.weight")},
        lambda w: w | {"norm.weight": w["norm.weight"].view(2, 2)},
        lambda w: w | {"norm.weight": w["norm.weight"].view(torch.float16)},
        lambda w: w | {"norm.bias": w["norm.weight"]},
        lambda w: {name: w[name] for name in list(w)[:2]},
        lambda w: w | {"layers.0.weight": w["layers.0.weight"].flip(0)},
    ],
    ids=["renamed", "other_shape", "other_dtype_same_bytes", "added", "removed", "rows_swapped"],
)
def test_a_name_a_shape_and_a_dtype_are_part_of_the_digest(change):
    assert weights_digest(change(weights())) != weights_digest(weights())


def test_two_tensors_that_trade_places_change_the_digest():
    a, b = torch.tensor([1.0]), torch.tensor([2.0])
    assert weights_digest({"a": a, "b": b}) != weights_digest({"a": b, "b": a})


def test_the_order_of_the_dict_does_not_matter():
    turned = dict(reversed(weights().items()))
    assert list(turned) != list(weights())
    assert weights_digest(turned) == weights_digest(weights())


def test_views_hash_like_their_contiguous_copies():
    base = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    for view in (base.t(), base[::2, 1:5], base[3], base[:, 0].expand(2, 6)):
        assert tensor_digest(view) == tensor_digest(view.clone(memory_format=torch.contiguous_format))
    assert tensor_digest(base.t()) != tensor_digest(base)


def test_a_parameter_hashes_like_its_data():
    parameter = torch.nn.Parameter(torch.ones(3))
    assert tensor_digest(parameter) == sha256(np.ones(3, dtype="<f4").tobytes())
