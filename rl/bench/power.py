"""Power sampling against a batch-1 implementation of the paper's algorithm on Hugging Face `generate`.

Karan & Du, "Reasoning with Sampling", arXiv 2510.14901, algorithm 1. Same model, dtype, questions and settings; the
baseline takes one question after the other, as its price per question does not depend on how many there are.
"""

import math
import time
from typing import Any

import ray

from kernels.process import compute_environment
from rl.bench import BenchResult, BenchSettings
from rl.data import DataConfig, load_data
from rl.models import load_tokenizer, stop_token_ids
from rl.policy_pool import policy_pool
from rollout.config import RolloutConfig
from rollout.search.power import PowerSampling
from rollout.search.types import SearchResult, Task, Tools
from rollout.types import Prompt

METHOD = PowerSampling(alpha=4.0, block_tokens=16, max_new_tokens=64, num_steps=4)
NUM_CHAINS, NUM_BASELINE = 256, 4
MAX_MODEL_LEN = 256
TASK = DataConfig(task="gsm_symbolic", num_held_out=1)


def measure(settings: BenchSettings) -> BenchResult:
    """Seconds a question and tokens/s of both."""
    tokenizer = load_tokenizer(settings.model_dir)
    stop_ids = stop_token_ids(settings.model_dir, tokenizer)
    num_chains, num_baseline = (64, 1) if settings.quick else (NUM_CHAINS, NUM_BASELINE)
    prompts = [p for p in load_data(TASK, tokenizer, 0).train.batch(0, 4 * num_chains) if _fits(p)][:num_chains]
    token_ids = [list(prompt.token_ids) for prompt in prompts[:num_baseline]]
    their_s, their_tokens = ray.get(_baseline.remote(settings, token_ids, stop_ids))
    our_s, result = _ours(settings, prompts, stop_ids)
    our_tokens = sum(outcome.effort.tokens_sampled for outcome in result.outcomes)
    returned = sum(outcome.effort.tokens_returned for outcome in result.outcomes)
    proposals = sum(outcome.effort.num_proposals for outcome in result.outcomes)
    accepted = sum(outcome.effort.num_accepted for outcome in result.outcomes)
    ratio = (their_s / num_baseline) / (our_s / len(prompts))
    figures = {
        "baseline_s_per_question": their_s / num_baseline, "zerokl_s_per_question": our_s / len(prompts),
        "baseline_tokens_per_s": their_tokens / their_s, "zerokl_tokens_per_s": our_tokens / our_s, "ratio": ratio,
        "acceptance_rate": accepted / proposals, "sampled_over_returned": our_tokens / returned,
        "mean_in_flight": result.mean_in_flight,
    }  # fmt: skip
    rows = (
        ("Hugging Face, batch 1", f"{their_s / num_baseline:.2f}", f"{their_tokens / their_s:.0f}", ""),
        ("zerokl", f"{our_s / len(prompts):.2f}", f"{our_tokens / our_s:.0f}", f"{ratio:.1f} times faster"),
        ("  proposals accepted", "", "", f"{accepted / proposals:.0%}"),
        ("  tokens sampled over returned", "", "", f"{our_tokens / returned:.1f}"),
        ("  chains in flight", "", "", f"{result.mean_in_flight:.0f}"),
    )
    title = (
        f"power sampling: alpha {METHOD.alpha:g}, {METHOD.max_new_tokens} tokens in blocks of {METHOD.block_tokens}, "
        f"{METHOD.num_steps} steps a block"
    )
    return BenchResult(title, ("", "s a question", "sampled tokens/s", ""), rows, figures)


def _fits(prompt: Prompt) -> bool:
    return len(prompt.token_ids) + METHOD.max_new_tokens <= MAX_MODEL_LEN


def _ours(settings: BenchSettings, prompts: list[Prompt], stop_ids: tuple[int, ...]) -> tuple[float, SearchResult]:
    config = RolloutConfig(max_model_len=MAX_MODEL_LEN, kv_cache_gib=4.0)  # all chains at once
    with policy_pool(settings.model_dir, settings.dtype, config, seed=0) as pool:
        start = time.perf_counter()
        result = METHOD.search([Task(prompt) for prompt in prompts], Tools(pool, stop_ids, seed=0))
        return time.perf_counter() - start, result


ENVIRONMENT = compute_environment(threads=0, num_processes=1) | {"HF_HUB_OFFLINE": "1"}


@ray.remote(num_cpus=0, runtime_env={"env_vars": ENVIRONMENT})
def _baseline(settings: BenchSettings, prompts: list[list[int]], stop_ids: tuple[int, ...]) -> tuple[float, int]:
    """Seconds for all prompts, and tokens drawn."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(settings.model_dir, dtype=getattr(torch, settings.dtype)).eval()
    _power_sample(model, prompts[0][:8], stop_ids, horizon=8)  # warm
    start = time.perf_counter()
    num_tokens = sum(_power_sample(model, prompt, stop_ids, METHOD.max_new_tokens) for prompt in prompts)
    return time.perf_counter() - start, num_tokens


def _power_sample(model: Any, prompt: list[int], stop_ids: tuple[int, ...], horizon: int) -> int:
    """Tokens drawn for one chain, as the paper's algorithm goes: one proposal at a time, nothing kept between calls."""
    import torch

    tokens: list[int] = []
    policy: list[float] = []
    proposal: list[float] = []
    num_drawn = 0
    for end in range(METHOD.block_tokens, horizon + METHOD.block_tokens, METHOD.block_tokens):
        limit = min(end, horizon)
        if not tokens or (len(tokens) < limit and tokens[-1] not in stop_ids):
            drawn, p, q = _generate(model, prompt + tokens, limit - len(tokens), stop_ids)
            tokens, policy, proposal = tokens + drawn, policy + p, proposal + q
            num_drawn += len(drawn)
        for _ in range(METHOD.num_steps):
            index = int(torch.randint(len(tokens), ()))
            drawn, p, q = _generate(model, prompt + tokens[:index], limit - index, stop_ids)
            num_drawn += len(drawn)
            log_ratio = METHOD.alpha * (sum(p) - sum(policy[index:])) + sum(proposal[index:]) - sum(q)
            log_ratio += math.log(len(tokens)) - math.log(index + len(drawn))
            if math.log(max(float(torch.rand(())), 1e-300)) < log_ratio:
                tokens, policy, proposal = tokens[:index] + drawn, policy[:index] + p, proposal[:index] + q
    return num_drawn


def _generate(
    model: Any, prefix: list[int], num_tokens: int, stop_ids: tuple[int, ...]
) -> tuple[list[int], list[float], list[float]]:
    """Tokens behind the prefix, and the log-probability of each under the policy and under the proposal."""
    import torch

    output = model.generate(
        torch.tensor([prefix]), attention_mask=torch.ones(1, len(prefix), dtype=torch.long), do_sample=True,
        temperature=METHOD.tau, top_k=0, top_p=1.0, max_new_tokens=num_tokens, eos_token_id=list(stop_ids),
        pad_token_id=stop_ids[0], return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    drawn = output.sequences[0, len(prefix) :]
    logits = torch.cat(output.logits).float()
    policy = logits.log_softmax(-1).gather(1, drawn[:, None])[:, 0]
    proposal = (logits / METHOD.tau).log_softmax(-1).gather(1, drawn[:, None])[:, 0]
    return drawn.tolist(), policy.tolist(), proposal.tolist()
