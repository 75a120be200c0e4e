"""Counts what is drawn, for whom, and how many at once."""

from collections.abc import Sequence

from rollout.extension import Continuation, ContinuationSampler, Extension
from rollout.search.types import Effort, Outcome, Path, SearchResult


class Meter:
    """A sampler that books every token on the task it was drawn for."""

    def __init__(self, sampler: ContinuationSampler, num_tasks: int):
        self._sampler = sampler
        self._tokens = [0] * num_tasks
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

    def effort(self, owner: int, path: Path, num_scored: int = 0, proposals: tuple[int, int] = (0, 0)) -> Effort:
        """What task `owner` took to come to `path`; `proposals` are how many were made and how many accepted."""
        return Effort(self._tokens[owner], len(path.token_ids), num_scored, *proposals)

    def result(self, outcomes: Sequence[Outcome]) -> SearchResult:
        """All outcomes, with the calls that led to them."""
        return SearchResult(tuple(outcomes), tuple(self._in_flight))
