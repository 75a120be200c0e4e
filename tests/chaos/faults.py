"""What is done to a run: a fault hits one victim at one moment of one stage, and a plan is a seeded list of them."""

import collections
import itertools
import random
from dataclasses import dataclass

from .stages import STAGES
from .victims import VICTIMS

STEPS = 4
"""Of a run that is disturbed. Every stage comes at least once after step `STEPS - 2`."""


@dataclass(frozen=True)
class Fault:
    """One fault; `stage` and `victim` are keys of STAGES and VICTIMS."""

    stage: str
    victim: str
    moment: float
    """In the stage: 0 as it begins, 1 as it ends, else a share of the time it usually takes."""
    step: int
    """The ledger holds at least so many records."""
    draw: int = 0
    """Which of several victims, modulo their number."""

    @property
    def ends_the_command(self) -> bool:
        """True where the run need not go on by itself: `zerokl resume` does."""
        return VICTIMS[self.victim].ends_the_command


def pairs() -> list[tuple[str, str]]:
    """Every stage with every victim."""
    return list(itertools.product(STAGES, VICTIMS))


def plan(seed: int, num_faults: int) -> list[Fault]:
    """`num_faults` faults in an order that follows from the seed.

    No pair of stage and victim comes twice before all have come once, and no stage and no victim is left behind.
    """
    rng = random.Random(seed)
    uses: collections.Counter[object] = collections.Counter()
    faults = []
    for _ in range(num_faults):
        shuffled = rng.sample(pairs(), len(pairs()))
        stage, victim = min(shuffled, key=lambda pair: (uses[pair], uses[pair[0]] + uses[pair[1]]))
        uses.update([(stage, victim), stage, victim])
        faults.append(_fault(rng, stage, victim))
    return faults


def _fault(rng: random.Random, stage: str, victim: str) -> Fault:
    moment = rng.choice([0.0, 1.0, rng.random(), rng.random()])
    step = 0 if STAGES[stage].is_start else rng.randrange(STEPS - 1)
    return Fault(stage, victim, round(moment, 3), step, draw=rng.randrange(12))


def journeys(faults: list[Fault], size: int) -> list[tuple[Fault, ...]]:
    """The faults in groups of `size`, each group for one run.

    A fault in a stage that follows upon a loss brings that loss with it, so that a group may be longer.
    """
    return [_with_losses(tuple(faults[i : i + size])) for i in range(0, len(faults), size)]


def _with_losses(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    victims = {STAGES[fault.stage].follows: None for fault in faults if STAGES[fault.stage].follows}
    return (*faults, *(Fault("sample", victim, 0.5, step=STEPS - 2) for victim in victims))
