"""The proof of on-policyness: same policy version, and every log-probability equal in all bits."""

import struct
from collections.abc import Sequence

import torch

from rl.batching import MicroBatch
from rl.errors import BrokenGuarantee
from rl.types import TrainingBatch
from rollout.types import PolicyVersion

LIKELY_CAUSES = (
    "a weight differs between engine and trainer; the engine runs an op outside the contract; "
    "temperature is applied differently; a cached prefix outlived a weight update"
)
DIVERGED = (
    "Both compute the same and it is no number: training diverged, or the model at model.path did so from the start. "
    "Lower optimizer.learning_rate in the run's config.yaml and go on from its last checkpoint with "
    "zerokl resume --allow-contract-change"
)


def require_same_policy(sampled: PolicyVersion, trained: PolicyVersion) -> None:
    """Nothing; raises BrokenGuarantee when the rollouts came from another version than the trainer holds."""
    if sampled != trained:
        raise BrokenGuarantee(
            f"stale policy: rollouts were sampled at step {sampled.step} with weights {sampled.digest[:16]}…, "
            f"the trainer is at step {trained.step} with {trained.digest[:16]}…; publish weights after every step"
        )


def require_same_recurrence(batch: TrainingBatch, trained: int | None) -> None:
    """Nothing; raises BrokenGuarantee naming the first rollout whose engine ran the core another number of times.

    trained: how often the trainer runs it; None where the model has no core.
    """
    for scored in batch.groups:
        for rollout in scored.group.rollouts:
            if rollout.recurrence != trained:
                raise BrokenGuarantee(
                    f"another depth: the engine ran the core {rollout.recurrence} times for prompt "
                    f"{rollout.prompt_id}, sample {rollout.sample}, and the trainer runs it {trained} times; start "
                    "both from the same model.recurrence"
                )


def require_on_policy(step: int, batch: MicroBatch, trainer_logprobs: torch.Tensor) -> None:
    """Nothing; raises BrokenGuarantee when a trainer log-probability differs from its rollout's in any bit.

    trainer_logprobs: (T,) fp32. Bits are compared, so that 0.0 and -0.0 differ and NaN does not pass.
    """
    mine = trainer_logprobs.detach().view(torch.int32)
    differ = (mine != batch.rollout_logprobs.view(torch.int32)) | trainer_logprobs.detach().isnan()
    if bool(differ.any()):
        raise BrokenGuarantee(_describe(step, batch, trainer_logprobs.detach(), differ))


def count_mismatched(batch: TrainingBatch, trainer_logprobs: Sequence[Sequence[Sequence[float]]]) -> int:
    """How many log-probabilities of a whole batch differ from their rollout's: counted anew, from what is written.

    trainer_logprobs: by group, rollout, token.
    """
    sides = (
        (rollout.rollout_logprobs, mine)
        for scored, group in zip(batch.groups, trainer_logprobs, strict=True)
        for rollout, mine in zip(scored.group.rollouts, group, strict=True)
    )
    return sum(a != b for theirs, mine in sides for a, b in zip(theirs, mine, strict=True))


def _describe(step: int, batch: MicroBatch, trainer_logprobs: torch.Tensor, differ: torch.Tensor) -> str:
    first = int(differ.nonzero()[0, 0])
    nan = batch.rollout_logprobs.isnan() & trainer_logprobs.isnan()
    if bool(nan[first]):
        what = f"the policy computes NaN: {int(nan.sum())} of {len(nan)} log-probabilities in this micro-batch are NaN"
        why = DIVERGED
    else:
        what = f"not on-policy: {int(differ.sum())} of {len(differ)} log-probabilities in this micro-batch differ"
        why = f"Likely causes: {LIKELY_CAUSES}"
    rollout_number = int(batch.rollout_index[first])
    rollout = [r for piece in batch.slices for r in piece.rollouts][rollout_number]
    position = first - int(batch.lengths[:rollout_number].sum())
    return (
        f"{what}. First at step {step}, prompt {rollout.prompt_id}, sample {rollout.sample}, position {position}: "
        f"rollout {_show(float(batch.rollout_logprobs[first]))}, trainer {_show(float(trainer_logprobs[first]))}. "
        f"{why}."
    )


def _show(value: float) -> str:
    return f"{value!r} (0x{struct.unpack('<I', struct.pack('<f', value))[0]:08x})"
