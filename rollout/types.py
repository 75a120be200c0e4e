"""The values that flow out of the sampling side. All are frozen: a later stage makes a new type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """One question, tokenized, with what its reward needs to know."""

    id: str
    """Unique within a run, and the key of the prompt's sampling draws: `train/0/17` is split/epoch/index, in a mixture
    `train/gsm8k/0/17` with the source."""
    text: str
    """The question as the user wrote it, without the chat template."""
    token_ids: tuple[int, ...]
    """What the model reads, chat template included."""
    columns: Mapping[str, Any]
    """Everything else the data set says about the question (`answer`, `metadata`, …), handed to reward functions."""
    recurrence: int | None = None
    """How often an engine runs the core of a recurrent-depth model for it; None is as often as the engine does. For
    sampling: a trainer goes equally deep for all."""


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn from the policy."""

    temperature: float = 1.0
    """Logits are divided by it in fp32; 0 takes the most likely token."""
    max_new_tokens: int = 64
    stop_token_ids: tuple[int, ...] = ()
    """A rollout ends with the first of these, which is part of the rollout."""


@dataclass(frozen=True)
class PolicyVersion:
    """Which weights: how many optimizer steps they have had, and their digest."""

    step: int
    digest: str
    """sha256 hex of `kernels.digest.weights_digest`."""


@dataclass(frozen=True)
class Rollout:
    """One sampled completion."""

    prompt_id: str
    sample: int
    """Index within the group; with the prompt's id and the run's seed it keys the draws."""
    token_ids: tuple[int, ...]
    """Completion tokens, the stop token included."""
    rollout_logprobs: tuple[float, ...]
    """One per token, each exactly an fp32 value: log-probability under the sampling policy, temperature applied."""
    text: str
    """Decoded completion without special tokens."""
    truncated: bool
    """True when `max_new_tokens` ended it, not a stop token."""
    recurrence: int | None = None
    """How often the engine ran the core of a recurrent-depth model; None for a model without one."""


@dataclass(frozen=True)
class RolloutGroup:
    """All rollouts of one prompt, in sample order, from one policy version."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    policy: PolicyVersion

    @property
    def num_tokens(self) -> int:
        """Tokens of its sequences, the prompt counted in each."""
        return sum(len(self.prompt.token_ids) + len(rollout.token_ids) for rollout in self.rollouts)
