"""A real trainer on a tiny model, on rollouts that nobody sampled: what it computes, not whether it is on-policy."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reward.types import Reward
from rl.algorithms import make_algorithm
from rl.batching import cut_into_shards
from rl.config import OptimizerConfig, TrainerConfig
from rl.errors import BrokenGuarantee
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rl.types import ScoredGroup, StepProof, TrainingBatch
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

pytestmark = pytest.mark.engine
NUM_GROUPS, GROUP_SIZE = 4, 3


def settings(
    model_dir: Path, algorithm: str = "grpo", exact: bool = False, dtype: str = "float32", **trainer
) -> TrainerSettings:
    params = {"kl_coef": 0.1} if algorithm == "grpo+kl" else {}
    return TrainerSettings(
        str(model_dir),
        dtype,
        TrainerConfig(num_shards=4, **trainer),
        OptimizerConfig(learning_rate=1e-2),
        make_algorithm(algorithm.removesuffix("+kl"), params),
        exact=exact,
    )


def batch(policy: PolicyVersion) -> TrainingBatch:
    """Made-up rollouts of 1 to 9 tokens; the second group has nothing to learn from."""
    groups = []
    for g in range(NUM_GROUPS):
        prompt = Prompt(f"train/0/{g}", "", tuple(range(10, 20 + g)), {})
        lengths = [1 + (g + 4 * i) % 9 for i in range(GROUP_SIZE)]
        rollouts = tuple(
            Rollout(prompt.id, i, tuple((7 * i + 3 * t + g) % 100 for t in range(n)), (-2.0,) * n, "", False)
            for i, n in enumerate(lengths)
        )
        advantages = (0.0,) * GROUP_SIZE if g == 1 else (1.0, -0.5, -0.5)
        rewards = tuple(Reward(a, {}) for a in advantages)
        groups.append(ScoredGroup(RolloutGroup(prompt, rollouts, policy), rewards, advantages))
    return TrainingBatch(1, policy, 1.0, 16, cut_into_shards(groups, 4))


@dataclasses.dataclass(frozen=True)
class Outcome:
    proof: StepProof
    second: StepProof
    again: StepProof
    """The second step once more, from what one rank in stage 1 had saved after the first."""
    folder: Path
    """What was saved after the first step."""

    @property
    def state(self) -> bytes:
        return (self.folder / "trainer.safetensors").read_bytes()


def own_number_of_threads(_) -> None:
    torch.set_num_threads(1 + torch.distributed.get_rank())


@pytest.fixture(scope="module")
def run(ray_session: None, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    outcomes: dict[tuple, Outcome] = {}

    def take_two_steps(dtype: str = "float32", **changes) -> Outcome:
        key = (dtype, *sorted(changes.items()))
        if key not in outcomes:
            folder = tmp_path_factory.mktemp("saved")
            trainer = TrainerGroup(settings(tiny_model, dtype=dtype, **changes))
            try:
                trainer.start(trainer.certify())
                trainer.call(own_number_of_threads)
                first = trainer.step(batch(trainer.policy()), 1e-2)
                trainer.save(folder)
                second = trainer.step(batch(trainer.policy()), 1e-2)
                trainer.load(take_two_steps(dtype).folder if changes else folder, 1)
                again = trainer.step(batch(trainer.policy()), 1e-2)
                outcomes[key] = Outcome(first, second, again, folder)
            finally:
                trainer.close()
        return outcomes[key]

    yield take_two_steps


WAYS = (
    {"gradient_checkpointing": True},
    {"world_size": 4, "zero_stage": 2},
    {"world_size": 2, "zero_stage": 3, "dtype": "bfloat16"},
)
EVERY_WAY = tuple(
    {"world_size": size, "zero_stage": stage, "dtype": dtype}
    for size, stage, dtype in itertools.product((1, 2, 4), (1, 2, 3), ("float32", "bfloat16"))
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "changes" in metafunc.fixturenames:
        is_full = metafunc.config.getoption("--thorough")
        metafunc.parametrize("changes", (*WAYS, *EVERY_WAY) if is_full else WAYS, ids=str)


def test_how_the_work_is_done_changes_no_bit(run, changes) -> None:
    expected, found = run(changes.get("dtype", "float32")), run(**changes)
    for mine, theirs in zip(*((o.proof, o.second, o.again) for o in (found, expected)), strict=True):
        assert mine.gradient == theirs.gradient
        assert mine.policy == theirs.policy
        assert mine.trainer_logprobs == theirs.trainer_logprobs
        assert (mine.loss, mine.grad_norm) == (theirs.loss, theirs.grad_norm)
    assert found.state == expected.state


def test_a_step_from_what_was_saved_is_the_step_that_was_taken(run) -> None:
    assert run().again.policy == run().second.policy
    assert run().again.gradient == run().second.gradient


def test_what_is_not_exact_is_counted_and_said(run) -> None:
    proof = run().proof
    assert proof.off_policy == "rollouts by stock vLLM"
    assert proof.num_mismatched == proof.num_tokens > 0


def test_an_exact_trainer_refuses_the_same_batch(ray_session: None, tiny_model: Path) -> None:
    trainer = TrainerGroup(settings(tiny_model, exact=True))
    try:
        trainer.start(trainer.certify())
        before = trainer.policy()
        with pytest.raises(BrokenGuarantee, match="not on-policy"):
            trainer.step(batch(before), 1e-2)
        assert trainer.policy() == before
    finally:
        trainer.close()


def test_a_reference_that_equals_the_policy_adds_nothing_to_the_first_loss_and_something_later(run) -> None:
    plain, held = run(), run(algorithm="grpo+kl")
    assert held.proof.loss == plain.proof.loss
    assert held.second.loss != plain.second.loss


def test_further_updates_on_a_batch_move_the_weights_and_are_called_off_policy(run) -> None:
    once, twice = run(), run(updates_per_batch=2)
    assert twice.proof.trainer_logprobs == once.proof.trainer_logprobs
    assert twice.proof.loss == once.proof.loss
    assert twice.proof.policy != once.proof.policy
    assert twice.proof.gradient != once.proof.gradient
    assert twice.proof.off_policy.endswith("updates 2 to 2 of each batch")
