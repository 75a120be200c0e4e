"""Beam search over steps with a step scorer (Snell et al., arXiv 2408.03314, section 5.1), fixed or adaptive, and DVTS.

`num_candidates` = K M first steps; then the K best beams are kept and M steps drawn behind each. How many are kept, and
how many drawn, may follow the question (Park et al., arXiv 2506.09338, section 5), by the lowest quantiles p_i of the
beams. Plain sampling behind them, M completions each, has at least one that is right with probability

    1 - product over beams of (1 - p_i)^M            a solution that is done counts once, (1 - p_i)

    adaptive K    the fewest of the best beams for which that is C; all K where it never is
    adaptive M    the fewest steps behind each kept beam for which that is C; all M where it never is

That holds of a round: one that follows its best beam alone keeps a right one with a chance of C or more each time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search.adaptive import draws_needed, log_failure, require_confidence, samples_needed
from rollout.search.beam_trees import Beam, Grower, Kept, Tree, root
from rollout.search.checks import require, require_at_least_one, require_one_of
from rollout.search.drawing import Drawing
from rollout.search.meter import Meter
from rollout.search.plain import Candidates
from rollout.search.step_best_of import question_bounds, step_scorer
from rollout.search.stepping import Stepper
from rollout.search.stepwise import AGGREGATIONS, StepScorer
from rollout.search.types import SearchResult, Task, Tools

ADAPTS = {"both": (True, True), "beams": (True, False), "expansions": (False, True)}
"""Whether K and M follow the question, by name."""


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Candidates):
    """`num_candidates` steps a round: `num_beams` kept, and as many drawn behind each as that leaves room for."""

    num_beams: int = 4
    """K."""
    aggregation: str = "last"
    """From steps to a solution: last, min or product."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(num_beams=self.num_beams)
        require_one_of("aggregation", self.aggregation, AGGREGATIONS)
        rule = f"a divisor of num_candidates={self.num_candidates}, the steps of a round"
        require(self.num_candidates % self.num_beams == 0, "num_beams", rule, self.num_beams)

    @property
    def num_expansions(self) -> int:
        """M."""
        return self.num_candidates // self.num_beams

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `BestOfOutcome` per task, of the solutions that were finished. Raises ValueError without a step scorer."""
        scorer, meter = step_scorer(tools), Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.temperature, self.num_candidates)
        grower = Grower(Stepper(drawing, scorer, self.max_new_tokens), self.aggregation)
        trees = grower.grown(self._roots(tasks, scorer, meter), self.keep)
        return meter.result([grower.outcome(index, trees) for index in range(len(tasks))])

    def keep(self, ranked: Sequence[Beam]) -> Kept:
        """The best `num_beams`."""
        return Kept(tuple(ranked[: self.num_beams]), self.num_expansions)

    def _roots(self, tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[Tree]:
        return [root(index, self.num_candidates) for index in range(len(tasks))]


@dataclass(frozen=True, kw_only=True)
class AdaptiveBeam(BeamSearch):
    """At most `num_beams` kept and at most as many steps behind each as `BeamSearch` draws; N(p, C) first steps."""

    confidence: float = 0.99
    """C."""
    adapts: str = "both"
    """What follows the question: `beams` (K), `expansions` (M) or `both`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_confidence(self.confidence)
        require_one_of("adapts", self.adapts, ADAPTS)

    def keep(self, ranked: Sequence[Beam]) -> Kept:
        """The fewest of the best beams, and the fewest steps behind each, that suffice."""
        adapts_beams, adapts_expansions = ADAPTS[self.adapts]
        best = ranked[: self.num_beams]
        beams = self._fewest(best) if adapts_beams else best
        num = self._fewest_expansions(beams) if adapts_expansions else self.num_expansions
        return Kept(tuple(beams), num)

    def _roots(self, tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[Tree]:
        bounds = question_bounds(tasks, scorer, meter)
        sizes = [samples_needed(bound, self.confidence, self.num_candidates) for bound in bounds]
        return [root(index, size) for index, size in enumerate(sizes)]

    def _fewest(self, best: Sequence[Beam]) -> Sequence[Beam]:
        wanted, failure = math.log1p(-self.confidence), 0.0
        for count, beam in enumerate(best, start=1):
            failure += log_failure(beam.bound) * (1 if beam.is_done else self.num_expansions)
            if failure <= wanted:
                return best[:count]
        return best

    def _fewest_expansions(self, beams: Sequence[Beam]) -> int:
        wanted = math.log1p(-self.confidence) - sum(log_failure(beam.bound) for beam in beams if beam.is_done)
        each = sum(log_failure(beam.bound) for beam in beams if not beam.is_done)
        return draws_needed(wanted, each, self.num_expansions)


@dataclass(frozen=True, kw_only=True)
class DVTS(BeamSearch):
    """Diverse verifier tree search (Beeching et al., "Scaling test-time compute with open models", 2024).

    `num_beams` trees that do not see each other, each keeping its best beam: more variety for the same budget.
    """

    def keep(self, ranked: Sequence[Beam]) -> Kept:
        """The best."""
        return Kept(tuple(ranked[:1]), self.num_expansions)

    def _roots(self, tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[Tree]:
        size = self.num_expansions
        return [root(index, size, tree * size) for index in range(len(tasks)) for tree in range(self.num_beams)]
