"""Power sampling by Metropolis–Hastings: draws from p^alpha over whole completions.

Karan & Du, "Reasoning with Sampling", arXiv 2510.14901, algorithm 1. Stage k has the horizon H = min(k B, T):

    extend     every chain that has not ended draws on to H from the proposal q
    num_steps  Metropolis–Hastings steps, each of which leaves p^alpha over completions of at most H tokens invariant

All chains of all prompts are in the same stage and step, so that a step is one call of the sampler. Chains that have
ended take the steps of later stages too. Only the last stage has the target wanted; to pass over chains for what they
hold would favour what they hold, and at alpha = 1 the method would no longer draw from p.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollout.search import streams
from rollout.search.checks import horizons, require_at_least_one, require_blocks, require_positive
from rollout.search.drawing import POLICY, Drawing, all_drawn_on
from rollout.search.meter import Meter
from rollout.search.metropolis import Choice, Move, Target, metropolis_step, resample_index
from rollout.search.types import Outcome, Path, SearchResult, Task, Tools


@dataclass(frozen=True)
class PowerOutcome(Outcome):
    """The last state of a task's chain."""

    normaliser_gap: float
    """Largest disagreement of a proposal with its chain on a log-normaliser, in nats: rounding, or p and q are not what
    they should be. NaN where the proposal's temperature is not 1 / alpha, or no step drew a token."""


@dataclass(frozen=True, kw_only=True)
class PowerSampling:
    """One chain a task."""

    alpha: float = 4.0
    """Exponent of the target; 1 is the policy itself."""
    block_tokens: int = 192
    max_new_tokens: int = 3072
    """The horizon T."""
    num_steps: int = 10
    """Metropolis–Hastings steps of each stage."""
    proposal_temperature: float | None = None
    """None takes 1 / alpha, with which the proposal is p^alpha token by token."""

    def __post_init__(self) -> None:
        require_positive(alpha=self.alpha)
        require_positive(proposal_temperature=self.tau)
        require_blocks(self.block_tokens, self.max_new_tokens)
        require_at_least_one(num_steps=self.num_steps)

    @property
    def tau(self) -> float:
        """Temperature of the proposal."""
        return 1 / self.alpha if self.proposal_temperature is None else self.proposal_temperature

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `PowerOutcome` per task."""
        meter = Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.tau, scoring=POLICY)
        chains = [Chain(Path())] * len(tasks)
        for stage, horizon in enumerate(horizons(self.block_tokens, self.max_new_tokens)):
            draw = drawing.under(lambda task, _: streams.key(tools.seed, task, "power"))
            paths = all_drawn_on([chain.path for chain in chains], horizon, draw)
            chains = [replace(chain, path=path) for chain, path in zip(chains, paths, strict=True)]
            for step in range(self.num_steps):
                moves = self._step(chains, horizon, f"power/{stage}/{step}", drawing)
                chains = [chain.after(move) for chain, move in zip(chains, moves, strict=True)]
        return meter.result([self._outcome(i, task, chains[i], meter) for i, task in enumerate(tasks)])

    def _step(self, chains: Sequence["Chain"], horizon: int, purpose: str, drawing: Drawing) -> list[Move]:
        seed = drawing.tools.seed
        draw = drawing.under(lambda task, _: streams.key(seed, task, purpose))
        choices = [
            Choice(resample_index(first, horizon), second)
            for first, second in streams.choices(seed, drawing.tasks, f"{purpose}/choice", 2)
        ]
        return metropolis_step([chain.path for chain in chains], choices, Target(self.alpha, horizon), draw)

    def _outcome(self, index: int, task: Task, chain: "Chain", meter: Meter) -> PowerOutcome:
        effort = meter.effort(index, chain.path, proposals=(chain.num_proposals, chain.num_accepted))
        is_tested = chain.num_proposals and self.tau == 1 / self.alpha
        return PowerOutcome(task, chain.path, effort, chain.normaliser_gap if is_tested else math.nan)


@dataclass(frozen=True)
class Chain:
    """Where a chain is, and what came of its proposals so far."""

    path: Path
    num_proposals: int = 0
    num_accepted: int = 0
    normaliser_gap: float = 0.0

    def after(self, move: Move) -> "Chain":
        """The chain that has made `move`."""
        if not move.has_drawn:
            return self
        gap = max(self.normaliser_gap, move.normaliser_gap)
        return Chain(move.path, self.num_proposals + 1, self.num_accepted + move.accepted, gap)
