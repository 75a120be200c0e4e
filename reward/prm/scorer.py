"""Scores solutions in batches: a reader says what a PRM is given for each, a model reads all of it at once.

readings ── Reader.inputs ──> token sequences, with the places to read ── model ──> rows of quantiles
         <─ StepScores: the rows of a reading's sequences, one behind the other ──┘

Sequences that occur more than once (a question in front of all its solutions, a beam that stood still) are read once.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from reward.prm.steps import StepInput
from rollout.search.stepwise import Reading, StepScores

Rows = tuple[tuple[float, ...], ...]
"""(places, levels) quantiles, ascending in a row."""
ReadAll = Callable[[Sequence[StepInput]], Sequence[Rows]]
"""The rows of every sequence, in order; each a function of its sequence alone."""


class Reader(Protocol):
    """What a PRM reads of a solution."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles; (0.5,) of a PRM that says one number."""
        ...

    @property
    def pause_token_ids(self) -> tuple[int, ...]:
        """Every token of the policy behind which a step may have ended."""
        ...

    def step_ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        """How many completion tokens there were when each step ended, ascending."""
        ...

    def inputs(self, reading: Reading) -> tuple[StepInput, ...]:
        """The sequences that are read for it; their `ends`, one behind the other, are the places of the reading."""
        ...


class BatchedStepScorer:
    """A `rollout.search.stepwise.StepScorer` out of a reader and a model."""

    def __init__(self, reader: Reader, read_all: ReadAll):
        self._reader, self._read_all = reader, read_all

    @property
    def levels(self) -> tuple[float, ...]:
        return self._reader.levels

    @property
    def pause_token_ids(self) -> tuple[int, ...]:
        return self._reader.pause_token_ids

    def step_ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        return self._reader.step_ends(token_ids, has_ended)

    def score(self, readings: Sequence[Reading]) -> list[StepScores]:
        """One for each reading, in their order, by one call of the model."""
        inputs_of = [self._reader.inputs(reading) for reading in readings]
        distinct = list(dict.fromkeys(given for inputs in inputs_of for given in inputs))
        found = dict(zip(distinct, self._read_all(distinct), strict=True)) if distinct else {}
        return [_scores(inputs, [found[given] for given in inputs]) for inputs in inputs_of]


def _scores(inputs: Sequence[StepInput], rows: Sequence[Rows]) -> StepScores:
    return StepScores(
        ends=tuple(end for given in inputs for end in given.ends),
        quantiles=tuple(row for part in rows for row in part),
        num_tokens_read=sum(len(given.token_ids) for given in inputs),
    )
