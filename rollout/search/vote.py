"""Majority vote over extracted answers (Wang et al., "Self-Consistency", arXiv 2203.11171), plain or weighted."""

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search.drawing import Drawing
from rollout.search.meter import Meter
from rollout.search.plain import Candidates, draw_candidates
from rollout.search.types import Extract, Outcome, Path, SearchResult, Task, Tools


@dataclass(frozen=True)
class Ballot:
    """Votes by answer."""

    winner: str | None
    """The answer with the most weight, of several the one given first; None where nobody gave one."""
    share: float
    """Of the weight, the winner's; 0 where there is none."""
    voter: int
    """The candidate that stands for the outcome: the first that gave the winner."""


@dataclass(frozen=True)
class VoteOutcome(Outcome):
    """The first completion that gives the winning answer."""

    candidates: tuple[Path, ...]
    answers: tuple[str | None, ...]
    """One per candidate; None has no vote."""
    ballot: Ballot


@dataclass(frozen=True, kw_only=True)
class MajorityVote(Candidates):
    """`num_candidates` completions a task, one vote each."""

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """A `VoteOutcome` per task. Raises ValueError where nothing extracts answers."""
        extract = extractor(tools)
        meter = Meter(tools.sampler, len(tasks))
        drawing = Drawing(tasks, tools, meter, self.temperature, self.num_candidates)
        candidates = draw_candidates(drawing, self.max_new_tokens)
        return meter.result([_outcome(i, task, candidates[i], extract, meter) for i, task in enumerate(tasks)])


def extractor(tools: Tools) -> Extract:
    """What extracts answers. Raises ValueError where nothing does."""
    if tools.extract is None:
        raise ValueError("a vote is over extracted answers and nothing extracts them; name a grader that does")
    return tools.extract


def count_votes(answers: Sequence[str | None], weights: Sequence[float]) -> Ballot:
    """The winner among `answers`, each with its weight of 0 or more. None has no vote."""
    totals: dict[str, float] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            totals[answer] = totals.get(answer, 0.0) + weight
    if not totals:
        return Ballot(None, 0.0, 0)
    winner = max(totals, key=lambda answer: totals[answer])  # the first of equals: a dict keeps the order of insertion
    total = sum(totals.values())
    return Ballot(winner, totals[winner] / total if total else 0.0, list(answers).index(winner))


def _outcome(index: int, task: Task, candidates: tuple[Path, ...], extract: Extract, meter: Meter) -> VoteOutcome:
    answers = tuple(extract(task.prompt, path.token_ids) for path in candidates)
    ballot = count_votes(answers, [1.0] * len(answers))
    path = candidates[ballot.voter]
    return VoteOutcome(task, path, meter.effort(index, path), candidates, answers, ballot)
