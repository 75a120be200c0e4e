import numpy as np
import pytest
import torch

from rollout.weights import from_arrays, to_arrays


def weights(dtype):
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(3, 5, generator=generator).to(dtype),
        "vector": torch.tensor([float("nan"), -0.0, 1e-30], dtype=dtype),
        "transposed": torch.randn(4, 2, generator=generator).to(dtype).t(),
        "scalar": torch.tensor(3.25, dtype=dtype),
    }


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, torch.int32), (torch.bfloat16, torch.int16)])
def test_tensors_come_back_with_the_same_bits_shapes_and_dtype(dtype, bits):
    sent = weights(dtype)
    received = from_arrays(to_arrays(sent))
    assert list(received) == list(sent)
    for name, tensor in sent.items():
        assert received[name].dtype == dtype
        assert torch.equal(received[name].view(bits), tensor.contiguous().view(bits))


def test_tensors_travel_as_their_bytes():
    # bf16 is the upper half of fp32: 1.0 is 0x3f80, -2.0 is 0xc000.
    message = to_arrays({"w": torch.tensor([[1.0], [-2.0]], dtype=torch.bfloat16)})
    assert message.dtype == "bfloat16"
    assert message.arrays["w"].tolist() == [0x80, 0x3F, 0x00, 0xC0]
    assert message.shapes == {"w": (2, 1)}


def test_nothing_is_copied_on_the_way():
    tensor = torch.zeros(4)
    received = from_arrays(to_arrays({"w": torch.nn.Parameter(tensor)}))["w"]
    assert received.data_ptr() == tensor.data_ptr()


def test_read_only_arrays_of_the_object_store_are_taken_without_a_warning(recwarn):
    message = to_arrays({"w": torch.ones(4)})
    array = np.frombuffer(message.arrays["w"].tobytes(), np.uint8)
    assert not array.flags.writeable
    message.arrays["w"] = array
    assert torch.equal(from_arrays(message)["w"], torch.ones(4))
    assert list(recwarn) == []


def test_mixed_dtypes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"one dtype to be synchronized, got \['bfloat16', 'float32'\]"):
        to_arrays({"a": torch.zeros(1), "b": torch.zeros(1, dtype=torch.bfloat16)})
