"""Canonical sums, norms and digests of gradients: free of world size, micro-batches in flight and thread counts."""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

NORM_ROWS = 4096
"""Elements of a row of the norm."""
ROWS_AT_ONCE = 32
"""Rows whose float64 squares are held at the same time; few enough to stay in a cache."""
CHUNK = 16 * NORM_ROWS
"""Elements of a chunk of the digest."""


@dataclass
class TreeSum:
    """Sums a power of two of equally shaped tensors as one fixed binary tree, holding at most log2(n) + 1 of them.

    `((a + b) + (c + d))`, whoever holds which: a rank sums its own shards, and goes on with the subtotals of all ranks.
    None stands for a term of zeros that need not be formed; a sum of nothing else is None.
    """

    _levels: list[tuple[int, torch.Tensor | None]] = field(default_factory=list)

    def add(self, term: torch.Tensor | None) -> None:
        """Nothing; takes `term` over, and may write to it."""
        level = 0
        while self._levels and self._levels[-1][0] == level:
            _, earlier = self._levels.pop()
            term = earlier if term is None else term if earlier is None else earlier.add_(term)
            level += 1
        self._levels.append((level, term))

    def total(self) -> torch.Tensor | None:
        """The sum. Raises ValueError unless a power of two of terms was added."""
        if len(self._levels) != 1:
            raise ValueError("a binary tree sums a power of two of terms; set trainer.num_shards to one")
        return self._levels[0][1]


def tree_sum(terms: list[torch.Tensor]) -> torch.Tensor:
    """The terms summed as a `TreeSum`; some are overwritten."""
    tree = TreeSum()
    for term in terms:
        tree.add(term)
    total = tree.total()
    assert total is not None
    return total


def global_norm(flat: torch.Tensor) -> float:
    """Euclidean norm of a flat fp32 tensor, as an fp32 value, whatever the number of threads.

    Rows of fixed length are summed in float64, each by one thread; `math.fsum` adds the row sums exactly.
    """
    return norm_of_rows(row_sums(flat).tolist())


def row_sums(flat: torch.Tensor) -> torch.Tensor:
    """(ceil(n / NORM_ROWS),) float64: sums of squares of the rows of a flat (n,) tensor; the last row may be short."""
    num_whole = flat.numel() // NORM_ROWS * NORM_ROWS
    rows = flat[:num_whole].view(-1, NORM_ROWS)
    sums = [some.double().square_().sum(1) for some in rows.split(ROWS_AT_ONCE)]
    if num_whole < flat.numel():
        sums.append(flat[num_whole:].double().square().sum().view(1))
    return torch.cat(sums)


def norm_of_rows(sums: list[float]) -> float:
    """The Euclidean norm, as an fp32 value, of that of which `sums` are the `row_sums`."""
    return float(torch.tensor(math.sqrt(math.fsum(sums)), dtype=torch.float32))


def gradient_digest(flat: torch.Tensor) -> str:
    """sha256 hex over the sha256 of each chunk of a flat tensor, the last chunk as long as it is."""
    return digest_of_chunks(chunk_digests(flat))


def chunk_digests(flat: torch.Tensor) -> torch.Tensor:
    """(ceil(n / CHUNK), 32) uint8: sha256 over the bytes of each chunk of a flat (n,) tensor, hashed in parallel."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        digests = b"".join(threads.map(_sha256, flat.split(CHUNK)) if len(flat) else [])
    return torch.tensor(list(digests), dtype=torch.uint8, device=flat.device).view(-1, 32)


def digest_of_chunks(digests: torch.Tensor) -> str:
    """sha256 hex over the `chunk_digests` of a whole flat tensor."""
    return _sha256(digests).hex()


def _sha256(tensor: torch.Tensor) -> bytes:
    return hashlib.sha256(tensor.cpu().contiguous().view(torch.uint8).numpy().data).digest()


def clip_factor(norm: float, max_norm: float) -> float:
    """What to multiply a gradient of this norm with so that it is no longer than `max_norm`; 1.0 leaves it alone."""
    return 1.0 if norm <= max_norm else max_norm / (norm + 1e-6)
