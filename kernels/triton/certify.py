"""Certification on the device at hand: do rows of a product keep their bits, and do both blocks agree on them?

Which instruction multiplies a tile is the compiler's choice and differs between blocks; whether two instructions add
in the same order is a property of the hardware, seen and not promised.
"""

from collections.abc import Iterable

import torch

from kernels.certify import ROW_COUNTS, CertificationError, remedy
from kernels.triton.linear import product
from kernels.triton.runtime import DEVICE
from kernels.triton.tiles import Tiles, choose_tiles

NUM_ROWS = 768
Shape = tuple[int, int]
"""(N, K) of a weight."""


def certify_tiles(
    shapes: Iterable[Shape], dtype: torch.dtype, row_counts: Iterable[int] = ROW_COUNTS, num_rows: int = NUM_ROWS
) -> dict[Shape, Tiles]:
    """The tiles to multiply by each weight with: two blocks where they give the same bits, otherwise one for all.

    row_counts: how many rows are multiplied at once, each at most num_rows. Raises CertificationError for a shape
    whose rows keep their bits with neither.
    """
    counts = tuple(row_counts)
    return {shape: _first_that_holds(shape, dtype, counts, num_rows) for shape in sorted(set(shapes))}


def _first_that_holds(shape: Shape, dtype: torch.dtype, row_counts: tuple[int, ...], num_rows: int) -> Tiles:
    chosen = choose_tiles(*shape, dtype)
    for tiles in (chosen, chosen.one_block):
        if rows_are_independent(tiles, shape, dtype, row_counts, num_rows):
            return tiles
    raise CertificationError(
        f"the Triton product is not batch-invariant in {dtype} on this device for the shape {shape}; {remedy(dtype)}"
    )


def rows_are_independent(
    tiles: Tiles,
    shape: Shape,
    dtype: torch.dtype,
    row_counts: tuple[int, ...] = ROW_COUNTS,
    num_rows: int = NUM_ROWS,
) -> bool:
    """True when each row of a product keeps its bits over row counts, row positions and both blocks.

    Row counts up to `tiles.few_rows` are formed by one block and held against the other's bits.
    """
    generator = torch.Generator().manual_seed(0)
    num_columns, depth = shape
    weight = (torch.randn(num_columns, depth, generator=generator) * depth**-0.5).to(DEVICE, dtype)
    rows = torch.randn(num_rows, depth, generator=generator).to(DEVICE, dtype)
    expected = product(rows, weight, None, tiles)
    return all(_same_bits(rows, weight, expected, count, tiles) for count in row_counts)


def _same_bits(rows: torch.Tensor, weight: torch.Tensor, expected: torch.Tensor, count: int, tiles: Tiles) -> bool:
    start = count * 37 % (len(rows) - count + 1)
    some = slice(start, start + count)
    return torch.equal(product(rows[some], weight, None, tiles), expected[some])
