"""Best of n by a step scorer: n fixed, or as large as the question needs.

    n fixed     `num_candidates` completions, each read once, ranked by their steps' medians, aggregated
    adaptive    the question alone is read first; n = N(p, C) at the lowest quantile there, at most `num_candidates`

Ranking goes by the median, how much is drawn by the lowest quantile (Park et al., arXiv 2506.09338, section 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search import streams
from rollout.search.adaptive import require_confidence, samples_needed
from rollout.search.best_of import best_of
from rollout.search.checks import require_one_of
from rollout.search.drawing import Drawing, drawn_on
from rollout.search.meter import Meter
from rollout.search.plain import Candidates
from rollout.search.stepwise import AGGREGATIONS, Reading, StepScorer, aggregated, lower_bound
from rollout.search.types import Path, SearchResult, Task, Tools


@dataclass(frozen=True, kw_only=True)
class PRMBestOfN(Candidates):
    """`num_candidates` completions a task."""

    aggregation: str = "last"
    """From steps to a solution: last, min or product."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("aggregation", self.aggregation, AGGREGATIONS)

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `BestOfOutcome` per task. Raises ValueError without a step scorer."""
        scorer, meter = step_scorer(tools), Meter(tools.sampler, len(tasks))
        candidates = self._drawn(tasks, self._sizes(tasks, scorer, meter), tools, meter)
        scores = self._scores(tasks, candidates, scorer, meter)
        return meter.result([best_of(i, task, candidates[i], scores[i], meter) for i, task in enumerate(tasks)])

    def _sizes(self, tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[int]:
        """How many completions each task gets."""
        return [self.num_candidates] * len(tasks)

    def _drawn(self, tasks: Sequence[Task], sizes: Sequence[int], tools: Tools, meter: Meter) -> list[list[Path]]:
        """Those of each task, all in one call: the first of the ones that `num_candidates` would be."""
        most = self.num_candidates
        draw = Drawing(tasks, tools, meter, self.temperature, most).under(
            lambda task, member: streams.plain_key(tools.seed, task, member, most)
        )
        chains = {task * most + member: Path() for task, size in enumerate(sizes) for member in range(size)}
        paths = drawn_on(chains, self.max_new_tokens, draw)
        return [[paths[task * most + member] for member in range(size)] for task, size in enumerate(sizes)]

    def _scores(
        self, tasks: Sequence[Task], candidates: Sequence[Sequence[Path]], scorer: StepScorer, meter: Meter
    ) -> list[list[float]]:
        """One per candidate of each task, all read at once."""
        flat = [(owner, path) for owner, paths in enumerate(candidates) for path in paths]
        readings = [Reading(tasks[owner].prompt, path.token_ids, path.has_ended) for owner, path in flat]
        said = iter(meter.read(scorer, [owner for owner, _ in flat], readings))
        return [[aggregated(next(said), scorer.levels, self.aggregation) for _ in paths] for paths in candidates]


@dataclass(frozen=True, kw_only=True)
class AdaptiveBestOfN(PRMBestOfN):
    """At most `num_candidates` completions a task."""

    confidence: float = 0.99
    """C: the chance that at least one of the completions is right."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_confidence(self.confidence)

    def _sizes(self, tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[int]:
        bounds = question_bounds(tasks, scorer, meter)
        return [samples_needed(bound, self.confidence, self.num_candidates) for bound in bounds]


def question_bounds(tasks: Sequence[Task], scorer: StepScorer, meter: Meter) -> list[float]:
    """The lowest quantile at each task's question, before anything is drawn."""
    scores = meter.read(scorer, range(len(tasks)), [Reading(task.prompt) for task in tasks])
    return [lower_bound(said) for said in scores]


def step_scorer(tools: Tools) -> StepScorer:
    """What scores steps. Raises ValueError where nothing does."""
    if tools.step_scorer is None:
        raise ValueError("this method looks at every step by a process reward model and none was given; set prm")
    return tools.step_scorer
