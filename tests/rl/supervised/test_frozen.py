"""Real ranks that train a part of a model: the rest stays as it was, and no bit depends on how the work is shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels.linear import LinearPlan
from rl.config import OptimizerConfig, TrainerConfig
from rl.pretrain.examples import ChainExample
from rl.pretrain.next_token import NextToken
from rl.supervised.group import SupervisedGroup
from rl.supervised.rank import SupervisedRank, SupervisedSettings
from rl.supervised.types import Batch, StepResult, cut_into_batch

pytestmark = pytest.mark.engine
TRAINED = "mlp.down_proj.weight"


@dataclass(frozen=True)
class LastLinear(NextToken):
    """Next token, with every other weight frozen."""

    def load(self, model_dir: str, dtype: str, plan: LinearPlan) -> Any:
        model = super().load(model_dir, dtype, plan)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith(TRAINED))
        return model


def batch(step: int) -> Batch:
    examples = [ChainExample.of_last(tuple((7 * i + 3 * t) % 100 for t in range(4 + i % 5)), 2) for i in range(8)]
    return cut_into_batch(examples, LastLinear(None), step, seed=0, num_shards=4)


def weights(rank: SupervisedRank) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in rank.weights().items()}


@dataclass(frozen=True)
class Outcome:
    results: Sequence[StepResult]
    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]
    state: bytes
    again: StepResult
    """The second step once more, from what was saved after the first."""


def trained(model_dir: Path, folder: Path, **trainer: Any) -> Outcome:
    settings = SupervisedSettings(
        str(model_dir),
        "bfloat16",
        TrainerConfig(num_shards=4, **trainer),
        OptimizerConfig(learning_rate=1e-2, weight_decay=0.1),
        LastLinear(None),
    )
    group = SupervisedGroup(settings)
    try:
        group.start(group.certify())
        before = group.call(weights)
        first = group.step(batch(1), 1e-2)
        group.save(folder)
        second = group.step(batch(2), 1e-2)
        after = group.call(weights)
        group.load(folder, 1)
        again = group.step(batch(2), 1e-2)
    finally:
        group.close()
    return Outcome((first, second), before, after, (folder / "trainer.safetensors").read_bytes(), again)


@pytest.fixture(scope="module")
def outcomes(ray_session: None, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Outcome]:
    """Of one rank in stage 1, and of two in stage 3."""
    ways = ({}, {"world_size": 2, "zero_stage": 3})
    one, two = (trained(tiny_model, tmp_path_factory.mktemp("saved"), **way) for way in ways)
    return one, two


def test_two_ranks_in_stage_3_come_to_the_bits_of_one_in_stage_1(outcomes: tuple[Outcome, Outcome]) -> None:
    one, two = outcomes
    for mine, theirs in zip((*one.results, one.again), (*two.results, two.again), strict=True):
        assert (mine.loss, mine.grad_norm) == (theirs.loss, theirs.grad_norm)
        assert (mine.gradient, mine.policy) == (theirs.gradient, theirs.policy)
    assert one.state == two.state


def test_a_step_from_what_was_saved_is_the_step_that_was_taken(outcomes: tuple[Outcome, Outcome]) -> None:
    for outcome in outcomes:
        assert (outcome.again.gradient, outcome.again.policy) == (
            outcome.results[1].gradient,
            outcome.results[1].policy,
        )


def test_only_what_asks_for_a_gradient_moves(outcomes: tuple[Outcome, Outcome]) -> None:
    for outcome in outcomes:
        moved = {name for name, weight in outcome.after.items() if not torch.equal(weight, outcome.before[name])}
        assert moved == {name for name in outcome.after if name.endswith(TRAINED)} and moved
