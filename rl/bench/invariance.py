"""What batch invariance costs: tokens/s of the canonical engine over stock vLLM, compiled as it is by default.

Stock vLLM stands there twice: in its default settings, which on a CPU keep one core free for scheduling, and with every
core, as the canonical engine has. All engines are up at once and measured in turns, so that a ratio is of runs side by
side. All return the log-probability of every token, which reinforcement learning needs.
"""

import statistics

import ray

from rl.bench import BenchResult, BenchSettings
from rl.bench.canonical import CanonicalEngine
from rl.bench.stock import start_stock_engine
from rl.models import load_tokenizer

NUM_REQUESTS = (1, 8, 64, 256)
NEW_TOKENS = 32
MAX_MODEL_LEN = 256


def measure(settings: BenchSettings) -> BenchResult:
    """Tokens/s of both by number of requests at once, and the median ratio."""
    tokenizer = load_tokenizer(settings.model_dir)
    prompts = [tokenizer.encode(f"What is {i * 7 % 50} + {i * 13 % 40}?") for i in range(max(NUM_REQUESTS))]
    stock, wide = (start_stock_engine(settings, MAX_MODEL_LEN, all_cores=wide) for wide in (False, True))
    canonical = CanonicalEngine(settings, MAX_MODEL_LEN)
    sides = {
        "stock": lambda batch: ray.get(stock.generate.remote(batch, NEW_TOKENS, 1.0))[0],
        "stock_all_cores": lambda batch: ray.get(wide.generate.remote(batch, NEW_TOKENS, 1.0))[0],
        "canonical": lambda batch: canonical.generate(batch, NEW_TOKENS, 1.0)[0],
    }
    figures = {n: _rates(sides, prompts[:n], _repeats(n, settings.quick)) for n in NUM_REQUESTS}
    canonical.close()
    ray.kill(stock)
    ray.kill(wide)
    rows = tuple(
        (str(n), *(f"{f[side]:.0f}" for side in sides), f"{f['ratio']:.2f}", f"{f['ratio_all_cores']:.2f}")
        for n, f in figures.items()
    )
    columns = ("requests at once", "stock", "stock, all cores", "canonical", "/ stock", "/ stock, all cores")
    return BenchResult("tokens/s of the canonical engine and of stock vLLM", columns, rows, {"by_requests": figures})


def _rates(sides, prompts: list[list[int]], repeats: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    for side in sides.values():
        side(prompts)
    pairs = [{name: len(prompts) * NEW_TOKENS / side(prompts) for name, side in sides.items()} for _ in range(repeats)]
    medians = {name: statistics.median(pair[name] for pair in pairs) for name in sides}
    ratios = {
        name: statistics.median(pair["canonical"] / pair[side] for pair in pairs)
        for name, side in (("ratio", "stock"), ("ratio_all_cores", "stock_all_cores"))
    }
    return medians | ratios


def _repeats(num_requests: int, quick: bool) -> int:
    return 2 if quick or num_requests > 64 else 5
