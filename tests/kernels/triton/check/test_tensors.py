import pytest
import torch

from kernels.triton.check.tensors import Draws, compare, num_differing, unwritten_is_nan, windows
from kernels.triton.runtime import DEVICE


def test_windows_are_at_the_front_between_and_at_the_end_and_counts_that_do_not_fit_are_left_out():
    assert [(w.start, w.stop) for w in windows(10, (3, 10, 11))] == [(0, 3), (7, 10), (0, 10)]
    assert [(w.start, w.stop) for w in windows(100, (2,))] == [(0, 2), (74, 76), (98, 100)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bit_counts_the_sign_of_zero_and_nan_too(dtype):
    mine = torch.tensor([0.0, 1.0, float("nan"), 2.0, 3.0], dtype=dtype)
    expected = torch.tensor([-0.0, 1.0, float("nan"), 2.0, 3.5], dtype=dtype)
    assert num_differing(mine, expected) == 3
    assert num_differing(mine[3:4], expected[3:4]) == 0


def test_columns_of_a_larger_tensor_can_be_compared():
    whole = torch.arange(12.0).view(3, 4)
    assert num_differing(whole[:, 1:3].clone(), whole[:, 1:3]) == 0


@pytest.mark.parametrize("other", [torch.zeros(3), torch.zeros(2, dtype=torch.bfloat16)])
def test_other_shapes_and_dtypes_are_no_comparison(other):
    with pytest.raises(ValueError, match=r"\(2,\) torch.float32 cannot be compared"):
        num_differing(torch.zeros(2), other)


def test_a_comparison_adds_up_its_pairs():
    ones, twos = torch.ones(3), torch.tensor([1.0, 2.0])
    found = compare("op", torch.float32, "case", [(ones, ones), (twos, ones[:2])])
    assert (found.dtype, found.compared, found.differ) == ("fp32", 5, 1)


def test_fresh_memory_is_nan_inside_and_the_mode_is_as_before_behind_it():
    with unwritten_is_nan():
        assert torch.empty(1000, device=DEVICE).isnan().all()
        assert torch.empty_like(torch.zeros(1000, dtype=torch.bfloat16, device=DEVICE)).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()


def test_draws_are_the_same_every_time_and_of_the_scale_that_was_asked_for():
    first, again = (Draws(3).normal(10_000, dtype=torch.float32, scale=0.5) for _ in range(2))
    assert torch.equal(first, again)
    assert abs(float(first.std()) - 0.5) < 0.02
    assert not torch.equal(first, Draws(4).normal(10_000, dtype=torch.float32, scale=0.5))
    assert set(Draws().below(3, 100).tolist()) == {0, 1, 2}
