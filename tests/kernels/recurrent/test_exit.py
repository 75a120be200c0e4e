from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from kernels import seam
from kernels.attention import PackedLayout, Sequence
from kernels.linear import LinearPlan
from kernels.recurrent.depth import Depth
from kernels.recurrent.exit import ExitRule, settled_depth

MakeModel = Callable[..., Any]
TOKEN_IDS = torch.arange(24) * 7 % 63 + 1


def canonical(model: Any) -> Any:
    seam.install(model, LinearPlan("aten", 32))
    return model


def changes(model: Any, measure: str) -> list[float]:
    """Of runs 2, 3, … against the one before, by the model's own forward pass."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        deep = [model(TOKEN_IDS[None], num_recurrences=r).logits[0, -1].double().log_softmax(-1) for r in range(1, 5)]
        states = [model.model(TOKEN_IDS[None], num_recurrences=r).last_hidden_state[0, -1] for r in range(1, 5)]
    if measure == "kl":
        return [float((now.exp() * (now - before)).sum()) for before, now in pairwise(deep)]
    return [float((now - old).norm() / now.norm()) for old, now in pairwise(states)]


@pytest.mark.parametrize("measure", ["kl", "state"])
def test_a_question_goes_as_deep_as_the_first_run_that_changes_too_little(make_model: MakeModel, measure: str) -> None:
    found = changes(make_model(num_recurrences=4), measure)
    model = canonical(make_model(num_recurrences=4))
    thresholds = [0.5 * min(found), *(1.01 * change for change in found)]
    expected = [next((r for r, change in enumerate(found, start=2) if change < limit), 4) for limit in thresholds]
    assert len(set(expected)) > 1
    assert [settled_depth(model, TOKEN_IDS, ExitRule(measure, limit)) for limit in thresholds] == expected


@pytest.mark.parametrize("measure", ["kl", "state"])
def test_a_core_that_does_not_look_at_its_state_has_settled_at_once(make_model: MakeModel, measure: str) -> None:
    model = make_model(num_recurrences=6)
    model.model.adapter.weight.data[:, :64] = 0
    assert settled_depth(canonical(model), TOKEN_IDS, ExitRule(measure, 1e-12)) == 2


def test_sequences_of_different_depths_have_the_bits_that_they_have_alone(make_model: MakeModel) -> None:
    model = canonical(make_model(num_recurrences=6))
    lengths, depths = (24, 10, 17), (2, 6, 3)
    starts = (0, 24, 34)
    token_ids = torch.arange(sum(lengths)) * 11 % 63 + 1
    together = PackedLayout(tuple(Sequence(start, length) for start, length in zip(starts, lengths, strict=True)))
    model.model.row_depths = torch.tensor(depths).repeat_interleave(torch.tensor(lengths))[:, None]
    with torch.no_grad():
        mixed = seam.hidden_states(model, token_ids, together)
        model.model.row_depths = None
        for start, length, depth in zip(starts, lengths, depths, strict=True):
            rows = slice(start, start + length)
            alone = seam.hidden_states(model, token_ids[rows], PackedLayout((Sequence(0, length),)), Depth(depth))
            assert torch.equal(mixed[rows], alone)
