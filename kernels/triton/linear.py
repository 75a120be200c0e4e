"""Canonical linear on CUDA: every output element adds the same products in the same order, whatever the batch.

A program computes one tile of the result and walks all of K from 0 on, in steps that the shape fixes. K is never split
between programs and nothing is added atomically.
"""

import torch
import triton
import triton.language as tl

from kernels.linear import linear_gradients
from kernels.triton.primitives import dot, narrow, widen
from kernels.triton.tiles import Tiles

DTYPES = (torch.bfloat16, torch.float32)


# Without do_not_specialize, one row and multiples of 16 rows would be compiled to kernels of their own.
@triton.jit(do_not_specialize=["num_rows"])
def _product(  # type: ignore[no-untyped-def]
    x, weight, bias, out, num_rows,
    N: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    has_row, has_column = rows[:, None] < num_rows, columns[None, :] < N
    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, K, STEP):
        k = start + tl.arange(0, STEP)
        a = tl.load(x + rows[:, None] * K + k[None, :], mask=has_row & (k[None, :] < K), other=0.0)
        b = tl.load(weight + columns[None, :] * K + k[:, None], mask=has_column & (k[:, None] < K), other=0.0)
        acc = dot(a, b, acc)
    if bias is not None:
        acc += widen(tl.load(bias + columns, mask=columns < N, other=0.0))[None, :]
    out += rows[:, None] * N + columns[None, :]
    tl.store(out, narrow(acc, out.dtype.element_ty), mask=has_row & has_column)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, tiles: Tiles) -> torch.Tensor:
    """`x @ weight.T + bias` with the canonical bits, outside autograd. Shapes as in `linear`."""
    _check(x, weight, bias)
    num_columns, depth = weight.shape
    rows = _aligned(x.reshape(-1, depth))
    out = torch.empty(rows.shape[0], num_columns, dtype=x.dtype, device=x.device)
    block = tiles.block(rows.shape[0])
    _product[(triton.cdiv(rows.shape[0], block.rows), triton.cdiv(num_columns, block.columns))](
        rows, _aligned(weight), None if bias is None else _aligned(bias), out, rows.shape[0],
        N=num_columns, K=depth, ROWS=block.rows, COLUMNS=block.columns, STEP=tiles.depth,
        num_warps=block.num_warps, num_stages=block.num_stages, enable_fp_fusion=True,
    )  # fmt: skip
    return out.view(*x.shape[:-1], num_columns)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, tiles):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return product(x, weight, bias, tiles)

    @staticmethod
    def backward(ctx, grad_out):  # type: ignore[no-untyped-def]
        return *linear_gradients(ctx, grad_out), None


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, tiles: Tiles) -> torch.Tensor:
    """`x @ weight.T + bias` with the canonical bits, differentiable.

    x: (..., K); weight: (N, K); bias: (N,) or None, all bf16 or all fp32; returns (..., N) of that dtype. Products are
    added in fp32, without TF32, the bias to the sum, and the result is rounded once. Gradients are formed by torch: a
    gradient is a function of the shard and may depend on its batch. Raises ValueError for other dtypes and shapes.
    """
    return _Linear.apply(x, weight, bias, tiles)


def _check(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    dtypes = {tensor.dtype for tensor in (x, weight, bias) if tensor is not None}
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        raise ValueError(f"linear takes all bfloat16 or all float32, got {sorted(map(str, dtypes))}; cast them first")
    if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear takes x (..., K) and weight (N, K), got {tuple(x.shape)} and {tuple(weight.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear takes one bias for each of {weight.shape[0]} columns, got {tuple(bias.shape)}")


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, contiguous and from a 16-byte boundary on: Triton compiles another kernel for memory that is not."""
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.data_ptr() % 16 else tensor
