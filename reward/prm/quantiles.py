"""Quantiles as a head puts them out: levels that are checked, rows that cannot cross."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch.nn import functional


def require_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels. Raises ValueError unless there is one, and they ascend strictly inside (0, 1)."""
    if not levels:
        raise ValueError("quantile levels must be one at least, got none; the usual ones are 0.1, 0.5, 0.9")
    outside = [level for level in levels if not 0 < level < 1]
    if outside:
        raise ValueError(f"quantile levels must be strictly between 0 and 1, got {outside[0]}")
    if any(low >= high for low, high in pairwise(levels)):
        raise ValueError(f"quantile levels must ascend, got {', '.join(map(str, levels))}")
    return tuple(float(level) for level in levels)


def ascending(parameters: torch.Tensor) -> torch.Tensor:
    """(R, L) values in (0, 1) that do not fall along a row: sigmoid of z, z + softplus(a2), z + softplus(a2) + …

    parameters: (R, L), z and then the a.
    """
    first, steps = parameters[:, :1], functional.softplus(parameters[:, 1:])
    return torch.cat([first, first + steps.cumsum(-1)], -1).sigmoid()


def between(quantiles: torch.Tensor, levels: Sequence[float], wanted: Sequence[float]) -> torch.Tensor:
    """(R, wanted) quantiles at other levels: in proportion between two that are there, outside them the nearest.

    quantiles: (R, L) at `levels`.
    """
    known = torch.tensor(levels, dtype=quantiles.dtype)
    asked = torch.tensor(wanted, dtype=quantiles.dtype).clamp(known[0], known[-1])
    right = torch.searchsorted(known, asked).clamp(min=min(1, len(levels) - 1))
    left = (right - 1).clamp(min=0)
    width = (known[right] - known[left]).clamp_min(torch.finfo(known.dtype).tiny)
    share = ((asked - known[left]) / width).clamp(0, 1)
    return quantiles[:, left] + share * (quantiles[:, right] - quantiles[:, left])
