"""The family under the seams: the same function, at the depth that is asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernels import seam
from kernels.attention import PackedLayout, Sequence
from kernels.coverage import uncovered
from kernels.linear import LinearPlan
from kernels.recurrent.depth import Depth

MakeModel = Callable[..., Any]
LAYOUT = PackedLayout((Sequence(0, 40), Sequence(40, 8, 0, 40), Sequence(48, 5, 0, 40)))
TOKEN_IDS = torch.arange(53) * 5 % 64


def hidden(model: Any, depth: Depth | None = None) -> torch.Tensor:
    with torch.no_grad():
        return seam.hidden_states(model, TOKEN_IDS, LAYOUT, depth)


@pytest.fixture
def model(make_model: MakeModel) -> Any:
    made = make_model(num_recurrences=3)
    assert uncovered(made) == []
    seam.install(made, LinearPlan("aten", 32))
    return made


def test_the_depth_of_a_pass_is_the_configs_or_the_one_that_is_given(model: Any, make_model: MakeModel) -> None:
    assert torch.equal(hidden(model, Depth(3)), hidden(model))
    deeper = make_model(num_recurrences=5)
    seam.install(deeper, LinearPlan("aten", 32))
    assert torch.equal(hidden(model, Depth(5)), hidden(deeper))
    assert not torch.equal(hidden(model), hidden(deeper))


def test_truncation_changes_no_bit_of_the_forward_pass(model: Any) -> None:
    assert torch.equal(hidden(model, Depth(3, num_backpropagated=1)), hidden(model))


def test_rows_that_share_a_prefix_are_those_of_the_whole_sequence(model: Any) -> None:
    alone = PackedLayout((Sequence(0, 48),))
    with torch.no_grad():
        expected = seam.hidden_states(model, TOKEN_IDS[:48], alone)
    assert torch.equal(hidden(model)[:48], expected)


def test_all_recurrences_have_a_gradient_where_a_pass_asks_for_it_whatever_the_config_says(
    make_model: MakeModel,
) -> None:
    def gradient(depth: Depth | None, **settings: int) -> torch.Tensor:
        made = make_model(num_recurrences=3, **settings)
        seam.install(made, LinearPlan("aten", 32))
        loss = seam.hidden_states(made, TOKEN_IDS, LAYOUT, depth).square().sum()
        (found,) = torch.autograd.grad(loss, [made.model.adapter.weight])
        return found

    assert torch.equal(gradient(Depth(3), num_backpropagated=1), gradient(None))
    assert not torch.equal(gradient(None, num_backpropagated=1), gradient(None))
