"""What a step leaves behind: its ledger record, its metrics, and what a person sees of it."""

import statistics

from rl.ledger import digest_logprobs, digest_prompts, digest_rewards, digest_tokens, float_bits
from rl.progress import StepView
from rl.summary import Accuracy
from rl.types import StepProof, StepRecord, TrainingBatch

CORRECT = 1.0


def step_record(contract: str, batch: TrainingBatch, proof: StepProof) -> StepRecord:
    """The ledger record of a step. `contract`: digest of what decides the bits."""
    groups = [scored.group for scored in batch.groups]
    return StepRecord(
        step=batch.step,
        contract=contract,
        policy=batch.policy.digest,
        prompts=digest_prompts(groups),
        tokens=digest_tokens(groups),
        rollout_logprobs=digest_logprobs([r.rollout_logprobs for group in groups for r in group.rollouts]),
        trainer_logprobs=digest_logprobs([rollout for group in proof.trainer_logprobs for rollout in group]),
        rewards=digest_rewards([[reward.value for reward in scored.rewards] for scored in batch.groups]),
        gradient=proof.gradient,
        num_tokens=proof.num_tokens,
        num_mismatched=proof.num_mismatched,
        loss_bits=float_bits(proof.loss),
        grad_norm_bits=float_bits(proof.grad_norm),
        weights=proof.policy.digest,
    )


def step_metrics(batch: TrainingBatch, proof: StepProof, laps_s: dict[str, float]) -> dict[str, float]:
    """What is logged of a step, keys `area/name`; times in seconds."""
    values = [reward.value for scored in batch.groups for reward in scored.rewards]
    rollouts = [rollout for scored in batch.groups for rollout in scored.group.rollouts]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    silent = [scored for scored in batch.groups if len({reward.value for reward in scored.rewards}) == 1]
    total_s = sum(laps_s.values())
    return {
        "reward/mean": statistics.fmean(values),
        "reward/std": statistics.pstdev(values),
        "reward/correct": _share_correct(values),
        **_components(batch),
        "rollout/length_mean": statistics.fmean(lengths),
        "rollout/length_max": float(max(lengths)),
        "rollout/truncated": statistics.fmean(rollout.truncated for rollout in rollouts),
        "rollout/zero_variance_groups": len(silent) / len(batch.groups),
        "train/loss": proof.loss,
        "train/grad_norm": proof.grad_norm,
        "train/learning_rate": proof.learning_rate,
        "train/entropy": proof.entropy,
        "proof/num_tokens": float(proof.num_tokens),
        "proof/num_mismatched": float(proof.num_mismatched),
        "speed/step_s": total_s,
        "speed/tokens_per_s": proof.num_tokens / total_s,
        **{f"time/{name}_s": seconds for name, seconds in laps_s.items()},
        **{f"time/train_{name}_s": seconds for name, seconds in proof.timings_s.items()},
    }


def step_view(batch: TrainingBatch, proof: StepProof, step_s: float, held_out: Accuracy | None) -> StepView:
    """What the progress display shows of a step."""
    values = [reward.value for scored in batch.groups for reward in scored.rewards]
    return StepView(
        step=batch.step,
        reward=statistics.fmean(values),
        correct=_share_correct(values),
        num_tokens=proof.num_tokens,
        num_mismatched=proof.num_mismatched,
        tokens_per_s=proof.num_tokens / step_s,
        step_s=step_s,
        held_out=held_out.share if held_out else None,
        loss=proof.loss,
        grad_norm=proof.grad_norm,
    )


def _share_correct(values: list[float]) -> float:
    return statistics.fmean(value >= CORRECT for value in values)


def _components(batch: TrainingBatch) -> dict[str, float]:
    """Mean of each reward function over the rollouts it applied to."""
    by_name: dict[str, list[float]] = {}
    for scored in batch.groups:
        for reward in scored.rewards:
            for name, value in reward.components.items():
                by_name.setdefault(name, []).append(value)
    return {f"reward/{name}": statistics.fmean(values) for name, values in by_name.items()}
