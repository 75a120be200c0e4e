"""What an arm did on one task, in figures: a pure function of its samples."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rl.compare.results import ArmSamples
from rl.evaluation.passk import Estimate, mean_over_questions, pass_at_k
from rl.sample.folder import QuestionSamples

SINGLE_SHOT = ("greedy", "temperature")
"""Methods whose answers are plain completions: none is chosen, combined or resampled."""
SEES_ANSWERS = ("best_of_n",)
"""Methods that choose with the graders themselves, which know the right answer: what they give is pass@n."""


@dataclass(frozen=True)
class Arm:
    """An arm, apart from what it answered."""

    name: str
    method: str
    is_trained: bool
    """Whether its model is another than the base."""
    training_tokens: int | None
    """Sampled to train its model, by the run's ledger; 0 for the base model, None where no ledger tells."""
    prm: str = ""
    """The process reward model that it asks; empty for none."""

    @property
    def is_single_shot(self) -> bool:
        """Whether an answer of it is one plain completion."""
        return self.method in SINGLE_SHOT

    @property
    def sees_answers(self) -> bool:
        """Whether it chooses by what nobody knows who asks in earnest."""
        return self.method in SEES_ANSWERS


@dataclass(frozen=True)
class ArmFigures:
    """An arm on one task."""

    arm: Arm
    samples: ArmSamples
    ks: tuple[int, ...]
    """Those of pass@k that were asked for; empty takes `default_ks`."""

    @cached_property
    def correct(self) -> tuple[float, ...]:
        """The share of right ones among the answers to each question, in question order."""
        return tuple(_num_correct(question) / len(question.returned) for question in self.samples.questions)

    @cached_property
    def accuracy(self) -> Estimate:
        """The chance that one answer is right."""
        return mean_over_questions(self.correct)

    @cached_property
    def pass_at_k(self) -> dict[int, Estimate]:
        """pass@k by k, up to the number of answers to a question: one where the method decides for one."""
        ks = [k for k in self.ks if k <= self.num_answers] or default_ks(self.num_answers)
        return {k: self._pass_at(k) for k in ks}

    @cached_property
    def num_answers(self) -> int:
        """Answers to each question; the fewest, should a method give more to one than to another."""
        return min(len(question.returned) for question in self.samples.questions)

    @cached_property
    def sampled_tokens(self) -> int:
        """All that were drawn, whatever became of them."""
        return sum(question.sampled_tokens for question in self.samples.questions)

    @cached_property
    def tokens_per_answer(self) -> float:
        """Tokens drawn, of whatever candidate or proposal, for one answer to one question; the mean over questions.

        Of n independent samples each is an answer, so its price is an n-th of what was drawn. A vote over n is one
        answer, and its price is all of it.
        """
        return statistics.fmean(question.sampled_tokens / len(question.returned) for question in self.samples.questions)

    @cached_property
    def tokens_to_answer_all(self) -> float:
        """Tokens drawn to answer every question of the task once."""
        return self.tokens_per_answer * len(self.samples.questions)

    @cached_property
    def flops_per_answer(self) -> float | None:
        """Operations of the policy's forward passes over the tokens drawn for one answer; None where nobody knows.

        Reading the question is left out, and so is whatever judges candidates.
        """
        flops = self.samples.flops_per_token
        return None if flops is None else flops * self.tokens_per_answer

    @cached_property
    def scored_tokens(self) -> int:
        """Tokens whose log-probability was computed without drawing them."""
        return sum(question.scored_tokens for question in self.samples.questions)

    @cached_property
    def num_candidates(self) -> int:
        """Completions that the method looked at in the end."""
        return sum(len(question.candidates) for question in self.samples.questions)

    @cached_property
    def parse_rate(self) -> float:
        """Share of completed candidates in which the grader could read an answer, right or wrong."""
        return _share([c.answer is not None for q in self.samples.questions for c in q.completed])

    @cached_property
    def truncation_rate(self) -> float:
        """Share of completed candidates that the limit on tokens cut off."""
        return _share([c.truncated for q in self.samples.questions for c in q.completed])

    @cached_property
    def distinct_answers(self) -> float:
        """Different answers among the completed candidates of a question, the mean over questions."""
        return statistics.fmean(
            len({c.answer for c in question.completed} - {None}) for question in self.samples.questions
        )

    @cached_property
    def base_logprobs(self) -> tuple[float, ...]:
        """Log-likelihood of each answer's completion under the base model, nats; without those that were not scored."""
        answers = (q.candidates[index] for q in self.samples.questions for index in q.returned)
        return tuple(answer.base_logprob for answer in answers if answer.base_logprob is not None)

    def _pass_at(self, k: int) -> Estimate:
        questions = self.samples.questions
        return mean_over_questions([pass_at_k(len(q.returned), _num_correct(q), k) for q in questions])


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def default_ks(num_answers: int) -> list[int]:
    """The powers of two up to the number of answers, and that number.

    >>> default_ks(1), default_ks(6)
    ([1], [1, 2, 4, 6])
    """
    powers = (2**n for n in range(num_answers.bit_length()))
    return sorted({*powers, num_answers})


def _num_correct(question: QuestionSamples) -> int:
    return sum(question.candidates[index].correct for index in question.returned)
