import math
import statistics

import pytest

from reward.types import Reward
from rl.records import SampleRollout, sample_rollouts, samples_due, step_metrics
from rl.types import ScoredGroup, Shard, StepProof, TrainingBatch
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

POLICY = PolicyVersion(0, "d")


def scored(prompt_id: str, rewards: list[Reward], lengths: list[int]) -> ScoredGroup:
    """A group whose rollouts have log-probability -1 at each token; those of three tokens were cut off."""
    rollouts = tuple(
        Rollout(prompt_id, sample, (7,) * length, (-1.0,) * length, f"{prompt_id}{sample}", length == 3)
        for sample, length in enumerate(lengths)
    )
    group = RolloutGroup(Prompt(prompt_id, f"ask {prompt_id}", (1, 2), {}), rollouts, POLICY)
    return ScoredGroup(group, tuple(rewards), tuple(reward.value - 0.5 for reward in rewards))


MIXED = scored("a", [Reward(0.5, {"right": 0.0, "m:brief": 1.0}), Reward(1.0, {"right": 1.0})], [1, 3])
SILENT = scored("b", [Reward(1.0, {"right": 1.0})] * 2, [2, 2])


def batch(*groups: ScoredGroup, step: int = 1) -> TrainingBatch:
    shards = tuple(Shard((group,)) for group in groups)
    return TrainingBatch(step=step, policy=POLICY, temperature=1.0, max_new_tokens=3, shards=shards)


def proof_of(learned: TrainingBatch, shift: float = 0.0) -> StepProof:
    """A proof in which the trainer's last log-probability of the batch is `shift` above the rollout's."""
    sides = [[list(rollout.rollout_logprobs) for rollout in scored.group.rollouts] for scored in learned.groups]
    sides[-1][-1][-1] += shift
    logprobs = tuple(tuple(tuple(rollout) for rollout in group) for group in sides)
    return StepProof(logprobs, 8, 0, 0.25, 0.5, "g", POLICY, 1e-5, 1.5, {"forward": 3.0})


def metrics(*groups: ScoredGroup, shift: float = 0.0) -> dict[str, float]:
    learned = batch(*groups)
    return step_metrics(learned, proof_of(learned, shift), {"sample": 1.0, "train": 3.0})


def test_a_step_is_measured() -> None:
    measured = metrics(MIXED, SILENT)
    expected = {
        "reward/mean": 0.875,
        "reward/std": statistics.pstdev([0.5, 1.0, 1.0, 1.0]),
        "reward/correct": 0.75,
        "rollout/length_mean": 2.0,
        "rollout/length_min": 1.0,
        "rollout/length_max": 3.0,
        "rollout/truncated": 0.25,
        "rollout/zero_variance_groups": 0.5,
        "train/loss": 0.25,
        "train/grad_norm": 0.5,
        "train/entropy": 1.5,
        "proof/num_tokens": 8.0,
        "proof/num_mismatched": 0.0,
        "speed/step_s": 4.0,
        "speed/tokens_per_s": 2.0,
        "time/sample_s": 1.0,
        "time/train_forward_s": 3.0,
    }
    assert {name: measured[name] for name in expected} == expected


def test_what_is_correct_is_the_verifiers_word() -> None:
    penalised = Reward(0.5, {"right": 1.0, "brief": -0.5}, "right")
    flattered = Reward(1.5, {"right": 0.0, "brief": 1.5}, "right")
    assert metrics(scored("a", [penalised, flattered, penalised], [1, 1, 1]))["reward/correct"] == 2 / 3


def test_a_reward_function_is_measured_over_the_rollouts_it_applied_to() -> None:
    measured = metrics(MIXED, SILENT)
    assert (measured["reward/right"], measured["reward/right/std"]) == (0.75, statistics.pstdev([0, 1, 1, 1]))
    assert (measured["reward/m:brief"], measured["reward/m:brief/std"]) == (1.0, 0.0)


def test_on_policy_the_ratios_are_exactly_one() -> None:
    measured = metrics(MIXED, SILENT)
    assert {measured[f"proof/ratio_{name}"] for name in ("min", "mean", "max")} == {1.0}


def test_the_ratios_are_those_of_the_two_sides() -> None:
    above = metrics(MIXED, SILENT, shift=math.log(3))
    assert above["proof/ratio_max"] == pytest.approx(3)
    assert above["proof/ratio_mean"] == pytest.approx((7 + 3) / 8)
    assert above["proof/ratio_min"] == 1.0
    assert metrics(MIXED, SILENT, shift=-math.log(3))["proof/ratio_min"] == pytest.approx(1 / 3)


def test_kl_is_zero_on_policy_and_schulmans_estimate_elsewhere() -> None:
    assert metrics(MIXED, SILENT)["proof/kl"] == 0.0
    log = -math.log(3)
    one_of_eight = (math.exp(log) - 1 - log) / 8
    assert metrics(MIXED, SILENT, shift=log)["proof/kl"] == pytest.approx(one_of_eight)


def test_a_proof_of_other_rollouts_has_no_ratios() -> None:
    with pytest.raises(ValueError, match="shorter"):
        step_metrics(batch(MIXED, SILENT), proof_of(batch(MIXED)), {"train": 1.0})


@pytest.mark.parametrize(
    ("every", "shown"), [(0, []), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 3, 6, 7]), (10, [1, 7]), (7, [1, 7])]
)
def test_samples_are_due_at_the_first_the_last_and_every_so_many_steps(every: int, shown: list[int]) -> None:
    assert [step for step in range(1, 8) if samples_due(step, 7, every)] == shown


def test_the_best_and_the_worst_rollout_are_shown_with_what_they_earned() -> None:
    best, worst, _ = sample_rollouts(batch(SILENT, MIXED), seed=0)
    assert best == SampleRollout("best", "b", "ask b", "b0", 1.0, {"right": 1.0}, 0.5, 2, False)
    assert worst == SampleRollout("worst", "a", "ask a", "a0", 0.5, {"right": 0.0, "m:brief": 1.0}, 0.0, 1, False)


def test_a_rollout_that_was_cut_off_says_so() -> None:
    best, _, _ = sample_rollouts(batch(MIXED, SILENT), seed=0)
    assert (best.completion, best.length, best.truncated) == ("a1", 3, True)


def test_the_random_rollout_follows_from_seed_and_step() -> None:
    def drawn(seed: int, step: int) -> str:
        return sample_rollouts(batch(MIXED, SILENT, step=step), seed)[2].completion

    by_step = [drawn(0, step) for step in range(32)]
    assert by_step == [drawn(0, step) for step in range(32)]
    assert by_step != [drawn(1, step) for step in range(32)]
    assert set(by_step) == {"a0", "a1", "b0", "b1"}
