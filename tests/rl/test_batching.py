import random
from dataclasses import replace

import pytest
import torch

from kernels.attention import Sequence
from reward.types import Reward
from rl.batching import Slice, cut_into_shards, micro_batches, pack
from rl.types import ScoredGroup
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup


def scored(prompt_id, prompt_tokens, *completions):
    """Log-probability of token t at position i: -(t + i/8). Advantage of sample s: s + 0.5."""
    rollouts = tuple(
        Rollout(prompt_id, sample, tuple(tokens), tuple(-(t + i / 8) for i, t in enumerate(tokens)), "", False)
        for sample, tokens in enumerate(completions)
    )
    group = RolloutGroup(Prompt(prompt_id, "", tuple(prompt_tokens), {}), rollouts, PolicyVersion(0, "digest"))
    rewards = tuple(Reward(0.0, {}) for _ in rollouts)
    return ScoredGroup(group, rewards, tuple(sample + 0.5 for sample in range(len(rollouts))))


def whole(group):
    return Slice(group, tuple(range(len(group.group.rollouts))))


def random_group(rng, prompt_id):
    def tokens(low, high):
        return [rng.randrange(1000) for _ in range(rng.randint(low, high))]

    return scored(prompt_id, tokens(1, 6), *(tokens(1, 5) for _ in range(4)))


FIRST = scored("a", [1, 2, 3], [4, 5], [6], [7, 8, 9])
SECOND = scored("b", [10, 11], [12, 13])


def test_two_groups_packed_by_hand():
    batch = pack([whole(FIRST), whole(SECOND)])
    # rows: 0-2 prompt a | 3 completion 0 | (completion 1: nothing) | 4-5 completion 2 | 6-7 prompt b | 8 completion 0
    assert batch.token_ids.tolist() == [1, 2, 3, 4, 7, 8, 10, 11, 12]
    assert batch.layout.sequences == (
        Sequence(0, 3),
        Sequence(3, 1, 0, 3),
        Sequence(4, 2, 0, 3),
        Sequence(6, 2),
        Sequence(8, 1, 6, 2),
    )
    assert batch.layout.positions.tolist() == [0, 1, 2, 3, 3, 4, 0, 1, 2]
    assert batch.predicting_rows.tolist() == [2, 3, 2, 2, 4, 5, 7, 8]
    assert batch.targets.tolist() == [4, 5, 6, 7, 8, 9, 12, 13]
    assert batch.lengths.tolist() == [2, 1, 3, 2]
    assert batch.rollout_index.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert batch.advantages.tolist() == [0.5, 1.5, 2.5, 0.5]
    assert batch.rollout_logprobs.tolist() == [-4, -5.125, -6, -7, -8.125, -9.25, -12, -13.125]
    assert (batch.rollout_logprobs.dtype, batch.advantages.dtype) == (torch.float32, torch.float32)


def test_step_advantages_go_with_their_tokens():
    credited = replace(FIRST, step_advantages=((1.0, 2.0), (3.0,), (4.0, 5.0, 6.0)))
    batch = pack([Slice(credited, (1, 2)), Slice(credited, (0,))])
    assert batch.step_advantages.tolist() == [3.0, 4.0, 5.0, 6.0, 1.0, 2.0]
    assert batch.step_advantages.dtype == torch.float32
    assert credited.all_advantages == [0.5, 1.5, 2.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert pack([whole(FIRST)]).step_advantages is None and FIRST.all_advantages == [0.5, 1.5, 2.5]


def test_a_slice_takes_the_samples_it_names_and_their_advantages():
    batch = pack([Slice(FIRST, (1, 2))])
    assert batch.token_ids.tolist() == [1, 2, 3, 7, 8]
    assert batch.targets.tolist() == [6, 7, 8, 9]
    assert batch.predicting_rows.tolist() == [2, 2, 3, 4]
    assert batch.advantages.tolist() == [1.5, 2.5]


def test_rollouts_of_one_token_take_no_rows_and_are_predicted_by_the_prompts_last():
    batch = pack([whole(scored("a", [1, 2], [3], [4]))])
    assert batch.token_ids.tolist() == [1, 2]
    assert batch.layout.sequences == (Sequence(0, 2),)
    assert batch.predicting_rows.tolist() == [1, 1]
    assert batch.targets.tolist() == [3, 4]


def test_rows_of_a_slice_are_counted_as_they_are_packed():
    for piece in (whole(FIRST), Slice(FIRST, (1,)), Slice(FIRST, (0, 2)), whole(SECOND)):
        batch = pack([piece])
        assert piece.num_rows == len(batch.token_ids) == batch.layout.num_rows


def test_each_token_is_predicted_from_exactly_the_prompt_and_the_tokens_before_it():
    rng = random.Random(0)
    groups = [random_group(rng, str(i)) for i in range(6)]
    batch = pack([whole(group) for group in groups])
    seen = {}  # what each row attends to, itself last
    for sequence in batch.layout.sequences:
        rows = sequence.key_rows.tolist()
        for i in range(sequence.length):
            seen[sequence.start + i] = batch.token_ids[rows[: sequence.prefix_length + i + 1]].tolist()
    contexts = [seen[row] for row in batch.predicting_rows.tolist()]
    expected = [
        [*group.group.prompt.token_ids, *rollout.token_ids[:position]]
        for group in groups
        for rollout in group.group.rollouts
        for position in range(len(rollout.token_ids))
    ]
    assert contexts == expected


def test_groups_share_a_micro_batch_up_to_max_rows():
    groups = [scored(name, [1, 2, 3], [4, 5, 6]) for name in "abc"]  # 5 rows each
    assert [[len(b.slices), len(b.token_ids)] for b in micro_batches(groups, 15)] == [[3, 15]]
    assert [[len(b.slices), len(b.token_ids)] for b in micro_batches(groups, 14)] == [[2, 10], [1, 5]]
    assert [[len(b.slices), len(b.token_ids)] for b in micro_batches(groups, 5)] == [[1, 5]] * 3


@pytest.mark.parametrize("max_rows", [7, 8])
def test_a_group_larger_than_max_rows_is_split_with_its_prompt_repeated(max_rows):
    group = scored("a", [1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 14, 15])  # 3 rows + 2 a rollout
    first, second = micro_batches([group], max_rows)
    assert (first.slices, second.slices) == ((Slice(group, (0, 1)),), (Slice(group, (2, 3)),))
    assert first.token_ids.tolist() == [1, 2, 3, 4, 5, 7, 8]
    assert second.token_ids.tolist() == [1, 2, 3, 10, 11, 13, 14]
    assert second.advantages.tolist() == [2.5, 3.5]


def test_a_rollout_longer_than_max_rows_is_packed_alone():
    batches = micro_batches([FIRST], 2)
    assert [batch.slices for batch in batches] == [(Slice(FIRST, (sample,)),) for sample in range(3)]


@pytest.mark.parametrize("max_rows", [1, 10, 17, 40, 1000])
def test_every_rollout_is_packed_once_and_in_order(max_rows):
    rng = random.Random(1)
    groups = [random_group(rng, str(i)) for i in range(7)]
    batches = micro_batches(groups, max_rows)
    packed = [rollout for batch in batches for piece in batch.slices for rollout in piece.rollouts]
    assert packed == [rollout for group in groups for rollout in group.group.rollouts]
    targets = [token for batch in batches for token in batch.targets.tolist()]
    assert targets == [token for rollout in packed for token in rollout.token_ids]
    for batch in batches:
        assert len(batch.token_ids) <= max_rows or len(batch.lengths) == 1


def test_shards_are_neighbouring_groups_in_order():
    groups = [scored(str(i), [1], [2]) for i in range(6)]
    shards = cut_into_shards(groups, 3)
    assert [shard.groups for shard in shards] == [tuple(groups[0:2]), tuple(groups[2:4]), tuple(groups[4:6])]


def test_groups_that_do_not_divide_into_the_shards_are_refused():
    groups = [scored(str(i), [1], [2]) for i in range(6)]
    with pytest.raises(ValueError, match=r"6 prompts cannot be cut into 4 equal shards; change data\.num_prompts"):
        cut_into_shards(groups, 4)
