"""Shared by the tests that run real vLLM, Ray and DeepSpeed on a tiny model."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward.types import Reward
from rl import weight_sync
from rl.algorithms.grpo import GRPO
from rl.batching import cut_into_shards
from rl.config import OptimizerConfig, TrainerConfig
from rl.models import load_tokenizer, resolve_model
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rl.types import ScoredGroup, TrainingBatch
from rollout.config import RolloutConfig
from rollout.pool import RolloutPool
from rollout.types import Prompt, RolloutGroup, SamplingParams


def pytest_configure() -> None:
    # In the background of a script Ctrl-C is ignored, and every process started here would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests run side by side: each has a cluster of its own, and a thread that waits leaves its core to the other.
    os.environ.setdefault("RAY_ADDRESS", "local")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="every case: every family in every dtype, and more")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with engines first: what is quick fills the gaps at the end, where one worker would wait for the other."""
    left_out = [item for item in items if item.get_closest_marker("thorough") and not config.getoption("--thorough")]
    config.hook.pytest_deselected(items=left_out)
    slow = {item.path for item in items if item.get_closest_marker("engine")}
    items[:] = sorted((item for item in items if item not in left_out), key=lambda item: item.path not in slow)


GROUP_SIZE = 4
SAMPLING = SamplingParams(temperature=1.0, max_new_tokens=16, stop_token_ids=(2,))


@dataclasses.dataclass
class Stack:
    """A trainer of one rank and a pool of two engines that hold its policy."""

    model_dir: Path
    dtype: str
    trainer: TrainerGroup
    pool: RolloutPool
    prompts: list[Prompt]

    def sample(self, sampling: SamplingParams = SAMPLING, pool: RolloutPool | None = None) -> list[RolloutGroup]:
        return (pool or self.pool).generate(self.prompts, sampling, GROUP_SIZE)

    def publish(self) -> None:
        weight_sync.publish(self.trainer, self.pool, self.trainer.policy())

    def other_pool(self, config: RolloutConfig, **environment: str) -> RolloutPool:
        """Another pool over the same model, started and holding the trainer's policy."""
        pool = RolloutPool(config, seed=0, environment=environment)
        pool.start(str(self.model_dir), self.dtype, self.trainer.certify())
        weight_sync.publish(self.trainer, pool, self.trainer.policy())
        return pool


def batch_of(groups: list[RolloutGroup], sampling: SamplingParams = SAMPLING, step: int = 1) -> TrainingBatch:
    """A batch in which every second rollout is good, and the last group has nothing to learn from."""
    scored = []
    for index, group in enumerate(groups):
        advantages = [0.0] * GROUP_SIZE if index == len(groups) - 1 else [1.0, -1.0] * (GROUP_SIZE // 2)
        rewards = tuple(Reward(a, {}) for a in advantages)
        scored.append(ScoredGroup(group, rewards, tuple(advantages)))
    return TrainingBatch(
        step, groups[0].policy, sampling.temperature, sampling.max_new_tokens, cut_into_shards(scored, 4)
    )


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    from rl.cluster import ray_cluster

    with ray_cluster():
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model("tiny:llama", tmp_path_factory.mktemp("models"), seed=0)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def stack(request: pytest.FixtureRequest, tiny_model: Path, ray_session: None) -> Iterator[Stack]:
    """Engines squeezed so that every scheduling path is taken: chunked prefills, waiting requests, shared prefixes."""
    settings = TrainerSettings(
        str(tiny_model), request.param, TrainerConfig(num_shards=4), OptimizerConfig(learning_rate=1e-2), GRPO()
    )
    trainer = TrainerGroup(settings)
    pool = RolloutPool(squeezed(num_actors=2), seed=0)
    plan = trainer.certify()
    trainer.start(plan)
    pool.start(str(tiny_model), request.param, plan)
    made = Stack(tiny_model, request.param, trainer, pool, make_prompts(tiny_model))
    made.publish()
    yield made
    pool.close()
    trainer.close()


def squeezed(num_actors: int) -> RolloutConfig:
    return RolloutConfig(
        num_actors=num_actors, max_model_len=256, max_num_seqs=5, max_num_batched_tokens=40, kv_cache_gib=0.05
    )


def make_prompts(model_dir: Path) -> list[Prompt]:
    """Four prompts from 10 to 130 tokens; two share a prefix longer than a KV block."""
    tokenizer = load_tokenizer(model_dir)
    texts = ["1 + 2 = ", "What is 3 + 4? " * 3, "Add up. " * 12 + "5 + 6 =", "Add up. " * 12 + "7 + 8 ="]
    return [Prompt(f"train/0/{i}", text, tuple(tokenizer.encode(text)), {}) for i, text in enumerate(texts)]
