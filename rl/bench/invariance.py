"""What batch invariance costs: tokens/s of the canonical engine over stock vLLM's compiled default.

Both engines are up at once and measured in turns, so that a ratio is of two runs side by side. Both return the
log-probability of every token, which reinforcement learning needs.
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
    stock = start_stock_engine(settings, MAX_MODEL_LEN)
    canonical = CanonicalEngine(settings, MAX_MODEL_LEN)
    sides = {
        "stock": lambda batch: ray.get(stock.generate.remote(batch, NEW_TOKENS, 1.0))[0],
        "canonical": lambda batch: canonical.generate(batch, NEW_TOKENS, 1.0)[0],
    }
    figures = {n: _rates(sides, prompts[:n], _repeats(n, settings.quick)) for n in NUM_REQUESTS}
    canonical.close()
    ray.kill(stock)
    rows = tuple(
        (str(n), f"{f['stock']:.0f}", f"{f['canonical']:.0f}", f"{f['ratio']:.2f}") for n, f in figures.items()
    )
    columns = ("requests at once", "stock tok/s", "canonical tok/s", "canonical / stock")
    return BenchResult("canonical engine against stock vLLM's default", columns, rows, {"by_requests": figures})


def _rates(sides, prompts: list[list[int]], repeats: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    for side in sides.values():
        side(prompts)
    pairs = [{name: len(prompts) * NEW_TOKENS / side(prompts) for name, side in sides.items()} for _ in range(repeats)]
    medians = {name: statistics.median(pair[name] for pair in pairs) for name in sides}
    return medians | {"ratio": statistics.median(pair["canonical"] / pair["stock"] for pair in pairs)}


def _repeats(num_requests: int, quick: bool) -> int:
    return 2 if quick else (3 if num_requests > 64 else 5)
