"""How attention is cut into tiles, and what all its kernels do with one: load it, score it, see what a query may see.

A program's rows are the query heads that read one kv head, token after token: row r of a tile is token r // group and
head r % group of the group. So a decode step of a model with grouped heads reads each key once, and how heads share a
program follows from the model alone.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from kernels.triton.primitives import dot, tanh

SPLIT_KEYS = 512
"""Keys of a split: enough of them for a decode step to fill a GPU, few enough for their partial results to be cheap."""
SMALLEST_TILE = 16
"""Rows or columns a matrix unit takes at the least."""
LAUNCH = {"num_stages": 2, "enable_fp_fusion": False}
"""Products and sums outside of a matrix product are never contracted: which ones would be is the compiler's choice."""


@dataclass(frozen=True)
class Tiles:
    """The sizes that decide how a row is summed, and the shape of the programs that do it.

    `keys` and `split` are the order of the sum. `rows` and `num_warps` pick the machine code, which is free to lay
    numbers out differently for another shape: all four are part of the contract, and none may follow the load.
    """

    rows: int
    """Query rows of a program, heads counted; a power of two."""
    keys: int
    """Keys taken in one go; a power of two."""
    split: int
    """Keys whose partial result is computed on its own; a multiple of `keys`."""
    num_warps: int = 4

    def __post_init__(self) -> None:
        for name in ("rows", "keys"):
            size = getattr(self, name)
            if size < SMALLEST_TILE or size & (size - 1):
                raise ValueError(
                    f"{name} of an attention tile must be a power of two from {SMALLEST_TILE} on, got {size}"
                )
        if self.split <= 0 or self.split % self.keys:
            raise ValueError(f"split must be a positive multiple of keys = {self.keys}, got {self.split}")

    def tokens(self, group: int) -> int:
        """Query tokens of a program whose kv head is read by `group` query heads."""
        if group > self.rows:
            raise ValueError(f"{group} query heads of a kv head do not fit an attention tile of {self.rows} rows")
        return self.rows // group


def canonical_tiles(dtype: torch.dtype, head_dim: int, group: int) -> Tiles:
    """The tiles of the contract. group: query heads of a kv head.

    64 rows are as many as Hopper's matrix unit takes at once; a decode step, which fills few of them, waits for its
    keys to arrive in any case. fp32 is multiplied without a matrix unit, in smaller tiles.
    """
    size = 64 if dtype == torch.bfloat16 else 32
    num_warps = 4 if dtype == torch.bfloat16 and head_dim <= 128 else 8  # fewer would spill registers
    return Tiles(max(size, triton.next_power_of_2(group)), size, SPLIT_KEYS, num_warps)


def padded_dim(head_dim: int) -> int:
    """The width of a tile that holds a head."""
    return max(SMALLEST_TILE, triton.next_power_of_2(head_dim))


@triton.jit
def load_tile(base, offsets, exists, HEAD_DIM: tl.constexpr, DIM: tl.constexpr):  # type: ignore[no-untyped-def]
    """(len(offsets), DIM) numbers from `base + offsets` on, zeros where nothing exists and beyond HEAD_DIM."""
    dim = tl.arange(0, DIM)
    mask = exists[:, None] & (dim < HEAD_DIM)[None, :]
    return tl.load(base + offsets[:, None] + dim[None, :], mask=mask, other=0.0)


@triton.jit
def store_tile(base, offsets, exists, tile, HEAD_DIM: tl.constexpr, DIM: tl.constexpr):  # type: ignore[no-untyped-def]
    """The counterpart of `load_tile`."""
    dim = tl.arange(0, DIM)
    tl.store(base + offsets[:, None] + dim[None, :], tile, mask=exists[:, None] & (dim < HEAD_DIM)[None, :])


@triton.jit
def scores_of(a, b, scale, soft_cap, M: tl.constexpr, N: tl.constexpr, CAPPED: tl.constexpr):  # type: ignore[no-untyped-def]
    """(M, N) fp32: a · b, queries and keys, scaled and, if CAPPED, soft_cap · tanh(score / soft_cap)."""
    scores = dot(a, tl.trans(b), tl.zeros((M, N), tl.float32)) * scale
    if CAPPED:
        scores = soft_cap * tanh(scores / soft_cap)
    return scores


@triton.jit
def visible_keys(position, key, window, WINDOWED: tl.constexpr):  # type: ignore[no-untyped-def]
    """A query sees the keys up to its own position, the last `window` of them if WINDOWED. The two broadcast."""
    distance = position - key
    visible = distance >= 0
    if WINDOWED:
        visible = visible & (distance < window)
    return visible


@triton.jit
def first_key(position, window, KEYS: tl.constexpr, WINDOWED: tl.constexpr):  # type: ignore[no-untyped-def]
    """The first key of the first tile in which a query at `position` sees anything."""
    first = position * 0
    if WINDOWED:
        first = tl.maximum(position - window + 1, 0) // KEYS * KEYS
    return first
