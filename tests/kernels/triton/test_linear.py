import pytest
import torch

import kernels.triton.linear
from kernels.linear import linear_reference
from kernels.triton.linear import linear, product
from kernels.triton.runtime import DEVICE
from kernels.triton.tiles import Block, Tiles

TILES = Tiles(16, Block(16, 16, 4, 2), Block(32, 32, 4, 2), few_rows=16)
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(40, 56), (32, 48), (5, 3)]
"""(N, K): ragged in both directions, cut evenly by every tile, and smaller than one."""


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


@pytest.mark.parametrize("num_rows", [9, 33])
@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_products_are_those_of_float64_to_rounding(shape, num_rows):
    x, weight, bias = random(num_rows, shape[1]), random(*shape, seed=1), random(shape[0], seed=2)
    expected = linear_reference(x, weight, bias)
    # Up to 112 roundings to 24 bits, whose errors are independent and partly cancel; TF32 would leave 2^-11.
    assert (product(x, weight, bias, TILES) - expected).norm() < 2 * 2.0**-24 * expected.norm()


@pytest.mark.parametrize("num_rows", [9, 33])
@pytest.mark.parametrize("shape", SHAPES)
def test_bf16_products_are_summed_in_fp32_and_rounded_once(shape, num_rows):
    x, weight, bias = (random(*s, dtype=torch.bfloat16, seed=sum(s)) for s in ((num_rows, shape[1]), shape, shape[:1]))
    out, expected = product(x, weight, bias, TILES), linear_reference(x, weight, bias)
    # Rounding to nearest is off by at most 2^-8 of a number, by some 0.4 of that on average.
    assert out.dtype == torch.bfloat16
    assert (out.double() - expected).norm() < 0.6 * 2.0**-8 * expected.norm()
    # A second rounding, of the sum before the bias or of partial sums, would change one number in three or so.
    assert (out != expected.to(torch.bfloat16)).sum() <= out.numel() // 100


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_keeps_its_bits_whatever_the_number_and_position_of_rows_and_the_block(dtype):
    rows, weight, bias = random(50, 56, dtype=dtype), random(24, 56, dtype=dtype, seed=1), random(24, dtype=dtype)
    whole = product(rows, weight, bias, TILES)
    for start, stop in ((0, 1), (49, 50), (5, 21), (3, 20), (17, 50)):
        assert torch.equal(product(rows[start:stop], weight, bias, TILES), whole[start:stop]), (start, stop)


def test_columns_keep_their_bits_in_a_merged_weight():
    x, first, second = random(9, 56), random(40, 56, seed=1), random(23, 56, seed=2)
    parts = [product(x, weight, None, TILES) for weight in (first, second)]
    assert torch.equal(product(x, torch.cat([first, second]), None, TILES), torch.cat(parts, dim=1))


def test_memory_off_a_16_byte_boundary_and_strided_rows_change_nothing():
    x, weight = random(3, 4, 112), random(40, 56, seed=1)
    shifted = torch.cat([weight.new_zeros(1), weight.flatten()])[1:].view(40, 56)
    expected = product(x[..., :56].reshape(12, 56).clone(), weight, None, TILES).view(3, 4, 40)
    assert shifted.data_ptr() % 16
    assert torch.equal(product(x[..., :56], shifted, None, TILES), expected)


@pytest.mark.parametrize("tensor", [random(8), random(3, 8).t()], ids=["contiguous", "transposed"])
def test_kernels_are_given_aligned_memory(tensor):
    aligned = kernels.triton.linear._aligned(tensor[1:])
    assert aligned.data_ptr() % 16 == 0
    assert aligned.is_contiguous()
    assert torch.equal(aligned, tensor[1:])


def test_small_integers_give_the_product_in_all_bits():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]], device=DEVICE)
    weight = torch.tensor([[1.0, 10.0], [2.0, -1.0]], device=DEVICE)
    out = product(x, weight, torch.tensor([100.0, 0.5], device=DEVICE), TILES)
    assert out.tolist() == [[121.0, 0.5], [143.0, 2.5], [110.0, -0.5]]


def test_no_rows_give_no_rows():
    assert product(random(0, 56), random(40, 56), None, TILES).shape == (0, 40)


@pytest.mark.parametrize("shape", [(7, 56), (2, 5, 56)])
def test_gradients_are_those_of_the_float64_product(shape):
    leaves = [t.requires_grad_() for t in (random(*shape), random(40, 56, seed=1), random(40, seed=2))]
    grad_out = random(*shape[:-1], 40, seed=3)
    linear(*leaves, TILES).backward(grad_out)
    doubles = [t.detach().double().requires_grad_() for t in leaves]
    linear_reference(*doubles).backward(grad_out.double())
    for mine, theirs in zip(leaves, doubles, strict=True):
        assert (mine.grad - theirs.grad).norm() < 2 * 2.0**-24 * theirs.grad.norm()


def test_linear_has_the_bits_of_the_product_and_forms_no_gradient_of_frozen_tensors():
    x, weight = random(9, 56).requires_grad_(), random(40, 56, seed=1)
    out = linear(x, weight, None, TILES)
    assert torch.equal(out.detach(), product(x.detach(), weight, None, TILES))
    out.sum().backward()
    assert x.grad is not None
    assert weight.grad is None


BAD = {
    "all bfloat16 or all float32, got .*'torch.bfloat16', 'torch.float32'.*cast": (
        random(2, 8), random(4, 8, dtype=torch.bfloat16), None,
    ),
    "all bfloat16 or all float32, got .*torch.float16": (random(2, 8).half(), random(4, 8).half(), None),
    r"x \(..., K\) and weight \(N, K\), got \(2, 7\) and \(4, 8\)": (random(2, 7), random(4, 8), None),
    r"one bias for each of 4 columns, got \(3,\)": (random(2, 8), random(4, 8), random(3)),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_what_it_cannot_multiply_is_refused(message):
    with pytest.raises(ValueError, match=message):
        linear(*BAD[message], TILES)
