"""The experiment that started the field: how many different greedy completions does one prompt have?

After He et al., "Defeating Nondeterminism in LLM Inference" (Thinking Machines, 2025): the same greedy request, again
and again, under a load that varies. A batch-invariant engine gives one completion.
"""

import ray

from rl.bench import BenchResult, BenchSettings
from rl.bench.canonical import CanonicalEngine
from rl.bench.stock import start_stock_engine
from rl.models import load_tokenizer

WAVES = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Requests at once, over and over: the load varies."""
NEW_TOKENS = 64
MAX_MODEL_LEN = 256
QUESTION = "Tell me about Richard Feynman"


def measure(settings: BenchSettings) -> BenchResult:
    """Distinct completions and the first position at which two of them part, for both engines."""
    tokenizer = load_tokenizer(settings.model_dir)
    chat = [{"role": "user", "content": QUESTION}]
    prompt = list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
    waves = _waves(100 if settings.quick else 1000)
    canonical = CanonicalEngine(settings, MAX_MODEL_LEN)
    found = {"canonical": _completions(canonical.generate, prompt, waves)}
    canonical.close()
    stock = start_stock_engine(settings, MAX_MODEL_LEN, all_cores=True)
    found["stock"] = _completions(lambda *args: ray.get(stock.generate.remote(*args)), prompt, waves)
    ray.kill(stock)
    figures = {
        side: {
            "completions": len(texts),
            "distinct": len(set(texts)),
            "first_split": first_split(texts),
        }
        for side, texts in found.items()
    }
    rows = tuple((side, *(str(value) for value in figures[side].values())) for side in ("stock", "canonical"))
    columns = ("engine", "greedy completions", "distinct", "first split at token")
    return BenchResult(f"one prompt, {NEW_TOKENS} greedy tokens, varying load", columns, rows, figures)


def first_split(completions: list[tuple[int, ...]]) -> int | None:
    """The first position at which not all completions have the same token; None when they are all the same."""
    for position, tokens in enumerate(zip(*completions, strict=False)):
        if len(set(tokens)) > 1:
            return position
    return None


def _waves(total: int) -> list[int]:
    waves: list[int] = []
    while sum(waves) < total:
        waves.append(min(WAVES[len(waves) % len(WAVES)], total - sum(waves)))
    return waves


def _completions(generate, prompt: list[int], waves: list[int]) -> list[tuple[int, ...]]:  # type: ignore[no-untyped-def]
    return [completion for wave in waves for completion in generate([prompt] * wave, NEW_TOKENS, 0.0)[1]]
