"""Canonical sums and norms of gradients: fixed order, free of world size, micro-batches in flight and thread counts."""

import math
from dataclasses import dataclass, field

import torch

NORM_ROWS = 4096


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
    whole = flat.numel() // NORM_ROWS * NORM_ROWS
    rows = flat[:whole].view(-1, NORM_ROWS)
    sums = [float(part) for chunk in rows.split(4096) for part in chunk.double().square_().sum(1)]
    sums.append(float(flat[whole:].double().square().sum()))
    return float(torch.tensor(math.sqrt(math.fsum(sums)), dtype=torch.float32))


def clip_factor(norm: float, max_norm: float) -> float:
    """What to multiply a gradient of this norm with so that it is no longer than `max_norm`; 1.0 leaves it alone."""
    return 1.0 if norm <= max_norm else max_norm / (norm + 1e-6)
