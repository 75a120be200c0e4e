"""From what was drawn to what is learned and measured: solutions, each read at all its places, with a count at each."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reward.prm.outcomes import Outcomes
from reward.prm.steps import StepCutter
from rl.errors import UserError
from rl.prm.folder import QuestionData, Trajectory


@dataclass(frozen=True)
class ReadSolution:
    """One solution as the model reads it, and what came of it at each of its R places."""

    question: str
    token_ids: tuple[int, ...]
    """Question and solution up to the last place, step tokens included."""
    positions: tuple[int, ...]
    """(R,) places in `token_ids` that are read, ascending."""
    ends: tuple[int, ...]
    """(R,) tokens of the solution in front of each."""
    successes: tuple[int, ...]
    """(R,) of `trials`."""
    trials: tuple[int, ...]
    """(R,) at the end of a finished solution all would come out as it did, so they count as so many."""
    is_final: tuple[bool, ...]
    """(R,) whether the place is the end of a finished solution."""
    weight: float
    """Of each place in the loss: together the places of a question weigh 1."""


@dataclass(frozen=True)
class ReadQuestion:
    """All solutions of one question: what is read in one forward pass, the question once."""

    solutions: tuple[ReadSolution, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The question, and behind it what each solution adds."""
        asked = self.solutions[0].positions[0] + 1
        added = (token for solution in self.solutions for token in solution.token_ids[asked:])
        return (*self.solutions[0].token_ids[:asked], *added)

    @property
    def num_places(self) -> int:
        """Of all solutions."""
        return sum(len(solution.ends) for solution in self.solutions)


@dataclass(frozen=True)
class Counting:
    """What counts as a success, and how many rollouts are looked at."""

    success_at: float
    num_rollouts: int
    """Of each prefix, the first; where fewer were drawn, all."""


def read_solutions(questions: Sequence[QuestionData], cutter: StepCutter, counting: Counting) -> list[ReadSolution]:
    """Every solution of every question, in order. Raises UserError where `cutter` cuts other than it did then."""
    return [solution for question in questions for solution in _of_question(question, cutter, counting)]


def by_question(solutions: Sequence[ReadSolution]) -> tuple[ReadQuestion, ...]:
    """The solutions, which stand question by question, in their order."""
    return tuple(ReadQuestion(tuple(own)) for _, own in itertools.groupby(solutions, lambda one: one.question))


def outcomes_of(solutions: Sequence[ReadSolution]) -> Outcomes:
    """What came of all places, in order."""
    return Outcomes.of(
        [count for solution in solutions for count in solution.successes],
        [count for solution in solutions for count in solution.trials],
        [solution.question for solution in solutions for _ in solution.ends],
    )


def places_of(solutions: Sequence[ReadSolution]) -> tuple[np.ndarray, np.ndarray]:
    """Of all places, in order: (N,) int64 tokens in front, and (N,) bool whether they end a finished solution."""
    ends = np.array([end for solution in solutions for end in solution.ends], np.int64)
    return ends, np.array([final for solution in solutions for final in solution.is_final], np.bool_)


def _of_question(question: QuestionData, cutter: StepCutter, counting: Counting) -> list[ReadSolution]:
    counts = _counts(question, counting)
    weight = 1 / sum(len(trajectory.ends) for trajectory in question.trajectories)
    return [_read(question, t, cutter, counts, counting, weight) for t in question.trajectories]


def _counts(question: QuestionData, counting: Counting) -> Mapping[tuple[int, ...], tuple[int, int]]:
    """Successes and trials by prefix."""
    found = {}
    for tokens, prefix in question.prefix_at().items():
        trials = min(counting.num_rollouts, len(prefix.rewards))
        found[tokens] = (prefix.num_successes(trials, counting.success_at), trials)
    return found


def _read(
    question: QuestionData,
    trajectory: Trajectory,
    cutter: StepCutter,
    counts: Mapping[tuple[int, ...], tuple[int, int]],
    counting: Counting,
    weight: float,
) -> ReadSolution:
    read = cutter.read(question.prompt_token_ids, trajectory.token_ids, trajectory.has_ended)
    if read.ends != trajectory.ends:
        raise UserError(
            f"question {question.prompt_id} was cut into other steps than prm.separator asks for; set it to what it "
            "was when the rollouts were drawn, or give another folder with run.dir=…"
        )
    found = [_count_at(trajectory, end, counts, counting) for end in read.ends]
    return ReadSolution(
        question=question.prompt_id,
        token_ids=read.token_ids[: read.positions[-1] + 1],
        positions=read.positions,
        ends=read.ends,
        successes=tuple(successes for successes, _ in found),
        trials=tuple(trials for _, trials in found),
        is_final=tuple(trajectory.is_final(end) for end in read.ends),
        weight=weight,
    )


def _count_at(
    trajectory: Trajectory, end: int, counts: Mapping[tuple[int, ...], tuple[int, int]], counting: Counting
) -> tuple[int, int]:
    if not trajectory.is_final(end):
        return counts[trajectory.token_ids[:end]]
    assert trajectory.reward is not None, "a finished solution was judged"
    return counting.num_rollouts * (trajectory.reward >= counting.success_at), counting.num_rollouts
