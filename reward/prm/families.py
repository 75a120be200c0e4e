"""What the outputs of a PRM's head mean: a family of distributions of the success probability, and how it is fitted.

| name         | the head puts out                              | it learns by                                    |
|--------------|------------------------------------------------|-------------------------------------------------|
| `beta`       | a Beta density with atoms at 0 and 1           | the marginal likelihood of the count            |
| `pinball`    | the quantiles (the paper's head)               | the pinball loss of the share                   |
| `hard_label` | one probability (Math-Shepherd's PRM)          | cross-entropy with "any rollout came out right" |

`beta` is the default: its quantiles are those of the probability, those of `pinball` of the probability with the
binomial noise of its estimate. `hard_label` is what an uncalibrated PRM is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from reward.prm import density
from reward.prm.losses import any_success, count_likelihood, pinball
from reward.prm.nearest import nearest
from reward.prm.quantiles import ascending, between, require_levels

Tensor = torch.Tensor


class Family(Protocol):
    """Functions of (R, P) parameters, a row for each place, and of nothing else in a row but its own parameters."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles that are asked for by default."""
        ...

    @property
    def num_parameters(self) -> int:
        """P"""
        ...

    def loss(self, parameters: Tensor, successes: Tensor, trials: Tensor) -> Tensor:
        """(R,) of places where `successes` of `trials` rollouts, (R,) each, came out right."""
        ...

    def quantiles(self, parameters: Tensor, levels: Sequence[float] | None = None) -> Tensor:
        """(R, levels) in [0, 1], never crossing."""
        ...

    def mean(self, parameters: Tensor) -> Tensor:
        """(R,) the expected success probability."""
        ...


@dataclass(frozen=True)
class BetaWithAtoms:
    """See `reward.prm.density`."""

    levels: tuple[float, ...]
    num_parameters: int = density.NUM_PARAMETERS

    def loss(self, parameters: Tensor, successes: Tensor, trials: Tensor) -> Tensor:
        masses = density.log_masses(parameters)
        return count_likelihood(masses, density.points(masses.dtype), successes, trials)

    def quantiles(self, parameters: Tensor, levels: Sequence[float] | None = None) -> Tensor:
        masses = density.log_masses(parameters.double()).exp()
        return density.quantiles_of(masses, levels or self.levels).to(parameters.dtype)

    def mean(self, parameters: Tensor) -> Tensor:
        return density.mean_of(density.log_masses(parameters.double()).exp()).to(parameters.dtype)


@dataclass(frozen=True)
class PinballQuantiles:
    """Quantiles at `levels`, monotone by construction; between them in proportion, outside them the nearest."""

    levels: tuple[float, ...]

    @property
    def num_parameters(self) -> int:
        return len(self.levels)

    def loss(self, parameters: Tensor, successes: Tensor, trials: Tensor) -> Tensor:
        return pinball(ascending(parameters), (successes / trials).to(parameters.dtype), self.levels)

    def quantiles(self, parameters: Tensor, levels: Sequence[float] | None = None) -> Tensor:
        own = ascending(parameters)
        return own if levels is None else between(own, self.levels, levels)

    def mean(self, parameters: Tensor) -> Tensor:
        """The area under the quantile function."""
        own = ascending(parameters)
        widths = torch.tensor([0.0, *self.levels, 1.0], dtype=own.dtype).diff()
        edges = torch.cat([own[:, :1], own, own[:, -1:]], -1)
        return ((edges[:, 1:] + edges[:, :-1]) / 2 * widths).sum(-1)


@dataclass(frozen=True)
class HardLabel:
    """One probability at every level: it does not say how sure it is."""

    levels: tuple[float, ...]
    num_parameters: int = 1

    def loss(self, parameters: Tensor, successes: Tensor, trials: Tensor) -> Tensor:
        return any_success(parameters[:, 0], successes)

    def quantiles(self, parameters: Tensor, levels: Sequence[float] | None = None) -> Tensor:
        return parameters.sigmoid().expand(-1, len(levels or self.levels))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[:, 0].sigmoid()


FAMILIES: dict[str, type[BetaWithAtoms] | type[PinballQuantiles] | type[HardLabel]] = {
    "beta": BetaWithAtoms,
    "pinball": PinballQuantiles,
    "hard_label": HardLabel,
}


def make_family(name: str, levels: Sequence[float]) -> Family:
    """The family called `name`. Raises ValueError for another name, or for levels that are none."""
    if name not in FAMILIES:
        raise ValueError(f"no family is called {name!r}{nearest(name, FAMILIES)}; there are {', '.join(FAMILIES)}")
    return FAMILIES[name](require_levels(levels))
