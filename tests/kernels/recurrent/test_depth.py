import pytest
from transformers import LlamaConfig

from kernels.recurrent.configuration import RecurrentDepthConfig
from kernels.recurrent.depth import Depth, note_trained, recurrence_of


@pytest.mark.parametrize(("depth", "expected"), [(Depth(5), 0), (Depth(5, 2), 3), (Depth(5, 5), 0), (Depth(1, 8), 0)])
def test_the_runs_without_a_gradient_are_the_first_ones(depth: Depth, expected: int) -> None:
    assert depth.num_detached == expected


def test_only_a_model_with_a_core_has_a_recurrence() -> None:
    assert recurrence_of(LlamaConfig()) is None
    assert recurrence_of(RecurrentDepthConfig(num_recurrences=7)) == 7


@pytest.mark.parametrize(("depth", "reached"), [(Depth(5), 5), (Depth(5, 2), 2), (Depth(1, 8), 1)])
def test_a_forward_pass_is_told_a_number_of_runs_and_never_none(depth: Depth, reached: int) -> None:
    assert depth.arguments() == {"num_recurrences": depth.num_recurrences, "num_backpropagated": reached}


@pytest.mark.parametrize(("recurrence", "expected"), [(1, [1, 6]), (4, [2, 6]), (9, [2, 9])])
def test_training_at_a_depth_makes_it_one_of_those_that_were_trained(recurrence: int, expected: list[int]) -> None:
    config = RecurrentDepthConfig(num_recurrences=recurrence, trained_recurrences=[2, 6])
    note_trained(config)
    assert config.trained_recurrences == expected


def test_where_nobody_knows_what_was_trained_nothing_is_claimed() -> None:
    unknown = RecurrentDepthConfig()
    note_trained(unknown)
    assert unknown.trained_recurrences is None
    note_trained(LlamaConfig())
