"""The distribution of a success probability: a Beta density, and atoms at exactly 0 and exactly 1.

Prefixes that are lost and solutions that are finished have a probability of 0 or 1, and no Beta density has any mass
there. The density is held as masses of cells that are equal in the angle t of p = sin^2(pi t / 2), in which binomial
noise is the same everywhere; loss and quantiles are of the same masses, so nothing is approximated between them.

    masses    [ 0 | cell 1 | cell 2 | … | cell 128 | 1 ]
"""

import math
from collections.abc import Sequence
from functools import cache

import torch

NUM_CELLS = 128
MAX_LOG_CONCENTRATION = 7.0
"""Beyond it a Beta density is narrower than a cell."""
NUM_PARAMETERS = 4


def log_masses(parameters: torch.Tensor) -> torch.Tensor:
    """(R, NUM_CELLS + 2) log of the masses at 0, in the cells, and at 1; each row adds up to 1.

    parameters: (R, 4): logit of the Beta's mean, log of its concentration (alpha + beta), and the log-odds of the atoms
    at 0 and at 1 against it. Any real numbers will do.
    """
    mean = parameters[:, :1].sigmoid()
    concentration = (MAX_LOG_CONCENTRATION * (parameters[:, 1:2] / MAX_LOG_CONCENTRATION).tanh()).exp()
    cells = points(parameters.dtype)[1:-1]
    # dp is sqrt(p (1 - p)) dt, hence a half and not one.
    shape = (mean * concentration - 0.5) * cells.log() + ((1 - mean) * concentration - 0.5) * (1 - cells).log()
    zeros = torch.zeros_like(mean)
    at_zero, inside, at_one = (
        torch.cat([parameters[:, 2:3], zeros, parameters[:, 3:4]], -1).log_softmax(-1).split(1, -1)
    )
    return torch.cat([at_zero, shape.log_softmax(-1) + inside, at_one], -1)


@cache
def points(dtype: torch.dtype) -> torch.Tensor:
    """(NUM_CELLS + 2,) the probabilities at which the masses stand: 0, the middle of each cell, 1."""
    angles = (torch.arange(NUM_CELLS, dtype=torch.float64) + 0.5) / NUM_CELLS
    inside = (angles * math.pi / 2).sin().square()
    return torch.cat([torch.zeros(1, dtype=torch.float64), inside, torch.ones(1, dtype=torch.float64)]).to(dtype)


def mean_of(masses: torch.Tensor) -> torch.Tensor:
    """(R,) of distributions (R, NUM_CELLS + 2)."""
    return (masses * points(masses.dtype)).sum(-1)


def quantiles_of(masses: torch.Tensor, levels: Sequence[float]) -> torch.Tensor:
    """(R, levels): the smallest p up to which a distribution has the mass `level`; in a cell, in proportion.

    masses: (R, NUM_CELLS + 2). Non-decreasing along a row for ascending levels.
    """
    cumulated = masses.cumsum(-1)
    cumulated = cumulated / cumulated[:, -1:]
    asked = torch.tensor(levels, dtype=masses.dtype).expand(len(masses), -1).contiguous()
    at = torch.searchsorted(cumulated, asked).clamp(max=NUM_CELLS + 1)
    before = cumulated.gather(-1, (at - 1).clamp(min=0)) * (at > 0)
    inside = (asked - before) / masses.gather(-1, at).clamp_min(torch.finfo(masses.dtype).tiny)
    angle = ((at - 1 + inside.clamp(0, 1)) / NUM_CELLS).clamp(0, 1)
    angle = angle.masked_fill(at == 0, 0.0).masked_fill(at == NUM_CELLS + 1, 1.0)
    return (angle * math.pi / 2).sin().square()
