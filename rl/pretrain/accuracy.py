"""Accuracy on held-out problems, by the number of operands and by the depth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernels import seam
from kernels.coverage import logit_transform
from kernels.recurrent.depth import Depth
from rl.pretrain.examples import AskedProblem
from rl.summary import Accuracy
from rl.supervised.packing import pack


@dataclass(frozen=True)
class ChainAccuracy:
    """The `rl.supervised.evaluation.Evaluation` of pre-training: what greedy decoding answers.

    `accuracy/n04/r08` is that of problems of 4 operands at 8 recurrences, `accuracy/n04` that of a model without any.
    `held_out/accuracy`, with its 95 % interval, is over all problems at the depth that the model runs at by itself.
    """

    problems: tuple[AskedProblem, ...]
    recurrences: tuple[int, ...]
    """Empty for a model that is not recurrent; else `default` is among them."""
    default: int
    """Recurrences of the headline; means nothing where there are none."""
    every: int
    max_tokens: int
    """Of one forward pass."""
    headline: str = "held_out/accuracy"

    @property
    def num_tokens(self) -> int:
        once = sum(len(problem.question_ids) + len(problem.answer_ids) for problem in self.problems)
        return once * max(1, len(self.recurrences))

    def measure(self, model: Any) -> Mapping[str, float]:
        """The figures above."""
        figures: dict[str, float] = {}
        for recurrence in self.recurrences or (None,):
            solved = self._solved(model, Depth(recurrence) if recurrence else None)
            figures |= self._by_operands(solved, f"/r{recurrence:02d}" if recurrence else "")
            if recurrence in (None, self.default):
                figures |= _headline(Accuracy(sum(solved), len(solved)))
        return figures

    def _by_operands(self, solved: Sequence[bool], suffix: str) -> dict[str, float]:
        by_operands: dict[int, list[bool]] = {}
        for problem, is_solved in zip(self.problems, solved, strict=True):
            by_operands.setdefault(problem.num_operands, []).append(is_solved)
        return {f"accuracy/n{n:02d}{suffix}": sum(some) / len(some) for n, some in by_operands.items()}

    def _solved(self, model: Any, depth: Depth | None) -> list[bool]:
        solved: list[bool] = []
        size = max(1, self.max_tokens // max(len(p.question_ids) + len(p.answer_ids) for p in self.problems))
        for start in range(0, len(self.problems), size):
            solved += solved_of(model, self.problems[start : start + size], depth)
        return solved


def solved_of(model: Any, problems: Sequence[AskedProblem], depth: Depth | None) -> list[bool]:
    """For each problem whether every token of its answer is the likeliest behind those before: one forward pass."""
    packed = pack([(*problem.question_ids, *problem.answer_ids[:-1]) for problem in problems])
    rows = [
        start + len(problem.question_ids) - 1 + i
        for start, problem in zip(packed.starts, problems, strict=True)
        for i in range(len(problem.answer_ids))
    ]
    hidden = seam.hidden_states(model, packed.token_ids, packed.layout, depth)[rows]
    likeliest = logit_transform(model.config)(model.get_output_embeddings()(hidden)).argmax(-1)
    answers = likeliest.split([len(problem.answer_ids) for problem in problems])
    return [tuple(found.tolist()) == problem.answer_ids for found, problem in zip(answers, problems, strict=True)]


def _headline(accuracy: Accuracy) -> dict[str, float]:
    low, high = accuracy.interval()
    return {"held_out/accuracy": accuracy.share, "held_out/low": low, "held_out/high": high}
