import torch

from kernels.attention import Sequence
from rl.supervised.packing import micro_batches, pack

from .examples import Words


def test_sequences_stand_one_behind_the_other_and_count_their_own_positions() -> None:
    packed = pack([(7, 8, 9), (4,), (5, 6)])
    assert torch.equal(packed.token_ids, torch.tensor([7, 8, 9, 4, 5, 6]))
    assert packed.starts == (0, 3, 4)
    assert packed.layout.sequences == (Sequence(0, 3), Sequence(3, 1), Sequence(4, 2))
    assert torch.equal(packed.layout.positions, torch.tensor([0, 1, 2, 0, 0, 1]))


def lengths(*of: int, max_tokens: int) -> list[list[int]]:
    examples = [Words(tuple(range(n))) for n in of]
    return [[len(example.token_ids) for example in run] for run in micro_batches(examples, max_tokens)]


def test_a_run_is_filled_up_to_its_limit_and_keeps_the_order() -> None:
    assert lengths(3, 3, 4, 2, 5, max_tokens=10) == [[3, 3, 4], [2, 5]]
    assert lengths(5, 5, 1, max_tokens=10) == [[5, 5], [1]]


def test_what_is_longer_than_the_limit_is_a_run_of_its_own() -> None:
    assert lengths(2, 12, 2, 2, max_tokens=10) == [[2], [12], [2, 2]]
    assert lengths(12, max_tokens=10) == [[12]]
    assert lengths(max_tokens=10) == []
