"""Problems as examples: made as they are needed, each from the seed and its number alone."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from reward.mod_chain import ModChain, Problem, draw_problem
from rl.errors import UserError
from rl.supervised.batches import digest_examples


@dataclass(frozen=True)
class ChainExample:
    """A problem with its answer and the end of text."""

    token_ids: tuple[int, ...]
    num_scored: int
    """The last so many tokens are predicted."""


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
    """`answer` or `all`."""

    def batch(self, step: int) -> list[ChainExample]:
        start = (step - 1) * self.batch_size
        problems = [draw_problem(self.params, f"{self.seed}/train/{start + i}") for i in range(self.batch_size)]
        return [self._example(*ids) for ids in encoded(problems, self.tokenizer)]

    @cached_property
    def digest(self) -> str:
        settings = json.dumps([asdict(self.params), self.seed, self.batch_size, self.loss_on])
        return hashlib.sha256(f"{settings}/{digest_examples(self.batch(1))}".encode()).hexdigest()

    def _example(self, question_ids: tuple[int, ...], answer_ids: tuple[int, ...]) -> ChainExample:
        token_ids = (*question_ids, *answer_ids, self.tokenizer.eos_token_id)
        num_answer = len(answer_ids) + 1
        return ChainExample(token_ids, num_answer if self.loss_on == "answer" else len(token_ids) - 1)


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
