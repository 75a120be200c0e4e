"""The values that flow between the loop and the ranks of supervised training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.supervised.objective import Objective, Totals
from rollout.types import PolicyVersion


@dataclass(frozen=True)
class Batch:
    """What one optimizer step learns from. `len(shards)` is `trainer.num_shards`, whatever the world size."""

    totals: Totals
    shards: tuple[tuple[Any, ...], ...]
    """Canonical cuts: the gradient of one is computed whole on one rank."""

    @property
    def step(self) -> int:
        return self.totals.step

    @property
    def examples(self) -> list[Any]:
        """All of them in order."""
        return [example for shard in self.shards for example in shard]

    @property
    def num_tokens(self) -> int:
        """What the model reads."""
        return sum(len(example.token_ids) for example in self.examples)


def cut_into_batch(examples: Sequence[Any], objective: Objective, step: int, seed: int, num_shards: int) -> Batch:
    """The batch of a step. Raises ValueError when the examples do not divide into `num_shards` equal shards."""
    if not examples or len(examples) % num_shards:
        raise ValueError(
            f"a batch must be a multiple of trainer.num_shards={num_shards} examples, got {len(examples)}; "
            "change the one or the other"
        )
    size = len(examples) // num_shards
    totals = Totals(step, seed, len(examples), sum(map(objective.num_targets, examples)))
    return Batch(totals, tuple(tuple(examples[i * size : (i + 1) * size]) for i in range(num_shards)))


@dataclass(frozen=True)
class StepResult:
    """What the ranks hand back of an optimizer step."""

    loss: float
    """fp32 value, exactly."""
    grad_norm: float
    """fp32 value before clipping, exactly."""
    gradient: str
    """sha256 hex over the summed gradient, before clipping."""
    policy: PolicyVersion
    """The version after the step."""
    timings_s: dict[str, float]
