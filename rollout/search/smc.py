"""Power-SMC: N weighted particles instead of a chain, for the same target p^alpha over whole completions.

Sequential Monte Carlo with the targets of power sampling, p^alpha over completions of at most B, 2B, … T tokens, and
the proposal of temperature 1 / alpha, which of all proposals that see the prefix only has the least variable weights
(Chopin & Papaspiliopoulos, "An Introduction to Sequential Monte Carlo", 2020, algorithm 10.2). Every B tokens:

    weights     log W += sum of alpha log p - log q over the tokens drawn; a particle that has ended keeps its weight
    resampling  systematic, when the effective sample size (sum W)^2 / sum W^2 falls below kappa N; then W = mean W

One particle is handed back, drawn by its weight. The mean weight is an unbiased estimate of the target's normaliser;
the law of the particle handed back comes to the target with error of order 1 / N.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from rollout.search import streams
from rollout.search.checks import horizons, require, require_at_least_one, require_blocks, require_positive
from rollout.search.drawing import POLICY, Drawing, all_drawn_on
from rollout.search.meter import Meter
from rollout.search.metropolis import log_weights
from rollout.search.types import Outcome, Path, SearchResult, Task, Tools


@dataclass(frozen=True)
class SMCOutcome(Outcome):
    """A particle drawn by its weight."""

    log_normaliser: float
    """log of the estimate of the sum of p^alpha over all completions within the horizon."""
    num_resamplings: int


@dataclass(frozen=True)
class Particles:
    """The particles of one task."""

    paths: tuple[Path, ...]
    log_weights: npt.NDArray[np.float64]
    """(N,) not normalised; their mean is the estimate of the normaliser so far."""
    num_resamplings: int = 0

    @property
    def have_ended(self) -> bool:
        """Whether nothing is left to be drawn."""
        return all(path.has_ended for path in self.paths)


@dataclass(frozen=True, kw_only=True)
class PowerSMC:
    """`num_particles` particles a task."""

    alpha: float = 4.0
    num_particles: int = 16
    block_tokens: int = 32
    """Tokens between two looks at the weights."""
    max_new_tokens: int = 3072
    min_effective: float = 0.5
    """kappa: share of the particles below which the effective sample size leads to resampling."""
    proposal_temperature: float | None = None
    """None takes 1 / alpha."""

    def __post_init__(self) -> None:
        require_positive(alpha=self.alpha)
        require_positive(proposal_temperature=self.tau)
        require_blocks(self.block_tokens, self.max_new_tokens)
        require_at_least_one(num_particles=self.num_particles)
        require(0 <= self.min_effective <= 1, "min_effective", "from 0 to 1", self.min_effective)

    @property
    def tau(self) -> float:
        """Temperature of the proposal."""
        return 1 / self.alpha if self.proposal_temperature is None else self.proposal_temperature

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """An `SMCOutcome` per task."""
        meter = Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.tau, self.num_particles, POLICY)
        start = Particles((Path(),) * self.num_particles, np.zeros(self.num_particles))
        clouds = [start] * len(tasks)
        for block, horizon in enumerate(horizons(self.block_tokens, self.max_new_tokens)):
            if block:
                uniforms = streams.choices(tools.seed, tasks, f"smc/{block}/resampling", 1)
                clouds = [self.resampled(cloud, u) for cloud, (u,) in zip(clouds, uniforms, strict=True)]
            clouds = self._extended(clouds, horizon, drawing)
        picks = streams.choices(tools.seed, tasks, "smc/pick", 1)
        return meter.result([_outcome(i, task, clouds[i], picks[i][0], meter) for i, task in enumerate(tasks)])

    def _extended(self, clouds: Sequence[Particles], horizon: int, drawing: Drawing) -> list[Particles]:
        seed, size = drawing.tools.seed, self.num_particles
        draw = drawing.under(lambda task, member: streams.key(seed, task, "smc", member, size))
        paths = all_drawn_on([path for cloud in clouds for path in cloud.paths], horizon, draw)
        return [self.weighted(cloud, tuple(paths[i * size : (i + 1) * size])) for i, cloud in enumerate(clouds)]

    def weighted(self, before: Particles, paths: tuple[Path, ...]) -> Particles:
        """The particles with `paths`, which draw on from those before."""
        gains = [
            sum(log_weights(new, self.alpha, len(old.token_ids))) for old, new in zip(before.paths, paths, strict=True)
        ]
        return replace(before, paths=paths, log_weights=before.log_weights + gains)

    def resampled(self, cloud: Particles, uniform: float) -> Particles:
        """The particles after a look at their weights; once all have ended, weights say all there is to say."""
        weights = normalised(cloud.log_weights)
        if cloud.have_ended or effective_size(weights) >= self.min_effective * self.num_particles:
            return cloud
        ancestors = systematic_ancestors(weights, uniform)
        mean = float(logsumexp(cloud.log_weights)) - np.log(self.num_particles)
        return Particles(
            tuple(cloud.paths[i] for i in ancestors),
            np.full(self.num_particles, mean),
            cloud.num_resamplings + 1,
        )


def normalised(log_weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights that sum to 1; (N,)."""
    weights: npt.NDArray[np.float64] = np.exp(log_weights - logsumexp(log_weights))
    return weights


def effective_size(weights: npt.NDArray[np.float64]) -> float:
    """1 / sum of W^2, from 1 to N; `weights` sum to 1."""
    return float(1 / np.square(weights).sum())


def systematic_ancestors(weights: npt.NDArray[np.float64], uniform: float) -> list[int]:
    """Which particle each of N copies is made of: the quantiles of the weights at (u + j) / N.

    Particle i has floor(N w_i) or ceil(N w_i) copies, N w_i on average over the uniform draw u in [0, 1).
    """
    size = len(weights)
    return [place(weights, (uniform + j) / size) for j in range(size)]


def place(weights: npt.NDArray[np.float64], quantile: float) -> int:
    """The first particle up to which the weights come to more than `quantile`, in [0, 1), of them all."""
    ends = np.cumsum(weights)
    found = int(np.searchsorted(ends, quantile * ends[-1], side="right"))
    return min(found, int(np.flatnonzero(weights)[-1]))  # a quantile of almost 1 can round up to the end


def _outcome(index: int, task: Task, cloud: Particles, uniform: float, meter: Meter) -> SMCOutcome:
    weights = normalised(cloud.log_weights)
    path = cloud.paths[place(weights, uniform)]
    log_normaliser = float(logsumexp(cloud.log_weights) - np.log(len(weights)))
    return SMCOutcome(task, path, meter.effort(index, path), log_normaliser, cloud.num_resamplings)
