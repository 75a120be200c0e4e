"""Counts what is drawn and read, for whom, and how many at once."""

import math
from collections.abc import Sequence

from rollout.extension import Continuation, ContinuationSampler, Extension
from rollout.search.stepwise import Reading, StepScorer, StepScores
from rollout.search.types import Effort, Outcome, Path, SearchResult


class Meter:
    """A sampler that books every token on the task it was drawn for."""

    def __init__(self, sampler: ContinuationSampler, num_tasks: int):
        self._sampler = sampler
        self._tokens = [0] * num_tasks
        self._scored = [0] * num_tasks
        self._in_flight: list[int] = []

    def extend(self, owners: Sequence[int], requests: Sequence[Extension]) -> list[Continuation]:
        """One continuation per request; `owners` are the indices of the tasks that each is for."""
        if not requests:
            return []
        drawn = self._sampler.extend(requests)
        for owner, continuation in zip(owners, drawn, strict=True):
            self._tokens[owner] += len(continuation.token_ids)
        self._in_flight.append(len(requests))
        return drawn

    def read(self, scorer: StepScorer, owners: Sequence[int], readings: Sequence[Reading]) -> list[StepScores]:
        """What `scorer` says of each reading. Raises ValueError where it does not say something of each."""
        if not readings:
            return []
        scores = scorer.score(readings)
        _require_scores(scores, readings)
        for owner, said in zip(owners, scores, strict=True):
            self.book_scored(owner, said.num_tokens_read)
        return scores

    def book_scored(self, owner: int, num_tokens: int) -> None:
        """Nothing; a model has read `num_tokens` for task `owner`, to score them."""
        self._scored[owner] += num_tokens

    def effort(self, owner: int, path: Path, proposals: tuple[int, int] = (0, 0)) -> Effort:
        """What task `owner` took to come to `path`; `proposals` are how many were made and how many accepted."""
        return Effort(self._tokens[owner], len(path.token_ids), self._scored[owner], *proposals)

    def result(self, outcomes: Sequence[Outcome]) -> SearchResult:
        """All outcomes, with the calls that led to them."""
        return SearchResult(tuple(outcomes), tuple(self._in_flight))


def _require_scores(scores: Sequence[StepScores], readings: Sequence[Reading]) -> None:
    if len(scores) != len(readings):
        raise ValueError(
            f"the step scorer gave {len(scores)} scores for {len(readings)} solutions; it must give one for each"
        )
    if not all(math.isfinite(value) for said in scores for row in said.quantiles for value in row):
        raise ValueError("the step scorer gave a chance that is not a number; solutions cannot be ordered by it")
