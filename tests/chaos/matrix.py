"""The matrix: ranks x ZeRO stages x actors x engine settings, every run to end in the same hash and ledger.

OUT/2-1-3-squeezed/      a run: ranks, stage, actors, engine
OUT/matrix.json          all of them
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from .campaign import write_questions
from .journey import Arrival, Journey, Reference, undergo
from .table import show, write_json

CONFIG = Path(__file__).with_name("few_questions.yaml")
STEPS = 2
WORLD_SIZES = (1, 2, 4)
ZERO_STAGES = (1, 2, 3)
NUM_ACTORS = (1, 2, 3)
ENGINES = {
    "roomy": ("rollout.max_num_seqs=256", "rollout.max_num_batched_tokens=2048", "rollout.prefix_caching=true"),
    "squeezed": ("rollout.max_num_seqs=3", "rollout.max_num_batched_tokens=16", "rollout.prefix_caching=true"),
    "forgetful": ("rollout.max_num_seqs=5", "rollout.max_num_batched_tokens=64", "rollout.prefix_caching=false"),
}


@dataclass(frozen=True)
class Combination:
    """One run of the matrix."""

    world_size: int
    zero_stage: int
    num_actors: int
    engine: str
    """A key of ENGINES."""

    @property
    def journey(self) -> Journey:
        """Its run."""
        overrides = (
            f"steps={STEPS}",
            f"trainer.world_size={self.world_size}",
            f"trainer.zero_stage={self.zero_stage}",
            f"rollout.num_actors={self.num_actors}",
            *ENGINES[self.engine],
        )
        return Journey(f"{self.world_size}-{self.zero_stage}-{self.num_actors}-{self.engine}", (), overrides)


def full() -> list[Combination]:
    """Every combination."""
    return [Combination(*chosen) for chosen in itertools.product(WORLD_SIZES, ZERO_STAGES, NUM_ACTORS, ENGINES)]


def covering() -> list[Combination]:
    """Nine combinations in which every two settings of different kinds meet once: the orthogonal array L9(3^4)."""
    engines = list(ENGINES)
    return [
        Combination(WORLD_SIZES[i], ZERO_STAGES[j], NUM_ACTORS[(i + j) % 3], engines[(i + 2 * j) % 3])
        for i, j in itertools.product(range(3), range(3))
    ]


def run_matrix(out: Path, is_full: bool, at_most: int | None = None) -> bool:
    """Whether all runs came to the same. All are made anew, or `at_most` of those that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    write_questions(out / "questions.jsonl")
    wanted = full() if is_full else covering()
    waiting = [combination for combination in wanted if at_most is None or not _is_done(out, combination)]
    for combination in waiting[:at_most]:
        arrival = undergo(combination.journey, CONFIG, out)
        if not arrival.final_hash:
            _say_failed(combination, arrival)
    done = [combination for combination in wanted if _is_done(out, combination)]
    return _shown(out, done) and (at_most is not None or len(done) == len(wanted))


def _is_done(out: Path, combination: Combination) -> bool:
    return (out / combination.journey.name / "model").exists()


def _say_failed(combination: Combination, arrival: Arrival) -> None:
    print(f"{combination.journey.name}: {arrival.attempts[-1].stderr[-2000:]}")


def _shown(out: Path, done: Sequence[Combination]) -> bool:
    """Whether all are the same; prints a line for each."""
    found = {combination: Reference.of(out / combination.journey.name) for combination in done}
    columns = ("ranks", "ZeRO stage", "actors", "engine", "final hash", "same as the first")
    same = [reference == found[done[0]] for reference in found.values()]
    rows = [
        (*astuple(combination), reference.final_hash[:16], "yes" if is_same else "NO")
        for (combination, reference), is_same in zip(found.items(), same, strict=True)
    ]
    show(f"{len(done)} runs of {STEPS} steps", columns, rows)
    write_json(
        out / "matrix.json", [asdict(c) | {"final_hash": reference.final_hash} for c, reference in found.items()]
    )
    return all(same)
