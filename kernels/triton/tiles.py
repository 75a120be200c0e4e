"""How a product is cut into tiles: chosen once for a shape and a dtype.

The number of rows may choose between two blocks, because a decode step and a training batch want different ones, and
it may only where certification has seen both give a row the same bits (`kernels.triton.certify`).
"""

from dataclasses import dataclass, replace

import torch

FEW_ROWS = 64
"""Up to here a product waits for the weight's bytes, and small blocks keep more of the device reading them."""
BUSY = 128
"""Programs that keep a large GPU busy: it has about as many multiprocessors."""
WIDE = 8192
"""Columns from which on a product fills the device with large blocks."""
SMALLEST = 16
"""The least that `tl.dot` takes in each direction on every GPU."""


@dataclass(frozen=True)
class Block:
    """What one program computes: a tile of the result, all of K."""

    rows: int
    columns: int
    num_warps: int
    num_stages: int
    """Tiles along K that are on their way from memory at once."""


@dataclass(frozen=True)
class Tiles:
    """The blocks of one product."""

    depth: int
    """K is walked from 0 in steps of it, in order, by every block."""
    few: Block
    many: Block
    few_rows: int = FEW_ROWS
    """`few` computes products of at most so many rows, `many` all others."""

    def block(self, num_rows: int) -> Block:
        """The block for a product of `num_rows` rows."""
        return self.few if num_rows <= self.few_rows else self.many

    @property
    def one_block(self) -> "Tiles":
        """The same with `many` for every number of rows."""
        return replace(self, few=self.many)


def choose_tiles(num_columns: int, depth: int, dtype: torch.dtype) -> Tiles:
    """The tiles for a weight (num_columns, depth) of `dtype`. They fit the shared memory of every GPU since Ampere."""
    few = Block(SMALLEST, _few_columns(num_columns), num_warps=4, num_stages=4)
    many = Block(64, 64, num_warps=4, num_stages=3)
    if num_columns >= WIDE:
        many = Block(128, 128, num_warps=8, num_stages=3)
    return Tiles(_depth_step(depth, dtype), few, many)


def _few_columns(num_columns: int) -> int:
    """The widest tile that still makes enough programs out of one row of tiles."""
    return next((width for width in (128, 64, 32) if num_columns >= width * BUSY), SMALLEST)


def _depth_step(depth: int, dtype: torch.dtype) -> int:
    """128 bytes of a row, or all of a short one."""
    return max(SMALLEST, min(128 // dtype.itemsize, 1 << (depth - 1).bit_length()))
