"""Stock vLLM in its default settings, in a Ray actor: what the canonical engine is held against."""

import time
from pathlib import Path
from typing import Any

import ray

from kernels.process import compute_environment
from rl.bench import BenchSettings

STOCK_ENVIRONMENT = compute_environment(threads=0, num_processes=1) | {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Memory and threads as the canonical engine has them: the comparison is of engines, not of allocators."""


ALL_CORES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""By default vLLM computes in a process of its own and keeps one core free for the one that schedules."""


def start_stock_engine(settings: BenchSettings, max_model_len: int, all_cores: bool = False) -> Any:
    """A Ray actor with a `StockEngine`; `all_cores` gives it every core, as the canonical engine has."""
    variables = STOCK_ENVIRONMENT | (ALL_CORES if all_cores else {})
    remote = ray.remote(num_cpus=0, runtime_env={"env_vars": variables})(StockEngine)
    return remote.remote(settings.model_dir, settings.dtype, max_model_len)


class StockEngine:
    """vLLM's native model, compiled, with its own sampler: nothing set but the sizes."""

    def __init__(self, model_dir: Path, dtype: str, max_model_len: int):
        from vllm import LLM

        self._llm = LLM(
            str(model_dir), dtype=dtype, max_model_len=max_model_len, max_num_seqs=256, kv_cache_memory_bytes=2**30
        )

    def generate(
        self, prompts: list[list[int]], max_tokens: int, temperature: float
    ) -> tuple[float, list[tuple[int, ...]]]:
        """Seconds taken, and the completions' tokens; every completion runs to `max_tokens`."""
        from vllm import SamplingParams

        params = SamplingParams(
            temperature=temperature, max_tokens=max_tokens, ignore_eos=True, logprobs=0, detokenize=False
        )
        requests: list[Any] = [{"prompt_token_ids": prompt} for prompt in prompts]
        start = time.perf_counter()
        outputs = self._llm.generate(requests, params, use_tqdm=False)
        elapsed = time.perf_counter() - start
        self._llm.reset_prefix_cache()
        return elapsed, [tuple(output.outputs[0].token_ids) for output in outputs]
