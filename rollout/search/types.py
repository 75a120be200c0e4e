"""The values that flow between a search algorithm and its caller. All are frozen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollout.extension import Continuation, ContinuationSampler
from rollout.search.stepwise import StepScorer
from rollout.types import Prompt


@dataclass(frozen=True)
class Task:
    """One result that is wanted for one prompt."""

    prompt: Prompt
    sample: int = 0
    """Which of the prompt's independent results it is; keys the draws."""


@dataclass(frozen=True)
class Path:
    """Completion tokens, with what the engine said of each when it drew it."""

    token_ids: tuple[int, ...] = ()
    proposal_logprobs: tuple[float, ...] = ()
    """log q: the distribution they were drawn from."""
    policy_logprobs: tuple[float, ...] = ()
    """log p at temperature 1; empty where a method does not need it."""
    confidences: tuple[float, ...] = ()
    """Empty where a method does not need them."""
    has_ended: bool = False
    """Whether the last token is a stop token: nothing follows it."""

    def cut(self, index: int) -> "Path":
        """The first `index` tokens, of which none is a stop token while `index` is below the length."""
        if index >= len(self.token_ids):
            return self
        return Path(
            self.token_ids[:index],
            self.proposal_logprobs[:index],
            self.policy_logprobs[:index],
            self.confidences[:index],
        )

    def extended(self, drawn: Continuation) -> "Path":
        """This path, which has not ended, with `drawn` behind it."""
        return Path(
            self.token_ids + drawn.token_ids,
            self.proposal_logprobs + drawn.proposal_logprobs,
            self.policy_logprobs + drawn.policy_logprobs,
            self.confidences + drawn.confidences,
            drawn.has_ended,
        )


@dataclass(frozen=True)
class Effort:
    """What one task took."""

    tokens_sampled: int
    """All of them: rejected proposals and discarded candidates included."""
    tokens_returned: int
    tokens_scored: int = 0
    """Tokens that a model read only to score them. Log-probabilities that come with a draw cost no reading."""
    num_proposals: int = 0
    """Metropolis–Hastings proposals that drew at least one token."""
    num_accepted: int = 0

    @property
    def acceptance_rate(self) -> float:
        """Accepted among drawn proposals; NaN for a method without proposals."""
        return self.num_accepted / self.num_proposals if self.num_proposals else float("nan")


@dataclass(frozen=True)
class Outcome:
    """What a method gives back for one task."""

    task: Task
    path: Path
    """The completion."""
    effort: Effort


@dataclass(frozen=True)
class SearchResult:
    """The outcomes of all tasks, in their order, and how busy the engines were kept."""

    outcomes: tuple[Outcome, ...]
    in_flight: tuple[int, ...]
    """Requests handed over together, for every call of the sampler."""

    @property
    def mean_in_flight(self) -> float:
        """Chains, particles or traces advanced by one call of the sampler; NaN where it was never called."""
        return sum(self.in_flight) / len(self.in_flight) if self.in_flight else float("nan")


Extract = Callable[[Prompt, tuple[int, ...]], str | None]
"""The answer that a completion's tokens give to a prompt; None where none can be read."""


@dataclass(frozen=True)
class Scorer:
    """What tells a good completion from a bad one: a verifier, or a model that scores."""

    score: Callable[[Sequence[tuple[Prompt, Path]]], Sequence[float]]
    """Higher is better."""
    is_model: bool = False
    """Whether it is a model that reads the completions, so that their tokens count as scored."""


@dataclass(frozen=True)
class Tools:
    """What a method works with."""

    sampler: ContinuationSampler
    stop_token_ids: tuple[int, ...]
    seed: int
    """The run's, keying every draw."""
    extract: Extract | None = None
    """For methods that vote."""
    scorer: Scorer | None = None
    """For methods that choose among whole completions."""
    step_scorer: StepScorer | None = None
    """For methods that look at every step."""

    def __post_init__(self) -> None:
        if not self.stop_token_ids:
            raise ValueError(
                "the model names no end token, so that no completion would ever end; "
                "take a checkpoint whose tokenizer or generation_config.json has eos_token_id"
            )


class SearchMethod(Protocol):
    """A way to get completions out of a policy. Its fields are its settings."""

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """An outcome per task, each a function of the task, the policy and the run's seed alone."""
        ...
