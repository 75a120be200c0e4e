"""The canonical engine as a run has it, with the same call as `rl.bench.stock`."""

import time
from contextlib import ExitStack

from rl.bench import BenchSettings
from rl.policy_pool import policy_pool
from rollout.config import RolloutConfig
from rollout.engine import SampleRequest, VLLMEngine
from rollout.types import Prompt, SamplingParams


class CanonicalEngine:
    """A pool of one actor that holds the checkpoint's weights."""

    def __init__(self, settings: BenchSettings, max_model_len: int):
        self._started = ExitStack()
        config = RolloutConfig(max_model_len=max_model_len)
        self._pool = self._started.enter_context(policy_pool(settings.model_dir, settings.dtype, config, seed=0))

    def generate(
        self, prompts: list[list[int]], max_tokens: int, temperature: float
    ) -> tuple[float, list[tuple[int, ...]]]:
        """Seconds taken, and the completions' tokens; every completion runs to `max_tokens`."""
        return self._pool.call(0, _generate, prompts, max_tokens, temperature)

    def close(self) -> None:
        """Nothing; ends the engine."""
        self._started.close()


def _generate(
    engine: VLLMEngine, prompts: list[list[int]], max_tokens: int, temperature: float
) -> tuple[float, list[tuple[int, ...]]]:
    requests = [SampleRequest(Prompt(str(i), "", tuple(p), {}), 0, 0) for i, p in enumerate(prompts)]
    start = time.perf_counter()
    rollouts = engine.generate(requests, SamplingParams(temperature=temperature, max_new_tokens=max_tokens))
    elapsed = time.perf_counter() - start
    engine.reset_prefix_cache()
    return elapsed, [rollout.token_ids for rollout in rollouts]
