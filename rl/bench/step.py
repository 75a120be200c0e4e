"""One training step against TRL's GRPOTrainer: 8 prompts x 8 rollouts of at most 64 tokens, same model, data, dtype."""

import statistics
import time
from typing import Any

import ray

from kernels.process import compute_environment
from reward.surface import digit_share
from reward.types import Reward
from rl import weight_sync
from rl.algorithms.grpo import GRPO
from rl.batching import cut_into_shards
from rl.bench import BenchResult, BenchSettings
from rl.clock import Clock
from rl.config import OptimizerConfig, TrainerConfig
from rl.data import DataConfig, load_data
from rl.ledger import Ledger
from rl.models import load_tokenizer, stop_token_ids
from rl.records import step_record
from rl.run_folder import RunFolder
from rl.trainer import TrainerSettings
from rl.trainer_group import TrainerGroup
from rl.types import RewardedGroup, ScoredGroup, TrainingBatch
from rollout.config import RolloutConfig
from rollout.pool import RolloutPool
from rollout.types import Prompt, RolloutGroup, SamplingParams

NUM_PROMPTS, GROUP_SIZE, NEW_TOKENS = 8, 8, 64


def measure(settings: BenchSettings) -> BenchResult:
    """Seconds a step and peak memory of both, and where ours goes."""
    tokenizer = load_tokenizer(settings.model_dir)
    num_steps = 2 if settings.quick else 4
    params = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}
    data = load_data(DataConfig(params=params, num_held_out=1), tokenizer, 0).train
    batches = [data.batch(i * NUM_PROMPTS, NUM_PROMPTS) for i in range(num_steps + 1)]
    ours, parts, our_bytes = _our_steps(settings, batches, stop_token_ids(settings.model_dir, tokenizer))
    theirs, their_bytes = ray.get(_trl_steps.remote(settings, [[p.text for p in batch] for batch in batches]))
    our_s, their_s = statistics.median(ours[1:]), statistics.median(theirs[1:])
    proof_s = parts["train_proof"] + parts["train_digest"] + parts["ledger"]
    rows = (
        ("TRL 1.16 GRPOTrainer", f"{their_s:.1f}", f"{their_bytes / 2**30:.1f}", ""),
        ("zerokl", f"{our_s:.1f}", f"{our_bytes / 2**30:.1f}", f"{their_s / our_s:.1f} times faster"),
        *((f"  {name}", f"{seconds:.2f}", "", f"{seconds / our_s:.1%}") for name, seconds in parts.items()),
        ("proof and ledger", f"{proof_s:.2f}", "", f"{proof_s / our_s:.1%}"),
    )
    figures = {
        "zerokl_step_s": ours, "trl_step_s": theirs, "ratio": their_s / our_s, "parts_s": parts,
        "zerokl_peak_bytes": our_bytes, "trl_peak_bytes": their_bytes, "proof_and_ledger_share": proof_s / our_s,
    }  # fmt: skip
    return BenchResult("one GRPO step, 8 prompts x 8 rollouts", ("", "s", "peak GiB", ""), rows, figures)


def _our_steps(
    settings: BenchSettings, batches: list[list[Prompt]], stop_ids: tuple[int, ...]
) -> tuple[list[float], dict[str, float], int]:
    import tempfile
    from pathlib import Path

    algorithm = GRPO()
    trainer = TrainerGroup(
        TrainerSettings(str(settings.model_dir), settings.dtype, TrainerConfig(), OptimizerConfig(), algorithm)
    )
    pool = RolloutPool(RolloutConfig(max_model_len=256), seed=0)
    plan = trainer.certify()
    trainer.start(plan)
    pool.start(str(settings.model_dir), settings.dtype, plan)
    weight_sync.publish(trainer, pool, trainer.policy())
    sampling = SamplingParams(max_new_tokens=NEW_TOKENS, stop_token_ids=stop_ids)
    totals, laps = [], []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.create()
        ledger = Ledger(run.ledger_path)
        for step, prompts in enumerate(batches, start=1):
            clock = Clock()
            groups = pool.generate(prompts, sampling, GROUP_SIZE)
            clock.lap("sample")
            scored = _scored(groups, algorithm)
            batch = TrainingBatch(step, groups[0].policy, 1.0, NEW_TOKENS, cut_into_shards(scored, 4))
            clock.lap("score")
            proof = trainer.step(batch, 1e-5)
            clock.lap("train")
            weight_sync.publish(trainer, pool, proof.policy)
            clock.lap("sync")
            ledger.append(step_record("", batch, proof))
            run.write_rollouts(step, batch, proof)
            clock.lap("ledger")
            totals.append(clock.total_s)
            laps.append(clock.laps_s | {f"train_{name}": seconds for name, seconds in proof.timings_s.items()})
    peak = trainer.call(_peak_bytes) + pool.call(0, _peak_bytes)
    trainer.close()
    pool.close()
    return totals, {name: statistics.median(lap[name] for lap in laps[1:]) for name in laps[0]}, peak


def _scored(groups: list[RolloutGroup], algorithm: GRPO) -> list[ScoredGroup]:
    rewarded = [RewardedGroup(group, _rewards(group)) for group in groups]
    advantages = algorithm.advantages(rewarded, NEW_TOKENS)
    return [ScoredGroup(g.group, g.rewards, a) for g, a in zip(rewarded, advantages, strict=True)]


def _rewards(group: RolloutGroup) -> tuple[Reward, ...]:
    values = digit_share([], [rollout.text for rollout in group.rollouts])
    return tuple(Reward(value, {}) for value in values)


def _peak_bytes(_: Any = None) -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
            per_device_train_batch_size=NUM_PROMPTS * GROUP_SIZE, num_generations=GROUP_SIZE,
            max_completion_length=NEW_TOKENS, max_steps=len(batches), shuffle_dataset=False, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(settings.model_dir, dtype=getattr(torch, settings.dtype))
        GRPOTrainer(
            model=model, reward_funcs=reward, args=arguments, train_dataset=Dataset.from_dict({"prompt": questions}),
            callbacks=[clocked],
        ).train()  # fmt: skip
    return clocked.times_s, _peak_bytes()
