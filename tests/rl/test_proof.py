import pytest
import torch

from reward.types import Reward
from rl.batching import Slice, pack
from rl.errors import BrokenGuarantee
from rl.proof import count_mismatched, require_on_policy, require_same_policy
from rl.types import ScoredGroup, Shard, TrainingBatch
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup


def piece(prompt_id, samples, *logprobs):
    """The slice with `samples` of a group whose rollouts have these log-probabilities."""
    rollouts = tuple(
        Rollout(prompt_id, sample, tuple(range(len(values))), tuple(values), "", False)
        for sample, values in enumerate(logprobs)
    )
    group = RolloutGroup(Prompt(prompt_id, "", (1, 2), {}), rollouts, PolicyVersion(0, ""))
    advantages = tuple(0.0 for _ in rollouts)
    return Slice(ScoredGroup(group, tuple(Reward(0.0, {}) for _ in rollouts), advantages), samples)


def batch():
    """Tokens 0-1: prompt 4, sample 0. 2: sample 1. 3: prompt 9, sample 1. 4-6: sample 2."""
    first = piece("train/0/4", (0, 1), [-1.0, -0.25], [-3.0])
    second = piece("train/0/9", (1, 2), [-9.0], [-2.0], [-0.5, 0.0, -4.0])
    return pack([first, second])


def flipped(bits_by_token):
    """The batch's log-probabilities with bits flipped, as the trainer's."""
    trainer = batch().rollout_logprobs.clone()
    for token, bits in bits_by_token.items():
        trainer.view(torch.int32)[token] ^= bits
    return trainer


def message(trainer_logprobs, step=7, packed=None):
    with pytest.raises(BrokenGuarantee) as caught:
        require_on_policy(step, packed or batch(), trainer_logprobs)
    return str(caught.value)


def test_equal_bits_pass():
    trainer = batch().rollout_logprobs.clone().requires_grad_()
    require_on_policy(1, batch(), trainer)


@pytest.mark.parametrize("token", range(7))
def test_one_flipped_bit_is_caught_at_every_token(token):
    assert "1 of 7 log-probabilities" in message(flipped({token: 1}))


def test_the_error_names_step_prompt_sample_position_and_both_values():
    text = message(flipped({4: 1}))
    assert "step 7, prompt train/0/9, sample 2, position 0:" in text
    assert "rollout -0.5 (0xbf000000), trainer -0.5000000596046448 (0xbf000001)" in text
    assert "Likely causes: " in text


def test_the_first_of_several_differences_is_named_and_all_are_counted():
    text = message(flipped({6: 1, 1: 1 << 22, 3: 1}))
    assert "3 of 7 log-probabilities" in text
    assert "prompt train/0/4, sample 0, position 1: rollout -0.25 (0xbe800000), trainer -0.375 (0xbec00000)" in text


def test_the_sample_is_the_groups_own_number_also_in_a_split_group():
    assert "prompt train/0/9, sample 1, position 0:" in message(flipped({3: 1}))


def test_minus_zero_is_not_zero():
    trainer = batch().rollout_logprobs.clone()
    trainer[5] = -0.0
    text = message(trainer)
    assert "sample 2, position 1: rollout 0.0 (0x00000000), trainer -0.0 (0x80000000)" in text


def test_nan_on_both_sides_does_not_pass():
    packed = batch()
    packed.rollout_logprobs[2] = float("nan")
    text = message(packed.rollout_logprobs.clone(), packed=packed)
    assert text.startswith(
        "the policy computes NaN: 1 of 7 log-probabilities in this micro-batch are NaN. First at step 7"
    )
    assert "prompt train/0/4, sample 1, position 0: rollout nan (0x7fc00000), trainer nan (0x7fc00000)" in text
    assert "training diverged" in text and "Lower optimizer.learning_rate" in text
    assert "Likely causes" not in text


@pytest.mark.parametrize("trainers", [-3.0, float("nan")])
def test_nan_on_one_side_is_a_difference_like_any_other(trainers):
    packed = batch()
    packed.rollout_logprobs[2] = float("nan") if trainers == -3.0 else -3.0
    trainer = batch().rollout_logprobs.clone()
    trainer[2] = trainers
    text = message(trainer, packed=packed)
    assert text.startswith("not on-policy: 1 of 7 log-probabilities") and "Likely causes: " in text


def test_the_same_policy_passes():
    require_same_policy(PolicyVersion(3, "ab" * 32), PolicyVersion(3, "ab" * 32))


def test_a_stale_step_is_named():
    with pytest.raises(BrokenGuarantee, match=r"stale policy: .* sampled at step 2 .*the trainer is at step 3 "):
        require_same_policy(PolicyVersion(2, "ab" * 32), PolicyVersion(3, "ab" * 32))


def test_another_digest_at_the_same_step_is_named():
    with pytest.raises(BrokenGuarantee, match=f"weights {'ab' * 8}….* with {'cd' * 8}…"):
        require_same_policy(PolicyVersion(3, "ab" * 32), PolicyVersion(3, "cd" * 32))


def test_mismatches_of_a_whole_batch_are_counted_from_what_is_written():
    first, second = piece("train/0/4", (0, 1), [-1.0, -0.25], [-3.0]), piece("train/0/9", (0,), [-2.0])
    shards = (Shard((first.group,)), Shard((second.group,)))
    whole = TrainingBatch(1, PolicyVersion(0, ""), 1.0, 4, shards)
    assert count_mismatched(whole, (((-1.0, -0.25), (-3.0,)), ((-2.0,),))) == 0
    assert count_mismatched(whole, (((-1.0, -0.5), (-3.0,)), ((-2.5,),))) == 2
