"""Problems as examples: made as they are needed, each from the seed and its number alone."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from reward.mod_chain import ModChain, Problem, draw_problem
from rl.errors import UserError
from rl.supervised.batches import digest_examples


@dataclass(frozen=True)
class ChainExample:
    """A problem with its answer and the end of text."""

    token_ids: tuple[int, ...]
    rows: tuple[int, ...]
    """Positions that predict, ascending."""
    targets: tuple[int, ...]
    """What each of them is to predict."""

    @classmethod
    def of_last(cls, token_ids: tuple[int, ...], count: int) -> "ChainExample":
        """The last `count` tokens are predicted, each by the one before."""
        end = len(token_ids) - 1
        return cls(token_ids, tuple(range(end - count, end)), token_ids[-count:])


@dataclass(frozen=True)
class AskedProblem:
    """A held-out problem: the tokens of the question and of the answer."""

    question_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    num_operands: int


@dataclass(frozen=True)
class ChainBatches:
    """The `rl.supervised.batches.Batches` of a task. params: with split `train`."""

    params: ModChain
    tokenizer: Any
    seed: int
    batch_size: int
    loss_on: str
    """`answer`, `all` or `results`."""
    curriculum_steps: int = 0

    def batch(self, step: int) -> list[ChainExample]:
        start, params = (step - 1) * self.batch_size, self._params_at(step)
        problems = [draw_problem(params, f"{self.seed}/train/{start + i}") for i in range(self.batch_size)]
        ids = encoded(problems, self.tokenizer)
        return [self._example(problem, *both) for problem, both in zip(problems, ids, strict=True)]

    def _params_at(self, step: int) -> ModChain:
        """Those of the step: as many steps of a curriculum for each number of operands that can be the most."""
        if step > self.curriculum_steps:
            return self.params
        fewest, most = self.params.min_operands, self.params.max_operands
        grown = (step - 1) * (most - fewest + 1) // self.curriculum_steps
        return replace(self.params, max_operands=fewest + grown)

    @cached_property
    def digest(self) -> str:
        settings = json.dumps([asdict(self.params), self.seed, self.batch_size, self.loss_on, self.curriculum_steps])
        return hashlib.sha256(f"{settings}/{digest_examples(self.batch(1))}".encode()).hexdigest()

    def _example(self, problem: Problem, question_ids: tuple[int, ...], answer_ids: tuple[int, ...]) -> ChainExample:
        token_ids = (*question_ids, *answer_ids, self.tokenizer.eos_token_id)
        if self.loss_on == "all":
            return ChainExample.of_last(token_ids, len(token_ids) - 1)
        answered = ChainExample.of_last(token_ids, len(answer_ids) + 1)
        if self.loss_on == "answer":
            return answered
        operands, results = self._results(problem, question_ids)
        return ChainExample(token_ids, (*operands, *answered.rows), (*results, *answered.targets))

    def _results(self, problem: Problem, question_ids: tuple[int, ...]) -> tuple[range, tuple[int, ...]]:
        """Where the operands stand, and the tokens of the results behind them."""
        results = tuple(self.tokenizer.convert_tokens_to_ids([str(result) for result in problem.results]))
        # <bos> a + b mod m =
        if len(question_ids) != 2 * problem.num_operands + 3 or self.tokenizer.unk_token_id in results:
            raise UserError(
                "data.loss_on=results needs a tokenizer with one token for each number and sign, such as that of a "
                "model from scratch; set data.loss_on=answer, or leave model.path empty"
            )
        return range(1, 2 * problem.num_operands, 2), results


def held_out_problems(
    params: ModChain, tokenizer: Any, seed: int, operands: Sequence[int], num_problems: int
) -> tuple[AskedProblem, ...]:
    """`num_problems` of each number of operands, in order. params: with split `held_out`."""
    problems = [
        draw_problem(ModChain(**{**asdict(params), "min_operands": n, "max_operands": n}), f"{seed}/held_out/{n}/{i}")
        for n in operands
        for i in range(num_problems)
    ]
    ids = encoded(problems, tokenizer)
    return tuple(AskedProblem(*both, problem.num_operands) for both, problem in zip(ids, problems, strict=True))


def encoded(problems: Sequence[Problem], tokenizer: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Question and answer of each in tokens. Raises UserError where the tokenizer does not know one of them."""
    questions = tokenizer([problem.question for problem in problems])["input_ids"]
    answers = tokenizer([problem.answer for problem in problems], add_special_tokens=False)["input_ids"]
    if tokenizer.unk_token_id is not None and any(tokenizer.unk_token_id in ids for ids in (*questions, *answers)):
        raise UserError(
            f"the tokenizer of model.path has no tokens for {problems[0].question!r}; take a checkpoint that was made "
            "for this task, with numbers as large as data.params.modulus"
        )
    return [(tuple(question), tuple(answer)) for question, answer in zip(questions, answers, strict=True)]
