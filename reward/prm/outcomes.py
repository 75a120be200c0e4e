"""What rollouts said of prefixes: how many of how many were right, and which question each prefix belongs to.

Prefixes of one question are alike, so the question is the unit of everything: weights, splits and intervals.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_ROUNDING = 1e-6
"""How far a share times its trials may be from a whole number."""


@dataclass(frozen=True)
class Outcomes:
    """Rollouts of N prefixes. Raises ValueError unless 0 <= successes <= trials, trials >= 1 and N >= 1."""

    successes: Ints
    """(N,)"""
    trials: Ints
    """(N,)"""
    questions: npt.NDArray[np.str_]
    """(N,) the id of each prefix's question."""

    def __post_init__(self) -> None:
        if not len(self.successes) == len(self.trials) == len(self.questions) >= 1:
            raise ValueError(
                "outcomes need as many successes, trials and questions, one at least, got "
                f"{len(self.successes)}, {len(self.trials)} and {len(self.questions)}"
            )
        wrong = np.flatnonzero((self.trials < 1) | (self.successes < 0) | (self.successes > self.trials))
        if len(wrong):
            i = wrong[0]
            raise ValueError(
                f"successes must be from 0 to the number of trials, of which there must be one at least, got "
                f"{self.successes[i]} of {self.trials[i]} for prefix {i} of question {self.questions[i]}"
            )

    @classmethod
    def of(cls, successes: Sequence[int], trials: Sequence[int], questions: Sequence[str]) -> "Outcomes":
        """Outcomes of plain lists, one entry a prefix."""
        return cls(np.asarray(successes, np.int64), np.asarray(trials, np.int64), np.asarray(questions, np.str_))

    @classmethod
    def of_shares(cls, shares: Sequence[float], trials: Sequence[int], questions: Sequence[str]) -> "Outcomes":
        """Outcomes of shares of right rollouts. Raises ValueError for one outside [0, 1], or that is no count."""
        found = np.asarray(shares, np.float64)
        wrong = np.flatnonzero(~((found >= 0) & (found <= 1)))
        if len(wrong):
            raise ValueError(
                f"targets must be shares from 0 to 1, got {found[wrong[0]]} for prefix {wrong[0]}; "
                "divide the number of right rollouts by their number"
            )
        counts = found * np.asarray(trials, np.float64)
        broken = np.flatnonzero(np.abs(counts - counts.round()) > _ROUNDING)
        if len(broken):
            i = broken[0]
            raise ValueError(f"target {found[i]} of prefix {i} is no share of {trials[i]} rollouts")
        return cls.of(counts.round().astype(np.int64).tolist(), trials, questions)

    @cached_property
    def shares(self) -> Floats:
        """(N,) successes over trials."""
        return np.asarray(self.successes / self.trials, np.float64)

    @cached_property
    def weights(self) -> Floats:
        """(N,) adding up to 1, the same for every question, within it the same for every prefix."""
        return question_weights(self.questions)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Outcomes":
        """The outcomes of some prefixes: indices, or a mask."""
        return Outcomes(self.successes[rows], self.trials[rows], self.questions[rows])


def question_weights(questions: npt.NDArray[np.str_]) -> Floats:
    """(N,) weights that add up to 1 and give every question the same."""
    _, index, counts = np.unique(questions, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (len(counts) * counts[index]), np.float64)


def split_questions(questions: Sequence[str], shares: Sequence[float], seed: int) -> tuple[tuple[str, ...], ...]:
    """Disjoint sets of the distinct questions, as large as `shares` (which add up to 1) say, each of one at least.

    Which question falls where depends on its id and the seed. Raises ValueError for fewer questions than sets, or for
    shares that are not positive or do not add up to 1.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > _ROUNDING:
        raise ValueError(f"shares of a split must be positive and add up to 1, got {', '.join(map(str, shares))}")
    shuffled = _shuffled(questions, len(shares), seed)
    cuts = [round(sum(shares[:i]) * len(shuffled)) for i in range(len(shares) + 1)]
    for i in range(1, len(shares)):
        cuts[i] = min(max(cuts[i], cuts[i - 1] + 1), len(shuffled) - len(shares) + i)
    return tuple(tuple(shuffled[start:end]) for start, end in pairwise(cuts))


def _shuffled(questions: Sequence[str], num_parts: int, seed: int) -> list[str]:
    distinct = sorted(set(questions), key=lambda id: hashlib.sha256(f"{seed}/{id}".encode()).digest())
    if len(distinct) < num_parts:
        raise ValueError(
            f"{len(distinct)} questions cannot be split into {num_parts} parts, for a question stays whole; "
            "take more questions or fewer parts"
        )
    return distinct
