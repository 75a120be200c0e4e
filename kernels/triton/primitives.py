"""What the kernels are made of: conversions, a dot and a tanh that also hold in the interpreter, and a sum whose order
is written down.

Triton's interpreter keeps bf16 numbers as 16-bit integers: its `tl.dot` multiplies those integers, and its conversion
from fp32 cuts mantissas off instead of rounding them. In fp32 its `tl.dot` is a matrix product of numpy's, whose rows
depend on where they stand. The functions here go around all three; on a GPU they are the plain Triton operations.
"""

import triton
import triton.language as tl

from kernels.triton.runtime import INTERPRETED


@triton.jit
def widen(x):  # type: ignore[no-untyped-def]
    """x (bf16 or fp32) as fp32, exactly."""
    if INTERPRETED and x.dtype == tl.bfloat16:
        wide = (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        wide = x.to(tl.float32)
    return wide


@triton.jit
def narrow(x, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """x (fp32) in `dtype` (tl.bfloat16 or tl.float32), rounded to nearest, ties to even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = bits + 0x7FFF + ((bits >> 16) & 1)
        narrowed = (bits >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        narrowed = x.to(dtype)
    return narrowed


@triton.jit
def rounded(x, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """x (fp32) as fp32 with the precision of `dtype`: what storing and loading it would leave."""
    return widen(narrow(x, dtype))


@triton.jit
def dot(a, b, acc):  # type: ignore[no-untyped-def]
    """acc + a @ b in fp32, never TF32. a: (M, K) and b: (K, N) of one dtype, bf16 or fp32; acc: (M, N) fp32."""
    if INTERPRETED:
        added = acc + tl.sum(widen(a)[:, :, None] * widen(b)[None, :, :], 1)
    else:
        added = tl.dot(a, b, acc, input_precision="ieee")
    return added


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh of fp32 numbers to a few units in the last place.

    Triton has none of its own, and that of libdevice does not exist in the interpreter.
    """
    shrunk = tl.exp(-2.0 * tl.abs(x))
    far = tl.div_rn(1.0 - shrunk, 1.0 + shrunk)
    square = x * x  # near 0 the difference above cancels; the series is right to 2^-26 below 1/4
    series = -17.0 / 315 + square * (62.0 / 2835)
    series = 2.0 / 15 + square * series
    near = x + x * square * (-1.0 / 3 + square * series)
    return tl.where(tl.abs(x) < 0.25, near, tl.where(x < 0, -far, far))


@triton.jit
def tree_sum(x, LEVELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sum of 2^LEVELS fp32 numbers: neighbours are added, then neighbouring sums, to the last.

    `tl.sum` adds in an order that follows how numbers lie in threads, and that follows the alignment of the memory
    they were loaded from. A sum over two numbers has one order only, so these bits depend on the numbers alone.
    """
    for level in tl.static_range(LEVELS):
        x = tl.sum(tl.reshape(x, (1 << (LEVELS - level - 1), 2)), 1)
    return tl.sum(x, 0)
