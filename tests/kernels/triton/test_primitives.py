import pytest
import torch
import triton
import triton.language as tl

from kernels.triton.primitives import dot, narrow, rounded, tanh, tree_sum, widen
from kernels.triton.runtime import DEVICE

SIZE = 1024
EDGES = [0.0, -0.0, 1.0, -1.5, float("inf"), -float("inf"), 1e-40, -3e-39, 3.3e38, 2.0**-133]
"""Signed zeros, infinities, numbers without a leading bit, and ones that round up to infinity in bf16."""


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@triton.jit
def _convert(x, wide, narrowed, both, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    tl.store(wide + i, widen(tl.load(x + i)))
    tl.store(narrowed + i, narrow(widen(tl.load(x + i)), tl.bfloat16))
    tl.store(both + i, rounded(widen(tl.load(x + i)), tl.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_conversions_have_the_bits_of_torch(dtype):
    x = random(SIZE) * 3
    x[:512] = (x[:512].bfloat16().float().view(torch.int32) | 0x8000).view(torch.float32)  # halfway: ties to even
    x[-len(EDGES) :] = torch.tensor(EDGES)
    x = x.to(dtype)
    wide, both = torch.empty(2, SIZE, device=DEVICE)
    narrowed = torch.empty(SIZE, dtype=torch.bfloat16, device=DEVICE)
    _convert[(1,)](x, wide, narrowed, both, SIZE=SIZE)
    assert torch.equal(wide.view(torch.int32), x.float().view(torch.int32))
    assert torch.equal(narrowed.view(torch.int16), x.bfloat16().view(torch.int16))
    assert torch.equal(both.view(torch.int32), x.bfloat16().float().view(torch.int32))


@triton.jit
def _dot(a, b, out, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    at = i[:, None] * SIZE + i[None, :]
    tl.store(out + at, dot(tl.load(a + at), tl.load(b + at), tl.load(out + at)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dot_adds_the_product_in_fp32_without_tf32(dtype):
    a, b, out = random(16, 16).to(dtype), random(16, 16, seed=1).to(dtype), random(16, 16, seed=2)
    expected = out.double() + a.double() @ b.double()
    # 17 terms of size up to 3, each sum rounded to 24 bits; TF32 would keep 11 bits of each factor.
    _dot[(1,)](a, b, out, SIZE=16)
    assert (out - expected).norm() < 4 * 2.0**-24 * expected.norm()


@triton.jit
def _tanh(x, out, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    tl.store(out + i, tanh(tl.load(x + i)))


def test_tanh_is_right_to_four_units_in_the_last_place_wherever_it_is():
    x = torch.cat([torch.linspace(-0.3, 0.3, 400), torch.linspace(-12, 12, 617), 10.0 ** -torch.arange(7)]).to(DEVICE)
    out = torch.empty_like(x)
    _tanh[(1,)](x, out, SIZE=SIZE)
    expected = x.double().tanh()
    assert len(x) == SIZE
    assert ((out - expected).abs() <= 4 * 2.0**-24 * expected.abs()).all()
    assert out.abs().max() <= 1


@triton.jit
def _sum(x, out, SIZE: tl.constexpr, LEVELS: tl.constexpr):
    tl.store(out, tree_sum(tl.load(x + tl.arange(0, SIZE)), LEVELS))


@pytest.mark.parametrize("levels", [0, 1, 5, 10])
def test_tree_sum_adds_neighbours_then_neighbouring_sums(levels):
    x, out = random(2**levels), torch.empty(1, device=DEVICE)
    _sum[(1,)](x, out, SIZE=2**levels, LEVELS=levels)
    while len(x) > 1:
        x = x[::2] + x[1::2]
    assert torch.equal(out, x)
