"""Certification: is a canonical op row-independent on this machine, for the shapes the model really has?

That libraries give a row the same bits whatever the batch is a property seen, not promised. So it is checked at
start-up over row counts, row positions and thread counts, and the fastest implementation that holds is chosen.
"""

import os
from collections.abc import Iterable

import torch

from kernels.linear import CANDIDATES, LinearPlan, PackedWeight

ROW_COUNTS = (*range(1, 18), 24, 31, 32, 33, 47, 63, 64, 65, 95, 96, 127, 128, 129, 200, 255, 256, 257, 384, 511)
NUM_ROWS = 768


class CertificationError(RuntimeError):
    """No implementation of a canonical op gives a row the same bits in every batch. Exit status 2."""


def certify_linear(
    shapes: Iterable[tuple[int, int]],
    dtype: torch.dtype,
    candidates: Iterable[LinearPlan] = CANDIDATES,
    row_counts: Iterable[int] = ROW_COUNTS,
) -> LinearPlan:
    """The first candidate whose rows keep their bits for every shape (N, K) of the model.

    Raises CertificationError when none does.
    """
    distinct, counts = sorted(set(shapes)), tuple(row_counts)
    for plan in candidates:
        if all(rows_are_independent(plan, shape, dtype, counts) for shape in distinct):
            return plan
    raise CertificationError(
        f"no linear implementation is batch-invariant in {dtype} on this machine for shapes {distinct}; {remedy(dtype)}"
    )


def remedy(dtype: torch.dtype) -> str:
    """What to do where nothing is batch-invariant in `dtype`."""
    return "set trainer.dtype to float32" if dtype == torch.bfloat16 else "take another machine or another model"


def rows_are_independent(
    plan: LinearPlan, shape: tuple[int, int], dtype: torch.dtype, row_counts: tuple[int, ...] = ROW_COUNTS
) -> bool:
    """True when each row of a product keeps its bits over row counts, row positions and thread counts.

    False also where the implementation does not exist for this dtype on this machine.
    """
    generator = torch.Generator().manual_seed(0)
    num_columns, depth = shape
    weight = (torch.randn(num_columns, depth, generator=generator) * depth**-0.5).to(dtype)
    rows = torch.randn(NUM_ROWS, depth, generator=generator).to(dtype)
    try:
        packed = PackedWeight(weight, plan)
    except RuntimeError:
        return False
    expected = packed(rows)
    return all(_same_bits(packed, rows, expected, count) for count in row_counts) and _free_of_threads(
        packed, rows, expected
    )


def _same_bits(packed: PackedWeight, rows: torch.Tensor, expected: torch.Tensor, count: int) -> bool:
    start = count * 37 % (NUM_ROWS - count + 1)
    return torch.equal(packed(rows[start : start + count]), expected[start : start + count])


def _free_of_threads(packed: PackedWeight, rows: torch.Tensor, expected: torch.Tensor) -> bool:
    threads = torch.get_num_threads()
    try:
        for num_threads in {1, os.cpu_count() or 1} - {threads}:
            torch.set_num_threads(num_threads)
            if not all(_same_bits(packed, rows, expected, count) for count in (1, 7, 64, 257)):
                return False
    finally:
        torch.set_num_threads(threads)
    return True
