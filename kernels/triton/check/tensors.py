"""Inputs of a check, and the count of numbers that differ."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from kernels.triton.check.findings import Bits
from kernels.triton.check.sizes import DTYPE_NAMES
from kernels.triton.runtime import DEVICE

BITS = {2: torch.int16, 4: torch.int32}


class Draws:
    """Tensors of normal numbers on the device, the same ones every time."""

    def __init__(self, seed: int = 0):
        self._generator = torch.Generator(DEVICE).manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
        """Of standard deviation `scale`."""
        return torch.empty(shape, dtype=dtype, device=DEVICE).normal_(0, scale, generator=self._generator)

    def below(self, limit: int, count: int) -> torch.Tensor:
        """(count,) int64."""
        return torch.randint(limit, (count,), generator=self._generator, device=DEVICE)


def windows(num_rows: int, counts: Iterable[int]) -> Iterator[slice]:
    """For every count that fits, so many rows at the front, at the end and in between."""
    for count in counts:
        room = num_rows - count
        if room >= 0:
            yield from (slice(start, start + count) for start in sorted({0, count * 37 % (room + 1), room}))


def num_differing(mine: torch.Tensor, expected: torch.Tensor) -> int:
    """How many numbers differ in any bit or are NaN. Raises ValueError where shapes or dtypes differ."""
    if mine.shape != expected.shape or mine.dtype != expected.dtype:
        raise ValueError(
            f"{tuple(mine.shape)} {mine.dtype} cannot be compared with {tuple(expected.shape)} {expected.dtype}"
        )
    as_bits = BITS[mine.element_size()]
    return int(((mine.view(as_bits) != expected.view(as_bits)) | mine.isnan()).sum())


def compare(op: str, dtype: torch.dtype, case: str, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Bits:
    """The finding over all pairs."""
    compared = differ = 0
    for mine, expected in pairs:
        compared += expected.numel()
        differ += num_differing(mine, expected)
    return Bits(op, DTYPE_NAMES[dtype], case, compared, differ)


@contextmanager
def unwritten_is_nan() -> Iterator[None]:
    """Inside, fresh memory is filled with NaN, so that an output a kernel forgets cannot pass for the right one.

    torch does that in its deterministic mode, which is asked only to warn of its own ops; those warnings are dropped.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
