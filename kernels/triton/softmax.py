"""The softmax of rows of logits on CUDA: what normalises a row, the row itself, and its gradient.

A row is read once, in tiles of the vocabulary from 0 on. Each lane of a tile keeps a running maximum and the sums that
belong to it, in fp32; at the end the lanes are added along a fixed tree. A second pass, over a token, over the whole
row or for the gradient, subtracts what the first one found. Every step is elementwise or has a written-down order, so
the bits of a row depend neither on the batch nor on how its memory is aligned.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from kernels.logprobs import LogitTransform
from kernels.triton.primitives import narrow, rounded, tanh, tree_sum, widen

LANES = 1024
"""Width of a vocabulary tile, a power of two: decides which logits are added together."""


@triton.jit
def _transformed(logits, MULTIPLIER: tl.constexpr, DIVISOR: tl.constexpr, SOFT_CAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """`LogitTransform` of logits, as fp32: each step rounds to the logits' own dtype."""
    x = widen(logits)
    if MULTIPLIER != 1.0:
        x = rounded(x * MULTIPLIER, logits.dtype)
    if DIVISOR != 1.0:
        x = rounded(tl.div_rn(x, DIVISOR), logits.dtype)
    if SOFT_CAP != 0.0:
        x = rounded(tl.div_rn(x, SOFT_CAP), logits.dtype)
        x = rounded(tanh(x), logits.dtype)
        x = rounded(x * SOFT_CAP, logits.dtype)
    return x


@triton.jit
def _scaled(x, temperatures, row):  # type: ignore[no-untyped-def]
    """x / temperature of its row; `temperatures` is None where it is 1 everywhere."""
    if temperatures is not None:
        x = tl.div_rn(x, tl.load(temperatures + row))
    return x


@triton.jit
def _normalise(  # type: ignore[no-untyped-def]
    logits, stride, temperatures, tokens, maxima, log_sums, logprobs, entropies,
    SIZE: tl.constexpr, MULTIPLIER: tl.constexpr, DIVISOR: tl.constexpr, SOFT_CAP: tl.constexpr,
    LANES: tl.constexpr, LEVELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    lane = tl.arange(0, LANES)
    largest = tl.full((LANES,), -3e38, tl.float32)  # not -inf: a difference of two must be a number
    sums = tl.zeros((LANES,), dtype=tl.float32)
    moments = tl.zeros((LANES,), dtype=tl.float32)  # sum of weight · (x - largest), for the entropy
    for start in range(0, SIZE, LANES):
        has = start + lane < SIZE
        x = _transformed(tl.load(logits + start + lane, mask=has, other=0.0), MULTIPLIER, DIVISOR, SOFT_CAP)
        x = tl.where(has, _scaled(x, temperatures, row), -float("inf"))
        larger = tl.maximum(largest, x)
        shrink = tl.exp(largest - larger)
        weight = tl.exp(x - larger)
        moments = shrink * (moments + (largest - larger) * sums) + weight * tl.where(weight > 0, x - larger, 0.0)
        sums = shrink * sums + weight
        largest = larger
    top = tl.max(largest, 0)
    shrink = tl.exp(largest - top)
    moment = tree_sum(shrink * (moments + (largest - top) * sums), LEVELS)
    total = tree_sum(shrink * sums, LEVELS)
    log_sum = tl.log(total)
    tl.store(maxima + row, top)
    tl.store(log_sums + row, log_sum)
    tl.store(entropies + row, log_sum - tl.div_rn(moment, total))
    if tokens is not None:
        chosen = _transformed(tl.load(logits + tl.load(tokens + row)), MULTIPLIER, DIVISOR, SOFT_CAP)
        tl.store(logprobs + row, (_scaled(chosen, temperatures, row) - top) - log_sum)


@triton.jit
def _whole_row(  # type: ignore[no-untyped-def]
    logits, stride, temperatures, maxima, log_sums, out,
    SIZE: tl.constexpr, MULTIPLIER: tl.constexpr, DIVISOR: tl.constexpr, SOFT_CAP: tl.constexpr,
    LANES: tl.constexpr, LEVELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * LANES + tl.arange(0, LANES)
    has = place < SIZE
    x = _transformed(tl.load(logits + row * stride + place, mask=has, other=0.0), MULTIPLIER, DIVISOR, SOFT_CAP)
    x = (_scaled(x, temperatures, row) - tl.load(maxima + row)) - tl.load(log_sums + row)
    tl.store(out + row * SIZE + place, x, mask=has)


@triton.jit
def _gradient(  # type: ignore[no-untyped-def]
    logits, stride, temperatures, tokens, maxima, log_sums, grad_logprobs, grad_logits,
    SIZE: tl.constexpr, MULTIPLIER: tl.constexpr, DIVISOR: tl.constexpr, SOFT_CAP: tl.constexpr,
    LANES: tl.constexpr, LEVELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * LANES + tl.arange(0, LANES)
    has = place < SIZE
    behind = _transformed(tl.load(logits + row * stride + place, mask=has, other=0.0), MULTIPLIER, DIVISOR, SOFT_CAP)
    x = (_scaled(behind, temperatures, row) - tl.load(maxima + row)) - tl.load(log_sums + row)
    # d logprob / d logit = (1[token] - p) / temperature
    grad = tl.where(place == tl.load(tokens + row), 1.0, 0.0) - tl.exp(x)
    grad = grad * _scaled(tl.load(grad_logprobs + row), temperatures, row)
    if SOFT_CAP != 0.0:
        tangent = tl.div_rn(behind, SOFT_CAP)
        grad = grad * (1.0 - tangent * tangent)  # d tanh = 1 - tanh²
    grad = grad * (MULTIPLIER / DIVISOR)
    tl.store(grad_logits + row * SIZE + place, narrow(grad, grad_logits.dtype.element_ty), mask=has)


@dataclass(frozen=True)
class Rows:
    """Rows of logits and what normalises them: fp32, one for each row."""

    logits: torch.Tensor
    temperatures: torch.Tensor | None
    transform: LogitTransform
    maxima: torch.Tensor
    log_sums: torch.Tensor

    @property
    def tiles(self) -> tuple[int, int]:
        """The grid of a pass over every logit."""
        return self.logits.shape[0], triton.cdiv(self.logits.shape[1], LANES)

    def log_probabilities(self) -> torch.Tensor:
        """(rows, vocabulary) fp32."""
        out = torch.empty(self.logits.shape, dtype=torch.float32, device=self.logits.device)
        _whole_row[self.tiles](
            self.logits, self.logits.stride(0), self.temperatures, self.maxima, self.log_sums, out,
            **_meta(self.logits, self.transform),
        )  # fmt: skip
        return out

    def gradient(self, tokens: torch.Tensor, grad_logprobs: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`out`, filled with the gradient of the logits; contiguous, and may be the logits' own memory."""
        _gradient[self.tiles](
            self.logits, self.logits.stride(0), self.temperatures, tokens, self.maxima, self.log_sums,
            grad_logprobs.contiguous(), out, **_meta(self.logits, self.transform),
        )  # fmt: skip
        return out


def normalised(
    logits: torch.Tensor,
    temperature: float | torch.Tensor,
    transform: LogitTransform,
    tokens: torch.Tensor | None = None,
) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    """The rows, the log-probabilities of `tokens` (undefined without them), and the entropies, each (rows,) fp32."""
    maxima, log_sums, logprobs, entropies = torch.empty(4, logits.shape[0], dtype=torch.float32, device=logits.device)
    rows = Rows(logits, per_row(logits, temperature), transform, maxima, log_sums)
    _normalise[(logits.shape[0],)](
        logits, logits.stride(0), rows.temperatures, tokens, maxima, log_sums, logprobs, entropies,
        **_meta(logits, transform),
    )  # fmt: skip
    return rows, logprobs, entropies


def per_row(logits: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor | None:
    """(rows,) fp32, or None for 1: x / 1 is x, at the price of a division for each logit."""
    if isinstance(temperature, torch.Tensor):
        return temperature.to(logits.device, torch.float32).reshape(logits.shape[0]).contiguous()
    if temperature == 1:
        return None
    return torch.full((logits.shape[0],), temperature, dtype=torch.float32, device=logits.device)


def _meta(logits: torch.Tensor, transform: LogitTransform) -> dict[str, int | float | bool]:
    """What the kernels are compiled for. Contracting a product and a sum into one rounding is left to nobody."""
    return {
        "SIZE": logits.shape[1],
        "MULTIPLIER": transform.multiplier,
        "DIVISOR": transform.divisor,
        "SOFT_CAP": transform.soft_cap,
        "LANES": LANES,
        "LEVELS": LANES.bit_length() - 1,
        "num_warps": 4,
        "enable_fp_fusion": False,
    }
