"""RMSNorm on CUDA: one program computes a row, and its squares are added along a fixed tree.

Every operation is elementwise, correctly rounded, or a sum in a written-down order, so the forward's bits are a
property of the formula and not of the device.
"""

from typing import Literal, get_args

import torch
import triton
import triton.language as tl

from kernels.triton.primitives import narrow, rounded, tree_sum, widen

Form = Literal["llama", "gemma"]
"""`llama` rounds the normalised row to its dtype and multiplies by the weight; `gemma` multiplies by 1 + weight in fp32
and rounds once."""
GROUP_ROWS = 32
"""Rows whose weight gradients are added in one go."""
COLUMNS = 256


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    x, weight, out, scales, eps, SIZE: tl.constexpr, LEVELS: tl.constexpr, GEMMA: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, 1 << LEVELS)
    has = lane < SIZE
    wide = widen(tl.load(x + row * SIZE + lane, mask=has, other=0.0))
    scale = tl.div_rn(1.0, tl.sqrt_rn(tl.div_rn(tree_sum(wide * wide, LEVELS), 1.0 * SIZE) + eps))
    factor = widen(tl.load(weight + lane, mask=has, other=0.0))
    normed = wide * scale
    normed = normed * (1.0 + factor) if GEMMA else rounded(normed, out.dtype.element_ty) * factor
    tl.store(out + row * SIZE + lane, narrow(normed, out.dtype.element_ty), mask=has)
    tl.store(scales + row, scale)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    x, weight, scales, grad_out, grad_x, partials, num_rows,
    SIZE: tl.constexpr, LEVELS: tl.constexpr, GEMMA: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, 1 << LEVELS)
    factor = widen(tl.load(weight + lane, mask=lane < SIZE, other=0.0))
    if GEMMA:
        factor = 1.0 + factor
    total = tl.zeros((1 << LEVELS,), dtype=tl.float32)
    for step in range(GROUP):
        row = group * GROUP + step
        has = lane < tl.where(row < num_rows, SIZE, 0)
        scale = tl.load(scales + row, mask=row < num_rows, other=0.0)
        normed = widen(tl.load(x + row * SIZE + lane, mask=has, other=0.0)) * scale
        grad = widen(tl.load(grad_out + row * SIZE + lane, mask=has, other=0.0))
        inner = grad * factor
        mean = tl.div_rn(tree_sum(inner * normed, LEVELS), 1.0 * SIZE)
        tl.store(grad_x + row * SIZE + lane, narrow(scale * (inner - normed * mean), grad_x.dtype.element_ty), mask=has)
        if GEMMA:
            total += grad * normed
        else:
            total += grad * rounded(normed, grad_x.dtype.element_ty)
    tl.store(partials + group * SIZE + lane, total, mask=lane < SIZE)


@triton.jit
def _sum_groups(partials, sums, num_rows, SIZE: tl.constexpr, GROUP: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    group = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((COLUMNS,), dtype=tl.float32)
    for step in range(GROUP):
        row = group * GROUP + step
        has = column < tl.where(row < num_rows, SIZE, 0)
        total += tl.load(partials + row * SIZE + column, mask=has, other=0.0)
    tl.store(sums + group * SIZE + column, total, mask=column < SIZE)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, eps, form):  # type: ignore[no-untyped-def]
        rows, weight = x.reshape(-1, x.shape[-1]).contiguous(), weight.contiguous()
        out = torch.empty_like(rows)
        scales = torch.empty(len(rows), dtype=torch.float32, device=x.device)
        _forward[(len(rows),)](rows, weight, out, scales, eps, **_meta(weight, form))
        ctx.save_for_backward(rows, weight, scales)
        ctx.form = form
        return out.view(x.shape)

    @staticmethod
    def backward(ctx, grad_out):  # type: ignore[no-untyped-def]
        rows, weight, scales = ctx.saved_tensors
        grad_rows, grad_x = grad_out.reshape(rows.shape).contiguous(), torch.empty_like(rows)
        partials = torch.empty(triton.cdiv(len(rows), GROUP_ROWS), len(weight), device=rows.device)
        _backward[(len(partials),)](
            rows, weight, scales, grad_rows, grad_x, partials, len(rows), GROUP=GROUP_ROWS, **_meta(weight, ctx.form)
        )
        return grad_x.view(grad_out.shape), _sum_rows(partials).to(weight.dtype), None, None


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, form: Form = "llama") -> torch.Tensor:
    """x / sqrt(mean(x²) + eps), times the weight as `form` says, differentiable.

    x: (..., K), weight: (K,), both bf16 or both fp32; returns like x. Follows LlamaRMSNorm and Gemma3RMSNorm of
    transformers (models/llama/modeling_llama.py, models/gemma3/modeling_gemma3.py). Raises ValueError for other forms,
    dtypes and shapes.
    """
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
    if x.dtype != weight.dtype or x.dtype not in (torch.bfloat16, torch.float32):
        raise ValueError(f"rms_norm takes both bfloat16 or both float32, got {x.dtype} and {weight.dtype}")
    if x.shape[-1:] != weight.shape:
        raise ValueError(f"rms_norm takes x (..., K) and weight (K,), got {tuple(x.shape)} and {tuple(weight.shape)}")
    return _RMSNorm.apply(x, weight, eps, form)


def rms_norm_reference(x: torch.Tensor, weight: torch.Tensor, eps: float, form: Form = "llama") -> torch.Tensor:
    """The same in float64, as plain torch. Shapes as in `rms_norm`; returns float64."""
    normed = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + eps)
    return normed * (weight.double() + 1 if form == "gemma" else weight.double())


def _sum_rows(partials: torch.Tensor) -> torch.Tensor:
    """(K,) fp32: the sum over the rows of (rows, K), `GROUP_ROWS` neighbours at a time until one row is left."""
    size = partials.shape[1]
    while len(partials) > 1:
        sums = torch.empty(triton.cdiv(len(partials), GROUP_ROWS), size, device=partials.device)
        _sum_groups[(len(sums), triton.cdiv(size, COLUMNS))](
            partials, sums, len(partials), SIZE=size, GROUP=GROUP_ROWS, COLUMNS=COLUMNS
        )
        partials = sums
    return partials.sum(0)


def _meta(weight: torch.Tensor, form: Form) -> dict[str, int | bool]:
    """What both kernels are compiled for. Contracting a product and a sum into one rounding is left to nobody."""
    levels = (len(weight) - 1).bit_length()
    return {
        "SIZE": len(weight),
        "LEVELS": levels,
        "GEMMA": form == "gemma",
        "num_warps": 8 if levels > 11 else 4,
        "enable_fp_fusion": False,
    }
