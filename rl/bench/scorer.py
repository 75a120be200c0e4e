"""Reading solutions for a process reward model: the actor that serves one, against vLLM's pooling runner.

Both read the same solutions with the same backbone: some questions behind two worked examples, a number of solutions
each, as best-of-n has them. The actor gives the quantiles of every step; the runner gives the hidden states that a head
would read, so it is spared the head. Its prefix cache is emptied in between, as it would be for new questions.
"""

import statistics
import time
from typing import Any

import ray

from kernels.process import compute_environment
from rl.bench import BenchResult, BenchSettings
from rl.bench.stock import ALL_CORES, STOCK_ENVIRONMENT
from rl.models import load_tokenizer

NUM_QUESTIONS, NUM_SOLUTIONS = 16, 16
MAX_MODEL_LEN = 256
TASK = "token_embed"
"""Of the runner: the hidden state of every token."""
EXAMPLES = "5 + 3 - 6 =\n5 + 3 = 8\n8 - 6 = 2\n\n9 - 7 + 8 =\n9 - 7 = 2\n2 + 8 = 10\n\n"

Solution = tuple[list[int], list[int]]
"""Tokens of question and solution, and the places that are read."""


def measure(settings: BenchSettings) -> BenchResult:
    """Solutions and tokens a second of both."""
    tokenizer = load_tokenizer(settings.model_dir)
    solutions = [_solution(tokenizer, q, s) for q in range(NUM_QUESTIONS) for s in range(NUM_SOLUTIONS)]
    num_tokens = sum(len(tokens) for tokens, _ in solutions)
    actor = _OwnActor.remote(settings)  # type: ignore[attr-defined]
    runner = _PoolingRunner.remote(settings)  # type: ignore[attr-defined]
    sides = {"zerokl": actor, "vLLM pooling": runner}
    for side in sides.values():
        ray.get(side.read.remote(solutions))
    repeats = 1 if settings.quick else 3
    times = [{name: ray.get(side.read.remote(solutions)) for name, side in sides.items()} for _ in range(repeats)]
    for side in sides.values():
        ray.kill(side)
    medians = {name: statistics.median(each[name] for each in times) for name in sides}
    ratio = statistics.median(each["vLLM pooling"] / each["zerokl"] for each in times)
    rows = tuple((name, f"{len(solutions) / s:.0f}", f"{num_tokens / s:.0f}") for name, s in medians.items())
    figures = {"seconds": medians, "num_solutions": len(solutions), "num_tokens": num_tokens, "ratio": ratio}
    title = f"{NUM_QUESTIONS} questions, {NUM_SOLUTIONS} solutions each, read at every step: {ratio:.1f} times faster"
    return BenchResult(title, ("", "solutions/s", "tokens/s"), rows, figures)


def _solution(tokenizer: Any, question: int, sample: int) -> Solution:
    a, b, c = question % 9 + 1, question * 7 % 9 + 1, question * 5 % 9 + 1
    tokens: list[int] = tokenizer.encode(f"{EXAMPLES}{a} + {b} - {c} =\n")
    places = [len(tokens) - 1]
    for step in (f"{a} + {b} = {a + b + sample % 4}\n", f"{a + b} - {c} = {a + b - c - sample // 4}\n"):
        tokens += tokenizer.encode(step)
        places.append(len(tokens) - 1)
    return tokens, places


@ray.remote(num_cpus=0, runtime_env={"env_vars": compute_environment(0, 1) | {"HF_HUB_OFFLINE": "1"}})
class _OwnActor:
    """A fresh head on the backbone: what it says is worth nothing, what it costs is the same."""

    def __init__(self, settings: BenchSettings):
        import torch
        from transformers import AutoModelForCausalLM

        from kernels import seam
        from kernels.certify import certify_linear
        from reward.prm.model import PRMSettings, QuantilePRM
        from reward.prm.own import OwnModel

        dtype = getattr(torch, settings.dtype)
        backbone: Any = AutoModelForCausalLM.from_pretrained(settings.model_dir, dtype=dtype).eval()
        seam.install(backbone, certify_linear(seam.linear_shapes(backbone), dtype))
        prm = PRMSettings()
        bias = [0.5] * prm.make_family().num_parameters
        self._model = OwnModel(QuantilePRM.over(backbone, prm, bias).eval())

    def read(self, solutions: list[Solution]) -> float:
        """Seconds taken."""
        from reward.prm.steps import StepInput

        inputs = [StepInput(tuple(tokens), tuple(range(len(places))), tuple(places)) for tokens, places in solutions]
        start = time.perf_counter()
        self._model.read(inputs)
        return time.perf_counter() - start


@ray.remote(num_cpus=0, runtime_env={"env_vars": STOCK_ENVIRONMENT | ALL_CORES})
class _PoolingRunner:
    def __init__(self, settings: BenchSettings):
        from vllm import LLM
        from vllm.config import PoolerConfig

        self._llm = LLM(
            str(settings.model_dir), runner="pooling", convert="embed", pooler_config=PoolerConfig(task=TASK),
            dtype=settings.dtype, max_model_len=MAX_MODEL_LEN, max_num_seqs=256, kv_cache_memory_bytes=2**30,
        )  # fmt: skip

    def read(self, solutions: list[Solution]) -> float:
        """Seconds taken."""
        requests: list[Any] = [{"prompt_token_ids": tokens} for tokens, _ in solutions]
        start = time.perf_counter()
        self._llm.encode(requests, pooling_task=TASK, use_tqdm=False)
        elapsed = time.perf_counter() - start
        self._llm.reset_prefix_cache()
        return elapsed
