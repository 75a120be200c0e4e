"""Searches that grow solutions step by step: what they share, from the question to the solution that is handed back.

A round, the same for all trees of all tasks, so that it is two calls, one of the sampler and one of the scorer:

    beams that are not done ── copies ──> each drawn on by a step ──> read ──> ranked by score
                     ^                                                            └─ kept: the beams of the next round

A tree is over when all that it keeps is done. Every solution that was finished on the way is remembered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.search import streams
from rollout.search.best_of import BestOfOutcome, best_of
from rollout.search.drawing import Drawing
from rollout.search.stepping import Stepper
from rollout.search.stepwise import Reading, StepScores, aggregated, lower_bound
from rollout.search.types import Path


@dataclass(frozen=True)
class Beam:
    """The beginning of a solution, or all of it, and what the scorer says of it."""

    path: Path
    score: float
    """What it is ranked by: its steps' medians, aggregated."""
    bound: float
    """Lowest quantile of the chance to come out right from here."""
    is_done: bool = False
    """Whether nothing can be drawn behind it."""


@dataclass(frozen=True)
class Kept:
    """What a round leaves of its beams."""

    beams: tuple[Beam, ...]
    num_expansions: int
    """Steps that are drawn behind each of them that is not done."""


Keep = Callable[[Sequence[Beam]], Kept]
"""Chooses among the beams of a round, best first, at least one."""
Place = tuple[int, tuple[int, ...]]
"""A task's index and the tokens of a solution of it."""


@dataclass(frozen=True)
class Tree:
    """One search for one task."""

    task: int
    """Index of the task."""
    first_slot: int
    """Of those of the task that key its draws."""
    kept: Kept
    finished: tuple[Beam, ...] = ()
    """Every solution that was done, in the order they were found."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be drawn."""
        return all(beam.is_done for beam in self.kept.beams)

    def copies(self) -> list[Path]:
        """The beginnings that are drawn on, each as often as it is."""
        return [beam.path for beam in self.kept.beams if not beam.is_done for _ in range(self.kept.num_expansions)]

    def after(self, found: Sequence[Beam], keep: Keep) -> "Tree":
        """The tree with the beams that were found in a round."""
        done = [beam for beam in self.kept.beams if beam.is_done]
        ranked = sorted([*done, *found], key=lambda beam: -beam.score)  # stable: of equals the first
        finished = (*self.finished, *(beam for beam in found if beam.is_done))
        return replace(self, kept=keep(ranked), finished=finished)


@dataclass(frozen=True)
class Grower:
    """Grows the trees of all tasks, a step a round."""

    stepper: Stepper
    """Its drawing has as many members as a task draws steps at once, at most."""
    aggregation: str

    def grown(self, trees: Sequence[Tree], keep: Keep) -> list[Tree]:
        """Every tree when it is over."""
        grown, turn = list(trees), 0
        while going := [place for place, tree in enumerate(grown) if not tree.is_over]:
            found = self._round([grown[place] for place in going], turn)
            for place, beams in zip(going, found, strict=True):
                grown[place] = grown[place].after(beams, keep)
            turn += 1
        return grown

    def outcome(self, index: int, trees: Sequence[Tree]) -> BestOfOutcome:
        """What task `index` comes to: of all solutions that its trees finished the one with the highest score."""
        found = [beam for tree in trees if tree.task == index for beam in tree.finished]
        paths, scores = [beam.path for beam in found], [beam.score for beam in found]
        return best_of(index, self._drawing.tasks[index], paths, scores, self._drawing.meter)

    @property
    def _drawing(self) -> Drawing:
        return self.stepper.drawing

    def _round(self, trees: Sequence[Tree], turn: int) -> list[list[Beam]]:
        """What each tree finds: solutions a step longer."""
        steps = [(tree.task, paths) for tree, paths in zip(trees, self._drawn(trees, turn), strict=True)]
        judged = self._judged({(task, path.token_ids): path for task, paths in steps for path in paths})
        return [[judged[task, path.token_ids] for path in paths] for task, paths in steps]

    def _drawn(self, trees: Sequence[Tree], turn: int) -> list[list[Path]]:
        width, seed = self._drawing.num_members, self._drawing.tools.seed
        starts = [
            {tree.task * width + tree.first_slot + slot: path for slot, path in enumerate(tree.copies())}
            for tree in trees
        ]
        steps = self.stepper.drawn(
            {chain: path for own in starts for chain, path in own.items()},
            lambda task, member: streams.key(seed, task, f"beam/{turn}", member, width),
        )
        return [[steps[chain] for chain in own] for own in starts]

    def _judged(self, paths: Mapping[Place, Path]) -> dict[Place, Beam]:
        """The paths as the scorer sees them, by task and tokens: what was drawn twice is read once."""
        drawing, scorer = self._drawing, self.stepper.scorer
        owners = [task for task, _ in paths]
        readings = [Reading(drawing.tasks[t].prompt, p.token_ids, p.has_ended) for (t, _), p in paths.items()]
        scores = drawing.meter.read(scorer, owners, readings)
        return {place: self._beam(path, said) for (place, path), said in zip(paths.items(), scores, strict=True)}

    def _beam(self, path: Path, said: StepScores) -> Beam:
        score = aggregated(said, self.stepper.scorer.levels, self.aggregation)
        return Beam(path, score, lower_bound(said), self.stepper.is_done(path))


def root(task: int, num_expansions: int, first_slot: int = 0) -> Tree:
    """A tree that begins at the question of task `task`, with `num_expansions` first steps."""
    return Tree(task, first_slot, Kept((Beam(Path(), 0.0, 0.0),), num_expansions))
