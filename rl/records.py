"""What a step leaves behind: its ledger record, its metrics, and what a person sees of it."""

import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rl.ledger import digest_logprobs, digest_prompts, digest_rewards, digest_tokens, float_bits
from rl.progress import StepView
from rl.summary import Accuracy
from rl.types import ScoredGroup, StepProof, StepRecord, TrainingBatch


@dataclass(frozen=True)
class SampleRollout:
    """A rollout as people read it: in text, with what it earned."""

    shown_as: Literal["best", "worst", "random"]
    prompt_id: str
    prompt: str
    """The question, without the chat template."""
    completion: str
    reward: float
    components: Mapping[str, float]
    """Unweighted value by reward function name; one that did not apply is left out."""
    advantage: float
    length: int
    """Completion tokens."""
    truncated: bool


def step_record(contract: str, batch: TrainingBatch, proof: StepProof, contract_change: str = "") -> StepRecord:
    """The ledger record of a step. `contract`: digest of what decides the bits; what of it changed since the last."""
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
        off_policy=proof.off_policy,
        contract_change=contract_change,
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
        "reward/correct": _share_correct(batch),
        **_components(batch),
        "rollout/length_mean": statistics.fmean(lengths),
        "rollout/length_min": float(min(lengths)),
        "rollout/length_max": float(max(lengths)),
        "rollout/truncated": statistics.fmean(rollout.truncated for rollout in rollouts),
        "rollout/zero_variance_groups": len(silent) / len(batch.groups),
        "train/loss": proof.loss,
        "train/grad_norm": proof.grad_norm,
        "train/learning_rate": proof.learning_rate,
        "train/entropy": proof.entropy,
        "proof/num_tokens": float(proof.num_tokens),
        "proof/num_mismatched": float(proof.num_mismatched),
        "proof/mismatched_share": proof.num_mismatched / proof.num_tokens,
        **_ratios(batch, proof),
        "speed/step_s": total_s,
        "speed/tokens_per_s": proof.num_tokens / total_s,
        **{f"time/{name}_s": seconds for name, seconds in laps_s.items()},
        **{f"time/train_{name}_s": seconds for name, seconds in proof.timings_s.items()},
    }


def samples_due(step: int, last_step: int, every: int) -> bool:
    """True at the steps whose rollouts people are shown: the first, the last and each `every`-th; never for 0."""
    return every > 0 and (step in (1, last_step) or step % every == 0)


def sample_rollouts(batch: TrainingBatch, seed: int) -> list[SampleRollout]:
    """The best, the worst and a random rollout of a step: of equals the first, and a draw keyed by seed and step."""
    places = [(scored, index) for scored in batch.groups for index in range(len(scored.rewards))]
    best = max(places, key=_reward_at)
    worst = min(places, key=_reward_at)
    drawn = random.Random(f"{seed}/{batch.step}").choice(places)
    return [_shown("best", *best), _shown("worst", *worst), _shown("random", *drawn)]


def step_view(batch: TrainingBatch, proof: StepProof, step_s: float, held_out: Accuracy | None) -> StepView:
    """What the progress display shows of a step."""
    values = [reward.value for scored in batch.groups for reward in scored.rewards]
    return StepView(
        step=batch.step,
        reward=statistics.fmean(values),
        correct=_share_correct(batch),
        num_tokens=proof.num_tokens,
        num_mismatched=proof.num_mismatched,
        tokens_per_s=proof.num_tokens / step_s,
        step_s=step_s,
        held_out=held_out.share if held_out else None,
        loss=proof.loss,
        grad_norm=proof.grad_norm,
        off_policy=proof.off_policy,
    )


def _share_correct(batch: TrainingBatch) -> float:
    return statistics.fmean(reward.is_correct for scored in batch.groups for reward in scored.rewards)


def _components(batch: TrainingBatch) -> dict[str, float]:
    """Mean and standard deviation of each reward function, unweighted, over the rollouts it applied to."""
    by_name: dict[str, list[float]] = {}
    for scored in batch.groups:
        for reward in scored.rewards:
            for name, value in reward.components.items():
                by_name.setdefault(name, []).append(value)
    means = {f"reward/{name}": statistics.fmean(values) for name, values in by_name.items()}
    return means | {f"reward/{name}/std": statistics.pstdev(values) for name, values in by_name.items()}


def _ratios(batch: TrainingBatch, proof: StepProof) -> dict[str, float]:
    """What lies between sampler and trainer, over the tokens, before any clipping; on-policy the ratio is exactly 1.

    The ratio is a token's probability under the trainer over that under the sampler; `kl` the mean of
    r - 1 - log r, which estimates KL(sampler || trainer) (Schulman, "Approximating KL divergence").
    """
    sides = (
        (rollout.rollout_logprobs, mine)
        for scored, group in zip(batch.groups, proof.trainer_logprobs, strict=True)
        for rollout, mine in zip(scored.group.rollouts, group, strict=True)
    )
    logs = np.concatenate([np.subtract(mine, theirs) for theirs, mine in sides])
    ratios = np.exp(logs)
    return {
        "proof/ratio_mean": float(ratios.mean()),
        "proof/ratio_min": float(ratios.min()),
        "proof/ratio_max": float(ratios.max()),
        "proof/kl": float((np.expm1(logs) - logs).mean()),
    }


def _reward_at(place: tuple[ScoredGroup, int]) -> float:
    scored, index = place
    return scored.rewards[index].value


def _shown(shown_as: Literal["best", "worst", "random"], scored: ScoredGroup, index: int) -> SampleRollout:
    rollout, reward = scored.group.rollouts[index], scored.rewards[index]
    return SampleRollout(
        shown_as=shown_as,
        prompt_id=rollout.prompt_id,
        prompt=scored.group.prompt.text,
        completion=rollout.text,
        reward=reward.value,
        components=reward.components,
        advantage=scored.advantages[index],
        length=len(rollout.token_ids),
        truncated=rollout.truncated,
    )
