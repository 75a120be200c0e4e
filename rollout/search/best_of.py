"""Best of n: the completion that a verifier or a scorer likes best (Cobbe et al., arXiv 2110.14168, section 4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search.checks import require_at_least_one
from rollout.search.drawing import Drawing
from rollout.search.meter import Meter
from rollout.search.plain import draw_candidates, require_temperature
from rollout.search.types import Outcome, Path, Scorer, SearchResult, Task, Tools


@dataclass(frozen=True)
class BestOfOutcome(Outcome):
    """The best candidate."""

    candidates: tuple[Path, ...]
    """In the order they are keyed by."""
    scores: tuple[float, ...]
    """One per candidate."""


@dataclass(frozen=True, kw_only=True)
class BestOfN:
    """`num_candidates` completions a task. Of equal scores the first candidate wins."""

    num_candidates: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 3072

    def __post_init__(self) -> None:
        require_at_least_one(num_candidates=self.num_candidates, max_new_tokens=self.max_new_tokens)
        require_temperature(self.temperature)

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `BestOfOutcome` per task. Raises ValueError without a scorer."""
        if tools.scorer is None:
            raise ValueError("best of n chooses by a score and none was given; name a reward function or a scorer")
        meter = Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.temperature, self.num_candidates)
        candidates = draw_candidates(drawing, self.max_new_tokens)
        scores = _scores(tasks, candidates, tools.scorer)
        return meter.result(
            [_outcome(i, task, candidates[i], scores[i], tools.scorer.is_model, meter) for i, task in enumerate(tasks)]
        )


def _scores(tasks: Sequence[Task], candidates: Sequence[tuple[Path, ...]], scorer: Scorer) -> list[tuple[float, ...]]:
    """One per candidate of each task, all asked for at once."""
    flat = [(task.prompt, path) for task, paths in zip(tasks, candidates, strict=True) for path in paths]
    values = list(scorer.score(flat))
    if len(values) != len(flat):
        raise ValueError(f"the scorer gave {len(values)} scores for {len(flat)} completions; it must give one for each")
    if any(math.isnan(value) for value in values):
        raise ValueError("the scorer gave a score that is not a number; completions cannot be ordered by it")
    ends = iter(values)
    return [tuple(next(ends) for _ in paths) for paths in candidates]


def _outcome(
    index: int, task: Task, candidates: tuple[Path, ...], scores: tuple[float, ...], is_model: bool, meter: Meter
) -> BestOfOutcome:
    best = candidates[max(range(len(scores)), key=lambda i: (scores[i], -i))]
    num_scored = sum(len(path.token_ids) for path in candidates) if is_model else 0
    return BestOfOutcome(task, best, meter.effort(index, best, num_scored), candidates, scores)
