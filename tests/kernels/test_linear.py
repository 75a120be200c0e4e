import pytest
import torch

from kernels.certify import certify_linear
from kernels.linear import CANDIDATES, LinearPlan, PackedWeight, linear, linear_reference

SHAPES = [(96, 64), (300, 64), (64, 160)]
DTYPES = [torch.float32, torch.bfloat16]
ATEN = LinearPlan("aten", 8)
ROUNDING = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}


@pytest.fixture(scope="module")
def certified():
    return {dtype: certify_linear(SHAPES, dtype, row_counts=(1, 2, 7, 8, 9, 33, 64, 257)) for dtype in DTYPES}


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def error_bound(x, weight, dtype):
    """fp32 accumulation over K terms, then one rounding to the dtype."""
    magnitudes = linear_reference(x.abs(), weight.abs())
    return magnitudes * weight.shape[1] * 2.0**-24 + linear_reference(x, weight).abs() * ROUNDING[dtype]


def pack_or_skip(weight, plan):
    try:
        return PackedWeight(weight, plan)
    except RuntimeError as error:
        pytest.skip(f"no {plan.op} product for {weight.dtype} on this machine: {error}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plan", CANDIDATES, ids=lambda plan: f"{plan.op}{plan.row_multiple}")
def test_every_candidate_is_the_float64_product_to_rounding(plan, dtype):
    x, weight = random(13, 64, dtype=dtype), random(300, 64, dtype=dtype, seed=1)
    out = pack_or_skip(weight, plan)(x)
    assert out.dtype == dtype
    assert out.shape == (13, 300)
    assert bool(((out.double() - linear_reference(x, weight)).abs() <= error_bound(x, weight, dtype)).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_keeps_its_bits_whatever_the_number_and_position_of_rows(certified, shape, dtype):
    weight, rows = random(*shape, dtype=dtype), random(200, shape[1], dtype=dtype, seed=1)
    packed = PackedWeight(weight, certified[dtype])
    expected = torch.cat([packed(row[None]) for row in rows])
    for count in (2, 3, 8, 17, 64, 129, 200):
        assert torch.equal(packed(rows[-count:]), expected[-count:]), count
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    assert torch.equal(packed(rows[order]), expected[order])


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_keep_their_bits_in_a_merged_weight(certified, dtype):
    first, second = random(96, 64, dtype=dtype), random(32, 64, dtype=dtype, seed=1)
    x, plan = random(21, 64, dtype=dtype, seed=2), certified[dtype]
    merged = PackedWeight(torch.cat([first, second]), plan)(x)
    assert torch.equal(merged, torch.cat([PackedWeight(first, plan)(x), PackedWeight(second, plan)(x)], dim=1))


@pytest.mark.parametrize("op", ["onednn", "aten"])
@pytest.mark.parametrize("num_rows", [1, 7, 8, 9])
def test_padded_rows_are_computed_and_dropped(op, num_rows):
    x, weight = random(num_rows, 64), random(96, 64, seed=1)
    out = PackedWeight(weight, LinearPlan(op, 8))(x)
    by_hand = PackedWeight(weight, LinearPlan(op, 1))(torch.cat([x, torch.zeros(-num_rows % 8, 64)]))
    assert out.shape == (num_rows, 96)
    assert torch.equal(out, by_hand[:num_rows])


@pytest.mark.parametrize("op", ["onednn", "aten"])
def test_the_product_sees_rows_padded_to_the_multiple(op, monkeypatch):
    seen = []
    packed = PackedWeight(random(16, 64), LinearPlan(op, 8))
    product = packed._product
    monkeypatch.setattr(packed, "_product", lambda rows, bias: seen.append(len(rows)) or product(rows, bias))
    for num_rows in (1, 8, 9, 16):
        packed(random(num_rows, 64))
    assert seen == [8, 8, 16, 16]


@pytest.mark.parametrize("op", ["onednn", "aten"])
def test_leading_dimensions_and_strided_rows_change_nothing(op):
    x, packed = random(3, 4, 128), PackedWeight(random(16, 64, seed=1), LinearPlan(op, 8))
    assert torch.equal(packed(x[..., :64]), packed(x[..., :64].reshape(12, 64).contiguous()).view(3, 4, 16))


@pytest.mark.parametrize("op", ["onednn", "aten"])
def test_bias_is_added_to_every_row(op):
    # Small integers: every product and sum is exact, so the result is known in all bits.
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]])
    weight = torch.tensor([[1.0, 10.0], [2.0, -1.0]])
    out = PackedWeight(weight, LinearPlan(op, 8))(x, torch.tensor([100.0, 0.5]))
    assert torch.equal(out, torch.tensor([[121.0, 0.5], [143.0, 2.5], [110.0, -0.5]]))


def test_the_onednn_packing_does_not_follow_the_weight_until_packed_again():
    weight, x = random(16, 64), random(3, 64, seed=1)
    packed, plan = PackedWeight(weight, LinearPlan("onednn", 1)), LinearPlan("onednn", 1)
    before = packed(x)
    weight.mul_(2)
    assert torch.equal(packed(x), before)
    assert torch.equal(PackedWeight(weight, plan)(x), before * 2)


@pytest.mark.parametrize("shape", [(7, 64), (2, 5, 64)])
def test_gradients_are_those_of_the_float64_product(shape):
    leaves = [t.requires_grad_() for t in (random(*shape), random(96, 64, seed=1), random(96, seed=2))]
    grad_out = random(*shape[:-1], 96, seed=3)
    linear(*leaves, PackedWeight(leaves[1], ATEN)).backward(grad_out)
    doubles = [t.detach().double().requires_grad_() for t in leaves]
    linear_reference(*doubles).backward(grad_out.double())
    for mine, theirs in zip(leaves, doubles, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-5, atol=1e-5)


def test_gradients_of_a_tiny_product_are_those_written_out_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    weight = torch.tensor([[5.0, 6.0], [7.0, 8.0]], requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    linear(x, weight, bias, PackedWeight(weight, ATEN)).backward(torch.tensor([[1.0, 0.0], [10.0, 1.0]]))
    assert x.grad.tolist() == [[5.0, 6.0], [57.0, 68.0]]
    assert weight.grad.tolist() == [[31.0, 42.0], [3.0, 4.0]]
    assert bias.grad.tolist() == [11.0, 1.0]


def test_linear_gives_the_bits_of_its_packed_weight_and_needs_no_bias():
    x, weight = random(9, 64).requires_grad_(), random(96, 64, seed=1).requires_grad_()
    packed = PackedWeight(weight, ATEN)
    out = linear(x, weight, None, packed)
    assert torch.equal(out.detach(), packed(x.detach()))
    out.sum().backward()
    torch.testing.assert_close(x.grad[3], weight.detach().sum(0), rtol=1e-5, atol=1e-5)


def test_gradients_of_frozen_tensors_are_not_formed():
    x, weight = random(9, 64).requires_grad_(), random(96, 64, seed=1)
    linear(x, weight, None, PackedWeight(weight, ATEN)).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
