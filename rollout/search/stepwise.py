"""What a step scorer is: how likely a solution is to come out right, at the question and after each of its steps.

solutions ── Reading: prompt, completion tokens ──> StepScorer: a process reward model, or an oracle
          <─ StepScores: quantiles at every place ─┘
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollout.types import Prompt

MEDIAN = 0.5


@dataclass(frozen=True)
class Reading:
    """A solution, finished or not, that is to be read."""

    prompt: Prompt
    token_ids: tuple[int, ...] = ()
    """Completion tokens; none is the question alone."""
    has_ended: bool = False
    """Whether nothing follows: the end of the text then ends the last step as well."""


@dataclass(frozen=True)
class StepScores:
    """What a step scorer says of one solution. S steps have ended."""

    ends: tuple[int, ...]
    """(S + 1,) completion tokens in front of each place: 0, the question alone, then behind every step, ascending."""
    quantiles: tuple[tuple[float, ...], ...]
    """(S + 1, levels) of the chance to come out right from each place; ascending in a row."""
    num_tokens_read: int
    """Prompt, completion and step tokens that the model read for it."""


class StepScorer(Protocol):
    """A process reward model, with its rule for where a step ends."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles, ascending, between 0 and 1; a point estimate is the median alone, (0.5,)."""
        ...

    @property
    def pause_token_ids(self) -> tuple[int, ...]:
        """Every token behind which a step may have ended."""
        ...

    def step_ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        """How many completion tokens there were when each step ended, ascending.

        What stands behind a token does not decide whether a step ended there, but for the end of the text.
        """
        ...

    def score(self, readings: Sequence[Reading]) -> list[StepScores]:
        """One for each reading, in their order, each a function of its reading alone."""
        ...


def quantile(row: Sequence[float], levels: Sequence[float], level: float) -> float:
    """The quantile at `level` of a place; between two that were scored in proportion, outside them the nearest."""
    above = bisect.bisect_left(levels, level)
    if above == len(levels):
        return row[-1]
    if above == 0 or levels[above] == level:
        return row[above]
    share = (level - levels[above - 1]) / (levels[above] - levels[above - 1])
    return row[above - 1] + share * (row[above] - row[above - 1])


def medians(scores: StepScores, levels: Sequence[float]) -> tuple[float, ...]:
    """(S + 1,) the median at every place."""
    return tuple(quantile(row, levels, MEDIAN) for row in scores.quantiles)


def lower_bound(scores: StepScores) -> float:
    """The lowest quantile at the last place."""
    return scores.quantiles[-1][0]


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "min": min,
    "product": math.prod,
}
"""From the scores of a solution's steps to that of the solution, by name."""


def aggregated(scores: StepScores, levels: Sequence[float], aggregation: str) -> float:
    """The solution's score: its steps' medians, aggregated; before any step has ended that of the question alone."""
    found = medians(scores, levels)
    return AGGREGATIONS[aggregation](found[1:] or found)
