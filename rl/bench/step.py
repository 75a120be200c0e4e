"""One training step against TRL's GRPOTrainer: 8 prompts x 8 rollouts of at most 64 tokens, same model, data, dtype."""

import statistics
import time
from typing import Any

import ray

from kernels.process import compute_environment
from reward.surface import digit_share
from rl.bench import BenchResult, BenchSettings
from rl.bench.own_steps import StepSize, peak_bytes, sums_to_learn, take_steps

SIZE = StepSize(num_prompts=8, group_size=8, new_tokens=64)


def measure(settings: BenchSettings) -> BenchResult:
    """Seconds a step and peak memory of both, and where ours goes."""
    num_steps = 2 if settings.quick else 4
    batches = sums_to_learn(settings, SIZE, num_steps + 1)
    ours = take_steps(settings, SIZE, batches)
    theirs, their_bytes = ray.get(_trl_steps.remote(settings, [[p.text for p in batch] for batch in batches]))
    parts, our_s, their_s = ours.parts_s, statistics.median(ours.totals_s[1:]), statistics.median(theirs[1:])
    proof_s = parts["train_proof"] + parts["train_digest"] + parts["ledger"]
    rows = (
        ("TRL 1.16 GRPOTrainer", f"{their_s:.1f}", f"{their_bytes / 2**30:.1f}", ""),
        ("zerokl", f"{our_s:.1f}", f"{ours.peak_bytes / 2**30:.1f}", f"{their_s / our_s:.1f} times faster"),
        *((f"  {name}", f"{seconds:.2f}", "", f"{seconds / our_s:.1%}") for name, seconds in parts.items()),
        ("proof and ledger", f"{proof_s:.2f}", "", f"{proof_s / our_s:.1%}"),
    )
    figures = {
        "zerokl_step_s": ours.totals_s, "trl_step_s": theirs, "ratio": their_s / our_s, "parts_s": parts,
        "zerokl_peak_bytes": ours.peak_bytes, "trl_peak_bytes": their_bytes, "proof_and_ledger_share": proof_s / our_s,
    }  # fmt: skip
    return BenchResult("one GRPO step, 8 prompts x 8 rollouts", ("", "s", "peak GiB", ""), rows, figures)


TRL_ENVIRONMENT = compute_environment(threads=0, num_processes=1) | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}


@ray.remote(num_cpus=0, runtime_env={"env_vars": TRL_ENVIRONMENT})
def _trl_steps(settings: BenchSettings, batches: list[list[str]]) -> tuple[list[float], int]:
    """Seconds of each of TRL's steps, and the peak memory of its process."""
    import tempfile

    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Clocked(TrainerCallback):
        def __init__(self) -> None:
            self.times_s: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self._start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times_s.append(time.perf_counter() - self._start)

    def reward(prompts: list, completions: list, **_: Any) -> list[float]:
        return digit_share([], [completion[0]["content"] for completion in completions])

    questions = [[{"role": "user", "content": text}] for batch in batches for text in batch]
    clocked = Clocked()
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=settings.dtype == "bfloat16", learning_rate=1e-5, beta=0.0,
            per_device_train_batch_size=SIZE.num_prompts * SIZE.group_size, num_generations=SIZE.group_size,
            max_completion_length=SIZE.new_tokens, max_steps=len(batches), shuffle_dataset=False, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(settings.model_dir, dtype=getattr(torch, settings.dtype))
        GRPOTrainer(
            model=model, reward_funcs=reward, args=arguments, train_dataset=Dataset.from_dict({"prompt": questions}),
            callbacks=[clocked],
        ).train()  # fmt: skip
    return clocked.times_s, peak_bytes()
