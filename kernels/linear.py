"""Canonical linear: every output element depends on its row of x, its column of the weight and K, and on nothing else.

Both sides multiply by a weight packed once per policy version. Which implementation earns the name is decided by
certification on this machine (`kernels.certify`), and is part of the contract.
"""

import weakref
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from kernels.cpu_library import cpu_ops

PRIMITIVE_CACHE_SIZE = 1024


@dataclass(frozen=True)
class LinearPlan:
    """How products are formed."""

    op: Literal["onednn", "aten"]
    """`onednn`: vLLM's prepacked oneDNN product. `aten`: torch's `F.linear` (MKL in fp32, oneDNN in bf16)."""
    row_multiple: int
    """Rows are padded with zeros up to a multiple of it: below it libraries switch to kernels with other bits."""


CANDIDATES = (LinearPlan("onednn", 1), LinearPlan("onednn", 8), LinearPlan("aten", 8), LinearPlan("aten", 32))
"""In order of speed."""


class PackedWeight:
    """A weight as the product reads it. Calling it gives `x @ weight.T + bias`.

    x: (..., K) of the weight's dtype; weight: (N, K); bias: (N,) or None; returns (..., N).
    The packed copy does not follow later changes of the weight: pack again.
    Raises RuntimeError when oneDNN has no kernel for this dtype on this machine.
    """

    def __init__(self, weight: torch.Tensor, plan: LinearPlan):
        self.plan = plan
        self.num_columns, self.depth = weight.shape
        self._handler: torch.Tensor | None = None
        if plan.op == "aten":
            self._weight = weight.detach().clone()
        else:
            handler = cpu_ops().create_onednn_mm_handler(weight.detach().t(), PRIMITIVE_CACHE_SIZE)
            self._handler = torch.tensor(handler, dtype=torch.int64)
            weakref.finalize(self, cpu_ops().release_dnnl_matmul_handler, handler).atexit = False

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        rows = x.reshape(-1, self.depth)
        padding = -rows.shape[0] % self.plan.row_multiple
        padded = F.pad(rows, (0, 0, 0, padding)) if padding else rows
        return self._product(padded, bias)[: rows.shape[0]].reshape(*x.shape[:-1], self.num_columns)

    def _product(self, rows: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self._handler is None:
            return F.linear(rows, self._weight, bias)
        out = torch.empty(rows.shape[0], self.num_columns, dtype=rows.dtype)
        cpu_ops().onednn_mm(out, rows.contiguous(), bias, self._handler)
        return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, packed):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return packed(x, bias)

    @staticmethod
    def backward(ctx, grad_out):  # type: ignore[no-untyped-def]
        return *linear_gradients(ctx, grad_out), None


def linear_gradients(ctx: Any, grad_out: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """The gradients of x, weight and bias, None where none is asked for.

    ctx: of an autograd function of (x, weight, bias, …) that saved x and weight, and `has_bias`; grad_out: (..., N).
    """
    x, weight = ctx.saved_tensors
    grad_rows = grad_out.reshape(-1, grad_out.shape[-1])
    grad_x = (grad_rows @ weight).reshape(x.shape) if ctx.needs_input_grad[0] else None
    grad_weight = grad_rows.t() @ x.reshape(-1, x.shape[-1]) if ctx.needs_input_grad[1] else None
    grad_bias = grad_rows.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
    return grad_x, grad_weight, grad_bias


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, packed: PackedWeight) -> torch.Tensor:
    """`x @ weight.T + bias` with the canonical bits, differentiable. x: (..., K); weight: (N, K); returns (..., N).

    `packed` must have been made from the current value of `weight`; gradients are formed from `weight` itself.
    """
    return _Linear.apply(x, weight, bias, packed)


def linear_reference(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """The same product in float64, as plain torch. x: (..., K); weight: (N, K); returns (..., N) float64."""
    out = x.double() @ weight.double().t()
    return out if bias is None else out + bias.double()
