import pytest
from transformers import LlamaConfig

from kernels.recurrent.configuration import RecurrentDepthConfig
from kernels.recurrent.depth import Depth, recurrence_of


@pytest.mark.parametrize(("depth", "expected"), [(Depth(5), 0), (Depth(5, 2), 3), (Depth(5, 5), 0), (Depth(1, 8), 0)])
def test_the_runs_without_a_gradient_are_the_first_ones(depth: Depth, expected: int) -> None:
    assert depth.num_detached == expected


def test_only_a_model_with_a_core_has_a_recurrence() -> None:
    assert recurrence_of(LlamaConfig()) is None
    assert recurrence_of(RecurrentDepthConfig(num_recurrences=7)) == 7
