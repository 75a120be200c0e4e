"""Orders that follow from a key alone, by counting instead of rolling: nothing to save, nothing to restore."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from rollout.draws import philox4x32


def permutation(key: str, size: int) -> npt.NDArray[np.int64]:
    """(size,) int64: the numbers below `size`, shuffled.

    Each number is given 64 random bits, Philox4x32-10 of its own value under the key's hash, and sorted by them.
    """
    counter = np.zeros((size, 4), np.uint32)
    counter[:, 0] = np.arange(size)
    words = philox4x32(counter, np.tile(_words(key), (size, 1)))
    draws = words[:, 0].astype(np.uint64) << np.uint64(32) | words[:, 1]
    return np.argsort(draws, kind="stable")


def ranked(keys: Iterable[str], seed: str) -> list[str]:
    """The different `keys` in an order that follows from them and the seed, wherever they stood before."""
    return sorted(set(keys), key=lambda key: hashlib.sha256(f"{seed}/{key}".encode()).digest())


def _words(key: str) -> npt.NDArray[np.uint32]:
    """(2,) uint32."""
    return np.frombuffer(hashlib.sha256(key.encode()).digest()[:8], "<u4").astype(np.uint32)
