"""An engine at another depth than the trainer is caught, whatever it says of itself, before the policy is updated."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rl import weight_sync
from rl.algorithms.grpo import GRPO
from rl.config import OptimizerConfig, TrainerConfig
from rl.errors import BrokenGuarantee
from rl.recurrent.checkpoint import at_recurrence
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rl.types import ScoredGroup, Shard, TrainingBatch
from rollout.engine import VLLMEngine
from rollout.pool import ContractMismatch, RolloutPool, require_contract

from ...conftest import Stack, batch_of, make_prompts, squeezed

pytestmark = pytest.mark.engine
TRAINED_AT, RUN_AT = 3, 2


@pytest.fixture(scope="module")
def deep_stack(tiny_recurrent: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A trainer and an engine at the same depth."""
    model_dir = at_recurrence(tiny_recurrent, TRAINED_AT, tmp_path_factory.mktemp("depths"))
    settings = TrainerSettings(
        str(model_dir), "float32", TrainerConfig(num_shards=4), OptimizerConfig(learning_rate=1e-2), GRPO()
    )
    trainer, pool = TrainerGroup(settings), RolloutPool(squeezed(num_actors=1), seed=0)
    plan = trainer.certify()
    trainer.start(plan)
    pool.start(str(model_dir), "float32", plan)
    made = Stack(model_dir, "float32", trainer, pool, make_prompts(model_dir))
    made.publish()
    yield made
    pool.close()
    trainer.close()


def run_at(engine: VLLMEngine, recurrence: int) -> None:
    """The engine runs its core another number of times from here on."""
    engine._llm.apply_model(lambda model: setattr(model.model.config, "num_recurrences", recurrence))


def relabelled(batch: TrainingBatch, recurrence: int) -> TrainingBatch:
    """The batch with every rollout said to be of another depth."""

    def of(scored: ScoredGroup) -> ScoredGroup:
        rollouts = tuple(dataclasses.replace(rollout, recurrence=recurrence) for rollout in scored.group.rollouts)
        return dataclasses.replace(scored, group=dataclasses.replace(scored.group, rollouts=rollouts))

    return dataclasses.replace(batch, shards=tuple(Shard(tuple(map(of, shard.groups))) for shard in batch.shards))


def refused(stack: Stack, batch: TrainingBatch) -> str:
    """The message with which the trainer refuses a batch; its policy is untouched."""
    before = stack.trainer.policy()
    with pytest.raises(Exception) as caught:
        stack.trainer.step(batch, 1e-2)
    cause: Any = getattr(caught.value, "cause", None) or caught.value
    assert isinstance(cause, BrokenGuarantee)
    assert stack.trainer.policy() == before
    return str(cause)


def test_a_step_at_the_same_depth_is_proved_and_says_how_deep_it_was(deep_stack: Stack) -> None:
    deep_stack.publish()
    groups = deep_stack.sample()
    assert {rollout.recurrence for group in groups for rollout in group.rollouts} == {TRAINED_AT}
    before = deep_stack.trainer.policy()
    proof = deep_stack.trainer.step(batch_of(groups, step=before.step + 1), 1e-2)
    assert proof.num_mismatched == 0 and proof.policy.digest != before.digest


def test_an_engine_at_another_depth_is_caught_by_what_it_says_and_by_the_proof(deep_stack: Stack) -> None:
    deep_stack.publish()
    deep_stack.pool.call(0, run_at, RUN_AT)
    try:
        batch = batch_of(deep_stack.sample(), step=deep_stack.trainer.policy().step + 1)
        assert f"ran the core {RUN_AT} times" in refused(deep_stack, batch)
        assert "not on-policy" in refused(deep_stack, relabelled(batch, TRAINED_AT))
        mine, theirs = deep_stack.trainer.contract(), deep_stack.pool.call(0, VLLMEngine.contract)
        with pytest.raises(ContractMismatch, match=f"recurrence: {TRAINED_AT} != {RUN_AT}"):
            require_contract(mine, [theirs])
    finally:
        deep_stack.pool.call(0, run_at, TRAINED_AT)


def test_an_engine_started_at_another_depth_is_refused_by_its_contract(
    deep_stack: Stack, tiny_recurrent: Path, tmp_path: Path
) -> None:
    """The engine of the pool is started anew: its cache has other slots, and nothing is left of the old one's."""
    model_dir = at_recurrence(tiny_recurrent, RUN_AT, tmp_path)
    contracts = deep_stack.pool.start(str(model_dir), "float32", deep_stack.trainer.certify())
    with pytest.raises(ContractMismatch, match=f"recurrence: {TRAINED_AT} != {RUN_AT}"):
        require_contract(deep_stack.trainer.contract(), contracts)
    weight_sync.publish(deep_stack.trainer, deep_stack.pool, deep_stack.trainer.policy())
    groups = deep_stack.sample()
    assert {rollout.recurrence for group in groups for rollout in group.rollouts} == {RUN_AT}
