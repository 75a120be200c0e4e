"""The canonical engine, set up as a run does, with the same call as `rl.bench.stock`."""

import time

from rl import weight_sync
from rl.algorithms.grpo import GRPO
from rl.bench import BenchSettings
from rl.config import OptimizerConfig, TrainerConfig
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rollout.config import RolloutConfig
from rollout.engine import SampleRequest, VLLMEngine
from rollout.pool import RolloutPool
from rollout.types import Prompt, SamplingParams


class CanonicalEngine:
    """A pool of one actor that holds the checkpoint's weights."""

    def __init__(self, settings: BenchSettings, max_model_len: int):
        trainer = TrainerGroup(
            TrainerSettings(str(settings.model_dir), settings.dtype, TrainerConfig(), OptimizerConfig(), GRPO())
        )
        self._pool = RolloutPool(RolloutConfig(max_model_len=max_model_len), seed=0)
        plan = trainer.certify()
        trainer.start(plan)
        self._pool.start(str(settings.model_dir), settings.dtype, plan)
        weight_sync.publish(trainer, self._pool, trainer.policy())
        trainer.close()

    def generate(
        self, prompts: list[list[int]], max_tokens: int, temperature: float
    ) -> tuple[float, list[tuple[int, ...]]]:
        """Seconds taken, and the completions' tokens; every completion runs to `max_tokens`."""
        return self._pool.call(0, _generate, prompts, max_tokens, temperature)

    def close(self) -> None:
        """Nothing; ends the engine."""
        self._pool.close()


def _generate(
    engine: VLLMEngine, prompts: list[list[int]], max_tokens: int, temperature: float
) -> tuple[float, list[tuple[int, ...]]]:
    requests = [SampleRequest(Prompt(str(i), "", tuple(p), {}), 0, 0) for i, p in enumerate(prompts)]
    start = time.perf_counter()
    rollouts = engine.generate(requests, SamplingParams(temperature=temperature, max_new_tokens=max_tokens))
    elapsed = time.perf_counter() - start
    engine.reset_prefix_cache()
    return elapsed, [rollout.token_ids for rollout in rollouts]
