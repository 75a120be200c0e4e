"""The values that flow through the learning side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reward.types import Reward
from rollout.types import PolicyVersion, RolloutGroup

StepAdvantages = tuple[tuple[float, ...], ...]
"""A float for each token of each rollout of a group."""


@dataclass(frozen=True)
class RewardedGroup:
    """A group of rollouts with a reward for each."""

    group: RolloutGroup
    rewards: tuple[Reward, ...]


@dataclass(frozen=True)
class ScoredGroup:
    """A group of rollouts with a reward and an advantage for each."""

    group: RolloutGroup
    rewards: tuple[Reward, ...]
    advantages: tuple[float, ...]
    step_advantages: StepAdvantages = ()
    """Added to the advantage of the rollout, token by token; empty without process rewards."""

    @property
    def all_advantages(self) -> list[float]:
        """Every float that its gradient is weighed with; all are 0 where there is nothing to learn."""
        return [*self.advantages, *(value for rollout in self.step_advantages for value in rollout)]


@dataclass(frozen=True)
class Shard:
    """A canonical cut of the batch: its gradient is a pure function of it, computed whole on one rank."""

    groups: tuple[ScoredGroup, ...]


@dataclass(frozen=True)
class TrainingBatch:
    """What one optimizer step learns from. `len(shards)` is `trainer.num_shards`, whatever the world size."""

    step: int
    policy: PolicyVersion
    """The version that sampled every rollout in here."""
    temperature: float
    max_new_tokens: int
    shards: tuple[Shard, ...]

    @property
    def groups(self) -> list[ScoredGroup]:
        """All groups in prompt order."""
        return [group for shard in self.shards for group in shard.groups]


@dataclass(frozen=True)
class LossInputs:
    """Flat over the completion tokens of some rollouts. T tokens, R rollouts; all fp32 unless said."""

    logprobs: torch.Tensor
    """(T,) under the policy being trained; carries the gradient."""
    rollout_logprobs: torch.Tensor
    """(T,) under the policy that sampled."""
    advantages: torch.Tensor
    """(R,) one per rollout."""
    rollout_index: torch.Tensor
    """(T,) int64, which rollout each token belongs to, ascending."""
    lengths: torch.Tensor
    """(R,) int64, completion tokens of each rollout."""
    reference_logprobs: torch.Tensor | None = None
    """(T,) under the reference model, no gradient; None where the algorithm does not need one."""
    step_advantages: torch.Tensor | None = None
    """(T,) added to the advantage of each token's rollout; None without process rewards."""


@dataclass(frozen=True)
class BatchTotals:
    """Counts over the whole batch, so that a shard knows its share of the mean."""

    num_rollouts: int
    num_tokens: int
    max_new_tokens: int


@dataclass(frozen=True)
class StepProof:
    """What the trainer hands back: proof of the step, and what it measured."""

    trainer_logprobs: tuple[tuple[tuple[float, ...], ...], ...]
    """By group, rollout, token; equal to the rollout's in all bits."""
    num_tokens: int
    num_mismatched: int
    loss: float
    """fp32 value, exactly, of the first update."""
    grad_norm: float
    """fp32 value before clipping, exactly, of the first update."""
    gradient: str
    """sha256 hex over the summed gradient, before clipping; over the digests of all when there is more than one."""
    policy: PolicyVersion
    """The version after the step."""
    learning_rate: float
    entropy: float
    """Mean over completion tokens, nats."""
    timings_s: dict[str, float]
    off_policy: str = ""
    """What of the step was not on-policy, by choice; empty where all of it was."""


@dataclass(frozen=True)
class StepRecord:
    """One line of the ledger, before it is chained. Digests are sha256 hex."""

    step: int
    contract: str
    policy: str
    prompts: str
    tokens: str
    rollout_logprobs: str
    trainer_logprobs: str
    rewards: str
    gradient: str
    num_tokens: int
    num_mismatched: int
    loss_bits: str
    grad_norm_bits: str
    weights: str
    off_policy: str = ""
    """What of the step was not on-policy, by choice; empty, and left out of the line, where all of it was."""
    contract_change: str = ""
    """In which parts `contract` differs from the step before; empty, and left out of the line, where it does not."""


@dataclass(frozen=True)
class SupervisedRecord:
    """One line of the ledger of a run that learns from given examples, before it is chained. Digests are sha256 hex."""

    step: int
    contract: str
    batch: str
    """Over the step's examples, in order."""
    num_tokens: int
    """What the model read."""
    loss_bits: str
    grad_norm_bits: str
    gradient: str
    weights: str
    contract_change: str = ""
    """In which parts `contract` differs from the step before; empty, and left out of the line, where it does not."""


Groups = Sequence[RolloutGroup]
