"""Best of n: the completion that a verifier or a scorer likes best (Cobbe et al., arXiv 2110.14168, section 4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search.drawing import Drawing
from rollout.search.meter import Meter
from rollout.search.plain import Candidates, draw_candidates
from rollout.search.types import Outcome, Path, Scorer, SearchResult, Task, Tools


@dataclass(frozen=True)
class BestOfOutcome(Outcome):
    """The best candidate."""

    candidates: tuple[Path, ...]
    """In the order they are keyed by."""
    scores: tuple[float, ...]
    """One per candidate."""


@dataclass(frozen=True, kw_only=True)
class BestOfN(Candidates):
    """`num_candidates` completions a task. Of equal scores the first candidate wins."""

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `BestOfOutcome` per task. Raises ValueError without a scorer."""
        if tools.scorer is None:
            raise ValueError("best of n chooses by a score and none was given; name a reward function or a scorer")
        meter = Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.temperature, self.num_candidates)
        candidates = draw_candidates(drawing, self.max_new_tokens)
        scores = _scores(tasks, candidates, tools.scorer)
        if tools.scorer.is_model:
            for i, paths in enumerate(candidates):
                meter.book_scored(i, sum(len(path.token_ids) for path in paths))
        return meter.result([best_of(i, task, candidates[i], scores[i], meter) for i, task in enumerate(tasks)])


def best_of(index: int, task: Task, candidates: Sequence[Path], scores: Sequence[float], meter: Meter) -> BestOfOutcome:
    """What task `index` comes to with `candidates`: the one with the highest score, of equals the first."""
    best = candidates[max(range(len(scores)), key=lambda i: (scores[i], -i))]
    return BestOfOutcome(task, best, meter.effort(index, best), tuple(candidates), tuple(scores))


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
