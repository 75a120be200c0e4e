"""DeepConf offline: a vote among the most confident traces, weighted by confidence.

Fu et al., "Deep Think with Confidence", arXiv 2508.15260, section 3.2: of n traces the top eta percent by confidence
are kept, and each gives its answer its confidence as weight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollout.extension import Scoring
from rollout.search.checks import require, require_at_least_one, require_one_of
from rollout.search.confidence import MEASURES, scaled_window
from rollout.search.drawing import Drawing
from rollout.search.meter import Meter
from rollout.search.plain import Candidates, draw_candidates
from rollout.search.types import Extract, Path, SearchResult, Task, Tools
from rollout.search.vote import Ballot, VoteOutcome, count_votes, extractor

NUM_TOP = 20
"""k of the token confidence."""


@dataclass(frozen=True)
class ConfidentOutcome(VoteOutcome):
    """A vote in which some traces took no part."""

    confidences: tuple[float, ...]
    """One per candidate: its weight, had it a vote."""
    has_vote: tuple[bool, ...]
    """Whether the candidate was confident enough to be kept."""


@dataclass(frozen=True, kw_only=True)
class DeepConf(Candidates):
    """`num_candidates` complete traces a task."""

    num_candidates: int = 16
    keep_percent: float = 10.0
    """eta: how many of the traces vote."""
    measure: str = "lowest_group"
    """What a trace's confidence is: mean, lowest_group, bottom_groups or tail."""
    window_tokens: int | None = None
    """Tokens of a group; None scales the paper's 2048 down to short answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(window_tokens=self.window)
        require(0 < self.keep_percent <= 100, "keep_percent", "above 0 and at most 100", self.keep_percent)
        require_one_of("measure", self.measure, MEASURES)

    @property
    def window(self) -> int:
        """Tokens of a group."""
        return scaled_window(self.max_new_tokens) if self.window_tokens is None else self.window_tokens

    @property
    def num_voters(self) -> int:
        """Traces that have a vote."""
        return max(1, math.floor(self.num_candidates * self.keep_percent / 100))

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `ConfidentOutcome` per task. Raises ValueError where nothing extracts answers."""
        extract = extractor(tools)
        meter = Meter(tools.sampler, len(tasks))
        scoring = Scoring(num_top=NUM_TOP)
        drawing = Drawing(tasks, tools, meter, self.temperature, self.num_candidates, scoring)
        candidates = draw_candidates(drawing, self.max_new_tokens)
        traces = [self._judged(task, candidates[i], extract) for i, task in enumerate(tasks)]
        return meter.result([confident_vote(i, task, traces[i], meter) for i, task in enumerate(tasks)])

    def _judged(self, task: Task, paths: tuple[Path, ...], extract: Extract) -> "Traces":
        confidences = tuple(MEASURES[self.measure](path.confidences, self.window) for path in paths)
        answers = tuple(extract(task.prompt, path.token_ids) for path in paths)
        return Traces(paths, answers, confidences, most_confident(confidences, self.num_voters))


@dataclass(frozen=True)
class Traces:
    """The traces of one task."""

    paths: tuple[Path, ...]
    answers: tuple[str | None, ...]
    confidences: tuple[float, ...]
    has_vote: tuple[bool, ...]

    def ballot(self) -> Ballot:
        """The vote of the traces that have one, weighted by confidence.

        Where none of them gives an answer, the most confident trace stands for all.
        """
        cast = [answer if votes else None for answer, votes in zip(self.answers, self.has_vote, strict=True)]
        ballot = count_votes(cast, self.confidences)
        if ballot.winner is None:
            surest = max(range(len(cast)), key=lambda i: (self.confidences[i], -i))
            return replace(ballot, voter=surest)
        return ballot


def most_confident(confidences: Sequence[float], num_kept: int) -> tuple[bool, ...]:
    """Whether each is among the `num_kept` highest; of equals the first."""
    order = sorted(range(len(confidences)), key=lambda i: (-confidences[i], i))
    kept = set(order[:num_kept])
    return tuple(i in kept for i in range(len(confidences)))


def confident_vote(index: int, task: Task, traces: Traces, meter: Meter) -> ConfidentOutcome:
    """What task `index` comes to with `traces`."""
    ballot = traces.ballot()
    path = traces.paths[ballot.voter]
    effort = meter.effort(index, path)
    return ConfidentOutcome(
        task, path, effort, traces.paths, traces.answers, ballot, traces.confidences, traces.has_vote
    )
